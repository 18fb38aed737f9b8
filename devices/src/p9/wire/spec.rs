//! Numbers of the protocol.

/// The dialect this server speaks, as Tversion and Rversion name it.
pub(crate) const VERSION: &[u8] = b"9P2000.L";
/// What Rversion names when the client asks for another one.
pub(crate) const VERSION_UNKNOWN: &[u8] = b"unknown";

/// Bytes of `size[4] type[1] tag[2]`, with which every message begins.
pub(crate) const HEADER_LEN: usize = 7;
/// Bytes of a Twrite up to its data: header, `fid[4] offset[8] count[4]`.
pub(crate) const WRITE_HEADER_LEN: usize = HEADER_LEN + 16;
/// Bytes of an Rread or Rreaddir up to its data: header, `count[4]`.
pub(crate) const READ_REPLY_HEADER_LEN: usize = HEADER_LEN + 4;
/// Bytes of an Rlerror: header, `ecode[4]`. Room for it makes any request answerable.
pub(crate) const ERROR_REPLY_LEN: usize = HEADER_LEN + 4;

/// "No fid": the afid of a client that does not authenticate.
pub(crate) const NO_FID: u32 = !0;
/// "No user": the n_uname of a client that names none.
pub(crate) const NO_USER: u32 = !0;
/// Most names in one Twalk (`MAXWELEM` of the manual's walk(5)).
pub(crate) const MAX_WALK_NAMES: usize = 16;

/// Message types: that of a request. Its reply's is one more.
pub(crate) mod message {
    pub(crate) const RLERROR: u8 = 7;
    pub(crate) const TSTATFS: u8 = 8;
    pub(crate) const TLOPEN: u8 = 12;
    pub(crate) const TLCREATE: u8 = 14;
    pub(crate) const TSYMLINK: u8 = 16;
    pub(crate) const TMKNOD: u8 = 18;
    pub(crate) const TRENAME: u8 = 20;
    pub(crate) const TREADLINK: u8 = 22;
    pub(crate) const TGETATTR: u8 = 24;
    pub(crate) const TSETATTR: u8 = 26;
    pub(crate) const TXATTRWALK: u8 = 30;
    pub(crate) const TXATTRCREATE: u8 = 32;
    pub(crate) const TREADDIR: u8 = 40;
    pub(crate) const TFSYNC: u8 = 50;
    pub(crate) const TLOCK: u8 = 52;
    pub(crate) const TGETLOCK: u8 = 54;
    pub(crate) const TLINK: u8 = 70;
    pub(crate) const TMKDIR: u8 = 72;
    pub(crate) const TRENAMEAT: u8 = 74;
    pub(crate) const TUNLINKAT: u8 = 76;
    pub(crate) const TVERSION: u8 = 100;
    pub(crate) const TAUTH: u8 = 102;
    pub(crate) const TATTACH: u8 = 104;
    pub(crate) const TFLUSH: u8 = 108;
    pub(crate) const TWALK: u8 = 110;
    pub(crate) const TREAD: u8 = 116;
    pub(crate) const TWRITE: u8 = 118;
    pub(crate) const TCLUNK: u8 = 120;
    pub(crate) const TREMOVE: u8 = 122;
}

/// Bits of qid.type.
pub(crate) mod qid_type {
    pub(crate) const DIRECTORY: u8 = 0x80;
    pub(crate) const SYMLINK: u8 = 0x02;
    pub(crate) const FILE: u8 = 0x00;
}

/// File types in a mode, as Linux numbers them (and every other Unix).
pub(crate) mod file_type {
    pub(crate) const MASK: u32 = 0o170_000;
    pub(crate) const SOCKET: u32 = 0o140_000;
    pub(crate) const SYMLINK: u32 = 0o120_000;
    pub(crate) const REGULAR: u32 = 0o100_000;
    pub(crate) const BLOCK: u32 = 0o060_000;
    pub(crate) const DIRECTORY: u32 = 0o040_000;
    pub(crate) const CHARACTER: u32 = 0o020_000;
    pub(crate) const FIFO: u32 = 0o010_000;
}

/// Mode bits below the file type: permissions, set-user-id, set-group-id, sticky.
pub(crate) const PERMISSIONS: u32 = 0o7777;

/// Bits of Rgetattr's valid mask.
pub(crate) mod getattr {
    /// Mode to blocks: everything that stat(2) knows.
    pub(crate) const BASIC: u64 = 0x7ff;
    /// Time of birth.
    pub(crate) const BTIME: u64 = 0x800;
}

/// Bits of Tsetattr's valid mask.
pub(crate) mod setattr {
    pub(crate) const MODE: u32 = 0x1;
    pub(crate) const UID: u32 = 0x2;
    pub(crate) const GID: u32 = 0x4;
    pub(crate) const SIZE: u32 = 0x8;
    pub(crate) const ATIME: u32 = 0x10;
    pub(crate) const MTIME: u32 = 0x20;
    /// The time of change is to be now, which any change makes it.
    pub(crate) const CTIME: u32 = 0x40;
    /// The time of access is the message's; without this bit it is now.
    pub(crate) const ATIME_SET: u32 = 0x80;
    /// The time of modification is the message's; without this bit it is now.
    pub(crate) const MTIME_SET: u32 = 0x100;
}

/// Tunlinkat's flag for directories, Linux's `AT_REMOVEDIR`.
pub(crate) const UNLINK_DIRECTORY: u32 = 0x200;

/// Flags of Txattrcreate, Linux's `XATTR_…`.
pub(crate) mod xattr {
    pub(crate) const CREATE: u32 = 1;
    pub(crate) const REPLACE: u32 = 2;
}

/// Types and answers of Tlock and Tgetlock.
pub(crate) mod lock {
    pub(crate) const READ: u8 = 0;
    pub(crate) const WRITE: u8 = 1;
    pub(crate) const UNLOCK: u8 = 2;

    pub(crate) const SUCCESS: u8 = 0;
    pub(crate) const BLOCKED: u8 = 1;
    pub(crate) const ERROR: u8 = 2;
}

/// Rstatfs's type: what a 9P mount calls itself, whatever is below it (Linux's `V9FS_MAGIC`).
pub(crate) const V9FS_MAGIC: u32 = 0x0102_1997;
