//! Zstandard frames (RFC 8878), decoded straight to where the data is wanted: the output is the window.
//!
//! The Linux kernel and Debian's initramfs come in this format, and starting a guest waits for it. Dictionaries are not
//! supported; neither of the two has one.

mod bits;
mod fse;
mod huffman;
mod sequences;

use std::hash::Hasher;

use super::{Compression, MOST_GROWTH, UnpackError};
use huffman::Huffman;
use sequences::{Codes, Kind, Recent, Tables, Target};

const FORMAT: Compression = Compression::Zstd;

/// What a block unpacks to at most.
const BLOCK: usize = 128 << 10;

/// Room behind data for copies in large steps to run over.
const SLACK: usize = 32;

/// The offsets that a frame begins with.
const FIRST_RECENT: Recent = [1, 4, 8];

/// What is wrong with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Truncated,
    Damaged(&'static str),
    TooLarge,
}

/// Unpacks the frame that `data` begins with, appends its content to `out`, which holds `limit` bytes at most afterwards,
/// and returns the frame's size.
pub(super) fn unpack(
    data: &[u8],
    size_hint: usize,
    out: &mut Vec<u8>,
    limit: usize,
) -> Result<usize, UnpackError> {
    let start = out.len();
    let mut frame = Frame {
        out,
        start,
        end: start,
        limit,
        literals: Vec::new(),
        huffman: None,
        tables: None,
        recent: FIRST_RECENT,
    };
    let result = frame.unpack(data, size_hint);
    let end = frame.end.min(limit);
    out.truncate(end);
    result.map_err(|fault| match fault {
        Fault::Truncated => UnpackError::Truncated { format: FORMAT },
        Fault::Damaged(detail) => UnpackError::Damaged { format: FORMAT, detail: detail.to_owned() },
        Fault::TooLarge => UnpackError::TooLarge { format: FORMAT, limit: limit as u64 },
    })
}

/// A frame while it is unpacked.
struct Frame<'o> {
    /// Content up to `end`, then room.
    out: &'o mut Vec<u8>,
    /// Where the frame's content begins.
    start: usize,
    end: usize,
    limit: usize,
    /// A block's literals and [`SLACK`] bytes.
    literals: Vec<u8>,
    /// Tables that blocks may repeat.
    huffman: Option<Huffman>,
    tables: Option<Tables>,
    recent: Recent,
}

/// A frame's header.
struct Header {
    size: usize,
    content_size: Option<u64>,
    has_checksum: bool,
}

impl Header {
    fn read(data: &[u8]) -> Result<Self, Fault> {
        const SINGLE_SEGMENT: u8 = 1 << 5;
        const RESERVED: u8 = 1 << 3;
        const CHECKSUM: u8 = 1 << 2;
        const DICTIONARY: u8 = 3;
        let descriptor = *data.get(4).ok_or(Fault::Truncated)?;
        if descriptor & RESERVED != 0 {
            return Err(Fault::Damaged("the frame has features not known"));
        }
        let single_segment = descriptor & SINGLE_SEGMENT != 0;
        // The window is not looked at: all of the output is there to be referred to.
        let dictionary = 5 + usize::from(!single_segment);
        let size_field = dictionary + [0, 1, 2, 4][usize::from(descriptor & DICTIONARY)];
        let field_bytes = match descriptor >> 6 {
            0 => usize::from(single_segment),
            flag => 1 << flag,
        };
        let size = size_field + field_bytes;
        let field = data.get(size_field..size).ok_or(Fault::Truncated)?;
        if data[dictionary..size_field].iter().any(|byte| *byte != 0) {
            return Err(Fault::Damaged("the frame needs a dictionary"));
        }
        let mut value = [0; 8];
        value[..field.len()].copy_from_slice(field);
        let value = u64::from_le_bytes(value) + if field.len() == 2 { 256 } else { 0 };
        let content_size = (!field.is_empty()).then_some(value);
        Ok(Self { size, content_size, has_checksum: descriptor & CHECKSUM != 0 })
    }
}

