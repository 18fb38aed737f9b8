//! macOS: no `O_PATH`. A directory's handle is the directory, open; another file's is its directory and name, checked
//! against the inode by whoever uses it (`tree::Node`), or an open descriptor where one can be had.
#![allow(unsafe_code)] // mkfifoat(2) is younger than the oldest macOS we start on, and looked up

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{self, AtFlags, Gid, Mode, OFlags, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use super::stat::dirent_type;
use super::{FileId, FileTime, HostResult, Stat};
use crate::p9::wire::HostErrnos;
use crate::p9::wire::spec::file_type;

/// The column of the table of error numbers.
pub(in crate::p9) const ERRNOS: HostErrnos = HostErrnos::MacOs;

/// Names of extended attributes have no prefixes here: only `user.` is the guest's.
pub(in crate::p9) const XATTR_NAMESPACES: bool = false;

/// `O_SYMLINK`, open(2): opens a symlink itself.
const O_SYMLINK: OFlags = OFlags::from_bits_retain(libc::O_SYMLINK as _);

/// Most bytes of a directory's entries kept while it is being read.
const MAX_LISTING: usize = 32 << 20;

/// Reaches one file, directory or symlink.
#[derive(Debug)]
pub(in crate::p9) enum Handle {
    /// Stays with the file whatever it is called.
    Open(OwnedFd),
    /// What is called so.
    Named { dir: Arc<Handle>, name: Box<CStr> },
}

fn stat_of(s: &fs::Stat) -> Stat {
    let time = |seconds: i64, nanoseconds: i64| FileTime {
        seconds,
        nanoseconds: u32::try_from(nanoseconds).unwrap_or(0),
    };
    let device = s.st_rdev as u32;
    Stat {
        id: FileId { device: u64::from(s.st_dev as u32), inode: s.st_ino },
        mode: s.st_mode.into(),
        links: s.st_nlink.into(),
        uid: s.st_uid,
        gid: s.st_gid,
        device: (device >> 24, device & 0xff_ffff),
        size: s.st_size.unsigned_abs(),
        block_size: s.st_blksize.unsigned_abs().into(),
        blocks: s.st_blocks.unsigned_abs(),
        atime: time(s.st_atime, s.st_atime_nsec),
        mtime: time(s.st_mtime, s.st_mtime_nsec),
        ctime: time(s.st_ctime, s.st_ctime_nsec),
        btime: Some(time(s.st_birthtime, s.st_birthtime_nsec)),
    }
}

impl Handle {
    pub(in crate::p9) fn root(path: &Path) -> HostResult<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self::Open(fs::open(path, flags, Mode::empty())?))
    }

    pub(in crate::p9) fn child(dir: &Arc<Self>, name: &CStr, file_type: u32) -> HostResult<Self> {
        if file_type == file_type::DIRECTORY {
            return Self::lasting_child(dir, name, file_type);
        }
        Ok(Self::Named { dir: Arc::clone(dir), name: name.into() })
    }

    /// A handle that stays with its file when the name is gone; other files than these three kinds can have none.
    pub(in crate::p9) fn lasting_child(dir: &Arc<Self>, name: &CStr, file_type: u32) -> HostResult<Self> {
        let flags = match file_type {
            file_type::DIRECTORY => OFlags::DIRECTORY | OFlags::NOFOLLOW,
            file_type::REGULAR => OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY,
            file_type::SYMLINK => O_SYMLINK,
            _ => return Err(Errno::OPNOTSUPP),
        };
        let flags = flags | OFlags::RDONLY | OFlags::CLOEXEC;
        Ok(Self::Open(fs::openat(dir.fd()?, name, flags, Mode::empty())?))
    }

    pub(in crate::p9) fn of_open(fd: OwnedFd) -> Self {
        Self::Open(fd)
    }

    pub(in crate::p9) fn fd(&self) -> HostResult<BorrowedFd<'_>> {
        match self {
            Self::Open(fd) => Ok(fd.as_fd()),
            Self::Named { .. } => Err(Errno::NOTDIR),
        }
    }

    pub(in crate::p9) fn stat(&self) -> HostResult<Stat> {
        match self {
            Self::Open(fd) => fs::fstat(fd).map(|s| stat_of(&s)),
            Self::Named { dir, name } => dir.stat_child(name),
        }
    }

    pub(in crate::p9) fn stat_child(&self, name: &CStr) -> HostResult<Stat> {
        fs::statat(self.fd()?, name, AtFlags::SYMLINK_NOFOLLOW).map(|s| stat_of(&s))
    }

    /// Opens the regular file this is. Between the caller's look and this it may have become another file: what was opened
    /// is compared.
    pub(in crate::p9) fn open_file(&self, flags: OFlags) -> HostResult<OwnedFd> {
        let Self::Named { dir, name } = self else {
            // There is no way from an open descriptor to one of other access.
            return self.fd().and_then(rustix::io::dup);
        };
        let before = self.stat()?;
        let flags = flags | OFlags::NOFOLLOW | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = fs::openat(dir.fd()?, &**name, flags, Mode::empty())?;
        let now = stat_of(&fs::fstat(&file)?);
        if (now.id, now.file_type()) == (before.id, before.file_type()) {
            Ok(file)
        } else {
            Err(Errno::STALE)
        }
    }

    pub(in crate::p9) fn open_dir(&self) -> HostResult<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        fs::openat(self.fd()?, c".", flags, Mode::empty())
    }

    pub(in crate::p9) fn read_link(&self) -> HostResult<Vec<u8>> {
        match self {
            Self::Named { dir, name } => {
                fs::readlinkat(dir.fd()?, &**name, Vec::new()).map(|target| target.into_bytes())
            }
            Self::Open(_) => Err(Errno::STALE), // removed while the guest holds it: freadlink(2) came with macOS 13
        }
    }

    pub(in crate::p9) fn chmod(&self, permissions: u32) -> HostResult<()> {
        let mode = Mode::from_bits_retain(permissions as _);
        match self {
            Self::Open(fd) => fs::fchmod(fd, mode),
            Self::Named { dir, name } => fs::chmodat(dir.fd()?, &**name, mode, AtFlags::SYMLINK_NOFOLLOW),
        }
    }

    pub(in crate::p9) fn chown(&self, uid: Option<u32>, gid: Option<u32>) -> HostResult<()> {
        let (uid, gid) = (uid.map(Uid::from_raw), gid.map(Gid::from_raw));
        match self {
            Self::Open(fd) => fs::fchown(fd, uid, gid),
            Self::Named { dir, name } => fs::chownat(dir.fd()?, &**name, uid, gid, AtFlags::SYMLINK_NOFOLLOW),
        }
    }

    pub(in crate::p9) fn set_times(&self, times: &Timestamps) -> HostResult<()> {
        match self {
            Self::Open(fd) => fs::futimens(fd, times),
            Self::Named { dir, name } => fs::utimensat(dir.fd()?, &**name, times, AtFlags::SYMLINK_NOFOLLOW),
        }
    }

    pub(in crate::p9) fn link_to(&self, to: &Self, new_name: &CStr) -> HostResult<()> {
        match self {
            Self::Open(_) => Err(Errno::NOENT), // as Linux says of a file without a name
            Self::Named { dir, name } => fs::linkat(dir.fd()?, &**name, to.fd()?, new_name, AtFlags::empty()),
        }
    }

    /// Attributes are reached through a descriptor: macOS has no call that takes a directory's.
    fn with_open<T>(&self, call: impl FnOnce(BorrowedFd<'_>) -> HostResult<T>) -> HostResult<T> {
        match self {
            Self::Open(fd) => call(fd.as_fd()),
            Self::Named { dir, name } => {
                let stat = dir.stat_child(name)?;
                call(Self::lasting_child(dir, name, stat.file_type())?.fd()?)
            }
        }
    }

    pub(in crate::p9) fn xattr_get(&self, name: &CStr, value: &mut [u8]) -> HostResult<usize> {
        self.with_open(|fd| fs::fgetxattr(fd, name, value))
    }

    pub(in crate::p9) fn xattr_list(&self, names: &mut [u8]) -> HostResult<usize> {
        self.with_open(|fd| fs::flistxattr(fd, names))
    }

    pub(in crate::p9) fn xattr_set(&self, name: &CStr, value: &[u8], flags: XattrFlags) -> HostResult<()> {
        self.with_open(|fd| fs::fsetxattr(fd, name, value, flags))
    }

    pub(in crate::p9) fn xattr_remove(&self, name: &CStr) -> HostResult<()> {
        self.with_open(|fd| fs::fremovexattr(fd, name))
    }

    /// A descriptor to hold the file's locks: of the same open file, since there is no way to another.
    pub(in crate::p9) fn open_for_locks(&self) -> HostResult<OwnedFd> {
        self.fd().and_then(rustix::io::dup)
    }
}

