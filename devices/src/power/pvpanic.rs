//! pvpanic: the guest's panic notifier.

use std::sync::Arc;

use super::{SystemEvent, SystemEvents};
use crate::bus::{BusDevice, Unclaimed, Width};

/// Bit 0: the guest panicked.
const PANICKED: u64 = 1 << 0;
/// Bit 1: the guest panicked and runs its crash kernel.
const CRASH_LOADED: u64 = 1 << 1;

/// The pvpanic port: reading tells which events it knows, writing reports one.
pub struct PvPanic {
    events: Arc<dyn SystemEvents>,
}

impl PvPanic {
    /// The port.
    pub fn new(events: Arc<dyn SystemEvents>) -> Self {
        Self { events }
    }
}

impl BusDevice for PvPanic {
    fn read(&mut self, _offset: u64, _width: Width) -> Result<u64, Unclaimed> {
        Ok(PANICKED | CRASH_LOADED)
    }

    fn write(&mut self, _offset: u64, _width: Width, value: u64) -> Result<(), Unclaimed> {
        if value & PANICKED != 0 {
            self.events.notify(SystemEvent::Panicked);
        }
        if value & CRASH_LOADED != 0 {
            self.events.notify(SystemEvent::CrashLoaded);
        }
        Ok(())
    }
}
