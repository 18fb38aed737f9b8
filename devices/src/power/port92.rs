//! System control port A (0x92): the A20 gate, which is always open, and the fast reset bit.

use std::sync::Arc;

use super::{ResetSource, SystemEvent, SystemEvents};
use crate::bus::{BusDevice, Unclaimed, Width};

/// Bit 0: 0 to 1 resets the processor.
const FAST_RESET: u8 = 1 << 0;
/// Bit 1: address line 20 is let through. It always is; the bit keeps what is written.
const A20: u8 = 1 << 1;

/// System control port A.
pub struct Port92 {
    events: Arc<dyn SystemEvents>,
    value: u8,
}

impl Port92 {
    /// The port after reset, with A20 open as firmware leaves it.
    pub fn new(events: Arc<dyn SystemEvents>) -> Self {
        Self { events, value: A20 }
    }

    /// Power-up reset.
    pub fn reset(&mut self) {
        self.value = A20;
    }
}

impl BusDevice for Port92 {
    fn read(&mut self, _offset: u64, _width: Width) -> Result<u64, Unclaimed> {
        Ok(self.value.into())
    }

    fn write(&mut self, _offset: u64, _width: Width, value: u64) -> Result<(), Unclaimed> {
        let value = (value & 0xff) as u8;
        let triggered = value & !self.value & FAST_RESET != 0;
        self.value = value & (FAST_RESET | A20);
        if triggered {
            self.events.notify(SystemEvent::Reset(ResetSource::Port92));
        }
        Ok(())
    }
}
