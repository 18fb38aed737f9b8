//! The 16550A serial port.

pub mod spec;

use std::sync::Arc;

use crate::bus::{BusDevice, Unclaimed, Width};
use crate::interrupt::IrqLine;
use crate::time::{Clock, DeadlineListener, TimedDevice};

/// Where a serial port's output goes. Called with the port locked.
pub trait ByteSink: Send {
    /// Takes `bytes`. Never blocks the guest for long: a reader that does not keep up loses output or is waited for a
    /// bounded time, as the sink decides. An error is the sink's to report.
    fn write(&mut self, bytes: &[u8]);
}

/// Drops everything.
impl ByteSink for () {
    fn write(&mut self, _bytes: &[u8]) {}
}

/// Collects everything: for tests.
impl ByteSink for Vec<u8> {
    fn write(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// Told that the port can take input again after [`Serial16550::enqueue`] took less than was offered. Called with the
/// port locked: it wakes somebody and does nothing else.
pub trait InputReady: Send {
    /// There is room.
    fn input_ready(&mut self);
}

/// Nobody waits to send input.
impl InputReady for () {
    fn input_ready(&mut self) {}
}

/// A 16550A.
pub struct Serial16550 {
    irq: IrqLine,
    output: Box<dyn ByteSink>,
    ready: Box<dyn InputReady>,
    clock: Arc<dyn Clock>,
    listener: Arc<dyn DeadlineListener>,
}

impl Serial16550 {
    /// A port after reset.
    pub fn new(
        irq: IrqLine,
        output: Box<dyn ByteSink>,
        ready: Box<dyn InputReady>,
        clock: Arc<dyn Clock>,
        listener: Arc<dyn DeadlineListener>,
    ) -> Self {
        Self { irq, output, ready, clock, listener }
    }

    /// Offers input; gives how many bytes were taken. The rest is to be offered again after
    /// [`InputReady::input_ready`].
    #[must_use = "bytes that were not taken must be offered again"]
    pub fn enqueue(&mut self, bytes: &[u8]) -> usize {
        let _ = (&self.irq, &self.output, &self.ready, &self.clock, &self.listener);
        bytes.len()
    }

    /// Tells the guest of a break condition on the line.
    pub fn receive_break(&mut self) {}

    /// Power-up reset. Queued input is dropped.
    pub fn reset(&mut self) {}
}

impl BusDevice for Serial16550 {
    fn read(&mut self, _offset: u64, _width: Width) -> Result<u64, Unclaimed> {
        Err(Unclaimed)
    }

    fn write(&mut self, _offset: u64, _width: Width, _value: u64) -> Result<(), Unclaimed> {
        Err(Unclaimed)
    }
}

impl TimedDevice for Serial16550 {
    fn next_deadline_ns(&self) -> Option<u64> {
        None
    }

    fn advance(&mut self, _now_ns: u64) {}
}
