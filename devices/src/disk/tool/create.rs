//! `rvmm disk create`.

use std::path::PathBuf;

use crate::disk::config::{FlushMode, ImageFormat};
use crate::disk::error::DiskError;
use crate::disk::file::ImageFile;
use crate::disk::qcow2;
use crate::disk::size::DiskSize;

/// An image to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateRequest {
    /// Its file, which must not exist.
    pub path: PathBuf,
    /// The size of the disk.
    pub size: DiskSize,
    /// Its format.
    pub format: ImageFormat,
}

/// Makes an image of zeros that takes next to no space.
///
/// # Errors
/// [`DiskError::Exists`], and the host's.
pub fn create(request: &CreateRequest) -> Result<(), DiskError> {
    let CreateRequest { path, size, format } = request;
    match format {
        ImageFormat::Raw => ImageFile::create(path, size.bytes(), FlushMode::Os).map(drop),
        ImageFormat::Qcow2 => qcow2::create(path, *size, FlushMode::Os).map(drop),
    }
}
