//! The formats whose decoders are crates with a `Read` interface.

use std::io::{self, ErrorKind, Read};

use super::{Compression, UnpackError};

/// Memory a LZMA decoder may take for its dictionary, in KiB. Kernels are packed with 32 MiB at most, `xz -9` uses 64 MiB.
const LZMA_MEMORY_KIB: u32 = 160 * 1024;

/// The largest window a zstd frame may ask for, in bytes: `zstd --ultra -22` and the kernel's build use 128 MiB.
const ZSTD_WINDOW: u64 = 128 << 20;

/// How much of a zstd frame is decoded between two looks at the limit, in bytes.
const ZSTD_STEP: usize = 1 << 20;

pub(super) fn gzip(data: &[u8], out: &mut Vec<u8>, limit: usize) -> Result<usize, UnpackError> {
    let mut decoder = flate2::bufread::GzDecoder::new(data);
    drain(&mut decoder, Compression::Gzip, out, limit)?;
    Ok(data.len() - decoder.into_inner().len())
}

pub(super) fn bzip2(data: &[u8], out: &mut Vec<u8>, limit: usize) -> Result<usize, UnpackError> {
    let mut decoder = bzip2::bufread::BzDecoder::new(data);
    drain(&mut decoder, Compression::Bzip2, out, limit)?;
    Ok(data.len() - decoder.into_inner().len())
}

pub(super) fn xz(data: &[u8], out: &mut Vec<u8>, limit: usize) -> Result<usize, UnpackError> {
    let mut rest = data;
    let mut decoder = lzma_rust2::XzReader::new_mem_limit(&mut rest, false, LZMA_MEMORY_KIB);
    drain(&mut decoder, Compression::Xz, out, limit)?;
    drop(decoder);
    Ok(data.len() - rest.len())
}

pub(super) fn lzma(data: &[u8], out: &mut Vec<u8>, limit: usize) -> Result<usize, UnpackError> {
    let mut decoder = lzma_rust2::LzmaReader::new_mem_limit(data, LZMA_MEMORY_KIB, None)
        .map_err(|error| from_io(Compression::Lzma, &error))?;
    drain(&mut decoder, Compression::Lzma, out, limit)?;
    let (unread, buffered) = decoder.into_parts();
    Ok(data.len() - unread.len() - buffered.len())
}

pub(super) fn lz4_frame(data: &[u8], out: &mut Vec<u8>, limit: usize) -> Result<usize, UnpackError> {
    // The decoder takes the end of its input for the end of the frame, so it is given exactly one whole frame.
    const FORMAT: Compression = Compression::Lz4Frame;
    let frame = super::lz4::frame(data).ok_or(UnpackError::Truncated { format: FORMAT })?;
    drain(&mut lz4_flex::frame::FrameDecoder::new(frame), FORMAT, out, limit)?;
    Ok(frame.len())
}

pub(super) fn zstd(data: &[u8], out: &mut Vec<u8>, limit: usize) -> Result<usize, UnpackError> {
    const FORMAT: Compression = Compression::Zstd;
    let damaged = |error: &dyn std::error::Error| {
        let mut detail = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            if error.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == ErrorKind::UnexpectedEof) {
                return UnpackError::Truncated { format: FORMAT };
            }
            detail = error.to_string();
            cause = error.source();
        }
        UnpackError::Damaged { format: FORMAT, detail }
    };
    let mut rest = data;
    let mut decoder = ruzstd::decoding::FrameDecoder::new();
    decoder.set_max_window_size(ZSTD_WINDOW);
    decoder.init(&mut rest).map_err(|e| damaged(&e))?;
    loop {
        let step = ruzstd::decoding::BlockDecodingStrategy::UptoBytes(ZSTD_STEP);
        decoder.decode_blocks(&mut rest, step).map_err(|e| damaged(&e))?;
        if decoder.can_collect() > limit.saturating_sub(out.len()) {
            return Err(UnpackError::TooLarge { format: FORMAT, limit: limit as u64 });
        }
        decoder.collect_to_writer(&mut *out).map_err(|e| damaged(&e))?;
        if decoder.is_finished() {
            break;
        }
    }
    if decoder.get_checksum_from_data().is_some_and(|sum| decoder.get_calculated_checksum() != Some(sum)) {
        return Err(UnpackError::Damaged {
            format: FORMAT,
            detail: "the checksum does not match".to_owned(),
        });
    }
    Ok(data.len() - rest.len())
}

/// Reads `decoder` to its end, `out` growing to `limit` bytes at most.
fn drain(
    decoder: &mut impl Read,
    format: Compression,
    out: &mut Vec<u8>,
    limit: usize,
) -> Result<(), UnpackError> {
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
