//! The host's file below an image.

use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use guest_memory::vectored;
use rustix::fs::SeekFrom;

use super::buffers::{Source, Target};
use super::config::FlushMode;
use super::error::DiskError;
#[cfg(test)]
use super::journal::{Change, Journal};
use super::os::{self, HOLE_BYTES, LockFailure, SyncCall};

/// Zeros that are written where no hole can be made.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// The most zeros written by one call, bytes.
const ZEROS_PER_CALL: u64 = 4 << 20;

/// Whether a file is opened to be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Read only; shared with other readers.
    Read,
    /// Read and written; shared with nobody.
    Write,
}

/// An open, locked image file or block device. Usable from several threads.
#[derive(Debug)]
pub(super) struct ImageFile {
    file: File,
    path: PathBuf,
    is_device: bool,
    flush: FlushMode,
    /// Whether the lock goes with this value.
    is_locked: bool,
    /// Cleared when the file system turns out not to have holes.
    has_holes: AtomicBool,
    /// Set when the host failed to bring written data to safety.
    sync_failed: AtomicBool,
    #[cfg(test)]
    pub(super) journal: Journal,
}

impl ImageFile {
    /// Opens and locks what exists.
    pub(super) fn open(path: &Path, access: Access, flush: FlushMode) -> Result<Self, DiskError> {
        let (file, path, is_device) = Self::find(path, access)?;
        Self::locked(file, path, is_device, access, flush)
    }

