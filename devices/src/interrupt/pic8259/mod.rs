//! The two cascaded 8259A interrupt controllers of a PC, with their edge/level registers.

mod chip;
pub mod spec;

use std::sync::{Arc, Mutex};

use self::chip::Chip;
use self::spec::{CASCADE, MASTER_ELCR_WRITABLE, SLAVE_ELCR_WRITABLE, offset};
use super::{ExtIntSource, IrqLine};
use crate::bus::{BusDevice, Unclaimed, Width};
use crate::lock;

/// The 8259 pair. Behind `Arc<Mutex<_>>`: on the port bus, under the ISA wiring, and as the local APICs'
/// [`ExtIntSource`].
pub struct Pic8259Pair {
    output: IrqLine,
    master: Chip,
    slave: Chip,
}

impl Pic8259Pair {
    /// A pair after power-up whose INT output is `output` ([`super::InterruptFabric::lint0`]; on a PC also pin 0 of the
    /// I/O APIC).
    pub fn new(output: IrqLine) -> Arc<Mutex<Self>> {
        let master = Chip::new(MASTER_ELCR_WRITABLE, 1 << CASCADE);
        let slave = Chip::new(SLAVE_ELCR_WRITABLE, 0);
        Arc::new(Mutex::new(Self { output, master, slave }))
    }

    /// Drives ISA interrupt `irq` (0 to 15; 2 is the cascade's own and ignored).
    pub fn set_irq(&mut self, irq: u8, level: bool) {
        match irq {
            CASCADE => return,
            0..8 => self.master.set_line(irq, level),
            8..16 => self.slave.set_line(irq - 8, level),
            _ => return,
        }
        self.drive();
    }

    /// The interrupt acknowledge cycle: the vector of the highest pending interrupt, which becomes in service.
    pub fn acknowledge(&mut self) -> u8 {
        let input = self.master.acknowledge();
        let vector = if input == CASCADE {
            let input = self.slave.acknowledge();
            self.slave.vector(input)
        } else {
            self.master.vector(input)
        };
        self.drive();
        vector
    }

    /// Power-up reset. Lines keep their levels.
    pub fn reset(&mut self) {
        self.master.reset();
        self.slave.reset();
        self.drive();
    }

    /// Passes the second chip's output to the first, and the first's on.
    fn drive(&mut self) {
        self.master.set_line(CASCADE, self.slave.pending().is_some());
        self.output.set_level(self.master.pending().is_some());
    }
}

impl BusDevice for Pic8259Pair {
    fn read(&mut self, offset: u64, _width: Width) -> Result<u64, Unclaimed> {
        let value = match offset {
            offset::MASTER_COMMAND => self.master.read_command(),
            offset::MASTER_DATA => self.master.read_data(),
            offset::SLAVE_COMMAND => self.slave.read_command(),
            offset::SLAVE_DATA => self.slave.read_data(),
            offset::MASTER_ELCR => self.master.elcr(),
            offset::SLAVE_ELCR => self.slave.elcr(),
            _ => return Err(Unclaimed),
        };
        // A poll acknowledges.
        self.drive();
        Ok(value.into())
    }

    fn write(&mut self, offset: u64, _width: Width, value: u64) -> Result<(), Unclaimed> {
        let value = (value & 0xff) as u8;
        match offset {
            offset::MASTER_COMMAND => self.master.write_command(value),
            offset::MASTER_DATA => self.master.write_data(value),
            offset::SLAVE_COMMAND => self.slave.write_command(value),
            offset::SLAVE_DATA => self.slave.write_data(value),
            offset::MASTER_ELCR => self.master.set_elcr(value),
            offset::SLAVE_ELCR => self.slave.set_elcr(value),
            _ => return Err(Unclaimed),
        }
        self.drive();
        Ok(())
    }
}

impl ExtIntSource for Mutex<Pic8259Pair> {
    fn acknowledge(&self) -> u8 {
        lock(self).acknowledge()
    }
}

#[cfg(test)]
#[path = "pic8259_test.rs"]
mod pic8259_test;
