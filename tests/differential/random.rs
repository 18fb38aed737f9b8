//! Numbers by seed.

use engine::Sequence;

/// A small generator of numbers.
#[derive(Debug, Clone)]
pub(crate) struct Random(Sequence);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Sequence::new(seed))
    }

    /// The generator of one case: cases of a seed are independent of each other.
    pub(crate) fn for_case(seed: u64, case: u64) -> Self {
        let mut mixed = Self::new(seed ^ 0x6a09_e667_f3bc_c908);
        let start = mixed.next() ^ case.wrapping_mul(0xd6e8_feb8_6659_fd93);
        Self::new(Self::new(start).next())
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number below `limit`.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }

    /// True once in `n`.
    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// A number of `first..=last`.
    pub(crate) fn within(&mut self, first: i64, last: i64) -> i64 {
        first.wrapping_add(self.below(last.wrapping_sub(first) as u64 + 1) as i64)
    }

    /// One of these.
    pub(crate) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }
}