    /// Opens a file or block device, and nothing else; answers whether it is a device.
    fn find(path: &Path, access: Access) -> Result<(File, PathBuf, bool), DiskError> {
        let path = path.to_owned();
        let io = |action, source| DiskError::Io { path: path.clone(), action, source };
        let writes = access == Access::Write;
        let found = match std::fs::metadata(&path) {
            Ok(metadata) => metadata.file_type(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(DiskError::Missing { path });
            }
            Err(error) => return Err(io("look at it", error)),
        };
        let kind = |kind| DiskError::Kind { path: path.clone(), kind };
        let is_device = found.is_block_device();
        if found.is_dir() {
            return Err(kind("a directory"));
        }
        if !is_device && !found.is_file() {
            return Err(kind("neither a file nor a block device"));
        }
        let mut options = OpenOptions::new();
        options.read(true).write(writes);
        // A FIFO that took the file's place does not block.
        let exclusive = if is_device && writes { os::exclusive_open_flags() } else { 0 };
        options.custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY | exclusive);
        let file = options.open(&path).map_err(|error| match error.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem if writes => {
                DiskError::NotWritable { path: path.clone(), source: error }
            }
            io::ErrorKind::ResourceBusy => {
                DiskError::Locked { path: path.clone(), pid: None, shared: !writes }
            }
            _ => io("open it", error),
        })?;
        let opened = file.metadata().map_err(|error| io("look at it", error))?.file_type();
        if !(opened.is_file() && !is_device || opened.is_block_device() && is_device) {
            return Err(kind("something else than it was a moment ago"));
        }
        Ok((file, path, is_device))
    }

    /// Opens what exists to look at it, also while somebody uses it; answers whether somebody writes it.
    pub(super) fn inspect(path: &Path) -> Result<(Self, bool), DiskError> {
        let (file, path, is_device) = Self::find(path, Access::Read)?;
        let in_use = matches!(os::lock(&file, false), Err(LockFailure::Held(_)));
        os::unlock(&file);
        Ok((Self::unlocked(file, path, is_device, FlushMode::None), in_use))
    }

    /// Makes a file that does not exist yet, `bytes` long and without any space of its own.
    pub(super) fn create(path: &Path, bytes: u64, flush: FlushMode) -> Result<Self, DiskError> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(path);
        let file = file.map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => DiskError::Exists { path: path.to_owned() },
            _ => DiskError::Io { path: path.to_owned(), action: "make it", source },
        })?;
        let made = Self::locked(file, path.to_owned(), false, Access::Write, flush)
            .and_then(|image| image.set_len(bytes).map(|()| image));
        if made.is_err() {
            // What is not a whole image must not be taken for one later. That it stays is not worse than the error.
            let _ = std::fs::remove_file(path);
        }
        made
    }

    /// A file without a name that is gone when it is closed, `bytes` long.
    pub(super) fn temporary(folder: &Path, bytes: u64) -> Result<Self, DiskError> {
        let io = |action, source| DiskError::Io { path: folder.to_owned(), action, source };
        let file = tempfile::tempfile_in(folder).map_err(|error| io("make a temporary file there", error))?;
        file.set_len(bytes).map_err(|error| io("make a temporary file as large as the disk there", error))?;
        Ok(Self::unlocked(file, folder.to_owned(), false, FlushMode::None))
    }

    fn locked(
        file: File,
        path: PathBuf,
        is_device: bool,
        access: Access,
        flush: FlushMode,
    ) -> Result<Self, DiskError> {
        let exclusive = access == Access::Write;
        match os::lock(&file, exclusive) {
            Ok(()) => {}
            Err(LockFailure::Unsupported) => {
                log::warn!(
                    "{}: the file system has no locks: nothing else may use the image",
                    path.display()
                );
            }
            Err(LockFailure::Held(pid)) => return Err(DiskError::Locked { path, pid, shared: !exclusive }),
            Err(LockFailure::Io(source)) => return Err(DiskError::Io { path, action: "lock it", source }),
        }
        let mut image = Self::unlocked(file, path, is_device, flush);
        image.is_locked = true;
        Ok(image)
    }

    /// The same open file once more; the lock stays with `self`.
    pub(super) fn share(&self) -> Result<Self, DiskError> {
        let file = self.file.try_clone().map_err(|error| self.io_error("open it", error))?;
        Ok(Self::unlocked(file, self.path.clone(), self.is_device, self.flush))
    }

    pub(super) fn unlocked(file: File, path: PathBuf, is_device: bool, flush: FlushMode) -> Self {
        os::leave_access_time(&file);
        let (has_holes, sync_failed) = (AtomicBool::new(true), AtomicBool::new(false));
        Self {
            file,
            path,
            is_device,
            flush,
            is_locked: false,
            has_holes,
            sync_failed,
            #[cfg(test)]
            journal: Default::default(),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn is_device(&self) -> bool {
        self.is_device
    }

    pub(super) fn io_error(&self, action: &'static str, source: io::Error) -> DiskError {
        DiskError::Io { path: self.path.clone(), action, source }
    }

    /// Length now, bytes.
    pub(super) fn len(&self) -> io::Result<u64> {
        if self.is_device { os::device_bytes(&self.file) } else { Ok(self.file.metadata()?.len()) }
    }

    /// Space taken now, bytes. stat(2) counts in units of 512.
    pub(super) fn allocated_bytes(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.blocks().saturating_mul(512))
    }

    pub(super) fn set_len(&self, bytes: u64) -> Result<(), DiskError> {
        if self.is_device {
            return Err(DiskError::BlockDevice { path: self.path.clone(), what: "resized" });
        }
        #[cfg(test)]
        self.journal.note(|| Change::Length(bytes));
        self.file.set_len(bytes).map_err(|error| self.io_error("set its length", error))
    }

    /// Fills `target` from `offset` on.
    ///
    /// # Errors
    /// The host's, and `UnexpectedEof` if the file ends before.
    pub(super) fn read(&self, mut target: Target<'_>, offset: u64) -> io::Result<()> {
        self.read_to_end(&mut target, offset)?;
        if target.len() == 0 { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    /// Fills `target` from `offset` on, up to the file's end; what is left of it is not filled.
    pub(super) fn read_to_end(&self, target: &mut Target<'_>, mut offset: u64) -> io::Result<()> {
        while target.len() > 0 {
            let bytes = vectored::read_at(self.file.as_fd(), target.slices(), offset)?;
            if bytes == 0 {
                break;
            }
            target.advance(bytes);
            offset = offset.saturating_add(bytes as u64);
        }
        Ok(())
    }

    /// Writes all of `source` from `offset` on.
    pub(super) fn write(&self, mut source: Source<'_>, mut offset: u64) -> io::Result<()> {
        #[cfg(test)]
        self.journal.note(|| Change::of(&source, offset));
        while source.len() > 0 {
            let bytes = vectored::write_at(self.file.as_fd(), source.slices(), offset)?;
            if bytes == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            source.advance(bytes);
            offset = offset.saturating_add(bytes as u64);
        }
        Ok(())
    }

    /// Brings to safety what was written, as [`FlushMode`] says.
    ///
    /// A host tells of data that it could not write at one call only, and may have dropped it. So after a failure every
    /// further call fails.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.sync_by(sync_call(self.flush, os::DRIVE_NEEDS_FULL_SYNC))
    }

    /// What was written before reaches the medium before what is written after, as far as [`FlushMode`] goes.
    pub(super) fn order(&self) -> io::Result<()> {
        self.sync_by(sync_call(self.flush, os::DRIVE_NEEDS_FULL_SYNC).map(SyncCall::for_order))
    }

    fn sync_by(&self, call: Option<SyncCall>) -> io::Result<()> {
        let Some(call) = call else { return Ok(()) };
        if self.sync_failed.load(Ordering::Acquire) {
            return Err(io::Error::other("an earlier flush failed: data may be lost"));
        }
        match os::sync(&self.file, call) {
            Ok(()) => {
                #[cfg(test)]
                self.journal.note(|| Change::Sync);
                Ok(())
            }
            Err(error) => {
                self.sync_failed.store(true, Ordering::Release);
                Err(error)
            }
        }
    }

    /// Gives back the space of the whole blocks in a range, which then read as zeros, if the file system can.
    pub(super) fn punch(&self, range: Range<u64>) -> io::Result<()> {
        let inner = whole_blocks(&range);
        if inner.is_empty() || !self.has_holes.load(Ordering::Relaxed) {
            return Ok(());
        }
        #[cfg(test)]
        self.journal.note(|| Change::Zero(inner.clone()));
        match os::punch_hole(&self.file, inner.start, inner.end - inner.start) {
            Err(error) if is_unsupported(&error) => {
                self.has_holes.store(false, Ordering::Relaxed);
                Ok(())
            }
            answer => answer,
        }
    }

    /// Makes a range read as zeros. With `unmap` its space is given back where possible, else it is kept.
    pub(super) fn zero(&self, range: Range<u64>, unmap: bool) -> io::Result<()> {
        #[cfg(test)]
        self.journal.note(|| Change::Zero(range.clone()));
        let inner = whole_blocks(&range);
        let (offset, len) = (inner.start, inner.end.saturating_sub(inner.start));
        let quick = match (inner.is_empty(), unmap) {
            (true, _) => Err(io::ErrorKind::Unsupported.into()),
            (false, true) => os::punch_hole(&self.file, offset, len),
            (false, false) => os::zero_range(&self.file, offset, len),
        };
        match quick {
            Ok(()) => {
                self.write_zeros(range.start..inner.start)?;
                self.write_zeros(inner.end..range.end)
            }
            Err(error) if is_unsupported(&error) => self.write_zeros(range),
            Err(error) => Err(error),
        }
    }

    fn write_zeros(&self, range: Range<u64>) -> io::Result<()> {
        let mut offset = range.start;
        while offset < range.end {
            let len = (range.end - offset).min(ZEROS_PER_CALL);
            self.write(Source::repeating(&ZEROS, len as usize), offset)?;
            offset += len;
        }
        Ok(())
    }

    /// The first range from `offset` on, and before `end`, that may hold anything but zeros.
    pub(super) fn next_data(&self, offset: u64, end: u64) -> io::Result<Option<Range<u64>>> {
        if offset >= end {
            return Ok(None);
        }
        // File systems and devices without holes answer that all is data, or do not know the question.
        let start = match rustix::fs::seek(&self.file, SeekFrom::Data(offset)) {
            Ok(start) => start,
            Err(rustix::io::Errno::NXIO) => return Ok(None),
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOTTY | rustix::io::Errno::NODEV) => offset,
            Err(error) => return Err(error.into()),
        };
        let stop = rustix::fs::seek(&self.file, SeekFrom::Hole(start)).unwrap_or(end);
        Ok((start < end).then(|| start..stop.clamp(start, end)))
    }
}

impl Drop for ImageFile {
    fn drop(&mut self) {
        if self.is_locked {
            os::unlock(&self.file);
        }
    }
}

/// The call that `flush` asks for.
fn sync_call(flush: FlushMode, drive_needs_full: bool) -> Option<SyncCall> {
    match flush {
        FlushMode::None => None,
        FlushMode::Drive if drive_needs_full => Some(SyncCall::Full),
        FlushMode::Os | FlushMode::Drive => Some(SyncCall::Data),
    }
}

/// The part of a range that holes can be made in.
fn whole_blocks(range: &Range<u64>) -> Range<u64> {
    let start = range.start.checked_next_multiple_of(HOLE_BYTES).unwrap_or(range.end).min(range.end);
    let end = (range.end - range.end % HOLE_BYTES).max(start);
    start..end
}

fn is_unsupported(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::Unsupported
        || matches!(
            error.raw_os_error(),
            Some(libc::EOPNOTSUPP | libc::ENOSYS | libc::ENOTTY | libc::ENODEV | libc::EINVAL)
        )
}

#[cfg(test)]
#[path = "file_test.rs"]
mod file_test;
