//! New images.

use std::path::Path;
use std::sync::Arc;

use imago::FormatCreateBuilder;
use imago::qcow2::Qcow2;

use super::contained;
use super::storage::QcowFile;
use crate::disk::config::FlushMode;
use crate::disk::error::DiskError;
use crate::disk::file::ImageFile;
use crate::disk::size::DiskSize;

/// Makes an image that does not exist yet.
pub(in crate::disk) fn create(path: &Path, size: DiskSize, flush: FlushMode) -> Result<ImageFile, DiskError> {
    create_with(path, size, flush, None)
}

/// The same, with clusters of a size of choice.
pub(in crate::disk) fn create_with(
    path: &Path,
    size: DiskSize,
    flush: FlushMode,
    cluster_bytes: Option<u64>,
) -> Result<ImageFile, DiskError> {
    let made = ImageFile::create(path, 0, flush).and_then(|file| format(file, size, cluster_bytes));
    if made.is_err() && !matches!(made, Err(DiskError::Exists { .. })) {
        // What is not a whole image must not be taken for one later. That it stays is not worse than the error.
        let _ = std::fs::remove_file(path);
    }
    made
}

/// Makes an image of an empty file.
pub(super) fn format(
    file: ImageFile,
    size: DiskSize,
    cluster_bytes: Option<u64>,
) -> Result<ImageFile, DiskError> {
    let storage = QcowFile::new(file.share()?, Arc::default());
    let mut builder = Qcow2::<QcowFile>::create_builder(storage).size(size.bytes());
    if let Some(bytes) = cluster_bytes.and_then(|bytes| usize::try_from(bytes).ok()) {
        builder = builder.cluster_size(bytes);
    }
    contained(|| builder.create()).map_err(|error| file.io_error("make a qcow2 image of it", error))?;
    Ok(file)
}
