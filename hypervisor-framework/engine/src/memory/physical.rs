//! The guest physical address space, shared by the CPUs of a machine.
#![allow(unsafe_code)] // makes host pointers of the regions it keeps alive

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};

use super::host::HostPtr;
use super::mailbox::{Mailbox, Message};
use super::{HostRegion, WriteWatch};
use guest_memory::WatchedWriteListener;

/// Bytes in a page of the engine.
pub(crate) const PAGE_SIZE: usize = 4096;

/// Rights of a mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rights {
    /// Loads and page-table walks.
    pub read: bool,
    /// Stores.
    pub write: bool,
    /// Instruction fetches.
    pub execute: bool,
}

/// Why a mapping was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MapError {
    /// Not a multiple of 4 KiB, or empty.
    #[error("gpa {gpa:#x}, offset {offset:#x} and size {size:#x} must be multiples of 4 KiB and not empty")]
    Misaligned {
        /// Guest physical address.
        gpa: u64,
        /// Offset in the backing region.
        offset: usize,
        /// Bytes.
        size: usize,
    },
    /// Ends past the backing region or past the last physical address.
    #[error("{size:#x} bytes at {gpa:#x} lie outside of the address space or of their backing")]
    OutOfRange {
        /// Guest physical address.
        gpa: u64,
        /// Bytes.
        size: usize,
    },
    /// Something is mapped there already.
    #[error("{size:#x} bytes at {gpa:#x} overlap a mapping")]
    Overlap {
        /// Guest physical address.
        gpa: u64,
        /// Bytes.
        size: usize,
    },
    /// Nothing, or not all of it, is mapped there.
    #[error("{size:#x} bytes at {gpa:#x} are not all mapped")]
    NotMapped {
        /// Guest physical address.
        gpa: u64,
        /// Bytes.
        size: usize,
    },
}

/// A run of guest physical pages backed by host memory.
#[derive(Debug, Clone)]
pub(crate) struct Mapping {
    pub(crate) gpa: u64,
    pub(crate) size: usize,
    pub(crate) rights: Rights,
    backing: Arc<HostRegion>,
    offset: usize,
}

impl Mapping {
    fn end(&self) -> u64 {
        self.gpa + self.size as u64
    }

    fn part(&self, gpa: u64, end: u64, rights: Rights) -> Self {
        let skip = (gpa - self.gpa) as usize;
        Self {
            gpa,
            size: (end - gpa) as usize,
            rights,
            backing: Arc::clone(&self.backing),
            offset: self.offset + skip,
        }
    }

    /// The host's address of a guest physical address within this mapping.
    pub(crate) fn host(&self, gpa: u64) -> HostPtr {
        let offset = self.offset + (gpa - self.gpa) as usize;
        // SAFETY: the mapping was checked to lie within its backing, which it keeps alive; pages are whole.
        unsafe { HostPtr::new(self.backing.as_ptr().wrapping_add(offset)) }
    }

    /// The page's index in the watch of its backing.
    pub(crate) fn watch_page(&self, gpa: u64) -> (&WriteWatch, usize) {
        (self.backing.bitmap(), (self.offset + (gpa - self.gpa) as usize) / PAGE_SIZE)
    }
}

/// All mappings at one time, sorted by address.
#[derive(Debug, Default)]
pub(crate) struct Map(Vec<Mapping>);

impl Map {
    /// The mapping that holds `gpa`.
    pub(crate) fn find(&self, gpa: u64) -> Option<&Mapping> {
        let after = self.0.partition_point(|m| m.gpa <= gpa);
        let mapping = self.0.get(after.checked_sub(1)?)?;
        (gpa - mapping.gpa < mapping.size as u64).then_some(mapping)
    }
}

