//! An image that is open for use.

use std::io;
use std::ops::Range;

use vm_memory::VolatileSlice;
use vm_memory::bitmap::BitmapSlice;

use super::MAX_REQUEST_BYTES;
use super::buffers::{Source, Target};
use super::config::{DiskConfig, ImageFormat, OverlayMode};
use super::error::DiskError;
use super::file::Access;
use super::layer::Layer;
use super::overlay::Overlay;
use super::qcow2::{Qcow2Image, Qcow2Request};
use super::raw::{RawImage, RawRequest};

/// An open, locked disk image. Requests come from any number of threads; dropping it closes and unlocks it.
///
/// Offsets and lengths are bytes. Every request is refused with `InvalidInput` that goes past the disk's end or moves more
/// than [`MAX_REQUEST_BYTES`], and with `PermissionDenied` if it changes a read-only disk. A request that fails may have
/// been carried out in part.
#[derive(Debug)]
pub struct DiskImage {
    layer: Box<dyn Layer>,
    bytes: u64,
    read_only: bool,
    serial: Option<String>,
}

impl DiskImage {
    /// Opens, locks and checks an image; makes it first if a size is stated and it is missing.
    ///
    /// # Errors
    /// One line that names the file and says what to do.
    pub fn open(config: &DiskConfig) -> Result<Self, DiskError> {
        let path = &config.path;
        config.validate().map_err(|source| DiskError::Config { path: path.clone(), source })?;
        let throw_away = config.overlay == Some(OverlayMode::Tmp);
        let access = if config.ro || throw_away { Access::Read } else { Access::Write };
        let (flush, size) = (config.flush, config.size);
        let layer: Box<dyn Layer> = match config.format_in_force() {
            ImageFormat::Raw => {
                let is_stated = config.format.is_some();
                Box::new(RawImage::open(&RawRequest { path, access, flush, size, is_stated })?)
            }
            ImageFormat::Qcow2 => {
                let backing = config.backing;
                Box::new(Qcow2Image::open(&Qcow2Request { path, access, flush, size, backing })?)
            }
        };
        let layer = if throw_away { Box::new(Overlay::over(layer)?) } else { layer };
        let image = Self { bytes: layer.bytes(), layer, read_only: config.ro, serial: config.serial.clone() };
        log::info!("{}: {} bytes{}", path.display(), image.bytes, if config.ro { ", read-only" } else { "" });
        Ok(image)
    }

    /// Of a layer that is there already.
    pub(super) fn over(layer: Box<dyn Layer>, read_only: bool) -> Self {
        Self { bytes: layer.bytes(), layer, read_only, serial: None }
    }

    /// Size of the disk, bytes: whole sectors of [`super::SECTOR_BYTES`].
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether the disk refuses to be changed.
    pub fn is_read_only(&self) -> bool {
        self.read_only
    }

    /// The serial number asked for.
    pub fn serial(&self) -> Option<&str> {
        self.serial.as_deref()
    }

    /// Space can be given back in whole, aligned blocks of this many bytes, a power of two.
    pub fn discard_bytes(&self) -> u64 {
        self.layer.discard_bytes()
    }

    /// Fills guest memory from `offset` on, and marks it as written.
    ///
    /// # Errors
    /// As said at the type, and the host's.
    pub fn read_vectored_at<B: BitmapSlice>(
        &self,
        into: &[VolatileSlice<'_, B>],
        offset: u64,
    ) -> io::Result<()> {
        let target = Target::of_slices(into);
        self.check(offset, target.len())?;
        let answer = self.layer.read(target, offset);
        for slice in into {
            slice.bitmap().mark_dirty(0, slice.len());
        }
        answer
    }

    /// Writes guest memory from `offset` on.
    ///
    /// # Errors
    /// As said at the type, and the host's.
    pub fn write_vectored_at<B: BitmapSlice>(
        &self,
        from: &[VolatileSlice<'_, B>],
        offset: u64,
    ) -> io::Result<()> {
        let source = Source::of_slices(from);
        self.check_change()?;
        self.check(offset, source.len())?;
        self.layer.write(source, offset)
    }

    /// Fills a buffer from `offset` on.
    ///
    /// # Errors
    /// As said at the type, and the host's.
    pub fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        self.check(offset, into.len())?;
        self.layer.read(Target::of_bytes(into), offset)
    }

    /// Writes a buffer from `offset` on.
    ///
    /// # Errors
    /// As said at the type, and the host's.
    pub fn write_at(&self, from: &[u8], offset: u64) -> io::Result<()> {
        self.check_change()?;
        self.check(offset, from.len())?;
        self.layer.write(Source::of_bytes(from), offset)
    }

    /// Brings to safety what was written before, as far as [`super::FlushMode`] says.
    ///
    /// # Errors
    /// The host's. Then data may be lost; every later flush fails too.
    pub fn flush(&self) -> io::Result<()> {
        if self.read_only { Ok(()) } else { self.layer.flush() }
    }

    /// Gives back the space of a range, as far as whole blocks and the host allow. It then reads as before or as zeros.
    ///
    /// # Errors
    /// As said at the type, and the host's.
    pub fn discard(&self, offset: u64, len: u64) -> io::Result<()> {
        self.check_change()?;
        self.layer.discard(self.range(offset, len)?)
    }

    /// Makes a range read as zeros. With `unmap` its space is given back where possible, else it is kept.
    ///
    /// # Errors
    /// As said at the type, and the host's.
    pub fn write_zeroes(&self, offset: u64, len: u64, unmap: bool) -> io::Result<()> {
        self.check_change()?;
        self.layer.zero(self.range(offset, len)?, unmap)
    }

    /// The first range from `offset` on that may hold anything but zeros; nothing if zeros follow up to the end.
    ///
    /// # Errors
    /// The host's.
    pub fn next_data(&self, offset: u64) -> io::Result<Option<Range<u64>>> {
        if offset >= self.bytes { Ok(None) } else { self.layer.next_data(offset) }
    }

    fn check_change(&self) -> io::Result<()> {
        if self.read_only { Err(io::ErrorKind::PermissionDenied.into()) } else { Ok(()) }
    }

    fn check(&self, offset: u64, len: usize) -> io::Result<()> {
        if len > MAX_REQUEST_BYTES {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "more than one request may move"));
        }
        self.range(offset, len as u64).map(drop)
    }

    fn range(&self, offset: u64, len: u64) -> io::Result<Range<u64>> {
        let end = offset.checked_add(len).filter(|end| *end <= self.bytes);
        let past = || io::Error::new(io::ErrorKind::InvalidInput, "past the end of the disk");
        end.map(|end| offset..end).ok_or_else(past)
    }
}

#[cfg(test)]
#[path = "image_test.rs"]
mod image_test;
