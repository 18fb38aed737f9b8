//! The reset control register at port 0xcf9.

use std::sync::Arc;

use super::{ResetSource, SystemEvent, SystemEvents};

/// The value that resets, for the FADT's RESET_VALUE: full reset, triggered.
pub const RESET_VALUE: u8 = 0x06;

/// Bit 1: what kind of reset; stored.
const SYSTEM_RESET: u8 = 1 << 1;
/// Bit 2: 0 to 1 resets the processor.
const RESET_CPU: u8 = 1 << 2;
/// Bit 3: what kind of reset; stored.
const FULL_RESET: u8 = 1 << 3;

/// The register. It shares its port with the PCI configuration address, so [`crate::pci::PciConfigPorts`] holds it.
pub struct ResetRegister {
    value: u8,
    events: Arc<dyn SystemEvents>,
}

impl ResetRegister {
    /// The register after reset.
    pub fn new(events: Arc<dyn SystemEvents>) -> Self {
        Self { value: 0, events }
    }

    /// Reads it.
    pub fn read(&self) -> u8 {
        self.value
    }

    /// Writes it; bit 2 going from 0 to 1 resets the machine.
    pub fn write(&mut self, value: u8) {
        let triggered = value & RESET_CPU != 0 && self.value & RESET_CPU == 0;
        self.value = value & (SYSTEM_RESET | RESET_CPU | FULL_RESET);
        if triggered {
            self.events.notify(SystemEvent::Reset(ResetSource::ResetRegister));
        }
    }

    /// Power-up reset.
    pub fn reset(&mut self) {
        self.value = 0;
    }
}
