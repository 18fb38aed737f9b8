//! The second level of the TLB: what the first lost to other pages of the same place.

use super::tlb::Entry;

/// log2 of the entries.
const INDEX_BITS: u32 = 11;

/// A translation of one bank, valid while the bank's generation is that of its making.
#[derive(Clone, Copy)]
struct Kept {
    /// Linear page, and in its low bits the bank; no page has the bits of [`NOTHING`].
    key: u64,
    entry: Entry,
    generation: u32,
    global: bool,
}

const NOTHING: u64 = u64::MAX;
const EMPTY: Kept = Kept {
    key: NOTHING,
    entry: Entry { read: 0, write: 0, fetch: 0, host: 0 },
    generation: 0,
    global: false,
};

/// Translations by linear page and bank, direct-mapped.
pub(super) struct SecondLevel<const BANKS: usize> {
    kept: Box<[Kept]>,
    /// By bank: of private and of global pages.
    generations: [[u32; 2]; BANKS],
}

fn place(page: u64, bank: usize) -> usize {
    let number = page >> 12;
    ((number ^ number >> INDEX_BITS ^ (bank as u64) << 7) & ((1 << INDEX_BITS) - 1)) as usize
}

impl<const BANKS: usize> SecondLevel<BANKS> {
    pub(super) fn new() -> Self {
        Self { kept: vec![EMPTY; 1 << INDEX_BITS].into_boxed_slice(), generations: [[0; 2]; BANKS] }
    }

    fn generation(&self, bank: usize, global: bool) -> u32 {
        self.generations.get(bank).map_or(0, |both| both[usize::from(global)])
    }

    /// The first level's entry for a page, and whether it is global.
    pub(super) fn get(&self, page: u64, bank: usize) -> Option<(Entry, bool)> {
        let kept = self.kept.get(place(page, bank))?;
        let hit = kept.key == (page | bank as u64) && kept.generation == self.generation(bank, kept.global);
        hit.then_some((kept.entry, kept.global))
    }

    pub(super) fn put(&mut self, page: u64, bank: usize, entry: Entry, global: bool) {
        let generation = self.generation(bank, global);
        if let Some(kept) = self.kept.get_mut(place(page, bank)) {
            *kept = Kept { key: page | bank as u64, entry, generation, global };
        }
    }

    /// Forgets a bank's private pages, or all of it.
    pub(super) fn flush(&mut self, bank: usize, global: bool) {
        let Some(both) = self.generations.get_mut(bank) else { return };
        for generation in both.iter_mut().take(1 + usize::from(global)) {
            *generation = generation.wrapping_add(1);
            if *generation == 0 {
                self.kept.fill(EMPTY);
            }
        }
    }

    /// Forgets a page in all banks.
    pub(super) fn flush_page(&mut self, page: u64) {
        for bank in 0..BANKS {
            if let Some(kept) = self.kept.get_mut(place(page, bank))
                && kept.key == (page | bank as u64)
            {
                *kept = EMPTY;
            }
        }
    }

    /// Forgets what leads to a host page.
    pub(super) fn flush_host(&mut self, host_page: u64) {
        for kept in self.kept.iter_mut().filter(|kept| kept.entry.host == host_page) {
            *kept = EMPTY;
        }
    }

    pub(super) fn footprint(&self) -> usize {
        size_of_val(&*self.kept)
    }
}
