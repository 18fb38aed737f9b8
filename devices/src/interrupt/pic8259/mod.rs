//! The two cascaded 8259 interrupt controllers of a PC, with their edge/level registers.

pub mod spec;

use std::sync::{Arc, Mutex};

use super::{ExtIntSource, IrqLine};
use crate::bus::{BusDevice, Unclaimed, Width};
use crate::lock;

/// The 8259 pair.
pub struct Pic8259Pair {
    output: IrqLine,
}

impl Pic8259Pair {
    /// A pair after power-up whose INT output is `output` ([`super::InterruptFabric::lint0`]).
    pub fn new(output: IrqLine) -> Arc<Mutex<Self>> {
        Arc::new(Mutex::new(Self { output }))
    }

    /// Drives ISA interrupt `irq` (0 to 15, not 2).
    pub fn set_irq(&mut self, _irq: u8, _level: bool) {
        let _ = &self.output;
    }

    /// The interrupt acknowledge cycle: the vector of the highest pending interrupt, which becomes in service.
    pub fn acknowledge(&mut self) -> u8 {
        0
    }

    /// Power-up reset. Lines keep their levels.
    pub fn reset(&mut self) {}
}

impl BusDevice for Pic8259Pair {
    fn read(&mut self, _offset: u64, _width: Width) -> Result<u64, Unclaimed> {
        Err(Unclaimed)
    }

    fn write(&mut self, _offset: u64, _width: Width, _value: u64) -> Result<(), Unclaimed> {
        Err(Unclaimed)
    }
}

impl ExtIntSource for Mutex<Pic8259Pair> {
    fn acknowledge(&self) -> u8 {
        lock(self).acknowledge()
    }
}