impl Frame<'_> {
    fn unpack(&mut self, data: &[u8], size_hint: usize) -> Result<usize, Fault> {
        let header = Header::read(data)?;
        let mut expected = size_hint;
        if let Some(size) = header.content_size {
            let size = usize::try_from(size).unwrap_or(usize::MAX);
            if size > self.limit.saturating_sub(self.start) {
                return Err(Fault::TooLarge);
            }
            expected = size.min(data.len().saturating_mul(MOST_GROWTH));
        }
        self.make_room(expected + BLOCK);
        let mut position = header.size;
        loop {
            let head =
                data.get(position..).and_then(|rest| rest.first_chunk::<3>()).ok_or(Fault::Truncated)?;
            let head = u32::from_le_bytes([head[0], head[1], head[2], 0]);
            position += 3;
            let (is_last, kind, size) = (head & 1 != 0, head >> 1 & 3, (head >> 3) as usize);
            // A block that repeats a byte has only that.
            let packed_size = if kind == 1 { 1 } else { size };
            let packed = data.get(position..position + packed_size).ok_or(Fault::Truncated)?;
            position += packed_size;
            if size > BLOCK {
                return Err(Fault::Damaged("a block is too long"));
            }
            self.make_room(BLOCK);
            match kind {
                0 => self.append(|place| place.copy_from_slice(packed), size),
                1 => self.append(|place| place.fill(packed[0]), size),
                2 => self.compressed_block(packed)?,
                _ => return Err(Fault::Damaged("a block of a type not known")),
            }
            if self.end > self.limit {
                return Err(Fault::TooLarge);
            }
            if is_last {
                break;
            }
        }
        let content = &self.out[self.start..self.end];
        if header.content_size.is_some_and(|size| size != content.len() as u64) {
            return Err(Fault::Damaged("the content's size is not the header's"));
        }
        if header.has_checksum {
            let sum = data.get(position..).and_then(|rest| rest.first_chunk()).ok_or(Fault::Truncated)?;
            position += sum.len();
            let mut hasher = twox_hash::XxHash64::with_seed(0);
            hasher.write(content);
            if hasher.finish() as u32 != u32::from_le_bytes(*sum) {
                return Err(Fault::Damaged("the checksum does not match"));
            }
        }
        Ok(position)
    }

    /// Makes room for `size` bytes behind the content, and [`SLACK`].
    fn make_room(&mut self, size: usize) {
        let needed = self.end + size + SLACK;
        if self.out.len() >= needed {
            return;
        }
        if self.out.is_empty() && self.out.capacity() < needed {
            // Memory that the system gives cleared need not be cleared again.
            *self.out = vec![0; needed];
        } else {
            self.out.reserve(needed - self.out.len());
            let room = self.out.capacity().min(needed + (4 << 20));
            self.out.resize(room, 0);
        }
    }

    fn append(&mut self, fill: impl FnOnce(&mut [u8]), size: usize) {
        fill(&mut self.out[self.end..self.end + size]);
        self.end += size;
    }

    fn compressed_block(&mut self, block: &[u8]) -> Result<(), Fault> {
        let mut rest = self.read_literals(block)?;
        let count = sequence_count(&mut rest)?;
        if count != 0 {
            let (modes, after) = rest.split_first().ok_or(Fault::Truncated)?;
            rest = after;
            if modes & 3 != 0 {
                return Err(Fault::Damaged("a sequence mode is not known"));
            }
            let (literal_lengths, offsets, match_lengths) = match self.tables.take() {
                Some(last) => (Some(last.literal_lengths), Some(last.offsets), Some(last.match_lengths)),
                None => (None, None, None),
            };
            self.tables = Some(Tables {
                literal_lengths: Codes::read(Kind::LiteralLength, modes >> 6, &mut rest, literal_lengths)?,
                offsets: Codes::read(Kind::Offset, modes >> 4, &mut rest, offsets)?,
                match_lengths: Codes::read(Kind::MatchLength, modes >> 2, &mut rest, match_lengths)?,
            });
        } else if !rest.is_empty() {
            return Err(Fault::Damaged("a block goes on after its end"));
        }
        let at = self.end - self.start;
        let target = Target { out: &mut self.out[self.start..], at, end: at + BLOCK };
        let end = match &self.tables {
            Some(tables) => {
                sequences::execute(tables, rest, count, &self.literals, &mut self.recent, target)?
            }
            None => {
                let literals = &self.literals[..self.literals.len() - SLACK];
                target.out[at..at + literals.len()].copy_from_slice(literals);
                at + literals.len()
            }
        };
        self.end = self.start + end;
        Ok(())
    }

    /// Unpacks a block's literals and returns what follows them.
    fn read_literals<'d>(&mut self, block: &'d [u8]) -> Result<&'d [u8], Fault> {
        const RAW: u8 = 0;
        const REPEATED: u8 = 1;
        const COMPRESSED: u8 = 2;
        let first = *block.first().ok_or(Fault::Truncated)?;
        let mut head = [0; 8];
        let known = block.len().min(5);
        head[..known].copy_from_slice(&block[..known]);
        let head = u64::from_le_bytes(head);
        let (kind, format) = (first & 3, first >> 2 & 3);
        let field = |shift: u32, bits: u32| (head >> shift & ((1 << bits) - 1)) as usize;

        if kind == RAW || kind == REPEATED {
            let (head_size, size) = match format {
                0 | 2 => (1, field(3, 5)),
                1 => (2, field(4, 12)),
                _ => (3, field(4, 20)),
            };
            check_literals(size)?;
            self.literals.clear();
            let packed_size = if kind == RAW { size } else { 1 };
            let packed = block.get(head_size..head_size + packed_size).ok_or(Fault::Truncated)?;
            if kind == RAW {
                self.literals.extend_from_slice(packed);
            }
            self.literals.resize(size, packed.first().copied().unwrap_or(0));
            self.literals.resize(size + SLACK, 0);
            return Ok(&block[head_size + packed_size..]);
        }
        let (head_size, size_bits) = match format {
            0 | 1 => (3, 10),
            2 => (4, 14),
            _ => (5, 18),
        };
        let (size, packed_size) = (field(4, size_bits), field(4 + size_bits, size_bits));
        check_literals(size)?;
        let packed = block.get(head_size..head_size + packed_size).ok_or(Fault::Truncated)?;
        let mut streams = packed;
        if kind == COMPRESSED {
            let (huffman, taken) = Huffman::read(packed)?;
            self.huffman = Some(huffman);
            streams = &packed[taken..];
        }
        let huffman = self.huffman.as_ref().ok_or(Fault::Damaged("there are no literal codes to repeat"))?;
        self.literals.resize(size + SLACK, 0);
        let literals = &mut self.literals[..size];
        if format == 0 {
            huffman.decode(streams, literals)?;
        } else {
            huffman.decode_four(four_streams(streams)?, literals)?;
        }
        Ok(&block[head_size + packed_size..])
    }
}

