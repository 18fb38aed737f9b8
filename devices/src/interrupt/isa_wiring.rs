//! The sixteen ISA interrupts, which a PC wires to both kinds of controller.

use std::sync::{Arc, Mutex};

use super::{IoApic, IrqInput, IrqLine, Pic8259Pair};
use crate::lock;
use crate::platform_map::isa_irq;

/// Drives the 8259 pair and the I/O APIC with the same ISA line: the guest listens to whichever it has set up.
///
/// ISA interrupt n is I/O APIC pin n, but the timer's 0 is pin 2 (the MADT must say so), because pin 2's own line is the
/// cascade between the two 8259, which no device drives.
pub struct IsaWiring {
    pic: Arc<Mutex<Pic8259Pair>>,
    io_apic: Arc<Mutex<IoApic>>,
}

impl IsaWiring {
    /// Wires both controllers.
    pub fn new(pic: Arc<Mutex<Pic8259Pair>>, io_apic: Arc<Mutex<IoApic>>) -> Arc<Self> {
        Arc::new(Self { pic, io_apic })
    }

    /// The line of ISA interrupt `irq`.
    pub fn line(self: &Arc<Self>, irq: u8) -> IrqLine {
        IrqLine::new(self.clone(), irq.into())
    }
}

impl IrqInput for IsaWiring {
    fn set_level(&self, pin: u32, level: bool) {
        let Some(irq) =
            u8::try_from(pin).ok().filter(|irq| *irq < isa_irq::COUNT && *irq != isa_irq::CASCADE)
        else {
            return;
        };
        lock(&self.pic).set_irq(irq, level);
        let io_apic_pin = if irq == isa_irq::TIMER { isa_irq::TIMER_IO_APIC_PIN } else { irq };
        lock(&self.io_apic).set_pin(io_apic_pin, level);
    }
}

#[cfg(test)]
#[path = "isa_wiring_test.rs"]
mod isa_wiring_test;
