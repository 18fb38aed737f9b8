//! Raw images: the disk's bytes as they are, in a file or block device.

use std::io;
use std::ops::Range;

use super::buffers::{Source, Target};
use super::config::FlushMode;
use super::error::DiskError;
use super::file::{Access, ImageFile};
use super::layer::Layer;
use super::os::HOLE_BYTES;
use super::qcow2;
use super::size::DiskSize;

/// A raw image.
#[derive(Debug)]
pub(super) struct RawImage {
    file: ImageFile,
    bytes: u64,
}

/// What is to be opened.
pub(super) struct RawRequest<'a> {
    pub(super) path: &'a std::path::Path,
    pub(super) access: Access,
    pub(super) flush: FlushMode,
    /// Made with this size if missing or empty, else the size that it must have.
    pub(super) size: Option<DiskSize>,
    /// The format was stated, so the content may look like anything.
    pub(super) is_stated: bool,
}

impl RawImage {
    pub(super) fn open(request: &RawRequest<'_>) -> Result<Self, DiskError> {
        let &RawRequest { path, access, flush, size, is_stated } = request;
        let file = match (ImageFile::open(path, access, flush), size) {
            (Err(DiskError::Missing { .. }), Some(size)) => ImageFile::create(path, size.bytes(), flush)?,
            (opened, _) => opened?,
        };
        let mut bytes = file.len().map_err(|error| file.io_error("ask for its size", error))?;
        if let (0, Some(size), false) = (bytes, size, file.is_device()) {
            file.set_len(size.bytes())?;
            bytes = size.bytes();
        }
        let path = file.path();
        if bytes == 0 {
            return Err(DiskError::Empty { path: path.to_owned() });
        }
        if !is_stated && qcow2::has_magic(&file)? {
            return Err(DiskError::LooksLikeQcow2 { path: path.to_owned() });
        }
        if let Some(stated) = size.filter(|size| size.bytes() != bytes) {
            return Err(DiskError::OtherSize { path: path.to_owned(), actual: bytes, stated });
        }
        DiskSize::new(bytes).map_err(|source| DiskError::Size { path: path.to_owned(), source })?;
        Ok(Self { file, bytes })
    }
}

impl Layer for RawImage {
    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn discard_bytes(&self) -> u64 {
        HOLE_BYTES
    }

    fn read(&self, target: Target<'_>, offset: u64) -> io::Result<()> {
        self.file.read(target, offset)
    }

    fn write(&self, source: Source<'_>, offset: u64) -> io::Result<()> {
        self.file.write(source, offset)
    }

    fn flush(&self) -> io::Result<()> {
        self.file.sync()
    }

    fn discard(&self, range: Range<u64>) -> io::Result<()> {
        self.file.punch(range)
    }

    fn zero(&self, range: Range<u64>, unmap: bool) -> io::Result<()> {
        self.file.zero(range, unmap)
    }

    fn next_data(&self, offset: u64) -> io::Result<Option<Range<u64>>> {
        self.file.next_data(offset, self.bytes)
    }
}

#[cfg(test)]
#[path = "raw_test.rs"]
mod raw_test;
