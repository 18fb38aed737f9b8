//! The driver's side of a virtqueue, split or packed.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

use guest_memory::GuestMemory;
use vm_memory::{Bytes, GuestAddress};

use crate::virtio::queue::QueueLayout;
use crate::virtio::spec::feature;

const NEXT: u16 = 1;
const WRITE: u16 = 2;
const INDIRECT: u16 = 4;
const AVAILABLE: u16 = 1 << 7;
const USED: u16 = 1 << 15;

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Used {
    /// The request's number.
    pub id: u16,
    /// Bytes the device says it wrote.
    pub written: u32,
    /// All writable buffers, one behind the other, whole.
    pub bytes: Vec<u8>,
}

/// A descriptor as a test may write it.
#[derive(Debug, Clone, Copy)]
pub struct RawDescriptor {
    gpa: u64,
    len: u32,
    writable: bool,
}

struct Request {
    /// Head (split) or entries taken (packed).
    slots: u16,
    writable: Vec<(u64, u32)>,
}

/// Entries are used in order and come back when their request is answered; the buffers of request `n` lie in place `n`.
pub struct DriverQueue {
    memory: Arc<GuestMemory>,
    index: u16,
    layout: QueueLayout,
    packed: bool,
    event_idx: bool,
    buffers: u64,
    buffer_bytes: u64,
    /// Next entry to fill; packed: also its wrap counter.
    next: u16,
    wrap: bool,
    used_next: u16,
    used_wrap: bool,
    published: u16,
    filled: u16,
    free: Vec<u16>,
    requests: HashMap<u16, Request>,
    /// Put requests into indirect tables.
    pub indirect: bool,
}

impl DriverQueue {
    pub(in crate::virtio) fn new(
        memory: Arc<GuestMemory>,
        index: u16,
        base: u64,
        bytes: u64,
        size: u16,
        features: u64,
    ) -> Self {
        let entries = u64::from(size);
        let driver = base + 16 * entries;
        let device = (driver + 6 + 2 * entries).next_multiple_of(4096);
        let buffers = (device + 6 + 8 * entries).next_multiple_of(4096);
        let layout = QueueLayout { size, descriptors: base, driver: driver.next_multiple_of(4), device };
        let zeroes = vec![0; (buffers - base) as usize];
        memory.write_slice(&zeroes, GuestAddress(base)).unwrap();
        Self {
            memory,
            index,
            layout,
            packed: features & feature::RING_PACKED != 0,
            event_idx: features & feature::EVENT_IDX != 0,
            buffers,
            buffer_bytes: ((base + bytes - buffers) / entries) & !0xf,
            next: 0,
            wrap: true,
            used_next: 0,
            used_wrap: true,
            published: 0,
            filled: 0,
            free: (0..size).rev().collect(),
            requests: HashMap::new(),
            indirect: false,
        }
    }

    /// Which queue.
    pub fn index(&self) -> u16 {
        self.index
    }

    /// Where it is.
    pub fn layout(&self) -> QueueLayout {
        self.layout
    }

    /// Requests that have no answer yet.
    pub fn in_flight(&self) -> usize {
        self.requests.len()
    }

    fn store<T: vm_memory::ByteValued>(&self, at: u64, value: T) {
        self.memory.write_obj(value, GuestAddress(at)).unwrap();
    }

    fn load16(&self, at: u64) -> u16 {
        self.memory.load(GuestAddress(at), Ordering::SeqCst).unwrap()
    }

    /// Fills a request in; it is not available before [`DriverQueue::publish`]. Panics if there is no room.
    pub fn add(&mut self, readable: &[&[u8]], writable: &[u32]) -> u16 {
        let id = *self.free.last().unwrap();
        // A quarter of the place is for the indirect table.
        let place = self.buffers + u64::from(id) * self.buffer_bytes;
        let mut at = place + self.buffer_bytes / 4;
        let mut descriptors = Vec::new();
        for bytes in readable {
            self.memory.write_slice(bytes, GuestAddress(at)).unwrap();
            descriptors.push(RawDescriptor { gpa: at, len: bytes.len() as u32, writable: false });
            at += (bytes.len() as u64).next_multiple_of(16);
        }
        for len in writable {
            let zeroes = vec![0; *len as usize];
            self.memory.write_slice(&zeroes, GuestAddress(at)).unwrap();
            descriptors.push(RawDescriptor { gpa: at, len: *len, writable: true });
            at += u64::from(*len).next_multiple_of(16);
        }
        assert!(at <= place + self.buffer_bytes, "the request is larger than its place");
        self.add_raw(&descriptors, place)
    }

