//! Linux: `O_PATH` descriptors are handles, and /proc/self/fd is the way from one to everything that wants a path.

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{
    self, AtFlags, FileType, Gid, Mode, OFlags, SeekFrom, Statx, StatxFlags, Timestamps, Uid, XattrFlags,
};
use rustix::io::Errno;

use super::stat::dirent_type;
use super::{FileId, FileTime, HostResult, Stat};
use crate::p9::wire::HostErrnos;
use crate::p9::wire::spec::file_type;

/// The column of the table of error numbers.
pub(in crate::p9) const ERRNOS: HostErrnos = HostErrnos::Linux;

/// Do names of extended attributes mean here what they mean to a Linux guest, beyond `user.`?
pub(in crate::p9) const XATTR_NAMESPACES: bool = true;

/// Reaches one file, directory or symlink, whatever it is called by now.
#[derive(Debug)]
pub(in crate::p9) struct Handle {
    fd: OwnedFd,
}

/// `/proc/self/fd/N`: following it leads to what the descriptor is open on, a symlink included, which is not followed.
fn magic_link(fd: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

fn stat_of(x: &Statx) -> Stat {
    let time = |t: &fs::StatxTimestamp| FileTime { seconds: t.tv_sec, nanoseconds: t.tv_nsec };
    let born = StatxFlags::from_bits_retain(x.stx_mask).contains(StatxFlags::BTIME);
    Stat {
        id: FileId { device: fs::makedev(x.stx_dev_major, x.stx_dev_minor), inode: x.stx_ino },
        mode: x.stx_mode.into(),
        links: x.stx_nlink.into(),
        uid: x.stx_uid,
        gid: x.stx_gid,
        device: (x.stx_rdev_major, x.stx_rdev_minor),
        size: x.stx_size,
        block_size: x.stx_blksize.into(),
        blocks: x.stx_blocks,
        atime: time(&x.stx_atime),
        mtime: time(&x.stx_mtime),
        ctime: time(&x.stx_ctime),
        btime: born.then(|| time(&x.stx_btime)),
    }
}

fn statx(dir: BorrowedFd<'_>, name: &CStr, flags: AtFlags) -> HostResult<Stat> {
    let mask = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
    fs::statx(dir, name, flags | AtFlags::NO_AUTOMOUNT, mask).map(|x| stat_of(&x))
}

impl Handle {
    /// The directory a share begins at, found by following symlinks: the host's user names it.
    pub(in crate::p9) fn root(path: &Path) -> HostResult<Self> {
        fs::stat("/proc/self/fd")?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self { fd: fs::open(path, flags, Mode::empty())? })
    }

    /// What `name` in the directory `dir` is. `file_type` is what it was when last looked at.
    pub(in crate::p9) fn child(dir: &Arc<Self>, name: &CStr, _file_type: u32) -> HostResult<Self> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(Self { fd: fs::openat(&dir.fd, name, flags, Mode::empty())? })
    }

    /// The same as [`Self::child`]: here every handle stays with its file when the name is gone.
    pub(in crate::p9) fn lasting_child(dir: &Arc<Self>, name: &CStr, file_type: u32) -> HostResult<Self> {
        Self::child(dir, name, file_type)
    }

    /// The file that `fd` is open on.
    pub(in crate::p9) fn of_open(fd: OwnedFd) -> Self {
        Self { fd }
    }

    /// The descriptor, as the directory of a `…at` call or of an open file.
    pub(in crate::p9) fn fd(&self) -> HostResult<BorrowedFd<'_>> {
        Ok(self.fd.as_fd())
    }

    pub(in crate::p9) fn stat(&self) -> HostResult<Stat> {
        statx(self.fd.as_fd(), c"", AtFlags::EMPTY_PATH)
    }

    /// The attributes of `name` in this directory.
    pub(in crate::p9) fn stat_child(&self, name: &CStr) -> HostResult<Stat> {
        statx(self.fd.as_fd(), name, AtFlags::SYMLINK_NOFOLLOW)
    }

    /// Opens the regular file this is; the caller has looked that it is one.
    pub(in crate::p9) fn open_file(&self, flags: OFlags) -> HostResult<OwnedFd> {
        let flags = flags | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        fs::open(magic_link(self.fd.as_fd()), flags, Mode::empty())
    }

    /// Opens the directory this is, for reading its entries.
    pub(in crate::p9) fn open_dir(&self) -> HostResult<OwnedFd> {
        fs::openat(&self.fd, c".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
    }

    pub(in crate::p9) fn read_link(&self) -> HostResult<Vec<u8>> {
        fs::readlinkat(&self.fd, c"", Vec::new()).map(|target| target.into_bytes())
    }

    pub(in crate::p9) fn chmod(&self, permissions: u32) -> HostResult<()> {
        if self.stat()?.file_type() == file_type::SYMLINK {
            return Err(Errno::OPNOTSUPP);
        }
        fs::chmod(magic_link(self.fd.as_fd()), Mode::from_bits_retain(permissions))
    }

    pub(in crate::p9) fn chown(&self, uid: Option<u32>, gid: Option<u32>) -> HostResult<()> {
        let (uid, gid) = (uid.map(Uid::from_raw), gid.map(Gid::from_raw));
        fs::chownat(&self.fd, c"", uid, gid, AtFlags::EMPTY_PATH)
    }

    pub(in crate::p9) fn set_times(&self, times: &Timestamps) -> HostResult<()> {
        fs::utimensat(fs::CWD, magic_link(self.fd.as_fd()), times, AtFlags::empty())
    }

    /// Gives this file another name, in `dir`.
    pub(in crate::p9) fn link_to(&self, dir: &Self, name: &CStr) -> HostResult<()> {
        fs::linkat(fs::CWD, magic_link(self.fd.as_fd()), &dir.fd, name, AtFlags::SYMLINK_FOLLOW)
    }

    /// An attribute's value, into `value`; answers its length.
    pub(in crate::p9) fn xattr_get(&self, name: &CStr, value: &mut [u8]) -> HostResult<usize> {
        fs::getxattr(magic_link(self.fd.as_fd()), name, value)
    }

    /// Names of the attributes, each with a NUL behind it, into `names`; answers their length.
    pub(in crate::p9) fn xattr_list(&self, names: &mut [u8]) -> HostResult<usize> {
        fs::listxattr(magic_link(self.fd.as_fd()), names)
    }

    pub(in crate::p9) fn xattr_set(&self, name: &CStr, value: &[u8], flags: XattrFlags) -> HostResult<()> {
        fs::setxattr(magic_link(self.fd.as_fd()), name, value, flags)
    }

    pub(in crate::p9) fn xattr_remove(&self, name: &CStr) -> HostResult<()> {
        fs::removexattr(magic_link(self.fd.as_fd()), name)
    }

    /// Another open file of the regular file this is open on, to hold its locks.
    pub(in crate::p9) fn open_for_locks(&self) -> HostResult<OwnedFd> {
        self.open_file(OFlags::RDWR).or_else(|_| self.open_file(OFlags::RDONLY))
    }
}

