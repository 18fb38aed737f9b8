//! Linux.
#![allow(unsafe_code)] // fcntl(2)

use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::os::fd::AsRawFd;

use rustix::fs::{FallocateFlags, OFlags, fcntl_getfl, fcntl_setfl};

use super::{LockFailure, SyncCall};

/// `fdatasync` reaches the drive's medium.
pub(in crate::disk) const DRIVE_NEEDS_FULL_SYNC: bool = false;

/// Flags of open(2) for a block device that is to be written: fails if it is mounted.
pub(in crate::disk) fn exclusive_open_flags() -> i32 {
    libc::O_EXCL
}

/// Reads of `file` do not note the time: that costs as much as a twentieth of a quick read. Only its owner may ask for it.
pub(in crate::disk) fn leave_access_time(file: &File) {
    // Without it, all works as well.
    let _ = fcntl_getfl(file).and_then(|flags| fcntl_setfl(file, flags | OFlags::NOATIME));
}

/// Size of a block device, bytes.
pub(in crate::disk) fn device_bytes(mut device: &File) -> io::Result<u64> {
    device.seek(SeekFrom::End(0))
}

/// There is one call for all.
pub(in crate::disk) fn sync(file: &File, _: SyncCall) -> io::Result<()> {
    Ok(rustix::fs::fdatasync(file)?)
}

/// Gives back the space of a range, which then reads as zeros.
pub(in crate::disk) fn punch_hole(file: &File, offset: u64, len: u64) -> io::Result<()> {
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    Ok(rustix::fs::fallocate(file, flags, offset, len)?)
}

/// Makes a range read as zeros, and keeps its space.
pub(in crate::disk) fn zero_range(file: &File, offset: u64, len: u64) -> io::Result<()> {
    let flags = FallocateFlags::ZERO_RANGE | FallocateFlags::KEEP_SIZE;
    Ok(rustix::fs::fallocate(file, flags, offset, len)?)
}

/// Bytes that a reader locks: QEMU's sign for "reads", and those for "nobody else may write" and "resize" (its
/// block/file-posix.c; a byte per permission from 100 on, and per permission denied to others from 200 on).
const READER_BYTES: [i64; 3] = [100, 201, 203];

/// Locks the file until it is closed, with the kind of lock that QEMU uses too (open file description locks, fcntl(2)):
/// they belong to the open file, so two disks of one process exclude each other as well.
pub(in crate::disk) fn lock(file: &File, exclusive: bool) -> Result<(), LockFailure> {
    if exclusive {
        // Length 0: all of the file, whatever its length becomes.
        return lock_range(file, libc::F_WRLCK, 0, 0);
    }
    READER_BYTES.iter().try_for_each(|byte| lock_range(file, libc::F_RDLCK, *byte, 1))
}

/// Gives the lock back now, also if a process that is just being started still has the file open.
pub(in crate::disk) fn unlock(file: &File) {
    // If it fails, closing the file does it.
    let _ = lock_range(file, libc::F_UNLCK, 0, 0);
}

fn lock_range(file: &File, kind: libc::c_int, start: i64, len: i64) -> Result<(), LockFailure> {
    // SAFETY: a C structure of integers, for which zeros are valid.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = kind as libc::c_short;
    lock.l_whence = libc::SEEK_SET as libc::c_short;
    lock.l_start = start;
    lock.l_len = len;
    // SAFETY: the descriptor is open, the structure lives through the call.
    if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw mut lock) } == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::EAGAIN | libc::EACCES) => Err(LockFailure::Held(holder(file, lock))),
        Some(libc::EINVAL | libc::ENOLCK | libc::EOPNOTSUPP) => Err(LockFailure::Unsupported),
        _ => Err(LockFailure::Io(error)),
    }
}

/// The process that holds what is in the way of `wanted`. Locks of open files have none; those of processes do.
fn holder(file: &File, wanted: libc::flock) -> Option<u32> {
    let mut lock = wanted;
    // SAFETY: the descriptor is open, the structure lives through the call.
    let answer = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_GETLK, &raw mut lock) };
    let found = answer == 0 && lock.l_type != libc::F_UNLCK as libc::c_short;
    u32::try_from(lock.l_pid).ok().filter(|pid| found && *pid > 0)
}

#[cfg(test)]
#[path = "linux_test.rs"]
mod linux_test;
