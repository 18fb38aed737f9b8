//! macOS.
#![allow(unsafe_code)] // fcntl(2) and ioctl(2) requests that rustix does not know

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use rustix::fs::FlockOperation;
use rustix::io::Errno;
use rustix::ioctl::{Getter, Opcode, ioctl, opcode};

use super::{LockFailure, SyncCall};

/// `fsync` stops at the drive's cache (fsync(2)).
pub(in crate::disk) const DRIVE_NEEDS_FULL_SYNC: bool = true;

/// `DKIOCGETBLOCKSIZE` of sys/disk.h.
const BLOCK_SIZE: Opcode = opcode::read::<u32>(b'd', 24);
/// `DKIOCGETBLOCKCOUNT` of sys/disk.h.
const BLOCK_COUNT: Opcode = opcode::read::<u64>(b'd', 25);

/// Flags of open(2) for a block device that is to be written. The system itself refuses to write to a mounted one.
pub(in crate::disk) fn exclusive_open_flags() -> i32 {
    0
}

/// Reads of a file need not note the time: this system has no such wish.
pub(in crate::disk) fn leave_access_time(_: &File) {}

/// Size of a block device, bytes.
pub(in crate::disk) fn device_bytes(device: &File) -> io::Result<u64> {
    // SAFETY: these requests write an u32 and an u64 (sys/disk.h).
    let (size, count) = unsafe {
        (ioctl(device, Getter::<BLOCK_SIZE, u32>::new())?, ioctl(device, Getter::<BLOCK_COUNT, u64>::new())?)
    };
    count.checked_mul(u64::from(size)).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
}

pub(in crate::disk) fn sync(file: &File, call: SyncCall) -> io::Result<()> {
    match call {
        SyncCall::Data => Ok(rustix::fs::fsync(file)?),
        SyncCall::Full => Ok(rustix::fs::fcntl_fullfsync(file)?),
        // SAFETY: the descriptor is open, the request takes nothing.
        SyncCall::Barrier => match unsafe { libc::fcntl(file.as_raw_fd(), libc::F_BARRIERFSYNC) } {
            // Not every file system and drive knows it.
            -1 => sync(file, SyncCall::Full),
            _ => Ok(()),
        },
    }
}

/// Gives back the space of a range, which then reads as zeros.
pub(in crate::disk) fn punch_hole(file: &File, offset: u64, len: u64) -> io::Result<()> {
    let out_of_range = |_| io::Error::from(io::ErrorKind::InvalidInput);
    let hole = libc::fpunchhole_t {
        fp_flags: 0,
        reserved: 0,
        fp_offset: offset.try_into().map_err(out_of_range)?,
        fp_length: len.try_into().map_err(out_of_range)?,
    };
    // SAFETY: the descriptor is open, the structure lives through the call.
    match unsafe { libc::fcntl(file.as_raw_fd(), libc::F_PUNCHHOLE, &raw const hole) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Makes a range read as zeros, and keeps its space: there is no such call.
pub(in crate::disk) fn zero_range(_file: &File, _offset: u64, _len: u64) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Locks the whole file until it is closed. flock(2) locks belong to the open file, so two disks of one process exclude
/// each other as well; who holds one cannot be asked.
pub(in crate::disk) fn lock(file: &File, exclusive: bool) -> Result<(), LockFailure> {
    let operation = if exclusive {
        FlockOperation::NonBlockingLockExclusive
    } else {
        FlockOperation::NonBlockingLockShared
    };
    match rustix::fs::flock(file, operation) {
        Ok(()) => Ok(()),
        Err(Errno::WOULDBLOCK) => Err(LockFailure::Held(None)),
        Err(Errno::NOTSUP | Errno::OPNOTSUPP | Errno::NOLCK) => Err(LockFailure::Unsupported),
        Err(error) => Err(LockFailure::Io(error.into())),
    }
}

/// Gives the lock back now, also if a process that is just being started still has the file open.
pub(in crate::disk) fn unlock(file: &File) {
    // If it fails, closing the file does it.
    let _ = rustix::fs::flock(file, FlockOperation::Unlock);
}
