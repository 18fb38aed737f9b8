//! LZ4's containers. Legacy: a magic number, then blocks that each unpack to at most 8 MiB, each behind its packed size.
//! Frame: LZ4 Frame Format 1.6.

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
    let mut blocks = 0;
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
        unpack_block(packed, out, limit)?;
        position += 4 + packed_size;
        blocks += 1;
    }
    if blocks == 0 {
        return Err(UnpackError::Truncated { format: FORMAT });
    }
    Ok(position.min(data.len()))
}

fn unpack_block(packed: &[u8], out: &mut Vec<u8>, limit: usize) -> Result<(), UnpackError> {
    let start = out.len();
    let room = limit.saturating_sub(start).min(BLOCK);
    out.resize(start + room, 0);
    match lz4_flex::block::decompress_into(packed, &mut out[start..]) {
        Ok(size) => {
            out.truncate(start + size);
            Ok(())
        }
        Err(lz4_flex::block::DecompressError::OutputTooSmall { .. }) if room < BLOCK => {
            out.truncate(start);
            Err(UnpackError::TooLarge { format: FORMAT, limit: limit as u64 })
        }
        Err(error) => {
            out.truncate(start);
            Err(UnpackError::Damaged { format: FORMAT, detail: error.to_string() })
        }
    }
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
