//! What hosts do differently: handles to files that are not opened, their attributes, reading directories, locks.
//!
//! Every call here acts on one object, reached by a descriptor or by one name below a directory's descriptor; none follows
//! a symlink.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
use linux as host;

#[cfg(target_os = "macos")]
mod macos;
#[cfg(target_os = "macos")]
use macos as host;

mod lock;
mod stat;

pub(super) use host::{DirReader, ERRNOS, Handle, XATTR_NAMESPACES, make_special, sync};
pub(super) use lock::{LockKind, conflicting_lock, set_lock};
pub(super) use stat::{FileId, FileTime, Stat};

/// What system calls answer.
pub(super) type HostResult<T> = Result<T, rustix::io::Errno>;
