//! What depends on the host's system.

/// The advice that gives pages of private anonymous memory back.
///
/// macOS: the pages leave the process's footprint at once, and read as zero or as they were. `MADV_DONTNEED` would only age
/// them there, and `MADV_FREE` leaves the footprint as it is until memory is short.
#[cfg(target_os = "macos")]
pub(crate) const RELEASE: libc::c_int = libc::MADV_FREE_REUSABLE;

/// The advice that gives pages of private anonymous memory back: at once, and they read as zero.
#[cfg(not(target_os = "macos"))]
pub(crate) const RELEASE: libc::c_int = libc::MADV_DONTNEED;
