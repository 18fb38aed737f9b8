//! A console's output on its way from vCPU threads and a device's worker to the event loop.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use devices::serial::ByteSink;

use crate::lock;

/// Bytes waiting at which the guest is stopped until they are written. Large enough that nobody notices a short stall.
pub(crate) const HIGH_WATER: usize = 256 << 10;

/// What the queue tells its machine. Called with the device locked: it does not block.
pub(crate) trait OutputEvents: Send + Sync {
    /// There is output, after there was none.
    fn output_ready(&self);

    /// [`HIGH_WATER`] is reached.
    fn output_full(&self);
}

/// Output waiting to be written.
#[derive(Default)]
pub(crate) struct OutputQueue {
    // Leaf lock.
    bytes: Mutex<Vec<u8>>,
    /// The event loop looks again by itself soon; no need to wake it.
    attended: AtomicBool,
    first_byte: Mutex<Option<Instant>>,
}

/// The queue's end at the device.
pub(crate) struct OutputSink {
    queue: Arc<OutputQueue>,
    events: Arc<dyn OutputEvents>,
}

impl OutputSink {
    pub(crate) fn new(queue: Arc<OutputQueue>, events: Arc<dyn OutputEvents>) -> Self {
        Self { queue, events }
    }
}

impl ByteSink for OutputSink {
    fn write(&mut self, bytes: &[u8]) {
        let mut waiting = lock(&self.queue.bytes);
        let before = waiting.len();
        waiting.extend_from_slice(bytes);
        let after = waiting.len();
        drop(waiting);
        if before == 0 && lock(&self.queue.first_byte).is_none() {
            *lock(&self.queue.first_byte) = Some(Instant::now());
        }
        if !self.queue.attended.load(Ordering::SeqCst) {
            self.events.output_ready();
        }
        if before < HIGH_WATER && after >= HIGH_WATER {
            self.events.output_full();
        }
    }
}

impl OutputQueue {
    /// Event loop: moves all that waits behind `to`. With `attended` the loop promises to come again soon without being woken.
    pub(crate) fn take(&self, to: &mut Vec<u8>, attended: bool) {
        self.attended.store(attended, Ordering::SeqCst);
        to.append(&mut lock(&self.bytes));
    }

    /// When the first byte came.
    pub(crate) fn first_byte(&self) -> Option<Instant> {
        *lock(&self.first_byte)
    }
}

#[cfg(test)]
#[path = "output_test.rs"]
mod output_test;
