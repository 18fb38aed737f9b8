//! The software TLB: linear page to host page, direct-mapped, apart for each kind of access rights and address space.

use std::ops::RangeInclusive;
use std::sync::Arc;

use super::second_level::SecondLevel;
use crate::exit::Access;
use crate::memory::{Map, PAGE_SIZE};

/// log2 of the entries of a bank's halves: data, then fetches, so that code does not drive out what it works on.
pub(crate) const INDEX_BITS: u32 = 10;
/// Entries of a half.
const HALF: usize = 1 << INDEX_BITS;
const INDEX_MASK: u64 = HALF as u64 - 1;
const BANK: usize = 2 * HALF;
/// Bytes between an address's entry for data and the one for fetches.
pub(crate) const FETCH_OFFSET: usize = HALF * size_of::<Entry>();
const PAGE_MASK: u64 = PAGE_SIZE as u64 - 1;

/// Address spaces, told apart by PCID, whose translations are kept side by side. Linux uses six a CPU.
const ADDRESS_SPACES: usize = 6;
/// The supervisor's bank, which all address spaces share: almost all of it is global.
const SUPERVISOR_BANK: usize = 0;
/// Each address space has a bank for user mode and one for the supervisor while EFLAGS.AC suspends SMAP.
const FIRST_OWN_BANK: usize = 1;
/// The bank of [`Space::Checked`], always empty.
const CHECKED_BANK: usize = FIRST_OWN_BANK + 2 * ADDRESS_SPACES;
const BANKS: usize = CHECKED_BANK + 1;

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

/// A cached translation. A tag is the linear page if that access is allowed without a closer look, else [`none`]; in
/// the half for data that is always so of fetches, and the reverse.
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

/// Which entries of a bank are in use, so that flushes touch no others.
#[derive(Clone, Copy)]
struct Used {
    any: [u64; BANK / 64],
    /// Of pages that are not global.
    private: [u64; BANK / 64],
}

impl Used {
    const NONE: Self = Self { any: [0; BANK / 64], private: [0; BANK / 64] };

    fn set(&mut self, index: usize, global: bool) {
        let (word, bit) = (index / 64 % (BANK / 64), 1_u64 << (index % 64));
        self.any[word] |= bit;
        if global {
            self.private[word] &= !bit;
        } else {
            self.private[word] |= bit;
        }
    }
}

/// Calls `action` with the numbers of the bits set.
fn each_bit(words: &[u64], mut action: impl FnMut(usize)) {
    for (number, word) in words.iter().enumerate() {
        let mut left = *word;
        while left != 0 {
            action(number * 64 + left.trailing_zeros() as usize);
            left &= left - 1;
        }
    }
}

/// Linear addresses that cached large pages span, in one half of the address space: INVLPG within them flushes
/// everything.
type Span = RangeInclusive<u64>;

#[allow(clippy::reversed_empty_ranges)] // the empty range
const NO_SPAN: Span = u64::MAX..=0;

fn half(address: u64) -> usize {
    (address >> 63) as usize
}

/// The TLB of one CPU.
pub(crate) struct Mmu {
    entries: Box<[Entry]>,
    used: [Used; BANKS],
    second: SecondLevel<BANKS>,
    /// First entry of the current space.
    base: usize,
    space: Space,
    /// PCID of each kept address space, if it has entries that are known to be that one's.
    pcids: [Option<u16>; ADDRESS_SPACES],
    /// When each was last current.
    turns: [u64; ADDRESS_SPACES],
    turn: u64,
    /// The current one.
    own: usize,
    large: [Span; 2],
    /// Guest physical memory as of the last [`crate::memory::Message::MapChanged`].
    pub(crate) map: Arc<Map>,
    /// PDPTEs of PAE paging, loaded with CR3.
    pub(crate) pdptes: [u64; 4],
    /// Translation fills, for statistics.
    pub(crate) fills: u64,
}

