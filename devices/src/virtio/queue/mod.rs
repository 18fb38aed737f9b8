//! A virtqueue on the device's side.

mod chain;
mod packed;
mod place;
mod split;

use std::sync::Arc;

use guest_memory::GuestMemory;

pub use chain::{Chain, Reader, ShortChain, Writer};

use self::packed::PackedRing;
use self::split::SplitRing;
use super::device::DeviceLink;
use super::spec::feature;

/// Where a driver has put a queue: guest-physical addresses and number of entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QueueLayout {
    /// Entries.
    pub size: u16,
    /// Descriptor table; descriptor ring of a packed queue.
    pub descriptors: u64,
    /// Available ring; driver event suppression of a packed queue.
    pub driver: u64,
    /// Used ring; device event suppression of a packed queue.
    pub device: u64,
}

/// What a driver did wrong with a queue, or with its place in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum QueueError {
    /// The number of entries is none a ring of this kind can have.
    #[error("a queue of {0} entries")]
    Size(u16),
    /// A part of the ring is not aligned, or not in memory.
    #[error("{part} at {address:#x} is not aligned or not in guest memory")]
    Place {
        /// Which part.
        part: &'static str,
        /// Where it would be.
        address: u64,
    },
    /// More was made available than the ring has entries.
    #[error("the available index jumped")]
    AvailableIndex,
    /// A chain has no end, an index out of its table, too many bytes, or a table within a table.
    #[error("a descriptor chain at {0} that cannot be followed")]
    BrokenChain(u16),
    /// A buffer that is not in memory.
    #[error("a buffer of {len:#x} bytes at {gpa:#x}, which is not in guest memory")]
    Buffer {
        /// Its address.
        gpa: u64,
        /// Its bytes.
        len: u32,
    },
    /// A readable buffer after a writable one (section 2.7.4.2).
    #[error("a readable buffer after a writable one")]
    Order,
    /// More buffers in one chain than a device takes.
    #[error("a descriptor chain of more than {} buffers", chain::MAX_BUFFERS)]
    Buffers,
    /// Entries were made available again before the device gave them back.
    #[error("more requests in flight than the queue has entries")]
    InFlight,
}

enum Ring {
    Split(SplitRing),
    Packed(PackedRing),
}

/// A queue in the hands of its device.
///
/// Nothing a driver writes into it is an error the device has to handle: a queue that cannot be understood is broken, is
/// empty from then on, and has asked for a reset.
pub struct Queue {
    index: u16,
    ring: Ring,
    memory: Arc<GuestMemory>,
    link: DeviceLink,
    broken: bool,
}

impl Queue {
    /// A queue where the driver has put it.
    ///
    /// # Errors
    /// [`QueueError::Size`] or [`QueueError::Place`].
    pub fn new(
        index: u16,
        layout: QueueLayout,
        features: u64,
        memory: Arc<GuestMemory>,
        link: DeviceLink,
    ) -> Result<Self, QueueError> {
        let event_idx = features & feature::EVENT_IDX != 0;
        let ring = if features & feature::RING_PACKED != 0 {
            Ring::Packed(PackedRing::new(layout, event_idx, &memory)?)
        } else {
            Ring::Split(SplitRing::new(layout, event_idx, &memory)?)
        };
        // Each chain counts as a user of the memory. The count of the one that all share lies beside what all read, and
        // would go from processor to processor.
        let memory = Arc::new(GuestMemory::clone(&memory));
        Ok(Self { index, ring, memory, link, broken: false })
    }

    /// Which queue of the device it is.
    pub fn index(&self) -> u16 {
        self.index
    }

    /// Takes the next chain, if there is one.
    pub fn pop(&mut self) -> Option<Chain> {
        if self.broken {
            return None;
        }
        let popped = match &mut self.ring {
            Ring::Split(ring) => ring.pop(&self.memory),
            Ring::Packed(ring) => ring.pop(&self.memory),
        };
        popped.unwrap_or_else(|error| {
            self.fail(error);
            None
        })
    }

    /// Gives a chain back unserved: the next [`Queue::pop`] finds it again. Only the one popped last can go back.
    pub fn undo_pop(&mut self, chain: Chain) {
        match &mut self.ring {
            Ring::Split(ring) => ring.undo_pop(),
            Ring::Packed(ring) => ring.undo_pop(&chain),
        }
    }

    /// Gives a chain back to the driver, with the number of bytes written to it.
    pub fn complete(&mut self, chain: Chain, written: u32) {
        self.complete_all(std::iter::once((chain, written)));
    }

    /// Gives several chains back at once: the driver sees all or none of them.
    pub fn complete_all(&mut self, chains: impl IntoIterator<Item = (Chain, u32)>) {
        if self.broken {
            return;
        }
        let done = match &mut self.ring {
            Ring::Split(ring) => ring.complete(&self.memory, chains.into_iter()),
            Ring::Packed(ring) => ring.complete(&self.memory, chains.into_iter()),
        };
        if let Err(error) = done {
            self.fail(error);
        }
    }

    /// Interrupts the driver if it wants to know of what was completed since the last call.
    pub fn signal(&mut self) {
        if let Some(signal) = self.signal_due() {
            signal.send();
        }
    }

    /// The interrupt that [`Queue::signal`] would send, to be sent without the queue: who stops the queue waits for that.
    pub fn signal_due(&mut self) -> Option<Signal> {
        if self.broken {
            return None;
        }
        let wanted = match &mut self.ring {
            Ring::Split(ring) => ring.wants_interrupt(&self.memory),
            Ring::Packed(ring) => ring.wants_interrupt(&self.memory),
        };
        let wanted = wanted.unwrap_or_else(|error| {
            self.fail(error);
            false
        });
        wanted.then(|| Signal { link: self.link.clone(), queue: self.index })
    }

    /// Asks the driver to notify of the next chain. True if there is one already: serve it, then ask again.
    #[must_use]
    pub fn enable_notifications(&mut self) -> bool {
        if self.broken {
            return false;
        }
        let waiting = match &mut self.ring {
            Ring::Split(ring) => ring.enable_notifications(&self.memory),
            Ring::Packed(ring) => ring.enable_notifications(&self.memory),
        };
        waiting.unwrap_or_else(|error| {
            self.fail(error);
            false
        })
    }

    /// Tells the driver that it need not notify: the queue is looked at anyway.
    pub fn disable_notifications(&mut self) {
        if self.broken {
            return;
        }
        let done = match &mut self.ring {
            Ring::Split(ring) => ring.disable_notifications(&self.memory),
            Ring::Packed(ring) => ring.disable_notifications(&self.memory),
        };
        if let Err(error) = done {
            self.fail(error);
        }
    }

    fn fail(&mut self, error: QueueError) {
        self.broken = true;
        self.link.needs_reset(format_args!("virtqueue {}: {error}; the device asks for a reset", self.index));
    }
}

/// An interrupt that the driver waits for.
#[must_use = "the driver waits for it"]
pub struct Signal {
    link: DeviceLink,
    queue: u16,
}

impl Signal {
    /// Interrupts the driver.
    pub fn send(self) {
        self.link.queue_used(self.queue);
    }
}

#[cfg(test)]
#[path = "queue_test.rs"]
mod queue_test;
