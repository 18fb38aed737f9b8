//! A set of block numbers.

use std::collections::BTreeMap;
use std::ops::Range;

/// Blocks of one bitmap. A disk of 1 TiB that is written all over takes 36 MiB of them; what is not written, nothing.
const BLOCKS_PER_PAGE: u64 = 4096;

type Page = [u64; (BLOCKS_PER_PAGE / 64) as usize];

/// Which blocks are in the set.
#[derive(Debug, Default)]
pub(super) struct BlockMap {
    pages: BTreeMap<u64, Box<Page>>,
}

impl BlockMap {
    /// Whether the first of `blocks` is in the set, and the end of the part of which the same is true. At least one block
    /// long, if there is one.
    pub(super) fn run(&self, blocks: Range<u64>) -> (bool, u64) {
        let first = self.contains(blocks.start);
        let mut end = blocks.start;
        while end < blocks.end {
            let (number, bit) = (end / BLOCKS_PER_PAGE, end % BLOCKS_PER_PAGE);
            let Some(page) = self.pages.get(&number) else {
                if first {
                    return (first, end);
                }
                // Up to the next page that exists, there is nothing.
                let next = self.pages.range(number..).next().map_or(u64::MAX, |(next, _)| *next);
                end = next.saturating_mul(BLOCKS_PER_PAGE).min(blocks.end);
                continue;
            };
            let word = page.get((bit / 64) as usize).copied().unwrap_or_default();
            let ahead = (if first { !word } else { word }) >> (bit % 64);
            let same = u64::from(ahead.trailing_zeros()).min(64 - bit % 64);
            end += same;
            if same < 64 - bit % 64 {
                break;
            }
        }
        (first, end.min(blocks.end))
    }

    pub(super) fn insert(&mut self, blocks: Range<u64>) {
        let mut block = blocks.start;
        while block < blocks.end {
            let (number, bit) = (block / BLOCKS_PER_PAGE, block % BLOCKS_PER_PAGE);
            let page =
                self.pages.entry(number).or_insert_with(|| Box::new([0; (BLOCKS_PER_PAGE / 64) as usize]));
            let len = (blocks.end - block).min(64 - bit % 64);
            let mask = (u64::MAX >> (64 - len)) << (bit % 64);
            if let Some(word) = page.get_mut((bit / 64) as usize) {
                *word |= mask;
            }
            block += len;
        }
    }

    fn contains(&self, block: u64) -> bool {
        let page = self.pages.get(&(block / BLOCKS_PER_PAGE));
        let bit = block % BLOCKS_PER_PAGE;
        page.and_then(|page| page.get((bit / 64) as usize)).is_some_and(|word| word >> (bit % 64) & 1 == 1)
    }
}

#[cfg(test)]
#[path = "map_test.rs"]
mod map_test;