    /// The same with descriptors at will; `table` is where an indirect table would go.
    pub fn add_raw(&mut self, descriptors: &[RawDescriptor], table: u64) -> u16 {
        let (id, slots) = if self.packed {
            self.add_packed(descriptors, table)
        } else {
            self.add_split(descriptors, table)
        };
        let writable = descriptors.iter().filter(|d| d.writable).map(|d| (d.gpa, d.len)).collect();
        self.requests.insert(id, Request { slots, writable });
        id
    }

    fn add_split(&mut self, descriptors: &[RawDescriptor], table: u64) -> (u16, u16) {
        let indirect = self.indirect || descriptors.len() > self.free.len();
        let wanted = if indirect { 1 } else { descriptors.len() };
        let slots: Vec<u16> = (0..wanted).map(|_| self.free.pop().unwrap()).collect();
        let write = |this: &Self, base: u64, slot: u16, d: &RawDescriptor, next: Option<u16>| {
            let flags = if d.writable { WRITE } else { 0 } | if next.is_some() { NEXT } else { 0 };
            let rest = u64::from(d.len) | u64::from(flags) << 32 | u64::from(next.unwrap_or(0)) << 48;
            this.store(base + 16 * u64::from(slot), [d.gpa, rest]);
        };
        if indirect {
            for (slot, d) in (0..).zip(descriptors) {
                let next = (usize::from(slot) + 1 < descriptors.len()).then_some(slot + 1);
                write(self, table, slot, d, next);
            }
            let bytes = 16 * descriptors.len() as u64;
            let rest = bytes | u64::from(INDIRECT) << 32;
            self.store(self.layout.descriptors + 16 * u64::from(slots[0]), [table, rest]);
        } else {
            for (n, d) in descriptors.iter().enumerate() {
                write(self, self.layout.descriptors, slots[n], d, slots.get(n + 1).copied());
            }
        }
        self.put_available(slots[0]);
        // The chain's other entries come back with it.
        (slots[0], wanted as u16)
    }

    /// Puts any head into the available ring.
    pub fn put_available(&mut self, head: u16) {
        let at = self.layout.driver + 4 + 2 * u64::from(self.filled % self.layout.size);
        self.store(at, head);
        self.filled = self.filled.wrapping_add(1);
    }

    fn add_packed(&mut self, descriptors: &[RawDescriptor], table: u64) -> (u16, u16) {
        let id = self.free.pop().unwrap();
        let list = if self.indirect {
            for (slot, d) in (0..).zip(descriptors) {
                let flags = if d.writable { WRITE } else { 0 };
                let rest = u64::from(d.len) | u64::from(flags) << 48;
                self.store(table + 16 * slot, [d.gpa, rest]);
            }
            vec![(table, 16 * descriptors.len() as u32, INDIRECT)]
        } else {
            let flags = |d: &RawDescriptor| if d.writable { WRITE } else { 0 };
            descriptors.iter().map(|d| (d.gpa, d.len, flags(d))).collect()
        };
        let mut first = None;
        for (n, (gpa, len, flags)) in list.iter().enumerate() {
            let at = self.layout.descriptors + 16 * u64::from(self.next);
            let more = if n + 1 < list.len() { NEXT } else { 0 };
            let turn = if self.wrap { AVAILABLE } else { USED };
            let flags = flags | more | turn;
            self.store(at, *gpa);
            self.store(at + 8, *len);
            self.store(at + 12, id);
            if first.is_none() {
                first = Some((at + 14, flags));
            } else {
                self.store(at + 14, flags);
            }
            self.next += 1;
            if self.next == self.layout.size {
                (self.next, self.wrap) = (0, !self.wrap);
            }
        }
        // In order, so that the device never sees half a chain; published at once, unlike with a split ring.
        let (at, flags) = first.unwrap();
        self.memory.store(flags, GuestAddress(at), Ordering::Release).unwrap();
        self.filled = self.filled.wrapping_add(list.len() as u16);
        (id, list.len() as u16)
    }

