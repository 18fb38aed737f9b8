//! The software TLB: linear page to host page, direct-mapped, apart for each kind of access rights.

use std::sync::Arc;

use crate::memory::{Map, PAGE_SIZE};

/// log2 of the entries per space.
pub(crate) const INDEX_BITS: u32 = 10;
const INDEX_MASK: u64 = (1 << INDEX_BITS) - 1;
const PAGE_MASK: u64 = PAGE_SIZE as u64 - 1;

/// Whose rights a translation was checked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Space {
    /// CPL 0–2 (and implicit supervisor accesses), with SMAP in force if CR4 says so.
    Supervisor = 0,
    /// CPL 3.
    User = 1,
    /// CPL 0–2 while EFLAGS.AC suspends SMAP.
    SupervisorAc = 2,
    /// Never cached: alignment checks need a look at every access.
    Checked = 3,
}

/// A cached translation. A tag is the linear page if that access is allowed without a closer look, else [`none`].
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Entry {
    pub(crate) read: u64,
    pub(crate) write: u64,
    pub(crate) fetch: u64,
    /// Host page.
    pub(crate) host: u64,
}

/// The tag that no address looked up at `index` has: a page whose place is another entry.
fn none(index: usize) -> u64 {
    ((index as u64 & INDEX_MASK) ^ 1) << 12
}

fn empty(index: usize) -> Entry {
    Entry { read: none(index), write: none(index), fetch: none(index), host: 0 }
}

/// What translations cached elsewhere (the jump cache) must forget since they last looked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flush {
    /// Nothing.
    None,
    /// One linear page.
    Page(u64),
    /// All translations but global ones.
    NonGlobal,
    /// Everything.
    All,
}

/// The TLB of one CPU.
pub(crate) struct Mmu {
    entries: Box<[Entry]>,
    /// Per entry: the page is global.
    global: Box<[bool]>,
    /// First entry of the current space.
    base: usize,
    space: Space,
    /// Linear addresses that cached large pages span: INVLPG within them flushes everything.
    large: std::ops::RangeInclusive<u64>,
    /// Guest physical memory as of the last [`crate::memory::Message::MapChanged`].
    pub(crate) map: Arc<Map>,
    /// For the jump cache.
    pub(crate) flush: Flush,
    /// PDPTEs of PAE paging, loaded with CR3.
    pub(crate) pdptes: [u64; 4],
    /// Translation fills, for statistics.
    pub(crate) fills: u64,
}

#[allow(clippy::reversed_empty_ranges)] // the empty range
const NO_LARGE: std::ops::RangeInclusive<u64> = u64::MAX..=0;

impl Mmu {
    pub(crate) fn new(map: Arc<Map>) -> Self {
        Self {
            entries: (0..4 << INDEX_BITS).map(empty).collect(),
            global: vec![false; 4 << INDEX_BITS].into_boxed_slice(),
            base: 0,
            space: Space::Supervisor,
            large: NO_LARGE,
            map,
            flush: Flush::All,
            pdptes: [0; 4],
            fills: 0,
        }
    }

    pub(crate) fn space(&self) -> Space {
        self.space
    }

    pub(crate) fn set_space(&mut self, space: Space) {
        self.space = space;
        self.base = (space as usize) << INDEX_BITS;
    }

    #[inline(always)]
    fn index(&self, address: u64) -> usize {
        (self.base | (address >> 12 & INDEX_MASK) as usize) & ((4 << INDEX_BITS) - 1)
    }

    /// The entry `address` would have in the current space.
    #[inline(always)]
    pub(crate) fn entry(&self, address: u64) -> Entry {
        let index = self.index(address);
        // The mask keeps the index within the table; `get` costs nothing and cannot panic.
        match self.entries.get(index) {
            Some(entry) => *entry,
            None => empty(index),
        }
    }

    /// The first entry of the current space, for generated code.
    #[allow(dead_code)] // not every host has generated code
    pub(crate) fn current_entries(&self) -> *const Entry {
        self.entries.as_ptr().wrapping_add(self.base)
    }

