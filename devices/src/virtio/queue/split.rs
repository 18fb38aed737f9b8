//! Split rings (virtio 1.2, section 2.7).

use std::num::Wrapping;
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

use guest_memory::GuestMemory;

use super::chain::Chain;
use super::place::{DESCRIPTOR_BYTES, Descriptor, Part, check_place, descriptor, part, table};
use super::{QueueError, QueueLayout};
use crate::virtio::spec::MAX_QUEUE_SIZE;

/// Available ring: the driver wants no interrupts.
const NO_INTERRUPT: u16 = 1;

/// Used ring: the driver need not notify.
const NO_NOTIFY: u16 = 1;

/// Descriptor flags.
const NEXT: u16 = 1 << 0;
const WRITE: u16 = 1 << 1;
const INDIRECT: u16 = 1 << 2;

pub(super) struct SplitRing {
    size: u16,
    descriptors: u64,
    driver: u64,
    device: u64,
    event_idx: bool,
    /// Chains taken, counted without end.
    taken: Wrapping<u16>,
    /// Chains given back, counted likewise.
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
        check_place(memory, "a descriptor table", descriptors, DESCRIPTOR_BYTES as u64 * entries, 16)?;
        check_place(memory, "an available ring", driver, 6 + 2 * entries, 2)?;
        check_place(memory, "a used ring", device, 6 + 8 * entries, 4)?;
        let zero = Wrapping(0);
        Ok(Self { size, descriptors, driver, device, event_idx, taken: zero, used: zero, signalled: zero })
    }

    /// The ring that the driver writes: flags, index, an entry for each of the queue's, and the used event.
    fn available<'a>(&self, memory: &'a GuestMemory) -> Result<Part<'a>, QueueError> {
        part(memory, "an available ring", self.driver, 6 + 2 * u64::from(self.size))
    }

    /// The ring that the device writes: flags, index, entries, and the available event.
    fn used<'a>(&self, memory: &'a GuestMemory) -> Result<Part<'a>, QueueError> {
        part(memory, "a used ring", self.device, 6 + 8 * u64::from(self.size))
    }

    /// Chains that wait; what the driver wrote about them is seen after this.
    fn waiting(&self, available: &Part<'_>) -> Result<Wrapping<u16>, QueueError> {
        let index: u16 = available.load(2, Ordering::Acquire)?;
        let waiting = Wrapping(u16::from_le(index)) - self.taken;
        if waiting.0 <= self.size { Ok(waiting) } else { Err(QueueError::AvailableIndex) }
    }

    pub(super) fn pop(&mut self, memory: &Arc<GuestMemory>) -> Result<Option<Chain>, QueueError> {
        let available = self.available(memory)?;
        if self.waiting(&available)?.0 == 0 {
            return Ok(None);
        }
        // What was taken before and not given back.
        if (self.taken - self.used).0 >= self.size {
            return Err(QueueError::InFlight);
        }
        let entry = usize::from(self.taken.0 % self.size);
        let head = u16::from_le(available.load(4 + 2 * entry, Ordering::Relaxed)?);
        self.taken += 1;
        self.follow(memory, head).map(Some)
    }

    /// The chain that begins at `head`.
    fn follow(&self, memory: &Arc<GuestMemory>, head: u16) -> Result<Chain, QueueError> {
        let broken = QueueError::BrokenChain(head);
        let mut chain = Chain::new(memory, head);
        let len = DESCRIPTOR_BYTES as u64 * u64::from(self.size);
        let mut within = part(memory, "a descriptor table", self.descriptors, len)?.bytes;
        let mut index = head;
        // A chain that is longer than its table goes round in circles.
        let mut left = self.size;
        let mut is_indirect = false;
        let mut bytes = 0_u64;
        loop {
            let Descriptor { gpa, len, tail: [flags, next] } = descriptor(&within, index).ok_or(broken)?;
            if flags & INDIRECT != 0 {
                if is_indirect || flags & NEXT != 0 {
                    return Err(broken);
                }
                is_indirect = true;
                (within, left) = table(memory, gpa, len)?.ok_or(broken)?;
                index = 0;
                continue;
            }
            bytes += u64::from(len);
            if bytes > u64::from(u32::MAX) {
                return Err(broken);
            }
            chain.push(gpa, len, flags & WRITE != 0)?;
            if flags & NEXT == 0 {
                return Ok(chain);
            }
            left = left.checked_sub(1).filter(|left| *left != 0).ok_or(broken)?;
            index = next;
        }
    }

    pub(super) fn undo_pop(&mut self) {
        self.taken -= 1;
    }

    pub(super) fn complete(
        &mut self,
        memory: &GuestMemory,
        chains: impl Iterator<Item = (Chain, u32)>,
    ) -> Result<(), QueueError> {
        let ring = self.used(memory)?;
        for (chain, written) in chains {
            let at = 4 + 8 * usize::from(self.used.0 % self.size);
            ring.store(at, u32::from(chain.id).to_le(), Ordering::Relaxed)?;
            ring.store(at + 4, written.to_le(), Ordering::Relaxed)?;
            self.used += 1;
        }
        ring.store(2, self.used.0.to_le(), Ordering::Release)
    }

    pub(super) fn wants_interrupt(&mut self, memory: &GuestMemory) -> Result<bool, QueueError> {
        let (old, new) = (self.signalled, self.used);
        if old == new {
            return Ok(false);
        }
        self.signalled = new;
        // The driver's wish is read after it can see the used index.
        fence(Ordering::SeqCst);
        let available = self.available(memory)?;
        if self.event_idx {
            let event: u16 = available.load(4 + 2 * usize::from(self.size), Ordering::Relaxed)?;
            // Section 2.7.7.2: was the event index passed since the last look?
            Ok(new - Wrapping(u16::from_le(event)) - Wrapping(1) < new - old)
        } else {
            let flags: u16 = available.load(0, Ordering::Relaxed)?;
            Ok(u16::from_le(flags) & NO_INTERRUPT == 0)
        }
    }

    pub(super) fn enable_notifications(&mut self, memory: &GuestMemory) -> Result<bool, QueueError> {
        let ring = self.used(memory)?;
        if self.event_idx {
            ring.store(4 + 8 * usize::from(self.size), self.taken.0.to_le(), Ordering::Relaxed)?;
        } else {
            ring.store(0, 0_u16, Ordering::Relaxed)?;
        }
        // The driver sees the wish before this looks for what it may have added.
        fence(Ordering::SeqCst);
        Ok(self.waiting(&self.available(memory)?)?.0 != 0)
    }

    pub(super) fn disable_notifications(&mut self, memory: &GuestMemory) -> Result<(), QueueError> {
        if self.event_idx {
            // The event stays behind, so that the driver does not pass it again.
            return Ok(());
        }
        self.used(memory)?.store(0, NO_NOTIFY.to_le(), Ordering::Relaxed)
    }
}