/// Hands the file to the drive. There is no fdatasync(2) here, and what is in the drive's cache stays there.
pub(in crate::p9) fn sync(fd: BorrowedFd<'_>, _data_only: bool) -> HostResult<()> {
    fs::fsync(fd)
}

/// Makes a FIFO, where macOS has the call for it (13 on). Sockets can only be made by binding one to a path.
pub(in crate::p9) fn make_special(dir: &Handle, name: &CStr, kind: u32, permissions: u32) -> HostResult<()> {
    type MkFifoAt = unsafe extern "C" fn(libc::c_int, *const libc::c_char, libc::mode_t) -> libc::c_int;
    use std::os::fd::AsRawFd;
    if kind != file_type::FIFO {
        return Err(Errno::OPNOTSUPP);
    }
    // SAFETY: looks a name up; the name is a C string.
    let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"mkfifoat".as_ptr()) };
    if found.is_null() {
        return Err(Errno::OPNOTSUPP);
    }
    // SAFETY: this is the function's type, from sys/stat.h.
    let mkfifoat: MkFifoAt = unsafe { std::mem::transmute(found) };
    // SAFETY: an open descriptor and a C string.
    if unsafe { mkfifoat(dir.fd()?.as_raw_fd(), name.as_ptr(), permissions as libc::mode_t) } == 0 {
        return Ok(());
    }
    let number = std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO);
    Err(Errno::from_raw_os_error(number))
}