impl Mmu {
    pub(crate) fn new(map: Arc<Map>) -> Self {
        Self {
            entries: (0..BANKS * BANK).map(empty).collect(),
            used: [Used::NONE; BANKS],
            second: SecondLevel::new(),
            base: 0,
            space: Space::Supervisor,
            pcids: [None; ADDRESS_SPACES],
            turns: [0; ADDRESS_SPACES],
            turn: 0,
            own: 0,
            large: [NO_SPAN; 2],
            map,
            pdptes: [0; 4],
            fills: 0,
        }
    }

    pub(crate) fn space(&self) -> Space {
        self.space
    }

    pub(crate) fn set_space(&mut self, space: Space) {
        self.space = space;
        self.base = self.bank() * BANK;
    }

    /// The bank of the current space.
    fn bank(&self) -> usize {
        match self.space {
            Space::Supervisor => SUPERVISOR_BANK,
            Space::User => FIRST_OWN_BANK + 2 * self.own,
            Space::SupervisorAc => FIRST_OWN_BANK + 2 * self.own + 1,
            Space::Checked => CHECKED_BANK,
        }
    }

    /// The entry for data that `address` would have in the current space.
    #[inline(always)]
    fn index(&self, address: u64) -> usize {
        self.base + (address >> 12 & INDEX_MASK) as usize
    }

    fn index_for(&self, address: u64, access: Access) -> usize {
        self.index(address) + if access == Access::Fetch { HALF } else { 0 }
    }

    #[inline(always)]
    fn entry(&self, index: usize) -> Entry {
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
        let entry = self.entry(self.index(address));
        let hit = entry.read == address & !PAGE_MASK && address & PAGE_MASK <= (PAGE_SIZE - size) as u64;
        hit.then_some((address & PAGE_MASK | entry.host) as usize)
    }

    /// Host address for a store of `size` bytes, if cached.
    #[inline(always)]
    pub(crate) fn lookup_write(&self, address: u64, size: usize) -> Option<usize> {
        let entry = self.entry(self.index(address));
        let hit = entry.write == address & !PAGE_MASK && address & PAGE_MASK <= (PAGE_SIZE - size) as u64;
        hit.then_some((address & PAGE_MASK | entry.host) as usize)
    }

    /// Host address for an instruction fetch, if cached.
    #[inline(always)]
    pub(crate) fn lookup_fetch(&self, address: u64) -> Option<usize> {
        let entry = self.entry(self.index(address) + HALF);
        (entry.fetch == address & !PAGE_MASK).then_some((address & PAGE_MASK | entry.host) as usize)
    }

    /// Caches a translation of the page of `address` in the current space, for accesses of this kind.
    pub(crate) fn insert(
        &mut self,
        address: u64,
        access: Access,
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
        let entry =
            Entry { read: tag(rights.0), write: tag(rights.1), fetch: tag(rights.2), host: host_page as u64 };
        self.second.put(page, self.bank(), entry, global);
        self.place(address, access, entry, global);
        if let Some(size) = large {
            let first = page & !(size - 1);
            let last = first | (size - 1);
            let span = &mut self.large[half(page)];
            *span = (*span.start()).min(first)..=(*span.end()).max(last);
        }
    }

    fn place(&mut self, address: u64, access: Access, new: Entry, global: bool) {
        let index = self.index_for(address, access);
        let nothing = none(index);
        let new = match access {
            Access::Fetch => Entry { read: nothing, write: nothing, ..new },
            Access::Read | Access::Write => Entry { fetch: nothing, ..new },
        };
        if let Some(entry) = self.entries.get_mut(index) {
            *entry = new;
        }
        if let Some(used) = self.used.get_mut(index / BANK) {
            used.set(index % BANK, global);
        }
    }

