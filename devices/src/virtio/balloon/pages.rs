//! The pages in the balloon, and which of them the host can have back.

use std::collections::HashMap;

use guest_memory::GuestMemory;
use vm_memory::{GuestAddress, GuestMemoryBackend};

use super::spec::PAGE_SHIFT;

/// 4 KiB.
const PAGE_BYTES: u64 = 1 << PAGE_SHIFT;

/// Pages of one word.
const PAGES: u64 = u64::BITS as u64;

/// A set of 4 KiB pages of guest memory; others are never in it, which bounds it.
///
/// The host's pages may be larger: one is released when all of it is in the balloon, however its parts came in.
#[derive(Default)]
pub(super) struct Pages {
    /// 64 pages each, by number / 64.
    words: HashMap<u64, u64>,
}

impl Pages {
    /// Puts pages in; answers the ranges (address and bytes) of whole host pages that are complete by them, in order and as
    /// long as they can be.
    pub(super) fn insert(
        &mut self,
        numbers: &mut [u32],
        memory: &GuestMemory,
        host_page_bytes: u64,
    ) -> Vec<(u64, usize)> {
        numbers.sort_unstable();
        let mut ranges: Vec<(u64, usize)> = Vec::new();
        for number in numbers.iter().map(|number| u64::from(*number)) {
            if !memory.address_in_range(GuestAddress(number << PAGE_SHIFT)) {
                continue;
            }
            *self.words.entry(number / PAGES).or_default() |= 1 << (number % PAGES);
            let span = host_page_bytes.max(PAGE_BYTES);
            let start = (number << PAGE_SHIFT) & !(span - 1);
            let complete = (start..start + span).step_by(PAGE_BYTES as usize).all(|at| self.contains(at));
            match ranges.last_mut() {
                _ if !complete => {}
                // Pages come in order: this one is in the last range, right behind it, or further on.
                Some((first, len)) if *first + *len as u64 > start => {}
                Some((first, len)) if *first + *len as u64 == start => *len += span as usize,
                _ => ranges.push((start, span as usize)),
            }
        }
        ranges
    }

    pub(super) fn contains(&self, address: u64) -> bool {
        let number = address >> PAGE_SHIFT;
        self.words.get(&(number / PAGES)).is_some_and(|word| word & 1 << (number % PAGES) != 0)
    }

    /// Takes a page out.
    pub(super) fn remove(&mut self, number: u32) {
        let number = u64::from(number);
        if let Some(word) = self.words.get_mut(&(number / PAGES)) {
            *word &= !(1 << (number % PAGES));
            if *word == 0 {
                self.words.remove(&(number / PAGES));
            }
        }
    }

    /// Pages in the set.
    #[cfg(test)]
    pub(super) fn count(&self) -> u32 {
        self.words.values().map(|word| word.count_ones()).sum()
    }
}
