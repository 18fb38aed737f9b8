//! The formats whose decoders are crates with a `Read` interface.

use std::io::{self, ErrorKind, Read};

use super::{Compression, UnpackError};

/// Memory a LZMA decoder may take for its dictionary, in KiB. Kernels are packed with 32 MiB at most, `xz -9` uses 64 MiB.
pub(super) const LZMA_MEMORY_KIB: u32 = 160 * 1024;

pub(super) fn gzip(
    data: &[u8],
    size_hint: usize,
    out: &mut Vec<u8>,
    limit: usize,
) -> Result<usize, UnpackError> {
    let mut decoder = flate2::bufread::GzDecoder::new(data);
    drain(&mut decoder, Compression::Gzip, size_hint, out, limit)?;
    Ok(data.len() - decoder.into_inner().len())
}

pub(super) fn bzip2(
    data: &[u8],
    size_hint: usize,
    out: &mut Vec<u8>,
    limit: usize,
) -> Result<usize, UnpackError> {
    let mut decoder = bzip2::bufread::BzDecoder::new(data);
    drain(&mut decoder, Compression::Bzip2, size_hint, out, limit)?;
    Ok(data.len() - decoder.into_inner().len())
}

pub(super) fn xz(
    data: &[u8],
    size_hint: usize,
    out: &mut Vec<u8>,
    limit: usize,
) -> Result<usize, UnpackError> {
    if let Some(taken) = super::xz::in_parallel(data, out, limit) {
        return Ok(taken);
    }
    let mut rest = data;
    let mut decoder = lzma_rust2::XzReader::new_mem_limit(&mut rest, false, LZMA_MEMORY_KIB);
    drain(&mut decoder, Compression::Xz, size_hint, out, limit)?;
    drop(decoder);
    Ok(data.len() - rest.len())
}

pub(super) fn lzma(
    data: &[u8],
    size_hint: usize,
    out: &mut Vec<u8>,
    limit: usize,
) -> Result<usize, UnpackError> {
    let mut decoder = lzma_rust2::LzmaReader::new_mem_limit(data, LZMA_MEMORY_KIB, None)
        .map_err(|error| from_io(Compression::Lzma, &error))?;
    drain(&mut decoder, Compression::Lzma, size_hint, out, limit)?;
    let (unread, buffered) = decoder.into_parts();
    Ok(data.len() - unread.len() - buffered.len())
}

pub(super) fn lz4_frame(
    data: &[u8],
    size_hint: usize,
    out: &mut Vec<u8>,
    limit: usize,
) -> Result<usize, UnpackError> {
    // The decoder takes the end of its input for the end of the frame, so it is given exactly one whole frame.
    const FORMAT: Compression = Compression::Lz4Frame;
    let frame = super::lz4::frame(data).ok_or(UnpackError::Truncated { format: FORMAT })?;
    drain(&mut lz4_flex::frame::FrameDecoder::new(frame), FORMAT, size_hint, out, limit)?;
    Ok(frame.len())
}

/// Reads `decoder` to its end, `out` growing to `limit` bytes at most.
fn drain(
    decoder: &mut impl Read,
    format: Compression,
    size_hint: usize,
    out: &mut Vec<u8>,
    limit: usize,
) -> Result<(), UnpackError> {
    // Where that fails, growing step by step may still do.
    let _ = out.try_reserve(size_hint);
    let room = limit.saturating_sub(out.len()) as u64;
    // One byte more than allowed tells "exactly full" from "too much".
    let read =
        decoder.take(room.saturating_add(1)).read_to_end(out).map_err(|error| from_io(format, &error))?
            as u64;
    if read > room {
        out.truncate(limit);
        return Err(UnpackError::TooLarge { format, limit: limit as u64 });
    }
    Ok(())
}

fn from_io(format: Compression, error: &io::Error) -> UnpackError {
    match error.kind() {
        ErrorKind::UnexpectedEof => UnpackError::Truncated { format },
        _ => UnpackError::Damaged { format, detail: error.to_string() },
    }
}
