//! xz streams by several threads, one for a block. A file made by `xz -T` has blocks that say how long they are.
//!
//! Whatever is not such a stream, or is damaged, is left to the decoder that goes from start to end and names the error.
//! Source: The .xz File Format 1.2, sections 2.1 and 3.1.

use std::io::{self, Read};
use std::ops::Range;
use std::sync::{Mutex, PoisonError};
use std::thread;

use lzma_rust2::XzReader;

use super::MOST_GROWTH;
use super::streams::LZMA_MEMORY_KIB;

/// Most threads: each has a dictionary of its own.
const MAX_THREADS: usize = 8;

/// Stream Header and Stream Footer, bytes.
const HEADER: usize = 12;

/// Magic bytes at the end of a Stream Footer.
const FOOTER_MAGIC: [u8; 2] = *b"YZ";

/// A block with both of its sizes in its header.
struct Block {
    /// In the data, padding and check included.
    bytes: Range<usize>,
    record: Record,
}

/// A block's record in the index.
#[derive(Clone, Copy)]
struct Record {
    /// Header, compressed data and check, bytes.
    unpadded: u64,
    /// Content, bytes.
    unpacked: u64,
}

/// Unpacks the stream that `data` begins with, appends its content to `out`, which has `limit` bytes at most afterwards, and
/// returns how many bytes of `data` it took. `None` if there is nothing to share out or something is wrong: `out` is then as
/// it was.
pub(super) fn in_parallel(data: &[u8], out: &mut Vec<u8>, limit: usize) -> Option<usize> {
    let flags = stream_flags(data)?;
    let blocks = blocks(data, flags)?;
    let threads = thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS).min(blocks.len());
    if threads < 2 {
        return None;
    }
    let end = blocks.last()?.bytes.end;
    let records: Vec<_> = blocks.iter().map(|block| block.record).collect();
    let tail = index_and_footer(&records, flags);
    if data.get(end..)?.get(..tail.len())? != tail {
        return None;
    }
    let before = out.len();
    // Memory is taken at once, so the claim must be one to believe.
    let most = limit.saturating_sub(before).min(data.len().saturating_mul(MOST_GROWTH));
    let content = records.iter().try_fold(0_usize, |sum, record| {
        sum.checked_add(usize::try_from(record.unpacked).ok()?).filter(|sum| *sum <= most)
    })?;
    out.try_reserve_exact(content).ok()?;
    out.resize(before + content, 0);
    let is_whole = fill(data, flags, &blocks, out.get_mut(before..)?, threads);
    if !is_whole {
        out.truncate(before);
    }
    is_whole.then_some(end + tail.len())
}

/// Unpacks all blocks, each to its place in `out`.
fn fill(data: &[u8], flags: [u8; 2], blocks: &[Block], mut out: &mut [u8], threads: usize) -> bool {
    let mut jobs = Vec::with_capacity(blocks.len());
    for block in blocks {
        let Some(packed) = data.get(block.bytes.clone()) else { return false };
        let Ok(length) = usize::try_from(block.record.unpacked) else { return false };
        let Some((place, rest)) = out.split_at_mut_checked(length) else { return false };
        out = rest;
        jobs.push((packed, block.record, place));
    }
    let header = data.get(..HEADER).unwrap_or_default();
    let jobs = Mutex::new(jobs.into_iter());
    let next = || jobs.lock().unwrap_or_else(PoisonError::into_inner).next();
    let work = || {
        while let Some((packed, record, place)) = next() {
            let tail = index_and_footer(&[record], flags);
            if unpack_alone(header.chain(packed).chain(tail.as_slice()), place).is_err() {
                // No more of them: what they are worth is nothing now.
                while next().is_some() {}
                return false;
            }
        }
        true
    };
    thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let mine = work();
        others.into_iter().fold(mine, |whole, thread| thread.join().unwrap_or(false) && whole)
    })
}

/// Unpacks a stream with content of exactly the length of `place`.
fn unpack_alone(stream: impl Read, place: &mut [u8]) -> io::Result<()> {
    let mut decoder = XzReader::new_mem_limit(stream, false, LZMA_MEMORY_KIB);
    decoder.read_exact(place)?;
    // Reading on makes the decoder compare the block's check.
    match decoder.read(&mut [0])? {
        0 => Ok(()),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// Stream Flags; the decoder checks them.
fn stream_flags(data: &[u8]) -> Option<[u8; 2]> {
    data.get(6..8)?.try_into().ok()
}

/// The blocks up to the index, if each has its sizes in its header.
fn blocks(data: &[u8], flags: [u8; 2]) -> Option<Vec<Block>> {
    let check = check_size(flags);
    let mut blocks = Vec::new();
    let mut at = HEADER;
    while *data.get(at)? != 0 {
        let (header_size, packed, unpacked) = block_sizes(data.get(at..)?)?;
        let unpadded = header_size.checked_add(packed)?.checked_add(check)?;
        let end = at.checked_add(usize::try_from(unpadded.checked_next_multiple_of(4)?).ok()?)?;
        if end > data.len() {
            return None;
        }
        blocks.push(Block { bytes: at..end, record: Record { unpadded, unpacked } });
        at = end;
    }
    Some(blocks)
}

/// Sizes of a block's header, compressed data and content, bytes.
fn block_sizes(block: &[u8]) -> Option<(u64, u64, u64)> {
    const HAS_BOTH: u8 = 0xc0;
    let header_size = (u64::from(*block.first()?) + 1) * 4;
    if block.get(1)? & HAS_BOTH != HAS_BOTH {
        return None;
    }
    let mut rest = block.get(2..usize::try_from(header_size).ok()?)?;
    let packed = number(&mut rest)?;
    let unpacked = number(&mut rest)?;
    Some((header_size, packed, unpacked))
}

/// Size of a block's check by its type, bytes.
fn check_size(flags: [u8; 2]) -> u64 {
    const SIZES: [u64; 16] = [0, 4, 4, 4, 8, 8, 8, 16, 16, 16, 32, 32, 32, 64, 64, 64];
    let [_, kind] = flags;
    SIZES.get(usize::from(kind & 0xf)).copied().unwrap_or_default()
}

/// Takes an integer of the format's variable length: seven bits a byte, the lowest first, nine bytes at most.
fn number(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..63).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn push_number(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

/// What follows the blocks of a stream. The format leaves no choice, so this is how it is checked, too.
fn index_and_footer(records: &[Record], flags: [u8; 2]) -> Vec<u8> {
    let mut tail = vec![0];
    push_number(&mut tail, records.len() as u64);
    for record in records {
        push_number(&mut tail, record.unpadded);
        push_number(&mut tail, record.unpacked);
    }
    tail.resize(tail.len().next_multiple_of(4), 0);
    let backward_size = (tail.len() / 4) as u32;
    tail.extend(crc32(&tail).to_le_bytes());
    let mut footer = backward_size.to_le_bytes().to_vec();
    footer.extend(flags);
    tail.extend(crc32(&footer).to_le_bytes());
    tail.extend(footer);
    tail.extend(FOOTER_MAGIC);
    tail
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}

#[cfg(test)]
#[path = "xz_test.rs"]
mod xz_test;
