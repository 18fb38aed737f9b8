//! Forgetting where code for linear addresses is, by changing what is compared.

use crate::mmu::Flush;

/// Pages remembered at most; beyond, every page counts as one that holds code.
const MAX_PAGES: usize = 4096;

/// Bits 48–63 are told apart by no canonical address, so a generation there makes old keys match nothing.
const STEP: u64 = 1 << 48;

/// What keys of jump tables and inline caches are made with: linear address XOR generation.
#[repr(C)]
pub(super) struct Generations {
    /// Supervisor's and user's.
    pub(super) current: [u64; 2],
    /// Linear pages that keys were made for since the last change.
    pages: Vec<u64>,
    /// Keys were made for supervisor pages that are not global.
    private: bool,
    /// All numbers were used: tables must be cleared before the next run.
    pub(super) exhausted: bool,
}

impl Generations {
    pub(super) fn new() -> Self {
        Self { current: [STEP; 2], pages: Vec::new(), private: false, exhausted: false }
    }

    /// Makes a key for code at `linear` that is entered in user mode or not.
    pub(super) fn key(&mut self, linear: u64, user: bool, global: bool) -> u64 {
        let page = linear >> 12;
        if self.pages.len() < MAX_PAGES
            && let Err(at) = self.pages.binary_search(&page)
        {
            self.pages.insert(at, page);
        }
        self.private |= !user && !global;
        linear ^ self.current[usize::from(user)]
    }

    /// Forgets what a flush of translations demands.
    pub(super) fn flush(&mut self, flush: Flush) {
        match flush {
            Flush::None => {}
            Flush::All => self.all(),
            Flush::NonGlobal => {
                self.step(1);
                if self.private {
                    self.all();
                }
            }
            Flush::Page(page) => {
                if self.pages.len() >= MAX_PAGES || self.pages.binary_search(&(page >> 12)).is_ok() {
                    self.all();
                }
            }
        }
    }

    /// Forgets everything.
    pub(super) fn all(&mut self) {
        self.step(0);
        self.step(1);
        self.pages.clear();
        self.private = false;
    }

    /// Generations stay below 2^15, so that no two canonical addresses and generations give the same key.
    fn step(&mut self, which: usize) {
        if let Some(current) = self.current.get_mut(which) {
            *current += STEP;
            if *current >= STEP << 15 {
                *current = STEP;
                self.exhausted = true;
            }
        }
    }
}

#[cfg(test)]
#[path = "flush_test.rs"]
mod flush_test;
