//! Split rings (virtio 1.2, section 2.7).
//!
//! `virtio-queue` walks the available side. The used side is here, because chains that belong together are published
//! together, and because drivers may ask for silence by flag.

use std::num::Wrapping;
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

use guest_memory::GuestMemory;
use virtio_queue::{QueueOwnedT, QueueT};
use vm_memory::{Bytes, GuestAddress};

use super::chain::Chain;
use super::{QueueError, QueueLayout, check_place};
use crate::virtio::spec::MAX_QUEUE_SIZE;

/// Available ring: the driver wants no interrupts.
const NO_INTERRUPT: u16 = 1;

pub(super) struct SplitRing {
    available: virtio_queue::Queue,
    size: u16,
    driver: u64,
    device: u64,
    event_idx: bool,
    /// Chains given back, counted without end.
    used: Wrapping<u16>,
    /// The same when the driver was last considered for an interrupt.
    signalled: Wrapping<u16>,
}

impl SplitRing {
    pub(super) fn new(
        layout: QueueLayout,
        event_idx: bool,
        memory: &GuestMemory,
    ) -> Result<Self, QueueError> {
        let QueueLayout { size, descriptors, driver, device } = layout;
        if !size.is_power_of_two() || size > MAX_QUEUE_SIZE {
            return Err(QueueError::Size(size));
        }
        let entries = u64::from(size);
        check_place(memory, "a descriptor table", descriptors, 16 * entries, 16)?;
        check_place(memory, "an available ring", driver, 6 + 2 * entries, 2)?;
        check_place(memory, "a used ring", device, 6 + 8 * entries, 4)?;
        let mut available = virtio_queue::Queue::new(size).map_err(|_| QueueError::Size(size))?;
        let address = |gpa: u64| (Some(gpa as u32), Some((gpa >> 32) as u32));
        let (low, high) = address(descriptors);
        available.set_desc_table_address(low, high);
        let (low, high) = address(driver);
        available.set_avail_ring_address(low, high);
        let (low, high) = address(device);
        available.set_used_ring_address(low, high);
        available.set_event_idx(event_idx);
        available.set_ready(true);
        let zero = Wrapping(0);
        Ok(Self { available, size, driver, device, event_idx, used: zero, signalled: zero })
    }

    pub(super) fn pop(&mut self, memory: &Arc<GuestMemory>) -> Result<Option<Chain>, QueueError> {
        // Before the next is taken: what was taken and not given back.
        let in_flight = Wrapping(self.available.next_avail()) - self.used;
        let mut waiting = self.available.iter(&**memory).map_err(|_| QueueError::AvailableIndex)?;
        let Some(mut descriptors) = waiting.next() else { return Ok(None) };
        if in_flight.0 >= self.size {
            return Err(QueueError::InFlight);
        }
        let head = descriptors.head_index();
        let mut chain = Chain::new(memory, head);
        let mut ended = false;
        for descriptor in descriptors.by_ref() {
            chain.push(descriptor.addr().0, descriptor.len(), descriptor.is_write_only())?;
            ended = !descriptor.has_next();
        }
        // The iterator ends without a word where it cannot follow.
        if ended { Ok(Some(chain)) } else { Err(QueueError::BrokenChain(head)) }
    }

    pub(super) fn undo_pop(&mut self) {
        self.available.go_to_previous_position();
    }

    pub(super) fn complete(
        &mut self,
        memory: &GuestMemory,
        chains: impl Iterator<Item = (Chain, u32)>,
    ) -> Result<(), QueueError> {
        let error = QueueError::Place { part: "a used ring", address: self.device };
        for (chain, written) in chains {
            let at = self.device + 4 + 8 * u64::from(self.used.0 % self.size);
            let entry = u64::from(written) << 32 | u64::from(chain.id);
            memory.write_obj(entry.to_le(), GuestAddress(at)).map_err(|_| error)?;
            self.used += 1;
        }
        memory.store(self.used.0.to_le(), GuestAddress(self.device + 2), Ordering::Release).map_err(|_| error)
    }

    pub(super) fn wants_interrupt(&mut self, memory: &GuestMemory) -> Result<bool, QueueError> {
        let (old, new) = (self.signalled, self.used);
        if old == new {
            return Ok(false);
        }
        self.signalled = new;
        // The driver's wish is read after it can see the used index.
        fence(Ordering::SeqCst);
        let load = |at: u64| {
            let value: Result<u16, _> = memory.load(GuestAddress(at), Ordering::Relaxed);
            let error = QueueError::Place { part: "an available ring", address: at };
            value.map(u16::from_le).map_err(|_| error)
        };
        if self.event_idx {
            let event = Wrapping(load(self.driver + 4 + 2 * u64::from(self.size))?);
            // Section 2.7.7.2: was the event index passed since the last look?
            Ok(new - event - Wrapping(1) < new - old)
        } else {
            Ok(load(self.driver)? & NO_INTERRUPT == 0)
        }
    }

    pub(super) fn enable_notifications(&mut self, memory: &GuestMemory) -> Result<bool, QueueError> {
        let error = QueueError::Place { part: "a used ring", address: self.device };
        self.available.enable_notification(memory).map_err(|_| error)
    }

    pub(super) fn disable_notifications(&mut self, memory: &GuestMemory) -> Result<(), QueueError> {
        let error = QueueError::Place { part: "a used ring", address: self.device };
        self.available.disable_notification(memory).map_err(|_| error)
    }
}
