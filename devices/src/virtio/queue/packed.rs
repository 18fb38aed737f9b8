//! Packed rings (virtio 1.2, section 2.8).

use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

use guest_memory::{GuestMemory, Slice};

use super::chain::Chain;
use super::place::{DESCRIPTOR_BYTES, Descriptor, Part, check_place, descriptor, part, table};
use super::{QueueError, QueueLayout};
use crate::virtio::spec::MAX_QUEUE_SIZE;

/// Descriptor flags.
const NEXT: u16 = 1 << 0;
const WRITE: u16 = 1 << 1;
const INDIRECT: u16 = 1 << 2;
const AVAILABLE: u16 = 1 << 7;
const USED: u16 = 1 << 15;

/// Event suppression flags.
const EVENT_ENABLE: u16 = 0;
const EVENT_DISABLE: u16 = 1;
const EVENT_AT: u16 = 2;
/// The wrap counter in an event's offset.
const EVENT_WRAP: u16 = 1 << 15;

/// A position in the ring: an entry, and the wrap counter there.
#[derive(Debug, Clone, Copy)]
struct Position {
    entry: u16,
    wrap: bool,
}

impl Position {
    /// `slots` entries on; at most once around.
    fn on(self, slots: u16, size: u16) -> Self {
        let entry = u32::from(self.entry) + u32::from(slots);
        let size = u32::from(size);
        // Below `size`, which is 16 bits.
        if entry >= size {
            Self { entry: (entry - size) as u16, wrap: !self.wrap }
        } else {
            Self { entry: entry as u16, ..self }
        }
    }

    fn back(self, slots: u16, size: u16) -> Self {
        match self.entry.checked_sub(slots) {
            Some(entry) => Self { entry, ..self },
            None => Self { entry: self.entry + (size - slots), wrap: !self.wrap },
        }
    }

    /// As an event's offset.
    fn event(self) -> u16 {
        self.entry | if self.wrap { EVENT_WRAP } else { 0 }
    }
}

pub(super) struct PackedRing {
    size: u16,
    descriptors: u64,
    driver: u64,
    device: u64,
    event_idx: bool,
    next: Position,
    used: Position,
    /// Entries taken and not given back.
    in_flight: u16,
    /// Entries given back since the driver was last considered for an interrupt.
    unsignalled: u16,
}

impl PackedRing {
    pub(super) fn new(
        layout: QueueLayout,
        event_idx: bool,
        memory: &GuestMemory,
    ) -> Result<Self, QueueError> {
        let QueueLayout { size, descriptors, driver, device } = layout;
        if size == 0 || size > MAX_QUEUE_SIZE {
            return Err(QueueError::Size(size));
        }
        check_place(memory, "a descriptor ring", descriptors, DESCRIPTOR_BYTES as u64 * u64::from(size), 16)?;
        check_place(memory, "a driver event suppression", driver, 4, 4)?;
        check_place(memory, "a device event suppression", device, 4, 4)?;
        let start = Position { entry: 0, wrap: true };
        Ok(Self {
            size,
            descriptors,
            driver,
            device,
            event_idx,
            next: start,
            used: start,
            in_flight: 0,
            unsignalled: 0,
        })
    }