    /// Makes what was added available. True if the device wants to be notified.
    pub fn publish(&mut self) -> bool {
        let old = std::mem::replace(&mut self.published, self.filled);
        if self.packed {
            fence(Ordering::SeqCst);
            let flags = self.load16(self.layout.device + 2);
            // With events by index, a notification too many does no harm here.
            return flags != 1;
        }
        let at = GuestAddress(self.layout.driver + 2);
        self.memory.store(self.filled, at, Ordering::Release).unwrap();
        fence(Ordering::SeqCst);
        if self.event_idx {
            let event = self.load16(self.layout.device + 4 + 8 * u64::from(self.layout.size));
            let (new, passed) = (self.filled, self.filled.wrapping_sub(old));
            return new.wrapping_sub(event).wrapping_sub(1) < passed;
        }
        self.load16(self.layout.device) & 1 == 0
    }

    /// Takes the next answer, and asks for an interrupt at the one after it.
    pub fn used(&mut self) -> Option<Used> {
        let (id, written) = if self.packed { self.used_packed()? } else { self.used_split()? };
        let request = self.requests.remove(&id)?;
        let mut bytes = Vec::new();
        for (gpa, len) in request.writable {
            let start = bytes.len();
            bytes.resize(start + len as usize, 0);
            self.memory.read_slice(&mut bytes[start..], GuestAddress(gpa)).unwrap();
        }
        Some(Used { id, written, bytes })
    }

    fn used_split(&mut self) -> Option<(u16, u32)> {
        if self.load16(self.layout.device + 2) == self.used_next {
            return None;
        }
        let at = self.layout.device + 4 + 8 * u64::from(self.used_next % self.layout.size);
        let [id, written]: [u32; 2] = self.memory.read_obj(GuestAddress(at)).unwrap();
        self.used_next = self.used_next.wrapping_add(1);
        self.store(self.layout.driver + 4 + 2 * u64::from(self.layout.size), self.used_next);
        let id = id as u16;
        self.free_chain(id);
        Some((id, written))
    }

    fn free_chain(&mut self, head: u16) {
        let mut slot = head;
        loop {
            self.free.push(slot);
            let rest: u64 = self
                .memory
                .read_obj(GuestAddress(self.layout.descriptors + 16 * u64::from(slot) + 8))
                .unwrap();
            if (rest >> 32) as u16 & NEXT == 0 {
                return;
            }
            slot = (rest >> 48) as u16;
        }
    }

    fn used_packed(&mut self) -> Option<(u16, u32)> {
        let at = self.layout.descriptors + 16 * u64::from(self.used_next);
        let flags = self.load16(at + 14);
        let turn = if self.used_wrap { AVAILABLE | USED } else { 0 };
        if flags & (AVAILABLE | USED) != turn {
            return None;
        }
        let written: u32 = self.memory.read_obj(GuestAddress(at + 8)).unwrap();
        let id: u16 = self.memory.read_obj(GuestAddress(at + 12)).unwrap();
        let slots = self.requests.get(&id)?.slots;
        self.used_next += slots;
        if self.used_next >= self.layout.size {
            self.used_next -= self.layout.size;
            self.used_wrap = !self.used_wrap;
        }
        let event = self.used_next | if self.used_wrap { 1 << 15 } else { 0 };
        if self.event_idx {
            self.store(self.layout.driver, event);
            self.store(self.layout.driver + 2, 2_u16);
        }
        self.free.push(id);
        Some((id, written))
    }

    /// A descriptor for [`DriverQueue::add_raw`].
    pub fn raw(gpa: u64, len: u32, writable: bool) -> RawDescriptor {
        RawDescriptor { gpa, len, writable }
    }
}
