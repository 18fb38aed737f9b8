//! The 8254 interval timer, with system control port B.

pub mod spec;

use std::sync::Arc;

use crate::bus::{BusDevice, Unclaimed, Width};
use crate::interrupt::IrqLine;
use crate::time::{Clock, DeadlineListener, TimedDevice};

/// The 8254 and port 0x61, which gates and reads its channel 2.
pub struct Pit8254 {
    irq0: IrqLine,
    clock: Arc<dyn Clock>,
    listener: Arc<dyn DeadlineListener>,
}

impl Pit8254 {
    /// An 8254 whose channel 0 drives `irq0`.
    pub fn new(irq0: IrqLine, clock: Arc<dyn Clock>, listener: Arc<dyn DeadlineListener>) -> Self {
        Self { irq0, clock, listener }
    }

    /// Power-up reset.
    pub fn reset(&mut self) {
        let _ = (&self.irq0, &self.clock, &self.listener);
    }
}

impl BusDevice for Pit8254 {
    fn read(&mut self, _offset: u64, _width: Width) -> Result<u64, Unclaimed> {
        Err(Unclaimed)
    }

    fn write(&mut self, _offset: u64, _width: Width, _value: u64) -> Result<(), Unclaimed> {
        Err(Unclaimed)
    }
}

impl TimedDevice for Pit8254 {
    fn next_deadline_ns(&self) -> Option<u64> {
        None
    }

    fn advance(&mut self, _now_ns: u64) {}
}
