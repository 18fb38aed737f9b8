//! Sequences: literals to take and matches to copy (RFC 8878, 3.1.1.3.2 and 3.1.1.4).

use super::bits::BackwardBits;
use super::fse::{Distribution, State};
use super::{Fault, SLACK};

/// The three codes a sequence is made of.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    LiteralLength,
    Offset,
    MatchLength,
}

/// States of the largest table.
const STATES: usize = 512;

/// A state with what its symbol means: a base and bits to add to it.
#[derive(Clone, Copy, Default)]
struct Entry {
    base: u32,
    next: u16,
    state_bits: u8,
    extra_bits: u8,
}

/// A table of one kind of code.
#[derive(Clone)]
pub(super) struct Codes {
    entries: Box<[Entry; STATES]>,
    log: u32,
}

/// Codes 16 and up of literal lengths: base and bits (table 14 of the RFC). Lower ones are the length.
const LITERAL_LENGTHS: [(u32, u8); 20] = [
    (16, 1),
    (18, 1),
    (20, 1),
    (22, 1),
    (24, 2),
    (28, 2),
    (32, 3),
    (40, 3),
    (48, 4),
    (64, 6),
    (128, 7),
    (256, 8),
    (512, 9),
    (1024, 10),
    (2048, 11),
    (4096, 12),
    (8192, 13),
    (16384, 14),
    (32768, 15),
    (65536, 16),
];
/// Codes 32 and up of match lengths: base and bits (table 15). Lower ones are the length less 3.
const MATCH_LENGTHS: [(u32, u8); 21] = [
    (35, 1),
    (37, 1),
    (39, 1),
    (41, 1),
    (43, 2),
    (47, 2),
    (51, 3),
    (59, 3),
    (67, 4),
    (83, 4),
    (99, 5),
    (131, 7),
    (259, 8),
    (515, 9),
    (1027, 10),
    (2051, 11),
    (4099, 12),
    (8195, 13),
    (16387, 14),
    (32771, 15),
    (65539, 16),
];

/// The distributions that need no description (tables 16 to 18).
const DEFAULT_LITERAL_LENGTHS: &[i16] = &[
    4, 3, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 2, 1, 1, 1, 1, 1, -1, -1,
    -1, -1,
];
const DEFAULT_MATCH_LENGTHS: &[i16] = &[
    1, 4, 3, 2, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1, -1, -1,
];
const DEFAULT_OFFSETS: &[i16] =
    &[1, 1, 1, 1, 1, 1, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1];

impl Kind {
    fn max_log(self) -> u32 {
        match self {
            Self::LiteralLength | Self::MatchLength => 9,
            Self::Offset => 8,
        }
    }

    fn max_symbol(self) -> usize {
        match self {
            Self::LiteralLength => 35,
            Self::Offset => 31,
            Self::MatchLength => 52,
        }
    }

    fn default_distribution(self) -> Distribution {
        let (counts, log) = match self {
            Self::LiteralLength => (DEFAULT_LITERAL_LENGTHS, 6),
            Self::Offset => (DEFAULT_OFFSETS, 5),
            Self::MatchLength => (DEFAULT_MATCH_LENGTHS, 6),
        };
        Distribution { counts: counts.to_vec(), log }
    }

    /// Base and extra bits of a symbol.
    fn meaning(self, symbol: u8) -> Option<(u32, u8)> {
        let index = usize::from(symbol);
        match self {
            Self::LiteralLength if index < 16 => Some((symbol.into(), 0)),
            Self::LiteralLength => LITERAL_LENGTHS.get(index - 16).copied(),
            Self::MatchLength if index < 32 => Some((u32::from(symbol) + 3, 0)),
            Self::MatchLength => MATCH_LENGTHS.get(index - 32).copied(),
            Self::Offset => (index <= self.max_symbol()).then(|| (1 << symbol, symbol)),
        }
    }
}

impl Codes {
    /// Reads the table of `kind` in compression mode `mode` from the front of `data`, which is moved on. `last` is the
    /// table of the block before.
    pub(super) fn read(kind: Kind, mode: u8, data: &mut &[u8], last: Option<Self>) -> Result<Self, Fault> {
        let distribution = match mode & 3 {
            0 => kind.default_distribution(),
            1 => {
                let (symbol, rest) = data.split_first().ok_or(Fault::Truncated)?;
                *data = rest;
                Distribution::certain(*symbol)
            }
            2 => {
                let (distribution, taken) = Distribution::read(data, kind.max_log(), kind.max_symbol())?;
                *data = &data[taken..];
                distribution
            }
            _ => return last.ok_or(Fault::Damaged("there is no table to repeat")),
        };
        let mut entries = Box::new([Entry::default(); STATES]);
        for (entry, State { symbol, bits, next }) in entries.iter_mut().zip(distribution.states()?) {
            let (base, extra_bits) =
                kind.meaning(symbol).ok_or(Fault::Damaged("an unknown sequence code"))?;
            *entry = Entry { base, next, state_bits: bits, extra_bits };
        }
        Ok(Self { entries, log: distribution.log })
    }

