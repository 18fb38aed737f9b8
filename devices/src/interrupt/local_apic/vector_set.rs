//! Sets of the 256 vectors: IRR, ISR, TMR.

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct VectorSet([u64; 4]);

impl VectorSet {
    pub(super) fn insert(&mut self, vector: u8) {
        *self.word_mut(vector) |= 1 << (vector & 63);
    }

    pub(super) fn remove(&mut self, vector: u8) {
        *self.word_mut(vector) &= !(1 << (vector & 63));
    }

    pub(super) fn contains(&self, vector: u8) -> bool {
        let [a, b, c, d] = self.0;
        let word = match vector >> 6 {
            0 => a,
            1 => b,
            2 => c,
            _ => d,
        };
        word >> (vector & 63) & 1 != 0
    }

    /// The highest vector in the set.
    pub(super) fn highest(&self) -> Option<u8> {
        let (index, word) = self.0.iter().enumerate().rev().find(|(_, word)| **word != 0)?;
        // The index is below 4 and the bit below 64.
        Some((index as u8) << 6 | (63 - word.leading_zeros()) as u8)
    }

    /// Bits `32 * index` to `32 * index + 31`, as the registers show them.
    pub(super) fn register(&self, index: u32) -> u32 {
        let word = self.0.get((index / 2) as usize).copied().unwrap_or(0);
        (word >> (index % 2 * 32)) as u32
    }

    /// Adds all of `other`.
    pub(super) fn extend(&mut self, other: &[u64; 4]) {
        self.0.iter_mut().zip(other).for_each(|(own, other)| *own |= other);
    }

    /// Removes all of `other`.
    pub(super) fn subtract(&mut self, other: &[u64; 4]) {
        self.0.iter_mut().zip(other).for_each(|(own, other)| *own &= !other);
    }

    fn word_mut(&mut self, vector: u8) -> &mut u64 {
        let [a, b, c, d] = &mut self.0;
        match vector >> 6 {
            0 => a,
            1 => b,
            2 => c,
            _ => d,
        }
    }
}
