//! An in-process file server that speaks 9P2000.L, the dialect of Linux's 9p file system, over one shared directory.
//!
//! [`Server`] takes a request's bytes and makes the reply's, on any thread and on several at once; it knows nothing of
//! virtio, and can be used, tested and fuzzed without a VM. File data goes between the file and the guest's buffers
//! without a copy in between ([`RequestReader`], [`ReplyWriter`]).
//!
//! ```
//! use devices::p9::{ByteReply, Server, ShareConfig};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = Server::new(&ShareConfig::new(std::env::temp_dir()))?;
//! // Tversion: size[4] type[1] tag[2] msize[4] version[2 and bytes]
//! let request = [&21u32.to_le_bytes()[..], &[100], &[0xff; 2], &8192u32.to_le_bytes(), &[8, 0], b"9P2000.L"].concat();
//! let mut reply = ByteReply::new(8192);
//! let length = server.handle(&mut &request[..], &mut reply);
//! assert_eq!(reply.into_bytes(length)[4], 101); // Rversion
//! # Ok(())
//! # }
//! ```
//!
//! # Containment
//! A guest reaches nothing outside the shared directory. Names are walked one by one from directory descriptors
//! (`O_NOFOLLOW`), ".." is the node's parent in the server's own tree and never the host's, and no symlink is ever followed
//! by the server: the guest reads its target and walks it itself, within the share. Since each system call is given one
//! name without a '/', there is no path in which something could be exchanged in mid-walk, and nothing that `openat2` with
//! `RESOLVE_BENEATH` would add. Mounts of the host below the directory are part of the share. Only regular files and
//! directories are opened; FIFOs, sockets and device nodes that lie in the share are shown, not opened, and device nodes
//! are not made (but see [`IdMode::Mapped`]).
//!
//! # Bounds
//! Everything a client can pile up is counted: [`Limits`]. A fid does not cost a descriptor; see `tree`. Nothing waits for
//! another client: a lock that somebody holds answers `P9_LOCK_BLOCKED`, and Linux's client asks again.
//!
//! # What is kept when
//! A write is answered when the host's kernel has it, an fsync when fsync(2) has returned: what that promises is the host
//! file system's affair (on macOS, not the drive's cache: as for any program there). There is no cache of data or
//! attributes in the server; what the guest's client keeps is chosen when it mounts:
//!
//! | `cache=` | the guest keeps | for |
//! |---|---|---|
//! | `none` | nothing; no shared writable mmap | files that host and guest write at once |
//! | `readahead` (Linux 6.4), `mmap` | pages of open files | the default to recommend: `mmap` lets databases and compilers map files |
//! | `loose`, `fscache` | data, names and attributes, without asking again | a share that only this guest changes |
//!
//! `msize` should be large: this server takes up to 1 MiB, Linux's virtio transport up to 500 KiB
//! (`mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000,cache=mmap TAG DIR`).
//!
//! # Device and special files
//! | | passthrough, squash | mapped |
//! |---|---|---|
//! | FIFO | made (macOS: from 13 on) | an empty file with an attribute |
//! | socket | made on Linux; `EOPNOTSUPP` on macOS | the same |
//! | device node | `EPERM` | the same |
//!
//! # What a share cannot do
//! The protocol has no messages for it, or Linux's client (6.1) does not use them, whatever the server:
//!
//! * `O_TMPFILE` and fallocate answer `EOPNOTSUPP`; programs and libraries fall back on other ways. Holes are kept, but
//!   `SEEK_HOLE` finds none, so a copy looks for zeros.
//! * renameat2 with flags (exchange, not over another) answers `EINVAL`.
//! * Times that programs set are whole seconds not before 1970 (the client's super block says so); those the host sets are
//!   exact.
//! * A file that was only found (`O_PATH`), not opened, and is then removed, cannot be opened any more through /proc.
//!   Open files stay usable when their name is gone.
//! * Nobody is told of what the host changes (inotify); who looks again sees it, except with `cache=loose` and `fscache`.
//! * A write by another user than root takes set-user-id and set-group-id away; the client leaves that to the server. What
//!   is written through a shared mapping does so as well.
//!
//! Beside that the pjdfstest suite finds nothing with [`IdMode::Mapped`] but owners of symlinks on Linux. With
//! [`IdMode::Passthrough`] there are no device nodes, and with [`IdMode::Squash`] owners do not change.

mod fid;
mod flight;
mod identity;
mod lock_table;
mod ops;
mod os;
mod qids;
mod server;
mod transfer;
mod tree;
mod wire;

pub use identity::{IdMode, MAPPED_XATTR};
pub use server::{Frame, Limits, MAX_MSIZE, MIN_MSIZE, Server, ShareConfig, ShareError};
pub use transfer::{ByteReply, GuestReply, GuestRequest, ReplyWriter, RequestReader};
pub use wire::Errno;

#[cfg(test)]
mod tests;
