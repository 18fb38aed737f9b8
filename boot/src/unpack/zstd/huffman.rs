//! Huffman coding of literals (RFC 8878, 4.2).

use super::Fault;
use super::bits::BackwardBits;
use super::fse::Distribution;

/// The longest code.
const MAX_BITS: u32 = 11;
const TABLE: usize = 1 << MAX_BITS;
/// The largest table for the weights themselves.
const WEIGHT_LOG: u32 = 6;
const MAX_WEIGHT: usize = 11;
const MAX_SYMBOLS: usize = 256;

/// Codes decoded between two refills: 57 bits are ready, a code has 11 at most.
const CODES_PER_REFILL: usize = 5;

/// A decoding table, indexed by the next [`MAX_BITS`] bits at most.
#[derive(Clone)]
pub(super) struct Huffman {
    /// Symbol in the low byte, code length in the high one.
    entries: Box<[u16; TABLE]>,
    bits: u32,
}

impl Huffman {
    /// Reads a table's description and returns it with the bytes it takes.
    pub(super) fn read(data: &[u8]) -> Result<(Self, usize), Fault> {
        let (header, rest) = data.split_first().ok_or(Fault::Truncated)?;
        let header = usize::from(*header);
        if header >= 128 {
            // Four bits a weight.
            let count = header - 127;
            let packed = rest.get(..count.div_ceil(2)).ok_or(Fault::Truncated)?;
            let mut weights: Vec<u8> = packed.iter().flat_map(|pair| [pair >> 4, pair & 0xf]).collect();
            weights.truncate(count);
            return Ok((Self::from_weights(weights)?, 1 + packed.len()));
        }
        let packed = rest.get(..header).ok_or(Fault::Truncated)?;
        let (distribution, taken) = Distribution::read(packed, WEIGHT_LOG, MAX_WEIGHT + 1)?;
        let weights = packed_weights(&distribution, &packed[taken..])?;
        Ok((Self::from_weights(weights)?, 1 + header))
    }

    /// `weights` has all symbols' but the last one's, which makes the sum a power of two.
    fn from_weights(mut weights: Vec<u8>) -> Result<Self, Fault> {
        const WRONG: Fault = Fault::Damaged("literal codes are wrong");
        if weights.len() >= MAX_SYMBOLS || weights.iter().any(|weight| usize::from(*weight) > MAX_WEIGHT) {
            return Err(WRONG);
        }
        let share = |weight: u8| if weight == 0 { 0 } else { 1_usize << (weight - 1) };
        let sum: usize = weights.iter().map(|weight| share(*weight)).sum();
        if sum == 0 {
            return Err(WRONG);
        }
        let bits = sum.ilog2() + 1;
        let left = (1_usize << bits) - sum;
        if bits > MAX_BITS || !left.is_power_of_two() {
            return Err(WRONG);
        }
        weights.push(left.ilog2() as u8 + 1);

        // Codes in order of growing weight, that is shrinking length, and of symbols among equals.
        let mut entries = Box::new([0; TABLE]);
        let mut filled = 0;
        for weight in 1..=bits as u8 {
            let length = (bits + 1 - u32::from(weight)) as u16;
            for (symbol, _) in weights.iter().enumerate().filter(|(_, of)| **of == weight) {
                let next = filled + share(weight);
                entries.get_mut(filled..next).ok_or(WRONG)?.fill(symbol as u16 | length << 8);
                filled = next;
            }
        }
        Ok(Self { entries, bits })
    }

    /// Decodes one stream, which fills `out` exactly.
    pub(super) fn decode(&self, stream: &[u8], out: &mut [u8]) -> Result<(), Fault> {
        let mut bits = BackwardBits::new(stream).ok_or(Fault::Damaged("a literal stream is empty"))?;
        for chunk in out.chunks_mut(CODES_PER_REFILL) {
            bits.refill();
            chunk.iter_mut().for_each(|place| *place = self.next(&mut bits));
        }
        finished(&mut bits)
    }

