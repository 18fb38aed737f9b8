//! Locks of the open file description, by which other programs on the host see the guest's locks.
//!
//! rustix knows only the process's locks, which end when any descriptor of the file is closed.
#![allow(unsafe_code)] // fcntl(2) with a `struct flock`

use std::os::fd::{AsRawFd, BorrowedFd};

use super::HostResult;

/// What to ask of a byte range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::p9) enum LockKind {
    Shared,
    Exclusive,
    Unlocked,
}

/// `first..=last`, bytes, as a `struct flock`; a `last` of what the host's offsets can hold or more means the file's end.
fn flock(kind: LockKind, first: u64, last: u64) -> HostResult<libc::flock> {
    // SAFETY: `struct flock` is plain numbers, for which zero is a value.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    let of = match kind {
        LockKind::Shared => libc::F_RDLCK,
        LockKind::Exclusive => libc::F_WRLCK,
        LockKind::Unlocked => libc::F_UNLCK,
    };
    lock.l_type = of as libc::c_short;
    lock.l_whence = libc::SEEK_SET as libc::c_short;
    lock.l_start = first.try_into().map_err(|_| rustix::io::Errno::OVERFLOW)?;
    let to_end = last >= i64::MAX.unsigned_abs();
    lock.l_len =
        if to_end { 0 } else { (last - first + 1).try_into().map_err(|_| rustix::io::Errno::OVERFLOW)? };
    Ok(lock)
}

fn call(file: BorrowedFd<'_>, command: libc::c_int, lock: &mut libc::flock) -> HostResult<()> {
    rustix::io::retry_on_intr(|| {
        // SAFETY: the command takes a `struct flock`, which is ours alone.
        if unsafe { libc::fcntl(file.as_raw_fd(), command, &raw mut *lock) } == -1 {
            let number = std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO);
            return Err(rustix::io::Errno::from_raw_os_error(number));
        }
        Ok(())
    })
}

/// Locks or unlocks `first..=last`, without waiting.
///
/// # Errors
/// EAGAIN or EACCES if another program holds a lock that conflicts; EBADF if the descriptor's access does not allow it.
pub(in crate::p9) fn set_lock(file: BorrowedFd<'_>, kind: LockKind, first: u64, last: u64) -> HostResult<()> {
    call(file, libc::F_OFD_SETLK, &mut flock(kind, first, last)?)
}

/// Another program's lock in the way of one of `kind`: whether it is exclusive, its first byte, its length (0: to the file's
/// end) and its process (all ones if unknown).
pub(in crate::p9) fn conflicting_lock(
    file: BorrowedFd<'_>,
    kind: LockKind,
    first: u64,
    last: u64,
) -> HostResult<Option<(bool, u64, u64, u32)>> {
    let mut lock = flock(kind, first, last)?;
    call(file, libc::F_OFD_GETLK, &mut lock)?;
    if libc::c_int::from(lock.l_type) == libc::F_UNLCK as libc::c_int {
        return Ok(None);
    }
    let exclusive = libc::c_int::from(lock.l_type) == libc::F_WRLCK as libc::c_int;
    Ok(Some((exclusive, lock.l_start.unsigned_abs(), lock.l_len.unsigned_abs(), lock.l_pid as u32)))
}
