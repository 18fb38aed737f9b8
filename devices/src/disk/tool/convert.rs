//! `rvmm disk convert`.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::{PIECE_BYTES, Progress, access_error, advance, open, runs};
use crate::disk::config::{FlushMode, ImageFormat};
use crate::disk::error::DiskError;
use crate::disk::file::{Access, ImageFile};
use crate::disk::image::DiskImage;
use crate::disk::qcow2::{self, Qcow2Image, Qcow2Request};
use crate::disk::raw::{RawImage, RawRequest};
use crate::disk::size::DiskSize;

/// An image to be copied into another format, or the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConvertRequest {
    /// The image to read; nobody may be writing it.
    pub source: PathBuf,
    /// Its format; raw if not stated.
    pub source_format: Option<ImageFormat>,
    /// Whether its backing file may be read; the copy has none.
    pub backing: bool,
    /// The image to make.
    pub target: PathBuf,
    /// Its format.
    pub target_format: ImageFormat,
    /// Whether a file that is there already is replaced.
    pub replace: bool,
}

/// Copies a disk into a new image, without the blocks that hold zeros only. The new file takes its name when it is whole and
/// safe on the host's disk; an error leaves what was there.
///
/// # Errors
/// An image in use, a target that exists, and the host's.
pub fn convert(request: &ConvertRequest, progress: &mut dyn Progress) -> Result<(), DiskError> {
    let ConvertRequest { source, source_format, backing, target, target_format, replace } = request;
    let from = open(source, *source_format, true, *backing)?;
    if !replace && std::fs::symlink_metadata(target).is_ok() {
        return Err(DiskError::Exists { path: target.clone() });
    }
    // A file that is replaced is nobody's.
    let _old = match ImageFile::open(target, Access::Write, FlushMode::None) {
        Ok(old) if old.is_device() => {
            return Err(DiskError::BlockDevice { path: target.clone(), what: "replaced by a file" });
        }
        Ok(old) => Some(old),
        Err(DiskError::Missing { .. }) => None,
        Err(error) => return Err(error),
    };
    write_new(&from, target, *target_format, None, *replace, progress)
}

/// Writes a qcow2 image anew in its own place.
pub(super) fn rewrite(
    image: &DiskImage,
    path: &Path,
    cluster_bytes: u64,
    progress: &mut dyn Progress,
) -> Result<(), DiskError> {
    write_new(image, path, ImageFormat::Qcow2, Some(cluster_bytes), true, progress)
}

fn write_new(
    from: &DiskImage,
    target: &Path,
    format: ImageFormat,
    cluster_bytes: Option<u64>,
    replace: bool,
    progress: &mut dyn Progress,
) -> Result<(), DiskError> {
    let path = || target.to_owned();
    let io_error = |action| move |source| DiskError::Io { path: target.to_owned(), action, source };
    let size = DiskSize::new(from.bytes()).map_err(|source| DiskError::Size { path: path(), source })?;
    let folder = match target.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    let mut failure = None;
    let made =
        tempfile::Builder::new().prefix(&format!(".{name}.")).suffix(".part").make_in(folder, |path| {
            make(path, format, size, cluster_bytes).map_err(|error| {
                // The maker tries other names while one is taken.
                let kind = if matches!(error, DiskError::Exists { .. }) {
                    io::ErrorKind::AlreadyExists
                } else {
                    io::ErrorKind::Other
                };
                failure = Some(error);
                kind.into()
            })
        });
    let made = made.map_err(|source| failure.unwrap_or_else(|| io_error("make a file beside it")(source)))?;
    copy(from, made.as_file(), progress).map_err(|source| access_error(target, Some(format), source))?;
    let (image, part) = made.into_parts();
    // The image's tables are in the file when it is dropped, and safe by the flush before.
    drop(image);
    let renamed = if replace { part.persist(target) } else { part.persist_noclobber(target) };
    renamed.map_err(|error| io_error("give the new image this name")(error.error))?;
    // The name is as safe as the content when the folder is. Not every file system can do that.
    if let Err(error) = File::open(folder).and_then(|folder| folder.sync_all()) {
        log::debug!("{}: cannot be flushed: {error}", folder.display());
    }
    Ok(())
}

fn make(
    path: &Path,
    format: ImageFormat,
    size: DiskSize,
    cluster_bytes: Option<u64>,
) -> Result<DiskImage, DiskError> {
    let (access, flush) = (Access::Write, FlushMode::default());
    Ok(match format {
        ImageFormat::Raw => {
            ImageFile::create(path, size.bytes(), flush)?;
            let request = RawRequest { path, access, flush, size: Some(size), is_stated: true };
            DiskImage::over(Box::new(RawImage::open(&request)?), false)
        }
        ImageFormat::Qcow2 => {
            qcow2::create_with(path, size, flush, cluster_bytes)?;
            let request = Qcow2Request { path, access, flush, size: Some(size), backing: false };
            DiskImage::over(Box::new(Qcow2Image::open(&request)?), false)
        }
    })
}

/// Copies all but zeros into an image of zeros.
fn copy(from: &DiskImage, to: &DiskImage, progress: &mut dyn Progress) -> io::Result<()> {
    let block = to.discard_bytes();
    let mut piece = vec![0; PIECE_BYTES];
    let mut offset = 0;
    while let Some(data) = from.next_data(offset)? {
        offset = offset.max(data.start - data.start % block);
        while offset < data.end {
            let len = (data.end - offset).min(PIECE_BYTES as u64);
            let piece = piece.get_mut(..len as usize).unwrap_or_default();
            from.read_at(piece, offset)?;
            for (_, run) in runs(piece, block as usize).into_iter().filter(|(is_zero, _)| !is_zero) {
                let start = offset + run.start as u64;
                to.write_at(piece.get(run).unwrap_or_default(), start)?;
            }
            offset += len;
            advance(progress, offset, from.bytes())?;
        }
    }
    to.flush()
}
