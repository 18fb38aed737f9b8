//! The debug-exit port: a test guest writes its verdict and is gone.

use std::sync::Arc;

use super::{SystemEvent, SystemEvents};
use crate::bus::{BusDevice, Unclaimed, Width};

/// Any write, of any width, ends the machine with [`SystemEvent::DebugExit`] of the value written.
pub struct DebugExit {
    events: Arc<dyn SystemEvents>,
}

impl DebugExit {
    /// The port.
    pub fn new(events: Arc<dyn SystemEvents>) -> Self {
        Self { events }
    }
}

impl BusDevice for DebugExit {
    fn read(&mut self, _offset: u64, _width: Width) -> Result<u64, Unclaimed> {
        Ok(0)
    }

    fn write(&mut self, _offset: u64, width: Width, value: u64) -> Result<(), Unclaimed> {
        // Ports take at most four bytes.
        self.events.notify(SystemEvent::DebugExit((value & width.mask()) as u32));
        Ok(())
    }
}
