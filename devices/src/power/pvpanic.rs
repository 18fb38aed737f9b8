//! pvpanic: the guest's panic notifier.:pvpanic

use std::sync::Arc;

use super::SystemEvents;
use crate::bus::{BusDevice, Unclaimed, Width};

/// The device.
pub struct PvPanic {
    events: Arc<dyn SystemEvents>,
}

impl PvPanic {
    /// The device after reset.
    pub fn new(events: Arc<dyn SystemEvents>) -> Self {
        Self { events }
    }

    /// Power-up reset.
    pub fn reset(&mut self) {
        let _ = &self.events;
    }
}

impl BusDevice for PvPanic {
    fn read(&mut self, _offset: u64, _width: Width) -> Result<u64, Unclaimed> {
        Err(Unclaimed)
    }

    fn write(&mut self, _offset: u64, _width: Width, _value: u64) -> Result<(), Unclaimed> {
        Err(Unclaimed)
    }
}
