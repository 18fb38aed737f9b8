//! The GNU C library.
#![allow(unsafe_code)] // its allocator is tuned by a C call

/// Allocations of so many bytes and more are mappings of their own.
const LARGE: libc::c_int = 256 << 10;

/// Makes large allocations go back to the system when they are freed.
///
/// Unasked, the allocator takes the largest one freed as a sign that more will follow, and keeps that much: what a kernel
/// was unpacked into would stay for as long as its guest runs.
pub(crate) fn return_large_allocations() {
    // SAFETY: sets a parameter of the allocator; no other thread has been started yet.
    unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE) };
}
