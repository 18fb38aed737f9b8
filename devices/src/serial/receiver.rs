//! The receiving half: the FIFO the guest reads, and the host's queue before it.

use std::collections::VecDeque;

use super::spec::{FIFO_BYTES, lsr};

/// Input that waits for room in the FIFO. A paste of this size goes through at once; the rest waits with the sender.
pub(super) const QUEUE_BYTES: usize = 4096;

/// A byte with the line status it brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Received {
    pub(super) byte: u8,
    pub(super) errors: u8,
}

#[derive(Debug, Default)]
pub(super) struct Receiver {
    fifo: VecDeque<Received>,
    queue: VecDeque<Received>,
    /// Somebody was refused and is to be told of room.
    refused: bool,
}

impl Receiver {
    pub(super) fn clear(&mut self) {
        self.fifo.clear();
        self.queue.clear();
    }

    /// Empties the FIFO only; the queue is not the device's.
    pub(super) fn clear_fifo(&mut self) {
        self.fifo.clear();
    }

    /// Queues input; how much of it.
    pub(super) fn enqueue(&mut self, bytes: &[u8]) -> usize {
        let room = QUEUE_BYTES.saturating_sub(self.queue.len());
        let taken = bytes.len().min(room);
        self.queue.extend(bytes.iter().take(taken).map(|&byte| Received { byte, errors: 0 }));
        self.refused |= taken < bytes.len();
        taken
    }

    /// Queues a break, if there is room.
    pub(super) fn enqueue_break(&mut self) {
        if self.queue.len() < QUEUE_BYTES {
            self.queue.push_back(Received { byte: 0, errors: lsr::BREAK });
        }
    }

    /// Moves queued input into the FIFO; whether any went.
    pub(super) fn fill(&mut self, capacity: usize) -> bool {
        let room = capacity.saturating_sub(self.fifo.len());
        let count = room.min(self.queue.len());
        self.fifo.extend(self.queue.drain(..count));
        count != 0
    }

    /// A byte from the device itself, in loopback; false if the FIFO is full.
    pub(super) fn push(&mut self, byte: u8, capacity: usize) -> bool {
        let fits = self.fifo.len() < capacity.min(FIFO_BYTES);
        if fits {
            self.fifo.push_back(Received { byte, errors: 0 });
        }
        fits
    }

    pub(super) fn pop(&mut self) -> Option<Received> {
        self.fifo.pop_front()
    }

    pub(super) fn len(&self) -> usize {
        self.fifo.len()
    }

    /// The errors of the byte that would be read next.
    pub(super) fn errors(&self) -> u8 {
        self.fifo.front().map_or(0, |received| received.errors)
    }

    /// Reading the line status takes the errors of the next byte.
    pub(super) fn take_errors(&mut self) -> u8 {
        self.fifo.front_mut().map_or(0, |received| std::mem::take(&mut received.errors))
    }

    pub(super) fn any_error(&self) -> bool {
        self.fifo.iter().any(|received| received.errors != 0)
    }

    /// Whether one that was refused is to be told that half of the queue is free again.
    pub(super) fn take_ready(&mut self) -> bool {
        let ready = self.refused && self.queue.len() <= QUEUE_BYTES / 2;
        if ready {
            self.refused = false;
        }
        ready
    }
}
