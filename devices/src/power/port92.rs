//! System control port A (0x92): the A20 gate, which is always open, and the fast reset bit.:port 0x92

use std::sync::Arc;

use super::SystemEvents;
use crate::bus::{BusDevice, Unclaimed, Width};

/// The device.
pub struct Port92 {
    events: Arc<dyn SystemEvents>,
}

impl Port92 {
    /// The device after reset.
    pub fn new(events: Arc<dyn SystemEvents>) -> Self {
        Self { events }
    }

    /// Power-up reset.
    pub fn reset(&mut self) {
        let _ = &self.events;
    }
}

impl BusDevice for Port92 {
    fn read(&mut self, _offset: u64, _width: Width) -> Result<u64, Unclaimed> {
        Err(Unclaimed)
    }

    fn write(&mut self, _offset: u64, _width: Width, _value: u64) -> Result<(), Unclaimed> {
        Err(Unclaimed)
    }
}