    /// Host address for a load of `size` bytes, if cached.
    #[inline(always)]
    pub(crate) fn lookup_read(&self, address: u64, size: usize) -> Option<usize> {
        let entry = self.entry(address);
        let hit = entry.read == address & !PAGE_MASK && address & PAGE_MASK <= (PAGE_SIZE - size) as u64;
        hit.then_some((address & PAGE_MASK | entry.host) as usize)
    }

    /// Host address for a store of `size` bytes, if cached.
    #[inline(always)]
    pub(crate) fn lookup_write(&self, address: u64, size: usize) -> Option<usize> {
        let entry = self.entry(address);
        let hit = entry.write == address & !PAGE_MASK && address & PAGE_MASK <= (PAGE_SIZE - size) as u64;
        hit.then_some((address & PAGE_MASK | entry.host) as usize)
    }

    /// Host address for an instruction fetch, if cached.
    #[inline(always)]
    pub(crate) fn lookup_fetch(&self, address: u64) -> Option<usize> {
        let entry = self.entry(address);
        (entry.fetch == address & !PAGE_MASK).then_some((address & PAGE_MASK | entry.host) as usize)
    }

    /// Is the page of a cached instruction address global?
    pub(crate) fn is_global(&self, address: u64) -> bool {
        self.lookup_fetch(address).is_some()
            && self.global.get(self.index(address)).is_some_and(|global| *global)
    }

    /// Caches a translation of the page of `address` in the current space.
    pub(crate) fn insert(
        &mut self,
        address: u64,
        host_page: usize,
        rights: (bool, bool, bool),
        global: bool,
        large: Option<u64>,
    ) {
        if self.space == Space::Checked {
            return;
        }
        self.fills += 1;
        let page = address & !PAGE_MASK;
        let index = self.index(address);
        let tag = |allowed: bool| if allowed { page } else { none(index) };
        if let (Some(entry), Some(flag)) = (self.entries.get_mut(index), self.global.get_mut(index)) {
            *entry = Entry {
                read: tag(rights.0),
                write: tag(rights.1),
                fetch: tag(rights.2),
                host: host_page as u64,
            };
            *flag = global;
        }
        if let Some(size) = large {
            let first = page & !(size - 1);
            let last = first | (size - 1);
            self.large = (*self.large.start()).min(first)..=(*self.large.end()).max(last);
        }
    }

    /// Forgets everything.
    pub(crate) fn flush_all(&mut self) {
        self.entries.iter_mut().enumerate().for_each(|(index, entry)| *entry = empty(index));
        self.large = NO_LARGE;
        self.flush = Flush::All;
    }

    /// Forgets all but global pages (MOV to CR3).
    pub(crate) fn flush_non_global(&mut self) {
        for (index, (entry, global)) in self.entries.iter_mut().zip(self.global.iter()).enumerate() {
            if !global {
                *entry = empty(index);
            }
        }
        if self.flush != Flush::All {
            self.flush = Flush::NonGlobal;
        }
    }

    /// INVLPG.
    pub(crate) fn flush_page(&mut self, address: u64) {
        if self.large.contains(&address) {
            return self.flush_all();
        }
        for space in 0..3_usize {
            let index = space << INDEX_BITS | (address >> 12 & INDEX_MASK) as usize;
            if let Some(entry) = self.entries.get_mut(index) {
                *entry = empty(index);
            }
        }
        self.flush = match self.flush {
            Flush::None => Flush::Page(address & !PAGE_MASK),
            Flush::Page(page) if page == address & !PAGE_MASK => self.flush,
            Flush::NonGlobal | Flush::Page(_) | Flush::All => Flush::All,
        };
    }

    /// Takes away the right to write to a host page without a closer look.
    pub(crate) fn write_protect(&mut self, host_page: usize) {
        for (index, entry) in self.entries.iter_mut().enumerate() {
            if entry.host == host_page as u64 {
                entry.write = none(index);
            }
        }
    }

    /// Bytes the TLB takes.
    pub(crate) fn footprint(&self) -> usize {
        size_of_val(&*self.entries) + size_of_val(&*self.global)
    }
}