fn check_literals(size: usize) -> Result<(), Fault> {
    if size > BLOCK { Err(Fault::Damaged("a block is too long")) } else { Ok(()) }
}

/// Splits four literal streams: three sizes of two bytes each, then the streams.
fn four_streams(data: &[u8]) -> Result<[&[u8]; 4], Fault> {
    let (sizes, mut rest) = data.split_first_chunk::<6>().ok_or(Fault::Truncated)?;
    let mut next = |low: u8, high: u8| {
        let size = usize::from(u16::from_le_bytes([low, high]));
        let (stream, after) = rest.split_at_checked(size).ok_or(Fault::Truncated)?;
        rest = after;
        Ok(stream)
    };
    let [a, b, c] = [next(sizes[0], sizes[1])?, next(sizes[2], sizes[3])?, next(sizes[4], sizes[5])?];
    Ok([a, b, c, rest])
}

/// Reads how many sequences a block has from the front of `data`, which is moved on.
fn sequence_count(data: &mut &[u8]) -> Result<usize, Fault> {
    let byte = |index: usize| data.get(index).map(|byte| usize::from(*byte)).ok_or(Fault::Truncated);
    let (count, size) = match byte(0)? {
        first @ 0..128 => (first, 1),
        first @ 128..255 => ((first - 128) << 8 | byte(1)?, 2),
        _ => (byte(1)? + (byte(2)? << 8) + 0x7f00, 3),
    };
    *data = &data[size..];
    Ok(count)
}

#[cfg(test)]
#[path = "zstd_test.rs"]
mod zstd_test;