    fn ring<'a>(&self, memory: &'a GuestMemory) -> Result<Part<'a>, QueueError> {
        part(memory, "a descriptor ring", self.descriptors, DESCRIPTOR_BYTES as u64 * u64::from(self.size))
    }

    /// Does the driver offer what is there? What it wrote before the flags is seen after this.
    fn is_available(&self, ring: &Part<'_>, at: Position) -> Result<bool, QueueError> {
        let flags = u16::from_le(ring.load(flags_at(at.entry), Ordering::Acquire)?);
        Ok((flags & AVAILABLE != 0) == at.wrap && (flags & USED != 0) != at.wrap)
    }

    pub(super) fn pop(&mut self, memory: &Arc<GuestMemory>) -> Result<Option<Chain>, QueueError> {
        let head = self.next;
        let ring = self.ring(memory)?;
        if !self.is_available(&ring, head)? {
            return Ok(None);
        }
        let broken = QueueError::BrokenChain(head.entry);
        let mut chain = Chain::new(memory, 0);
        let mut at = head;
        loop {
            let Descriptor { gpa, len, tail: [id, flags] } =
                descriptor(&ring.bytes, at.entry).ok_or(broken)?;
            if flags & INDIRECT != 0 {
                if flags & NEXT != 0 {
                    return Err(broken);
                }
                let (table, entries) = table(memory, gpa, len)?.ok_or(broken)?;
                push_table(&mut chain, &table, entries, broken)?;
            } else {
                chain.push(gpa, len, flags & WRITE != 0)?;
            }
            chain.slots += 1;
            if self.in_flight + chain.slots > self.size {
                return Err(QueueError::InFlight);
            }
            at = at.on(1, self.size);
            if flags & NEXT == 0 {
                // The last descriptor names the buffer.
                chain.id = id;
                self.next = at;
                self.in_flight += chain.slots;
                return Ok(Some(chain));
            }
        }
    }

    pub(super) fn undo_pop(&mut self, chain: &Chain) {
        self.next = self.next.back(chain.slots.min(self.size), self.size);
        self.in_flight = self.in_flight.saturating_sub(chain.slots);
    }

    pub(super) fn complete(
        &mut self,
        memory: &GuestMemory,
        chains: impl Iterator<Item = (Chain, u32)>,
    ) -> Result<(), QueueError> {
        // The flags of the first entry are stored last: with them the driver sees all.
        let ring = self.ring(memory)?;
        let mut first = None;
        for (chain, written) in chains {
            let at = self.used;
            let offset = DESCRIPTOR_BYTES * usize::from(at.entry);
            let used = if at.wrap { AVAILABLE | USED } else { 0 };
            let flags = used | if written != 0 { WRITE } else { 0 };
            ring.store(offset + 8, written.to_le(), Ordering::Release)?;
            ring.store(offset + 12, chain.id.to_le(), Ordering::Release)?;
            if first.is_none() {
                first = Some((flags_at(at.entry), flags));
            } else {
                ring.store(flags_at(at.entry), flags.to_le(), Ordering::Release)?;
            }
            self.used = at.on(chain.slots, self.size);
            self.in_flight = self.in_flight.saturating_sub(chain.slots);
            self.unsignalled = self.unsignalled.saturating_add(chain.slots);
        }
        first.map_or(Ok(()), |(at, flags)| ring.store(at, flags.to_le(), Ordering::Release))
    }

    pub(super) fn wants_interrupt(&mut self, memory: &GuestMemory) -> Result<bool, QueueError> {
        let passed = std::mem::take(&mut self.unsignalled);
        if passed == 0 {
            return Ok(false);
        }
        fence(Ordering::SeqCst);
        let place = part(memory, "a driver event suppression", self.driver, 4)?;
        let word = u32::from_le(place.load(0, Ordering::Relaxed)?);
        let (event, flags) = (word as u16, (word >> 16) as u16);
        if flags & 3 != EVENT_AT || !self.event_idx {
            return Ok(flags & 3 != EVENT_DISABLE);
        }
        // Entries from the event to where we are now, in ring order: was it among those passed?
        let entry = i32::from(event & !EVENT_WRAP);
        let same_lap = (event & EVENT_WRAP != 0) == self.used.wrap;
        let event = if same_lap { entry } else { entry - i32::from(self.size) };
        let behind = i32::from(self.used.entry) - event;
        Ok((1..=i32::from(passed)).contains(&behind))
    }

    pub(super) fn enable_notifications(&mut self, memory: &GuestMemory) -> Result<bool, QueueError> {
        let place = part(memory, "a device event suppression", self.device, 4)?;
        if self.event_idx {
            place.store(0, self.next.event().to_le(), Ordering::Release)?;
            place.store(2, EVENT_AT.to_le(), Ordering::Release)?;
        } else {
            place.store(2, EVENT_ENABLE.to_le(), Ordering::Release)?;
        }
        // The driver sees the wish before this looks for what it may have added.
        fence(Ordering::SeqCst);
        self.is_available(&self.ring(memory)?, self.next)
    }

    pub(super) fn disable_notifications(&mut self, memory: &GuestMemory) -> Result<(), QueueError> {
        let place = part(memory, "a device event suppression", self.device, 4)?;
        place.store(2, EVENT_DISABLE.to_le(), Ordering::Release)
    }
}

/// Where the flags of an entry are in the ring.
fn flags_at(entry: u16) -> usize {
    DESCRIPTOR_BYTES * usize::from(entry) + 14
}

/// Appends the buffers of an indirect table: all its entries, in order (section 2.8.7).
fn push_table(
    chain: &mut Chain,
    table: &Slice<'_>,
    entries: u16,
    broken: QueueError,
) -> Result<(), QueueError> {
    let mut bytes = 0_u64;
    for entry in 0..entries {
        let Descriptor { gpa, len, tail: [_, flags] } = descriptor(table, entry).ok_or(broken)?;
        bytes += u64::from(len);
        if flags & INDIRECT != 0 || bytes > u64::from(u32::MAX) {
            return Err(broken);
        }
        chain.push(gpa, len, flags & WRITE != 0)?;
    }
    Ok(())
}