    /// Decodes four streams at once, for the processor to have four independent things to do. They fill `out` one after
    /// the other; all are equally long but the last, which may be shorter.
    pub(super) fn decode_four(&self, streams: [&[u8]; 4], out: &mut [u8]) -> Result<(), Fault> {
        const SIZES: Fault = Fault::Damaged("literal streams have wrong sizes");
        let part = out.len().div_ceil(4);
        let (first, rest) = out.split_at_mut_checked(part).ok_or(SIZES)?;
        let (second, rest) = rest.split_at_mut_checked(part).ok_or(SIZES)?;
        let (third, fourth) = rest.split_at_mut_checked(part).ok_or(SIZES)?;
        let open = |stream| BackwardBits::new(stream).ok_or(Fault::Damaged("a literal stream is empty"));
        let [a, b, c, d] = streams;
        let (mut a, mut b, mut c, mut d) = (open(a)?, open(b)?, open(c)?, open(d)?);

        let common = fourth.len() - fourth.len() % CODES_PER_REFILL;
        let (first, first_rest) = first.split_at_mut(common);
        let (second, second_rest) = second.split_at_mut(common);
        let (third, third_rest) = third.split_at_mut(common);
        let (fourth, fourth_rest) = fourth.split_at_mut(common);
        let chunks = first
            .chunks_exact_mut(CODES_PER_REFILL)
            .zip(second.chunks_exact_mut(CODES_PER_REFILL))
            .zip(third.chunks_exact_mut(CODES_PER_REFILL))
            .zip(fourth.chunks_exact_mut(CODES_PER_REFILL));
        for (((first, second), third), fourth) in chunks {
            a.refill();
            b.refill();
            c.refill();
            d.refill();
            for code in 0..CODES_PER_REFILL {
                first[code] = self.next(&mut a);
                second[code] = self.next(&mut b);
                third[code] = self.next(&mut c);
                fourth[code] = self.next(&mut d);
            }
        }
        for (bits, rest) in
            [(&mut a, first_rest), (&mut b, second_rest), (&mut c, third_rest), (&mut d, fourth_rest)]
        {
            for chunk in rest.chunks_mut(CODES_PER_REFILL) {
                bits.refill();
                chunk.iter_mut().for_each(|place| *place = self.next(bits));
            }
            finished(bits)?;
        }
        Ok(())
    }

    #[inline(always)]
    fn next(&self, bits: &mut BackwardBits<'_>) -> u8 {
        let entry = self.entries[bits.peek(self.bits) as usize & (TABLE - 1)];
        bits.skip(u32::from(entry >> 8));
        entry as u8
    }
}

fn finished(bits: &mut BackwardBits<'_>) -> Result<(), Fault> {
    bits.refill();
    if bits.is_finished() {
        Ok(())
    } else {
        Err(Fault::Damaged("a literal stream does not end where it should"))
    }
}

/// Weights coded by two states in turn, until the bits run out.
fn packed_weights(distribution: &Distribution, data: &[u8]) -> Result<Vec<u8>, Fault> {
    let states = distribution.states()?;
    let mut bits = BackwardBits::new(data).ok_or(Fault::Damaged("literal codes are wrong"))?;
    let at = |index: usize| states.get(index).copied().ok_or(Fault::Damaged("literal codes are wrong"));
    let mut start = || {
        bits.refill();
        bits.take(distribution.log) as usize
    };
    let mut turn = [at(start())?, at(start())?];
    let mut weights = Vec::new();
    while weights.len() < MAX_SYMBOLS {
        let [state, other] = turn;
        weights.push(state.symbol);
        bits.refill();
        let next = usize::from(state.next) + bits.take(state.bits.into()) as usize;
        bits.refill();
        if bits.is_overrun() {
            weights.push(other.symbol);
            return Ok(weights);
        }
        turn = [other, at(next)?];
    }
    Err(Fault::Damaged("there are too many literal codes"))
}
