//! What file calls differ in between hosts.

#[cfg(any(target_os = "linux", target_os = "android"))]
#[path = "linux.rs"]
mod host;

#[cfg(target_vendor = "apple")]
#[path = "macos.rs"]
mod host;

pub(super) use host::{
    DRIVE_NEEDS_FULL_SYNC, device_bytes, exclusive_open_flags, leave_access_time, lock, punch_hole, sync,
    unlock, zero_range,
};

/// Holes begin and end at multiples of this, bytes. macOS refuses others (`F_PUNCHHOLE` of fcntl(2)), Linux frees whole
/// blocks of the file system only.
pub(super) const HOLE_BYTES: u64 = 4096;

/// A system call that brings written data to safety.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SyncCall {
    /// `fdatasync`, or `fsync` where there is none.
    Data,
    /// `F_FULLFSYNC`.
    Full,
    /// `F_BARRIERFSYNC`: like `F_FULLFSYNC` for the order of writes, without waiting for the drive.
    Barrier,
}

impl SyncCall {
    /// What does where only the order matters.
    pub(super) fn for_order(self) -> Self {
        if self == Self::Full { Self::Barrier } else { self }
    }
}

/// Why a file was not locked.
#[derive(Debug)]
pub(super) enum LockFailure {
    /// Another open file has a lock; its process, if that can be known.
    Held(Option<u32>),
    /// The file system has no locks.
    Unsupported,
    /// Anything else.
    Io(std::io::Error),
}
