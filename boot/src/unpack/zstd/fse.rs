//! Finite state entropy: tables from probabilities (RFC 8878, 4.1).

use super::Fault;
use super::bits::ForwardBits;

/// A state: what it stands for and how to leave it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    pub(super) symbol: u8,
    /// Bits to read for the next state.
    pub(super) bits: u8,
    /// What those bits are added to.
    pub(super) next: u16,
}

/// A probability of "less than one": the symbol has one state, at the table's end.
const LESS_THAN_ONE: i16 = -1;

/// Probabilities, each in parts of 1 << `log`.
pub(super) struct Distribution {
    pub(super) counts: Vec<i16>,
    pub(super) log: u32,
}

impl Distribution {
    /// Reads a table's description and returns it with the bytes it takes.
    pub(super) fn read(data: &[u8], max_log: u32, max_symbol: usize) -> Result<(Self, usize), Fault> {
        let mut bits = ForwardBits::new(data);
        let log = bits.take(4) + 5;
        if log > max_log {
            return Err(Fault::Damaged("a table is too large"));
        }
        let mut counts = Vec::with_capacity(max_symbol + 1);
        let mut remaining = 1_i32 << log;
        while remaining > 0 {
            if counts.len() > max_symbol {
                return Err(Fault::Damaged("a table has too many symbols"));
            }
            // Values up to remaining + 1 in as few bits as will do: the lowest take one bit less.
            let width = (remaining + 1).ilog2() + 1;
            let short = (1_i32 << (width - 1)) - 1;
            let spare = (1_i32 << width) - 1 - (remaining + 1);
            let value = bits.peek(width) as i32;
            let value = if (value & short) < spare {
                bits.skip(width - 1);
                value & short
            } else {
                bits.skip(width);
                if value > short { value - spare } else { value }
            };
            let count = value as i16 - 1;
            remaining -= i32::from(count.abs());
            counts.push(count);
            if count == 0 {
                loop {
                    let zeros = bits.take(2);
                    counts.extend((0..zeros).map(|_| 0));
                    if zeros != 3 || counts.len() > max_symbol {
                        break;
                    }
                }
            }
        }
        let taken = bits.bytes_taken().ok_or(Fault::Truncated)?;
        if counts.len() > max_symbol + 1 || remaining != 0 {
            return Err(Fault::Damaged("a table's probabilities are wrong"));
        }
        Ok((Self { counts, log }, taken))
    }

    /// One symbol that is always next.
    pub(super) fn certain(symbol: u8) -> Self {
        let mut counts = vec![0; usize::from(symbol) + 1];
        counts[usize::from(symbol)] = 1;
        Self { counts, log: 0 }
    }

    /// The table's states.
    pub(super) fn states(&self) -> Result<Vec<State>, Fault> {
        let size = 1_usize << self.log;
        let mut states = vec![State::default(); size];
        // How many states a symbol has, counted up from there as they are numbered.
        let mut numbers: Vec<u16> = self.counts.iter().map(|count| count.unsigned_abs()).collect();
        let mut end = size;
        for (symbol, _) in self.counts.iter().enumerate().filter(|(_, count)| **count == LESS_THAN_ONE) {
            end = end.checked_sub(1).ok_or(Fault::Damaged("a table overflows"))?;
            states[end].symbol = symbol as u8;
        }
        let step = (size >> 1) + (size >> 3) + 3;
        let mut position = 0;
        for (symbol, count) in self.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            for _ in 0..*count {
                if position >= end {
                    return Err(Fault::Damaged("a table overflows"));
                }
                states[position].symbol = symbol as u8;
                // Every position is met once before the first comes again; those at the end are taken.
                loop {
                    position = (position + step) & (size - 1);
                    if position < end || position == 0 {
                        break;
                    }
                }
            }
        }
        for state in &mut states {
            let number = &mut numbers[usize::from(state.symbol)];
            let bits = self.log - u32::from((*number).max(1)).ilog2();
            state.bits = bits as u8;
            state.next = (usize::from(*number) << bits).wrapping_sub(size) as u16;
            *number += 1;
        }
        Ok(states)
    }
}