/// The guest physical address space: what [`crate::Cpu`]s run over.
#[derive(Debug)]
pub struct PhysicalMemory {
    map: RwLock<Arc<Map>>,
    /// The mailboxes of all CPUs. Lock order: `map`, then `cpus`, then `code`.
    cpus: Mutex<Vec<Arc<Mailbox>>>,
    /// Held while a page's code mark changes together with its messages.
    code: Mutex<()>,
    myself: Weak<Self>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl PhysicalMemory {
    /// An empty address space.
    pub fn new() -> Arc<Self> {
        Arc::new_cyclic(|myself| Self {
            map: RwLock::default(),
            cpus: Mutex::default(),
            code: Mutex::default(),
            myself: myself.clone(),
        })
    }

    /// Makes `size` bytes at `offset` of `backing` appear at `gpa`; all multiples of 4 KiB.
    pub fn map(
        &self,
        backing: &Arc<HostRegion>,
        offset: usize,
        gpa: u64,
        size: usize,
        rights: Rights,
    ) -> Result<(), MapError> {
        check(gpa, offset, size)?;
        if offset.checked_add(size).is_none_or(|end| end > backing.size()) {
            return Err(MapError::OutOfRange { gpa, size });
        }
        backing.bitmap().listen(self.myself.clone() as Weak<dyn WatchedWriteListener>);
        self.change(|map| {
            if map.iter().any(|m| m.gpa < gpa + size as u64 && gpa < m.end()) {
                return Err(MapError::Overlap { gpa, size });
            }
            map.push(Mapping { gpa, size, rights, backing: Arc::clone(backing), offset });
            Ok(())
        })
    }

    /// Removes what is mapped in a range, all of which must be mapped. No CPU uses it when this returns.
    pub fn unmap(&self, gpa: u64, size: usize) -> Result<(), MapError> {
        self.cut(gpa, size, None)
    }

    /// Changes the rights of a range, all of which must be mapped.
    pub fn protect(&self, gpa: u64, size: usize, rights: Rights) -> Result<(), MapError> {
        self.cut(gpa, size, Some(rights))
    }

    fn cut(&self, gpa: u64, size: usize, rights: Option<Rights>) -> Result<(), MapError> {
        check(gpa, 0, size)?;
        let end = gpa + size as u64;
        self.change(|map| {
            let covered: u64 = map.iter().map(|m| m.end().min(end).saturating_sub(m.gpa.max(gpa))).sum();
            if covered != size as u64 {
                return Err(MapError::NotMapped { gpa, size });
            }
            for m in std::mem::take(map) {
                if m.end() <= gpa || m.gpa >= end {
                    map.push(m);
                    continue;
                }
                if m.gpa < gpa {
                    map.push(m.part(m.gpa, gpa, m.rights));
                }
                if let Some(rights) = rights {
                    map.push(m.part(m.gpa.max(gpa), m.end().min(end), rights));
                }
                if m.end() > end {
                    map.push(m.part(end, m.end(), m.rights));
                }
            }
            Ok(())
        })
    }

    fn change(&self, edit: impl FnOnce(&mut Vec<Mapping>) -> Result<(), MapError>) -> Result<(), MapError> {
        let mut current = self.map.write().unwrap_or_else(PoisonError::into_inner);
        let mut map = current.0.clone();
        edit(&mut map)?;
        map.sort_by_key(|m| m.gpa);
        *current = Arc::new(Map(map));
        drop(current);
        self.tell_all(None, Message::MapChanged);
        Ok(())
    }

    /// The current map.
    pub(crate) fn snapshot(&self) -> Arc<Map> {
        Arc::clone(&self.map.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Adds a CPU.
    pub(crate) fn attach(&self, mailbox: &Arc<Mailbox>) {
        lock(&self.cpus).push(Arc::clone(mailbox));
    }

    /// Removes a CPU.
    pub(crate) fn detach(&self, mailbox: &Arc<Mailbox>) {
        lock(&self.cpus).retain(|other| !Arc::ptr_eq(other, mailbox));
    }

    /// Sends `message` to every CPU but `own` and waits until each has acted on it or is outside the guest.
    /// A waiting CPU keeps serving its own mailbox through `idle`.
    pub(crate) fn tell_others(&self, own: &Mailbox, message: Message, mut idle: impl FnMut()) {
        let others: Vec<_> =
            lock(&self.cpus).iter().filter(|cpu| !std::ptr::eq(&***cpu, own)).cloned().collect();
        let tickets: Vec<_> = others.iter().map(|cpu| cpu.post(message)).collect();
        for (cpu, ticket) in others.iter().zip(tickets) {
            while !cpu.done(ticket) {
                idle();
                std::thread::yield_now();
            }
        }
    }

    fn tell_all(&self, own: Option<&Mailbox>, message: Message) {
        let all: Vec<_> = lock(&self.cpus).clone();
        let tickets: Vec<_> = all.iter().map(|cpu| cpu.post(message)).collect();
        for (cpu, ticket) in all.iter().zip(tickets) {
            while own.is_none_or(|own| !std::ptr::eq(own, &**cpu)) && !cpu.done(ticket) {
                std::thread::yield_now();
            }
        }
    }

    /// Marks a page as holding code before it is read for translation; other CPUs lose their right to write it
    /// without notice before this returns.
    pub(crate) fn protect_code(
        &self,
        own: &Mailbox,
        watch: &WriteWatch,
        page: usize,
        host_page: usize,
        idle: impl FnMut(),
    ) {
        let fresh = {
            let _guard = lock(&self.code);
            !watch.set_watched(page, true)
        };
        if fresh {
            self.tell_others(own, Message::ProtectCode(host_page), idle);
        }
    }

    /// Code on a page was overwritten: every CPU drops what it translated from it.
    pub(crate) fn code_written(&self, watch: &WriteWatch, page: usize, host_page: usize) {
        let _guard = lock(&self.code);
        if watch.set_watched(page, false) {
            for cpu in lock(&self.cpus).iter() {
                cpu.post(Message::DropCode(host_page));
            }
        }
    }
}

impl WatchedWriteListener for PhysicalMemory {
    fn host_wrote(&self, watch: &WriteWatch, page: usize) {
        let map = self.snapshot();
        let hit = map.0.iter().find(|m| {
            let first = m.offset / PAGE_SIZE;
            m.backing.bitmap().is_same(watch) && page >= first && page < first + m.size / PAGE_SIZE
        });
        if let Some(mapping) = hit {
            let host = mapping.host(mapping.gpa + ((page * PAGE_SIZE) - mapping.offset) as u64);
            self.code_written(watch, page, host.address());
        }
    }
}

fn check(gpa: u64, offset: usize, size: usize) -> Result<(), MapError> {
    let mask = PAGE_SIZE - 1;
    if size == 0 || (size | offset) & mask != 0 || gpa & mask as u64 != 0 {
        return Err(MapError::Misaligned { gpa, offset, size });
    }
    match gpa.checked_add(size as u64) {
        Some(end) if end <= 1 << 52 => Ok(()),
        _ => Err(MapError::OutOfRange { gpa, size }),
    }
}