    fn start(&self, bits: &mut BackwardBits<'_>) -> Entry {
        self.entry(bits.take(self.log) as usize)
    }

    #[inline(always)]
    fn entry(&self, state: usize) -> Entry {
        self.entries[state & (STATES - 1)]
    }

    #[inline(always)]
    fn next(&self, entry: Entry, bits: &mut BackwardBits<'_>) -> Entry {
        self.entry(usize::from(entry.next) + bits.take(entry.state_bits.into()) as usize)
    }
}

/// Tables of the three kinds.
#[derive(Clone)]
pub(super) struct Tables {
    pub(super) literal_lengths: Codes,
    pub(super) offsets: Codes,
    pub(super) match_lengths: Codes,
}

/// The last three offsets.
pub(super) type Recent = [u32; 3];

/// Where a block's content goes.
pub(super) struct Target<'o> {
    /// The frame's content from its start, with room for the block and [`SLACK`] bytes more.
    pub(super) out: &'o mut [u8],
    /// Where the block begins.
    pub(super) at: usize,
    /// Where the block must end.
    pub(super) end: usize,
}

/// Carries out `count` sequences, coded in `stream`, on `literals`, behind which are [`SLACK`] bytes more; returns where
/// the block ends.
pub(super) fn execute(
    tables: &Tables,
    stream: &[u8],
    count: usize,
    literals: &[u8],
    recent: &mut Recent,
    target: Target<'_>,
) -> Result<usize, Fault> {
    const TOO_LONG: Fault = Fault::Damaged("a block is too long");
    let Target { out, mut at, end } = target;
    let literals_end = literals.len() - SLACK;
    let mut taken = 0;
    if count != 0 {
        let mut bits = BackwardBits::new(stream).ok_or(Fault::Damaged("a sequence stream is empty"))?;
        bits.refill();
        let mut literal_length = tables.literal_lengths.start(&mut bits);
        let mut offset = tables.offsets.start(&mut bits);
        let mut match_length = tables.match_lengths.start(&mut bits);
        for left in (0..count).rev() {
            bits.refill();
            let offset_value = offset.base.wrapping_add(bits.take(offset.extra_bits.into()) as u32);
            let matched = (match_length.base + bits.take(match_length.extra_bits.into()) as u32) as usize;
            bits.refill();
            let copied = (literal_length.base + bits.take(literal_length.extra_bits.into()) as u32) as usize;
            if left != 0 {
                literal_length = tables.literal_lengths.next(literal_length, &mut bits);
                match_length = tables.match_lengths.next(match_length, &mut bits);
                offset = tables.offsets.next(offset, &mut bits);
            }
            let distance = distance(offset_value, copied == 0, recent)? as usize;

            if copied > literals_end - taken || copied + matched > end - at {
                return Err(TOO_LONG);
            }
            copy_literals(out, at, literals, taken, copied);
            taken += copied;
            at += copied;
            if distance > at {
                return Err(Fault::Damaged("a match begins before the data"));
            }
            copy_match(out, at, distance, matched);
            at += matched;
        }
        bits.refill();
        if !bits.is_finished() {
            return Err(Fault::Damaged("a sequence stream does not end where it should"));
        }
    }
    let rest = &literals[taken..literals_end];
    if rest.len() > end - at {
        return Err(TOO_LONG);
    }
    out[at..at + rest.len()].copy_from_slice(rest);
    Ok(at + rest.len())
}

/// What an offset's value means: a distance, or one of the last three.
#[inline(always)]
fn distance(value: u32, no_literals: bool, recent: &mut Recent) -> Result<u32, Fault> {
    if value > 3 {
        *recent = [value - 3, recent[0], recent[1]];
        return Ok(value - 3);
    }
    let distance = match value + u32::from(no_literals) {
        1 => return Ok(recent[0]),
        2 => {
            recent.swap(0, 1);
            return Ok(recent[0]);
        }
        3 => recent[2],
        _ => recent[0].wrapping_sub(1),
    };
    if distance == 0 {
        return Err(Fault::Damaged("a match's distance is zero"));
    }
    *recent = [distance, recent[0], recent[1]];
    Ok(distance)
}

/// Bytes copied at a time: a vector register's worth. What is copied too much is overwritten later; see [`SLACK`].
const STEP: usize = 16;

#[inline(always)]
fn copy_literals(out: &mut [u8], at: usize, literals: &[u8], from: usize, size: usize) {
    let mut done = 0;
    while done < size {
        out[at + done..at + done + STEP].copy_from_slice(&literals[from + done..from + done + STEP]);
        done += STEP;
    }
}

#[inline(always)]
fn copy_match(out: &mut [u8], at: usize, distance: usize, size: usize) {
    let from = at - distance;
    if distance >= STEP {
        let mut done = 0;
        while done < size {
            out.copy_within(from + done..from + done + STEP, at + done);
            done += STEP;
        }
        return;
    }
    // The match overlaps itself: a pattern, doubled until it is long enough.
    let mut done = 0;
    while done < size {
        let step = (distance + done).min(size - done);
        out.copy_within(from..from + step, at + done);
        done += step;
    }
}
