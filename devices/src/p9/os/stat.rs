//! A file's attributes, the same for every host.

use rustix::fs::FileType;

use crate::p9::wire::spec::file_type;

/// What names a file on this host while it exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in crate::p9) struct FileId {
    /// The file system's device number.
    pub(in crate::p9) device: u64,
    /// The inode's number within it.
    pub(in crate::p9) inode: u64,
}

/// A time: seconds since 1970, and nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::p9) struct FileTime {
    pub(in crate::p9) seconds: i64,
    pub(in crate::p9) nanoseconds: u32,
}

/// stat(2).
#[derive(Clone, Copy, Debug)]
pub(in crate::p9) struct Stat {
    pub(in crate::p9) id: FileId,
    /// File type and permissions, `wire::spec::file_type`.
    pub(in crate::p9) mode: u32,
    pub(in crate::p9) links: u64,
    pub(in crate::p9) uid: u32,
    pub(in crate::p9) gid: u32,
    /// Major and minor number of a device node.
    pub(in crate::p9) device: (u32, u32),
    /// Bytes.
    pub(in crate::p9) size: u64,
    /// Bytes that input and output should come in.
    pub(in crate::p9) block_size: u64,
    /// Units of 512 bytes.
    pub(in crate::p9) blocks: u64,
    pub(in crate::p9) atime: FileTime,
    pub(in crate::p9) mtime: FileTime,
    pub(in crate::p9) ctime: FileTime,
    pub(in crate::p9) btime: Option<FileTime>,
}

impl Stat {
    /// The file type's bits of the mode.
    pub(in crate::p9) fn file_type(&self) -> u32 {
        self.mode & file_type::MASK
    }
}

/// `DT_…`, which the wire has the same.
pub(super) fn dirent_type(kind: FileType) -> u8 {
    let mode = match kind {
        FileType::RegularFile => file_type::REGULAR,
        FileType::Directory => file_type::DIRECTORY,
        FileType::Symlink => file_type::SYMLINK,
        FileType::Fifo => file_type::FIFO,
        FileType::Socket => file_type::SOCKET,
        FileType::CharacterDevice => file_type::CHARACTER,
        FileType::BlockDevice => file_type::BLOCK,
        FileType::Unknown => 0,
    };
    (mode >> 12) as u8
}
