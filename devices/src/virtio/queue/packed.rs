//! Packed rings (virtio 1.2, section 2.8).

use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

use guest_memory::GuestMemory;
use vm_memory::{Bytes, GuestAddress};

use super::chain::Chain;
use super::{QueueError, QueueLayout, check_place};
use crate::virtio::spec::MAX_QUEUE_SIZE;

const DESCRIPTOR_BYTES: u64 = 16;

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

struct Descriptor {
    gpa: u64,
    len: u32,
    id: u16,
    flags: u16,
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
        check_place(memory, "a descriptor ring", descriptors, DESCRIPTOR_BYTES * u64::from(size), 16)?;
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

    fn at(&self, entry: u16) -> u64 {
        self.descriptors + DESCRIPTOR_BYTES * u64::from(entry)
    }

    /// The flags of an entry; what the driver wrote before them is seen after this.
    fn flags(&self, memory: &GuestMemory, entry: u16) -> Result<u16, QueueError> {
        let at = self.at(entry) + 14;
        let error = QueueError::Place { part: "a descriptor ring", address: at };
        memory.load(GuestAddress(at), Ordering::Acquire).map(u16::from_le).map_err(|_| error)
    }

    fn is_available(&self, memory: &GuestMemory, at: Position) -> Result<Option<u16>, QueueError> {
        let flags = self.flags(memory, at.entry)?;
        let available = (flags & AVAILABLE != 0) == at.wrap && (flags & USED != 0) != at.wrap;
        Ok(available.then_some(flags))
    }

    pub(super) fn pop(&mut self, memory: &Arc<GuestMemory>) -> Result<Option<Chain>, QueueError> {
        let head = self.next;
        if self.is_available(memory, head)?.is_none() {
            return Ok(None);
        }
        let mut chain = Chain::new(memory, 0);
        let mut at = head;
        loop {
            let descriptor = read_descriptor(memory, self.at(at.entry))?;
            if descriptor.flags & INDIRECT != 0 {
                if descriptor.flags & NEXT != 0 {
                    return Err(QueueError::BrokenChain(head.entry));
                }
                push_table(memory, &mut chain, &descriptor, head.entry)?;
            } else {
                chain.push(descriptor.gpa, descriptor.len, descriptor.flags & WRITE != 0)?;
            }
            chain.slots += 1;
            if self.in_flight + chain.slots > self.size {
                return Err(QueueError::InFlight);
            }
            at = at.on(1, self.size);
            if descriptor.flags & NEXT == 0 {
                // The last descriptor names the buffer.
                chain.id = descriptor.id;
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
        let mut first = None;
        for (chain, written) in chains {
            let at = self.used;
            let address = self.at(at.entry);
            let error = QueueError::Place { part: "a descriptor ring", address };
            let used = if at.wrap { AVAILABLE | USED } else { 0 };
            let flags = used | if written != 0 { WRITE } else { 0 };
            memory.write_obj(written.to_le(), GuestAddress(address + 8)).map_err(|_| error)?;
            memory.write_obj(chain.id.to_le(), GuestAddress(address + 12)).map_err(|_| error)?;
            if first.is_none() {
                first = Some((address + 14, flags));
            } else {
                store(memory, address + 14, flags)?;
            }
            self.used = at.on(chain.slots, self.size);
            self.in_flight = self.in_flight.saturating_sub(chain.slots);
            self.unsignalled = self.unsignalled.saturating_add(chain.slots);
        }
        first.map_or(Ok(()), |(at, flags)| store(memory, at, flags))
    }

    pub(super) fn wants_interrupt(&mut self, memory: &GuestMemory) -> Result<bool, QueueError> {
        let passed = std::mem::take(&mut self.unsignalled);
        if passed == 0 {
            return Ok(false);
        }
        fence(Ordering::SeqCst);
        let error = QueueError::Place { part: "a driver event suppression", address: self.driver };
        let word: u32 = memory.load(GuestAddress(self.driver), Ordering::Relaxed).map_err(|_| error)?;
        let word = u32::from_le(word);
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
        if self.event_idx {
            store(memory, self.device, self.next.event())?;
            store(memory, self.device + 2, EVENT_AT)?;
        } else {
            store(memory, self.device + 2, EVENT_ENABLE)?;
        }
        fence(Ordering::SeqCst);
        Ok(self.is_available(memory, self.next)?.is_some())
    }

    pub(super) fn disable_notifications(&mut self, memory: &GuestMemory) -> Result<(), QueueError> {
        store(memory, self.device + 2, EVENT_DISABLE)
    }
}

fn store(memory: &GuestMemory, at: u64, value: u16) -> Result<(), QueueError> {
    let error = QueueError::Place { part: "a packed ring", address: at };
    memory.store(value.to_le(), GuestAddress(at), Ordering::Release).map_err(|_| error)
}

fn read_descriptor(memory: &GuestMemory, at: u64) -> Result<Descriptor, QueueError> {
    let error = QueueError::Place { part: "a descriptor", address: at };
    let [gpa, rest]: [u64; 2] = memory.read_obj(GuestAddress(at)).map_err(|_| error)?;
    let rest = u64::from_le(rest);
    Ok(Descriptor {
        gpa: u64::from_le(gpa),
        len: rest as u32,
        id: (rest >> 32) as u16,
        flags: (rest >> 48) as u16,
    })
}

/// Appends the buffers of an indirect table: all its entries, in order (section 2.8.7).
fn push_table(
    memory: &GuestMemory,
    chain: &mut Chain,
    table: &Descriptor,
    head: u16,
) -> Result<(), QueueError> {
    let entries = u64::from(table.len) / DESCRIPTOR_BYTES;
    let whole = u64::from(table.len).is_multiple_of(DESCRIPTOR_BYTES);
    if entries == 0 || !whole || entries > u64::from(MAX_QUEUE_SIZE) {
        return Err(QueueError::BrokenChain(head));
    }
    check_place(memory, "an indirect table", table.gpa, u64::from(table.len), 1)?;
    let mut bytes = 0_u64;
    for entry in 0..entries {
        let descriptor = read_descriptor(memory, table.gpa + entry * DESCRIPTOR_BYTES)?;
        bytes += u64::from(descriptor.len);
        if descriptor.flags & INDIRECT != 0 || bytes > u64::from(u32::MAX) {
            return Err(QueueError::BrokenChain(head));
        }
        chain.push(descriptor.gpa, descriptor.len, descriptor.flags & WRITE != 0)?;
    }
    Ok(())
}
