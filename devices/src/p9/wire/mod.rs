//! The 9P2000.L protocol on the wire: numbers, requests, replies, errors. All integers are little-endian.
//!
//! Sources: the Plan 9 manual, section 5 (message framing, version, attach, flush, walk, read, write, clunk, remove), and
//! the 9P2000.L description kept with diod (`protocol.md`), which Linux's client implements.

mod errno;
mod host_errno;
mod open_flags;
mod reply;
mod request;
pub(super) mod spec;

pub use errno::Errno;
pub(super) use host_errno::HostErrnos;
pub(super) use open_flags::OpenFlags;
pub(super) use reply::{DirectoryEntries, Qid, Reply};
pub(super) use request::{Lock, Request, SetAttr};

/// The answer to a request, or the error that Rlerror carries.
pub(super) type Result<T> = std::result::Result<T, Errno>;

#[cfg(test)]
#[path = "wire_test.rs"]
mod wire_test;
