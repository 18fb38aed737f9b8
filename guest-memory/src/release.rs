//! Giving guest memory that holds nothing back to the host.
#![allow(unsafe_code)] // the kernel is told about pages by address

use std::io;

use vm_memory::bitmap::Bitmap;

use crate::{Slice, os};

/// Bytes of a page of the host, a power of two: 4 KiB, or 16 KiB on Apple silicon.
pub fn host_page_bytes() -> usize {
    // SAFETY: asks for a number.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(bytes).ok().filter(|bytes| bytes.is_power_of_two()).unwrap_or(16 << 10)
}

/// Gives the host back the pages that lie wholly in `slice`; answers their bytes. The memory stays where it is: it reads as
/// zero (on macOS: as zero or as it was) until it is written again. The guest must not need what is in it. Whoever watches the
/// pages is told as of a write.
///
/// For memory that is private and anonymous, as guest memory is.
///
/// # Errors
/// What madvise(2) says.
pub fn release(slice: &Slice<'_>) -> io::Result<usize> {
    release_pages(slice, host_page_bytes())
}

fn release_pages(slice: &Slice<'_>, page_bytes: usize) -> io::Result<usize> {
    let guard = slice.ptr_guard_mut();
    let start = guard.as_ptr().addr();
    // The system rounds the end up: pages that hold something else are left out here.
    let skipped = start.next_multiple_of(page_bytes) - start;
    let count = slice.len().saturating_sub(skipped) / page_bytes * page_bytes;
    if count == 0 {
        return Ok(0);
    }
    // SAFETY: `skipped + count` is at most the slice's length.
    let first = unsafe { guard.as_ptr().add(skipped) };
    // SAFETY: whole pages of a live mapping of guest memory, to which there are volatile accesses only.
    if unsafe { libc::madvise(first.cast(), count, os::RELEASE) } != 0 {
        return Err(io::Error::last_os_error());
    }
    slice.bitmap().mark_dirty(skipped, count);
    Ok(count)
}

#[cfg(test)]
#[path = "release_test.rs"]
mod release_test;