/// Waits until the file is on stable storage; its data and what it takes to find it if `data_only`.
pub(in crate::p9) fn sync(fd: BorrowedFd<'_>, data_only: bool) -> HostResult<()> {
    if data_only { fs::fdatasync(fd) } else { fs::fsync(fd) }
}

/// Makes a FIFO or a socket. Device nodes are the caller's to refuse.
pub(in crate::p9) fn make_special(dir: &Handle, name: &CStr, kind: u32, permissions: u32) -> HostResult<()> {
    let kind = match kind {
        file_type::FIFO => FileType::Fifo,
        file_type::SOCKET => FileType::Socket,
        _ => return Err(Errno::PERM),
    };
    fs::mknodat(&dir.fd, name, kind, Mode::from_bits_retain(permissions), 0)
}

/// Bytes of entries taken from the kernel at once.
const MIN_BUFFER: usize = 1024;
const MAX_BUFFER: usize = 128 << 10;

/// Reads a directory's entries from any offset it has named. Offsets are the file system's own, so they stay good while
/// entries are removed, and nothing is kept here but the position.
#[derive(Debug)]
pub(in crate::p9) struct DirReader {
    fd: OwnedFd,
    /// The offset at which the kernel goes on; none if it is not known.
    position: Option<u64>,
}

impl DirReader {
    pub(in crate::p9) fn new(fd: OwnedFd) -> Self {
        Self { fd, position: Some(0) }
    }

    pub(in crate::p9) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Bytes kept in memory for this directory.
    pub(in crate::p9) fn memory(&self) -> usize {
        0
    }

    /// Gives that memory back.
    pub(in crate::p9) fn forget(&mut self) {}

    /// Hands on entries from `offset` (0: the first): name, inode, `DT_…` type, offset behind it; until `take` answers that
    /// it has no room, or some have been handed on. `room` is how many bytes the taker's entries may have in all.
    pub(in crate::p9) fn read(
        &mut self,
        offset: u64,
        room: usize,
        mut take: impl FnMut(&CStr, u64, u8, u64) -> bool,
    ) -> HostResult<()> {
        if self.position != Some(offset) {
            fs::seek(&self.fd, SeekFrom::Start(offset))?;
        }
        self.position = None;
        // The kernel's entries are no longer than 7/6 of the protocol's: with this buffer all that are read have room.
        let size = (room / 7 * 6).clamp(MIN_BUFFER, MAX_BUFFER);
        let mut buffer = Vec::<u8>::with_capacity(size + 8);
        let spare: &mut [MaybeUninit<u8>] = buffer.spare_capacity_mut();
        let mut entries = fs::RawDir::new(&self.fd, spare);
        let mut next = offset;
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let kind = dirent_type(entry.file_type());
            if !take(entry.file_name(), entry.ino(), kind, entry.next_entry_cookie()) {
                return Ok(());
            }
            next = entry.next_entry_cookie();
            if entries.is_buffer_empty() {
                break;
            }
        }
        self.position = Some(next);
        Ok(())
    }
}
