//! What imago reads and writes a qcow2 file through.
#![allow(unsafe_code)] // imago's trait has unsafe methods, and hands over vectors of raw ranges

use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use imago::Storage;
use imago::io_buffers::{IoVector, IoVectorMut};
use imago::storage::PreallocateMode;
use imago::storage::drivers::CommonStorageHelper;

use super::order::Order;
use crate::disk::buffers::{Source, Target};
use crate::disk::file::ImageFile;
use crate::disk::os::HOLE_BYTES;

/// A locked file as imago's storage.
#[derive(Debug)]
pub(super) struct QcowFile {
    file: ImageFile,
    /// Set when the image's state in memory is in doubt: nothing is written any more.
    sealed: Arc<AtomicBool>,
    /// Of an image that is written.
    order: Option<Arc<Order>>,
    helper: CommonStorageHelper,
}

impl QcowFile {
    /// Writes are refused once `sealed` is set.
    pub(super) fn new(file: ImageFile, sealed: Arc<AtomicBool>) -> Self {
        Self { file, sealed, order: None, helper: CommonStorageHelper::default() }
    }

    /// The same with writes in order.
    pub(super) fn ordered(file: ImageFile, sealed: Arc<AtomicBool>, order: Arc<Order>) -> Self {
        Self { order: Some(order), ..Self::new(file, sealed) }
    }

    /// Gives back the space of the whole blocks in a range, which then read as zeros, if the file system can.
    pub(super) fn punch(&self, range: Range<u64>) -> io::Result<()> {
        self.change(range.clone(), None, || self.file.punch(range))
    }

    /// Carries out what changes `range`, into `bytes` if they are known.
    fn change(
        &self,
        range: Range<u64>,
        bytes: Option<&Source<'_>>,
        work: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<()> {
        if self.sealed.load(Ordering::Acquire) {
            return Err(io::Error::other("the image is no longer written after an internal failure"));
        }
        match &self.order {
            Some(order) => order.keep(&self.file, range, bytes, work),
            None => work(),
        }
    }
}

impl fmt::Display for QcowFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.path().display())
    }
}

impl Storage for QcowFile {
    fn zero_align(&self) -> usize {
        HOLE_BYTES as usize
    }

    fn discard_align(&self) -> usize {
        HOLE_BYTES as usize
    }

    fn size(&self) -> io::Result<u64> {
        self.file.len()
    }

    /// A cluster may end after the file does: what is missing is zeros. One that begins there is not in the file, which
    /// was cut off, and zeros would be a lie.
    unsafe fn pure_readv(&self, mut buffers: IoVectorMut<'_>, offset: u64) -> io::Result<()> {
        let mut target = Target::of_ranges(&mut buffers);
        let wanted = target.len();
        self.file.read_to_end(&mut target, offset)?;
        if wanted > 0 && target.len() == wanted {
            let message = format!("the file is cut off: nothing at {offset:#x}");
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message));
        }
        target.zero();
        Ok(())
    }

    unsafe fn pure_writev(&self, buffers: IoVector<'_>, offset: u64) -> io::Result<()> {
        let source = Source::of_ranges(&buffers);
        let end = offset.saturating_add(source.len() as u64);
        self.change(offset..end, Some(&source), || self.file.write(Source::of_ranges(&buffers), offset))
    }

    unsafe fn pure_write_zeroes(&self, offset: u64, length: u64) -> io::Result<()> {
        let Some(end) = offset.checked_add(length).filter(|_| length > 0) else {
            return if length == 0 { Ok(()) } else { Err(io::ErrorKind::InvalidInput.into()) };
        };
        self.change(offset..end, None, || {
            self.file.zero(offset..end, true)?;
            if end > self.file.len()? {
                // Grows the file, and unlike truncation cannot shrink what another thread has grown meanwhile.
                self.file.write(Source::of_bytes(&[0]), end - 1)?;
            }
            Ok(())
        })
    }

    unsafe fn pure_discard(&self, offset: u64, length: u64) -> io::Result<()> {
        self.punch(offset..offset.saturating_add(length))
    }

    /// Nothing is buffered here.
    fn flush(&self) -> io::Result<()> {
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        match &self.order {
            Some(order) => order.sync(&self.file),
            None => self.file.sync(),
        }
    }

    unsafe fn invalidate_cache(&self) -> io::Result<()> {
        Ok(())
    }

    fn get_storage_helper(&self) -> &CommonStorageHelper {
        &self.helper
    }

    fn resize(&self, new_size: u64, mode: PreallocateMode) -> io::Result<()> {
        match mode {
            PreallocateMode::None | PreallocateMode::Zero => self
                .change(new_size..u64::MAX, None, || self.file.set_len(new_size).map_err(io::Error::other)),
            _ => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}