/// Reads a directory's entries. Offsets of macOS's file systems move when entries are removed, so all entries are read at
/// the first call and at each return to the start, and offsets are positions among them.
#[derive(Debug)]
pub(in crate::p9) struct DirReader {
    fd: OwnedFd,
    entries: Vec<(Box<CStr>, u64, u8)>,
    bytes: usize,
}

impl DirReader {
    pub(in crate::p9) fn new(fd: OwnedFd) -> Self {
        Self { fd, entries: Vec::new(), bytes: 0 }
    }

    pub(in crate::p9) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    pub(in crate::p9) fn memory(&self) -> usize {
        self.bytes
    }

    pub(in crate::p9) fn forget(&mut self) {
        self.entries = Vec::new();
        self.bytes = 0;
    }

    fn list(&mut self) -> HostResult<()> {
        self.entries.clear();
        self.bytes = 0;
        let mut dir = fs::Dir::read_from(&self.fd)?;
        while let Some(entry) = dir.read() {
            let entry = entry?;
            self.bytes += 40 + entry.file_name().to_bytes().len();
            if self.bytes > MAX_LISTING {
                return Err(Errno::NOMEM);
            }
            self.entries.push((entry.file_name().into(), entry.ino(), dirent_type(entry.file_type())));
        }
        Ok(())
    }

    pub(in crate::p9) fn read(
        &mut self,
        offset: u64,
        _room: usize,
        mut take: impl FnMut(&CStr, u64, u8, u64) -> bool,
    ) -> HostResult<()> {
        if offset == 0 || self.entries.is_empty() {
            self.list()?;
        }
        let first = usize::try_from(offset).unwrap_or(usize::MAX);
        for (index, (name, inode, kind)) in self.entries.iter().enumerate().skip(first) {
            if !take(name, *inode, *kind, index as u64 + 1) {
                break;
            }
        }
        Ok(())
    }
}
