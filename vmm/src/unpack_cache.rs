//! Unpacked kernels and initramfs, kept between runs in a folder of the user's own.
//!
//! What is kept becomes a guest's kernel, so nobody else may be able to put something there: the folder is used only if
//! it is the user's and others cannot write to it, and all access goes through its descriptor, so that it cannot be
//! exchanged afterwards. That an entry is whole is the loader's business, which seals them.

use std::ffi::OsStr;
use std::fs::{DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use boot::{KeptData, UnpackedStore};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, Timestamps};
use rustix::time::Timespec;

/// Bytes kept in all: a dozen kernels with their initramfs.
const MAX_BYTES: u64 = 512 << 20;
/// An entry larger than this is not kept: it would push out all others.
const MAX_ENTRY_BYTES: u64 = MAX_BYTES / 2;
/// A file being written for this long was left behind by a process that died.
const ABANDONED: Duration = Duration::from_secs(3600);
/// How names of entries end. Files called otherwise are not ours and are left alone.
const ENTRY: &str = ".unpacked";
/// How names of entries end while they are written.
const UNFINISHED: &str = ".unpacking";

/// Why a folder is not used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CacheError {
    /// It cannot be made or opened.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is somebody else's, or others may write to it.
    #[error("it must belong to the user who runs this, and others must not be able to write to it")]
    NotPrivate,
}

/// A folder with a file for each entry.
pub(crate) struct UnpackCache {
    folder: OwnedFd,
    max_bytes: u64,
    written: AtomicU64,
}

/// A file of ours in the folder.
struct Kept {
    name: Vec<u8>,
    bytes: u64,
    /// When it was last of use.
    used: SystemTime,
}

impl UnpackCache {
    /// Opens the folder at `path`, which is made, for this user only, if it is not there.
    ///
    /// # Errors
    /// [`CacheError`].
    pub(crate) fn open(path: &Path) -> Result<Self, CacheError> {
        DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::open(path, flags, Mode::empty()).map_err(io::Error::from)?;
        let status = rustix::fs::fstat(&folder).map_err(io::Error::from)?;
        let others_write = Mode::from_raw_mode(status.st_mode).intersects(Mode::WGRP | Mode::WOTH);
        if !is_ours(&status) || others_write {
            return Err(CacheError::NotPrivate);
        }
        Ok(Self { folder, max_bytes: MAX_BYTES, written: AtomicU64::new(0) })
    }

    fn read(&self, key: &str) -> io::Result<Option<Vec<u8>>> {
        // Without waiting: what is called like an entry may be a pipe.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.folder, format!("{key}{ENTRY}"), flags, Mode::empty())?;
        let status = rustix::fs::fstat(&file)?;
        let bytes = size(&status);
        if !is_file(&status) || !is_ours(&status) || bytes > MAX_ENTRY_BYTES {
            return Ok(None);
        }
        let file = File::from(file);
        let mut data = Vec::with_capacity(usize::try_from(bytes).unwrap_or(0).saturating_add(1));
        (&file).take(bytes).read_to_end(&mut data)?;
        // An entry that is used stays longest.
        let now = Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_NOW };
        let times = Timestamps { last_access: now, last_modification: now };
        rustix::fs::futimens(&file, &times)?;
        Ok(Some(data))
    }

    fn write(&self, key: &str, parts: [&[u8]; 2]) -> io::Result<()> {
        let bytes = parts.iter().fold(0_u64, |sum, part| sum.saturating_add(part.len() as u64));
        if bytes > MAX_ENTRY_BYTES.min(self.max_bytes) {
            return Ok(());
        }
        self.make_room(bytes)?;
        let number = self.written.fetch_add(1, Ordering::Relaxed);
        let unfinished = format!("{key}.{}.{number}{UNFINISHED}", std::process::id());
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file =
            File::from(rustix::fs::openat(&self.folder, &unfinished, flags, Mode::RUSR | Mode::WUSR)?);
        let written = parts.iter().try_for_each(|part| file.write_all(part)).and_then(|()| {
            Ok(rustix::fs::renameat(&self.folder, &unfinished, &self.folder, format!("{key}{ENTRY}"))?)
        });
        if written.is_err() {
            self.remove(unfinished.as_bytes());
        }
        written
    }

    /// Removes what was abandoned, and as many entries, those first that were not used for longest, as `bytes` more need.
    fn make_room(&self, bytes: u64) -> io::Result<()> {
        let (mut entries, unfinished) = self.list()?;
        let now = SystemTime::now();
        for file in unfinished {
            if now.duration_since(file.used).is_ok_and(|age| age > ABANDONED) {
                self.remove(&file.name);
            }
        }
        entries.sort_by_key(|entry| entry.used);
        let mut total = entries.iter().fold(bytes, |sum, entry| sum.saturating_add(entry.bytes));
        for entry in entries {
            if total <= self.max_bytes {
                break;
            }
            self.remove(&entry.name);
            total = total.saturating_sub(entry.bytes);
        }
        Ok(())
    }

    /// Our files: entries, and those being written.
    fn list(&self) -> io::Result<(Vec<Kept>, Vec<Kept>)> {
        let (mut entries, mut unfinished) = (Vec::new(), Vec::new());
        for found in Dir::read_from(&self.folder)? {
            let name = found?.file_name().to_bytes().to_vec();
            let list = match () {
                () if name.ends_with(ENTRY.as_bytes()) => &mut entries,
                () if name.ends_with(UNFINISHED.as_bytes()) => &mut unfinished,
                () => continue,
            };
            // It may be gone by now: others use the folder, too.
            let Ok(status) =
                rustix::fs::statat(&self.folder, OsStr::from_bytes(&name), AtFlags::SYMLINK_NOFOLLOW)
            else {
                continue;
            };
            if is_file(&status) {
                list.push(Kept { name, bytes: size(&status), used: modified(&status) });
            }
        }
        Ok((entries, unfinished))
    }

    fn remove(&self, name: &[u8]) {
        if let Err(error) = rustix::fs::unlinkat(&self.folder, OsStr::from_bytes(name), AtFlags::empty()) {
            log::debug!("{} stays in the cache: {error}", String::from_utf8_lossy(name));
        }
    }
}

impl UnpackedStore for UnpackCache {
    fn get(&self, key: &str) -> Option<KeptData> {
        match self.read(key) {
            Ok(data) => Some(Arc::new(data?)),
            Err(error) => {
                log::debug!("{key} is not in the cache: {error}");
                None
            }
        }
    }

    fn put(&self, key: &str, parts: [&[u8]; 2]) {
        if let Err(error) = self.write(key, parts) {
            log::info!("{key} is not kept: {error}");
        }
    }
}

fn is_ours(status: &Stat) -> bool {
    status.st_uid == rustix::process::geteuid().as_raw()
}

fn is_file(status: &Stat) -> bool {
    FileType::from_raw_mode(status.st_mode) == FileType::RegularFile
}

fn size(status: &Stat) -> u64 {
    u64::try_from(status.st_size).unwrap_or(0)
}

fn modified(status: &Stat) -> SystemTime {
    let seconds = u64::try_from(status.st_mtime).unwrap_or(0);
    UNIX_EPOCH.checked_add(Duration::from_secs(seconds)).unwrap_or(UNIX_EPOCH)
}

#[cfg(test)]
#[path = "unpack_cache_test.rs"]
mod unpack_cache_test;
