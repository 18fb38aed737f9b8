//! Input and output between file descriptors and guest memory, without a copy in between.
//!
//! Slices of memory that nobody watches (`B` is `()`) work as well.
#![allow(unsafe_code)] // the kernel is given pointers into guest memory: a Rust reference to it may not exist

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use smallvec::SmallVec;
use vm_memory::VolatileSlice;
use vm_memory::bitmap::BitmapSlice;

/// Most slices taken in one call; POSIX systems take 1,024.
const MAX_SLICES: usize = 1024;

/// The pointer is good as long as the slice is.
fn iovec<B: BitmapSlice>(slice: &VolatileSlice<'_, B>) -> libc::iovec {
    libc::iovec { iov_base: slice.ptr_guard_mut().as_ptr().cast(), iov_len: slice.len() }
}

/// One per slice; most calls have few.
fn iovecs<B: BitmapSlice>(slices: &[VolatileSlice<'_, B>]) -> SmallVec<[libc::iovec; 4]> {
    slices.iter().take(MAX_SLICES).map(iovec).collect()
}

/// Repeats a call that a signal cut short before it did anything.
fn restarted(mut call: impl FnMut() -> isize) -> io::Result<usize> {
    loop {
        if let Ok(count) = usize::try_from(call()) {
            return Ok(count);
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// Tells the watch of each slice that its part of the first `count` bytes was written.
fn mark_written<B: BitmapSlice>(slices: &[VolatileSlice<'_, B>], count: usize) {
    let mut left = count;
    for slice in slices {
        let part = slice.len().min(left);
        slice.bitmap().mark_dirty(0, part);
        left -= part;
        if left == 0 {
            break;
        }
    }
}

fn offset_of(offset: u64) -> io::Result<libc::off_t> {
    offset.try_into().map_err(|_| io::ErrorKind::InvalidInput.into())
}

/// Reads from a file at `offset`, bytes, into guest memory; answers the bytes read, 0 at the end of the file. Slices beyond
/// the first 1,024 are left alone.
///
/// # Errors
/// What preadv(2) says.
pub fn read_at<B: BitmapSlice>(
    file: BorrowedFd<'_>,
    slices: &[VolatileSlice<'_, B>],
    offset: u64,
) -> io::Result<usize> {
    let (fd, offset) = (file.as_raw_fd(), offset_of(offset)?);
    let count = if let [one] = slices {
        // What one disk request has most often; the kernel need not look for a list.
        let one = iovec(one);
        // SAFETY: the vector is a live slice of guest memory, which only volatile accesses reach.
        restarted(|| unsafe { libc::pread(fd, one.iov_base, one.iov_len, offset) })
    } else {
        let all = iovecs(slices);
        // SAFETY: the same of each; at most 1,024.
        restarted(|| unsafe { libc::preadv(fd, all.as_ptr(), all.len() as libc::c_int, offset) })
    }?;
    mark_written(slices, count);
    Ok(count)
}

/// Writes guest memory to a file at `offset`, bytes; answers the bytes written. Slices beyond the first 1,024 are left.
///
/// # Errors
/// What pwritev(2) says.
pub fn write_at<B: BitmapSlice>(
    file: BorrowedFd<'_>,
    slices: &[VolatileSlice<'_, B>],
    offset: u64,
) -> io::Result<usize> {
    let (fd, offset) = (file.as_raw_fd(), offset_of(offset)?);
    if let [one] = slices {
        let one = iovec(one);
        // SAFETY: as in `read_at`; the kernel only reads it.
        restarted(|| unsafe { libc::pwrite(fd, one.iov_base, one.iov_len, offset) })
    } else {
        let all = iovecs(slices);
        // SAFETY: the same.
        restarted(|| unsafe { libc::pwritev(fd, all.as_ptr(), all.len() as libc::c_int, offset) })
    }
}

/// Reads from a stream or datagram descriptor into guest memory; answers the bytes read.
///
/// # Errors
/// What readv(2) says, `WouldBlock` included.
pub fn read<B: BitmapSlice>(file: BorrowedFd<'_>, slices: &[VolatileSlice<'_, B>]) -> io::Result<usize> {
    let vectors = iovecs(slices);
    let count = restarted(|| {
        // SAFETY: as in `read_at`.
        unsafe { libc::readv(file.as_raw_fd(), vectors.as_ptr(), vectors.len() as libc::c_int) }
    })?;
    mark_written(slices, count);
    Ok(count)
}

/// Writes guest memory to a stream or datagram descriptor; answers the bytes written.
///
/// # Errors
/// What writev(2) says, `WouldBlock` included.
pub fn write<B: BitmapSlice>(file: BorrowedFd<'_>, slices: &[VolatileSlice<'_, B>]) -> io::Result<usize> {
    let vectors = iovecs(slices);
    restarted(|| {
        // SAFETY: as in `read_at`; the kernel only reads them.
        unsafe { libc::writev(file.as_raw_fd(), vectors.as_ptr(), vectors.len() as libc::c_int) }
    })
}

#[cfg(test)]
#[path = "vectored_test.rs"]
mod vectored_test;