    /// Looks for a page in the second level, if it allows the access; the first has it then, too.
    pub(crate) fn refill(&mut self, address: u64, access: Access) -> Option<usize> {
        let page = address & !PAGE_MASK;
        let (entry, global) = self.second.get(page, self.bank())?;
        let tag = match access {
            Access::Read => entry.read,
            Access::Write => entry.write,
            Access::Fetch => entry.fetch,
        };
        if tag != page {
            return None;
        }
        self.place(address, access, entry, global);
        Some((address & PAGE_MASK | entry.host) as usize)
    }

    /// Forgets a bank, or all of it but global pages.
    fn flush_bank(&mut self, bank: usize, global: bool) {
        self.second.flush(bank, global);
        let Some(used) = self.used.get_mut(bank) else { return };
        let gone = if global { used.any } else { used.private };
        used.private = [0; BANK / 64];
        for (word, gone) in used.any.iter_mut().zip(&gone) {
            *word &= !gone;
        }
        each_bit(&gone, |index| {
            if let Some(entry) = self.entries.get_mut(bank * BANK + index) {
                *entry = empty(index);
            }
        });
    }

    fn flush_own(&mut self, own: usize, global: bool) {
        self.flush_bank(FIRST_OWN_BANK + 2 * own, global);
        self.flush_bank(FIRST_OWN_BANK + 2 * own + 1, global);
    }

    /// Forgets everything.
    pub(crate) fn flush_all(&mut self) {
        for bank in 0..BANKS {
            self.flush_bank(bank, true);
        }
        self.pcids = [None; ADDRESS_SPACES];
        self.large = [NO_SPAN; 2];
    }

    /// Forgets all but global pages, of all address spaces.
    pub(crate) fn flush_non_global(&mut self) {
        for bank in 0..BANKS {
            self.flush_bank(bank, false);
        }
    }

    /// MOV to CR3 while CR4.PCIDE is set; `keep` keeps the new address space's translations (SDM vol. 3, 4.10.4.1).
    pub(crate) fn enter_address_space(&mut self, pcid: u16, keep: bool) {
        self.turn += 1;
        // What the supervisor's bank has of the address space before is not kept for its return.
        self.flush_bank(SUPERVISOR_BANK, false);
        match self.pcids.iter().position(|known| *known == Some(pcid)) {
            Some(own) => {
                if !keep {
                    self.flush_own(own, false);
                }
                self.own = own;
            }
            None => {
                let oldest = self.turns.iter().enumerate().min_by_key(|(_, turn)| **turn);
                self.own = oldest.map_or(0, |(own, _)| own);
                self.flush_own(self.own, true);
            }
        }
        if let (Some(known), Some(turn)) = (self.pcids.get_mut(self.own), self.turns.get_mut(self.own)) {
            *known = Some(pcid);
            *turn = self.turn;
        }
        self.set_space(self.space);
    }

    /// INVLPG; of all address spaces, as global pages demand.
    pub(crate) fn flush_page(&mut self, address: u64) {
        if self.large[half(address)].contains(&address) {
            return self.flush_all();
        }
        self.second.flush_page(address & !PAGE_MASK);
        let index = (address >> 12 & INDEX_MASK) as usize;
        for bank in self.entries.chunks_exact_mut(BANK) {
            for place in [index, HALF + index] {
                if let Some(entry) = bank.get_mut(place) {
                    *entry = empty(place);
                }
            }
        }
    }

    /// Takes away the right to write to a host page without a closer look.
    pub(crate) fn write_protect(&mut self, host_page: usize) {
        self.second.flush_host(host_page as u64);
        for (used, bank) in self.used.iter().zip(self.entries.chunks_exact_mut(BANK)) {
            each_bit(&used.any, |index| {
                if let Some(entry) = bank.get_mut(index)
                    && entry.host == host_page as u64
                {
                    entry.write = none(index);
                }
            });
        }
    }

    /// Bytes the TLB takes.
    pub(crate) fn footprint(&self) -> usize {
        size_of_val(&*self.entries) + self.second.footprint()
    }
}

#[cfg(test)]
#[path = "tlb_test.rs"]
mod tlb_test;
