//! The real-time clock and its CMOS memory.

pub mod spec;

use std::sync::Arc;

use crate::bus::{BusDevice, Unclaimed, Width};
use crate::interrupt::IrqLine;
use crate::time::{Clock, DeadlineListener, TimedDevice, WallClock};

/// The MC146818-compatible real-time clock.
pub struct CmosRtc {
    irq8: IrqLine,
    clock: Arc<dyn Clock>,
    wall: Arc<dyn WallClock>,
    listener: Arc<dyn DeadlineListener>,
}

impl CmosRtc {
    /// A clock set to `wall`'s date. `low_ram_bytes` (below 4 GiB) and `high_ram_bytes` (above) are told in the CMOS
    /// memory size bytes.
    pub fn new(
        low_ram_bytes: u64,
        high_ram_bytes: u64,
        irq8: IrqLine,
        clock: Arc<dyn Clock>,
        wall: Arc<dyn WallClock>,
        listener: Arc<dyn DeadlineListener>,
    ) -> Self {
        let _ = (low_ram_bytes, high_ram_bytes);
        Self { irq8, clock, wall, listener }
    }

    /// Sets the date to the wall clock's, as after a pause. Called by the machine's owner.
    pub fn set_from_wall_clock(&mut self) {
        let _ = (&self.irq8, &self.clock, &self.wall, &self.listener);
    }

    /// What a machine reset does: interrupts are off; date and memory stay.
    pub fn reset(&mut self) {}
}

impl BusDevice for CmosRtc {
    fn read(&mut self, _offset: u64, _width: Width) -> Result<u64, Unclaimed> {
        Err(Unclaimed)
    }

    fn write(&mut self, _offset: u64, _width: Width, _value: u64) -> Result<(), Unclaimed> {
        Err(Unclaimed)
    }
}

impl TimedDevice for CmosRtc {
    fn next_deadline_ns(&self) -> Option<u64> {
        None
    }

    fn advance(&mut self, _now_ns: u64) {}
}
