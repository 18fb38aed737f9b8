//! The two bit orders of a zstd frame (RFC 8878, 4.1 and 4.2): tables are described forwards, everything else is read from
//! the last bit to the first.

/// Reads from the first byte's lowest bit on.
pub(super) struct ForwardBits<'a> {
    data: &'a [u8],
    position: usize,
}

impl<'a> ForwardBits<'a> {
    pub(super) fn new(data: &'a [u8]) -> Self {
        Self { data, position: 0 }
    }

    /// The next `count` bits, 16 at most, without taking them. Bits behind the end are zero.
    pub(super) fn peek(&self, count: u32) -> u32 {
        let byte = |index: usize| u32::from(self.data.get(index).copied().unwrap_or(0));
        let first = self.position / 8;
        let word = byte(first) | byte(first + 1) << 8 | byte(first + 2) << 16;
        (word >> (self.position % 8)) & ((1 << count) - 1)
    }

    pub(super) fn skip(&mut self, count: u32) {
        self.position += count as usize;
    }

    pub(super) fn take(&mut self, count: u32) -> u32 {
        let bits = self.peek(count);
        self.skip(count);
        bits
    }

    /// Whole bytes taken; `None` where that is more than there are.
    pub(super) fn bytes_taken(&self) -> Option<usize> {
        let bytes = self.position.div_ceil(8);
        (bytes <= self.data.len()).then_some(bytes)
    }
}

/// Reads from the last byte's highest bit down. The stream's end is marked by a set bit above its first one.
///
/// Reading beyond the stream's start yields rubbish and is found by [`Self::is_overrun`]: loops look once, not at each bit.
pub(super) struct BackwardBits<'a> {
    data: &'a [u8],
    /// Where in `data` the word was taken from.
    position: usize,
    word: u64,
    /// Bits of the word already used, from the top.
    used: u32,
    /// Bits at the word's bottom that are not the stream's: a stream of less than 8 bytes does not fill a word.
    filler: u32,
}

const WORD: usize = 8;

impl<'a> BackwardBits<'a> {
    pub(super) fn new(data: &'a [u8]) -> Option<Self> {
        let last = *data.last()?;
        if last == 0 {
            return None;
        }
        let used = last.leading_zeros() + 1;
        match data.last_chunk::<WORD>() {
            Some(word) => {
                let position = data.len() - WORD;
                Some(Self { data, position, word: u64::from_le_bytes(*word), used, filler: 0 })
            }
            None => {
                let mut word = [0; WORD];
                word[WORD - data.len()..].copy_from_slice(data);
                let filler = (WORD - data.len()) as u32 * 8;
                Some(Self { data, position: 0, word: u64::from_le_bytes(word), used, filler })
            }
        }
    }

    /// Makes at least 57 bits ready, as long as the stream has them.
    #[inline(always)]
    pub(super) fn refill(&mut self) {
        let bytes = ((self.used >> 3) as usize).min(self.position);
        self.position -= bytes;
        self.used -= bytes as u32 * 8;
        if let Some(word) = self.data.get(self.position..).and_then(|rest| rest.first_chunk::<WORD>()) {
            self.word = u64::from_le_bytes(*word);
        }
    }

    /// The next `count` bits, 56 at most, without taking them.
    #[inline(always)]
    pub(super) fn peek(&self, count: u32) -> u64 {
        // In two steps, as a shift by all 64 bits is none.
        (self.word << (self.used & 63)) >> 1 >> (63 - count)
    }

    #[inline(always)]
    pub(super) fn skip(&mut self, count: u32) {
        self.used += count;
    }

    #[inline(always)]
    pub(super) fn take(&mut self, count: u32) -> u64 {
        let bits = self.peek(count);
        self.skip(count);
        bits
    }

    /// Whether more bits were taken than there are.
    pub(super) fn is_overrun(&self) -> bool {
        self.position == 0 && self.used > 64 - self.filler
    }

    /// Whether every bit was taken, and none more.
    pub(super) fn is_finished(&self) -> bool {
        self.position == 0 && self.used == 64 - self.filler
    }
}
