//! `rvmm disk resize`.

use std::path::{Path, PathBuf};

use crate::disk::config::{FlushMode, ImageFormat};
use crate::disk::error::DiskError;
use crate::disk::file::{Access, ImageFile};
use crate::disk::layer::Layer;
use crate::disk::qcow2::{Qcow2Image, Qcow2Request, has_magic};
use crate::disk::size::DiskSize;

use super::access_error;

/// An image to be made larger or smaller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResizeRequest {
    /// Its file.
    pub path: PathBuf,
    /// Its format; raw if not stated.
    pub format: Option<ImageFormat>,
    /// By how much.
    pub size: Resizing,
    /// Whether it may become smaller, which loses what is beyond.
    pub shrink: bool,
}

/// A new size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resizing {
    /// This size.
    To(DiskSize),
    /// This much more.
    By(DiskSize),
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResizeReport {
    /// Size of the disk before, bytes.
    pub from_bytes: u64,
    /// And now.
    pub to_bytes: u64,
}

/// Changes the size of the disk in an image that nobody uses. Partitions and file systems in it stay as they are.
///
/// # Errors
/// A smaller size without leave, an image in use, and the host's.
pub fn resize(request: &ResizeRequest) -> Result<ResizeReport, DiskError> {
    let ResizeRequest { path, format, .. } = request;
    if *format == Some(ImageFormat::Qcow2) {
        let opening = Qcow2Request {
            path,
            access: Access::Write,
            flush: FlushMode::default(),
            size: None,
            // It is opened, as QEMU does, since shrinking must not bring old content back.
            backing: true,
        };
        let mut image = Qcow2Image::open(&opening)?;
        if image.header().snapshots > 0 {
            let reason =
                "it has internal snapshots: delete them first with `qemu-img snapshot -d`".to_owned();
            return Err(DiskError::Refused { path: path.clone(), reason });
        }
        let from_bytes = image.bytes();
        let size = request.checked(from_bytes)?;
        image.resize(size).map_err(|source| access_error(path, *format, source))?;
        return Ok(ResizeReport { from_bytes, to_bytes: size.bytes() });
    }
    let file = ImageFile::open(path, Access::Write, FlushMode::default())?;
    if format.is_none() && has_magic(&file)? {
        return Err(DiskError::LooksLikeQcow2 { path: path.clone() });
    }
    let from_bytes = file.len().map_err(|error| file.io_error("ask for its size", error))?;
    let size = request.checked(from_bytes)?;
    file.set_len(size.bytes())?;
    file.sync().map_err(|error| file.io_error("flush it", error))?;
    Ok(ResizeReport { from_bytes, to_bytes: size.bytes() })
}

impl ResizeRequest {
    fn checked(&self, from_bytes: u64) -> Result<DiskSize, DiskError> {
        let path: &Path = &self.path;
        let size = match self.size {
            Resizing::To(size) => Ok(size),
            Resizing::By(more) => DiskSize::new(from_bytes.saturating_add(more.bytes())),
        };
        let size = size.map_err(|source| DiskError::Size { path: path.to_owned(), source })?;
        if size.bytes() < from_bytes && !self.shrink {
            let reason = format!(
                "it would shrink from {from_bytes} to {} bytes and lose what is beyond: add --shrink if that is meant",
                size.bytes()
            );
            return Err(DiskError::Refused { path: path.to_owned(), reason });
        }
        Ok(size)
    }
}
