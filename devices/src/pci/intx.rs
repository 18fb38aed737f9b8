//! INTx: the four interrupt pins of each slot, joined four ways into I/O APIC pins.

use std::sync::{Arc, Mutex};

use super::InterruptPin;
use crate::interrupt::{IoApic, IrqLine, WiredOr};

/// The first I/O APIC pin (and global system interrupt) of PCI; it and the next three are level-triggered.
pub const FIRST_INTX_GSI: u8 = 16;

/// The pins shared by all slots.
const LINES: u8 = 4;

/// The global system interrupt of `pin` in slot `device`, as the DSDT's `_PRT` must say: neighbouring slots start one
/// pin further, so that functions that all use INTA# do not all share a line.
pub const fn intx_gsi(device: u8, pin: InterruptPin) -> u8 {
    FIRST_INTX_GSI + (device % LINES + pin.index()) % LINES
}

/// The wiring from slots to the I/O APIC.
pub struct IntxRouter {
    junctions: [Arc<WiredOr>; LINES as usize],
}

impl IntxRouter {
    /// Wires the four lines to `io_apic`.
    pub fn new(io_apic: &Arc<Mutex<IoApic>>) -> Self {
        let junction = |line: u8| WiredOr::new(IoApic::line(io_apic, FIRST_INTX_GSI + line));
        Self { junctions: [junction(0), junction(1), junction(2), junction(3)] }
    }

    /// A line for `pin` of a function in slot `device`.
    pub fn line(&self, device: u8, pin: InterruptPin) -> IrqLine {
        let index = usize::from(intx_gsi(device, pin) - FIRST_INTX_GSI);
        self.junctions.get(index).map_or_else(IrqLine::unconnected, WiredOr::add_line)
    }
}

#[cfg(test)]
#[path = "intx_test.rs"]
mod intx_test;
