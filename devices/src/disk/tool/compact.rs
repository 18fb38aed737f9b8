//! `rvmm disk compact`.

use std::path::Path;

use super::convert::rewrite;
use super::{PIECE_BYTES, Progress, access_error, advance, open, runs};
use crate::disk::config::ImageFormat;
use crate::disk::error::DiskError;
use crate::disk::image::DiskImage;
use crate::disk::os::HOLE_BYTES;

use super::info::info;

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompactReport {
    /// Space that the file took before, bytes.
    pub from_bytes: u64,
    /// And now.
    pub to_bytes: u64,
}

/// Gives back the space of blocks that hold zeros only, in an image that nobody uses. A raw image is changed in place;
/// a qcow2 image is written anew beside the old one, and takes its place when it is whole.
///
/// # Errors
/// An image in use, one with snapshots or a backing file, which would not survive, and the host's.
pub fn compact(
    path: &Path,
    format: Option<ImageFormat>,
    progress: &mut dyn Progress,
) -> Result<CompactReport, DiskError> {
    let before = info(path, Some(format.unwrap_or(ImageFormat::Raw)))?;
    let image = open(path, format, false, false)?;
    match before.qcow2 {
        None => punch_zeros(&image, progress).map_err(|source| access_error(path, format, source))?,
        Some(header) if header.snapshots > 0 => {
            let reason = "it has internal snapshots, which would be lost: delete them first".to_owned();
            return Err(DiskError::Refused { path: path.to_owned(), reason });
        }
        Some(header) => rewrite(&image, path, header.cluster_bytes, progress)?,
    }
    drop(image);
    let after = info(path, Some(before.format))?;
    Ok(CompactReport { from_bytes: before.allocated_bytes, to_bytes: after.allocated_bytes })
}

fn punch_zeros(image: &DiskImage, progress: &mut dyn Progress) -> std::io::Result<()> {
    let mut piece = vec![0; PIECE_BYTES];
    let mut offset = 0;
    while let Some(data) = image.next_data(offset)? {
        // Blocks count from the disk's start.
        offset = data.start - data.start % HOLE_BYTES;
        while offset < data.end {
            let len = (data.end - offset).min(PIECE_BYTES as u64);
            let piece = piece.get_mut(..len as usize).unwrap_or_default();
            image.read_at(piece, offset)?;
            for (_, run) in runs(piece, HOLE_BYTES as usize).into_iter().filter(|(is_zero, _)| *is_zero) {
                image.discard(offset + run.start as u64, run.len() as u64)?;
            }
            offset += len;
            advance(progress, offset, image.bytes())?;
        }
    }
    image.flush()
}
