//! LZ4's containers. Legacy: a magic number, then blocks that each unpack to at most 8 MiB, each behind its packed size.
//! Frame: LZ4 Frame Format 1.6.

use std::num::NonZero;
use std::thread;

use super::{Compression, UnpackError};

const FORMAT: Compression = Compression::Lz4Legacy;
const MAGIC: u32 = 0x184c_2102;

/// What a block unpacks to at most.
const BLOCK: usize = 8 << 20;

/// The largest packed block: LZ4's worst case for incompressible data.
const PACKED_BLOCK: usize = BLOCK + BLOCK / 255 + 16;

/// A stream has no end mark: it ends with the data, or where the next word cannot be a block's size. The kernel's build
/// appends the unpacked size there, initramfs tools append zeros or another archive.
pub(super) fn legacy(data: &[u8], out: &mut Vec<u8>, limit: usize) -> Result<usize, UnpackError> {
    let mut position = 4;
    let mut blocks = Vec::new();
    while let Some(size) = data.get(position..).and_then(|rest| rest.first_chunk::<4>()) {
        let size = u32::from_le_bytes(*size);
        if size == MAGIC {
            // `lz4 -l` output may be concatenated.
            position += 4;
            continue;
        }
        let packed_size = size as usize;
        if size == 0 || packed_size > PACKED_BLOCK {
            break;
        }
        let Some(packed) = data.get(position + 4..position + 4 + packed_size) else {
            if position + 4 == data.len() {
                break; // The unpacked size of a small kernel looks like a block's.
            }
            return Err(UnpackError::Truncated { format: FORMAT });
        };
        blocks.push(packed);
        position += 4 + packed_size;
    }
    if blocks.is_empty() {
        return Err(UnpackError::Truncated { format: FORMAT });
    }
    let room = limit.saturating_sub(out.len());
    if out.is_empty() && blocks.len().checked_mul(BLOCK).is_some_and(|size| size <= room) {
        *out = unpack_side_by_side(&blocks)?;
    } else {
        unpack_in_turn(&blocks, out, limit)?;
    }
    Ok(position.min(data.len()))
}

/// Blocks are independent of each other and all but the last are full, so threads can fill their places at once.
fn unpack_side_by_side(blocks: &[&[u8]]) -> Result<Vec<u8>, UnpackError> {
    let mut out = vec![0; blocks.len() * BLOCK];
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(blocks.len());
    let mut jobs: Vec<Vec<(&[u8], &mut [u8])>> = (0..threads).map(|_| Vec::new()).collect();
    for (index, job) in blocks.iter().copied().zip(out.chunks_mut(BLOCK)).enumerate() {
        jobs[index % threads].push(job);
    }
    let results: Vec<Result<Vec<usize>, UnpackError>> = thread::scope(|scope| {
        let work = |jobs: Vec<(&[u8], &mut [u8])>| {
            jobs.into_iter().map(|(packed, place)| unpack_block(packed, place, usize::MAX)).collect()
        };
        let workers: Vec<_> = jobs.into_iter().map(|jobs| scope.spawn(move || work(jobs))).collect();
        let lost = |_| Err(UnpackError::Damaged { format: FORMAT, detail: "a decoder stopped".to_owned() });
        workers.into_iter().map(|worker| worker.join().unwrap_or_else(lost)).collect()
    });
    let sizes = results.into_iter().collect::<Result<Vec<_>, _>>()?;

    // A block that was not full, which only concatenated streams have before their last, leaves a gap to close.
    let mut filled = 0;
    for index in 0..blocks.len() {
        let size = sizes[index % threads][index / threads];
        let start = index * BLOCK;
        if start != filled {
            out.copy_within(start..start + size, filled);
        }
        filled += size;
    }
    out.truncate(filled);
    Ok(out)
}

fn unpack_in_turn(blocks: &[&[u8]], out: &mut Vec<u8>, limit: usize) -> Result<(), UnpackError> {
    let mut filled = out.len();
    for packed in blocks {
        let room = limit.saturating_sub(filled).min(BLOCK);
        // Room once cleared is not cleared again, however little a block fills of it.
        out.resize(out.len().max(filled + room), 0);
        match unpack_block(packed, &mut out[filled..filled + room], limit) {
            Ok(size) => filled += size,
            Err(error) => {
                out.truncate(filled);
                return Err(error);
            }
        }
    }
    out.truncate(filled);
    Ok(())
}

/// Unpacks a block into `place` and returns its size. A place smaller than a block is what `limit` left.
fn unpack_block(packed: &[u8], place: &mut [u8], limit: usize) -> Result<usize, UnpackError> {
    lz4_flex::block::decompress_into(packed, place).map_err(|error| match error {
        lz4_flex::block::DecompressError::OutputTooSmall { .. } if place.len() < BLOCK => {
            UnpackError::TooLarge { format: FORMAT, limit: limit as u64 }
        }
        error => UnpackError::Damaged { format: FORMAT, detail: error.to_string() },
    })
}

/// The frame that `data` begins with, `None` where `data` ends before the frame does.
pub(super) fn frame(data: &[u8]) -> Option<&[u8]> {
    const CONTENT_CHECKSUM: u8 = 1 << 2;
    const CONTENT_SIZE: u8 = 1 << 3;
    const BLOCK_CHECKSUM: u8 = 1 << 4;
    const DICTIONARY_ID: u8 = 1;
    const STORED: u32 = 1 << 31;

    let flags = *data.get(4)?;
    let set = |flag: u8, bytes: usize| if flags & flag != 0 { bytes } else { 0 };
    // Magic, FLG, BD, optional fields, header checksum.
    let mut position = 4 + 2 + set(CONTENT_SIZE, 8) + set(DICTIONARY_ID, 4) + 1;
    loop {
        let size = u32::from_le_bytes(*data.get(position..)?.first_chunk::<4>()?);
        position += 4;
        if size == 0 {
            return data.get(..position + set(CONTENT_CHECKSUM, 4));
        }
        position = position.checked_add((size & !STORED) as usize + set(BLOCK_CHECKSUM, 4))?;
    }
}
