//! The server: a share, a client's session, and the way of a request through it.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::fid::FidTable;
use super::flight::{Flight, Seat};
use super::identity::IdMode;
use super::lock_table::LockTable;
use super::qids::QidPaths;
use super::transfer::{ReplyWriter, RequestReader};
use super::tree::{Capacity, Tree, TreeLimits};
use super::wire::spec::{
    ERROR_REPLY_LEN, HEADER_LEN, READ_REPLY_HEADER_LEN, VERSION, VERSION_UNKNOWN, WRITE_HEADER_LEN, message,
};
use super::wire::{Errno, Reply, Request, Result};

/// Longest message, bytes: the most a client is granted.
pub const MAX_MSIZE: u32 = 1 << 20;
/// Shortest longest message: room for a walk of long names. Linux's client asks for no less.
pub const MIN_MSIZE: u32 = 4096;

/// Most bytes of a request that are not data to be written: a symlink's name and target, or the names of a walk.
const MAX_BODY: usize = 16 << 10;

/// A directory to share.
#[derive(Clone, Debug)]
pub struct ShareConfig {
    /// The directory, on the host.
    pub root: PathBuf,
    /// Refuses every change with `EROFS`.
    pub read_only: bool,
    /// Whose the files are.
    pub ids: IdMode,
    /// How much a client may ask for.
    pub limits: Limits,
}

impl ShareConfig {
    /// The directory `root`, writable, with the defaults of everything else.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), read_only: false, ids: IdMode::default(), limits: Limits::default() }
    }
}

/// What a client can have of a [`Server`] at once. What exceeds a limit is answered with `ENFILE`, memory with `ENOMEM`.
///
/// The server has up to `2 * open_files + cached_directories` descriptors, a few more while it works, and one for each file
/// with locks. Whoever makes one raises the process's limit (`RLIMIT_NOFILE`) accordingly; when descriptors run out all the
/// same, cached ones are closed.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Fids: files the client knows. A Linux client with `cache=loose` keeps one for each name it has in its cache. About
    /// 400 bytes each, with their nodes.
    pub fids: usize,
    /// Nodes: what fids stand for, and the directories above.
    pub nodes: usize,
    /// Directories open at once, and as many files that keep their descriptor while they are open. Others are opened again
    /// when they are used, which fails if the host has moved them away, or no longer gives the process that access.
    pub open_files: usize,
    /// Directories that keep a descriptor to save the way to them, and removed files that are still held.
    pub cached_directories: usize,
    /// Bytes of memory for attributes on their way.
    pub memory: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { fids: 1 << 18, nodes: 1 << 19, open_files: 8192, cached_directories: 1024, memory: 8 << 20 }
    }
}

/// Why a directory cannot be shared.
#[derive(Debug, thiserror::Error)]
pub enum ShareError {
    /// It cannot be opened.
    #[error("the shared folder {} cannot be opened", path.display())]
    Open {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// [`IdMode::Mapped`] needs attributes that its file system does not have.
    #[error(
        "the file system of the shared folder {} keeps no extended attributes, which mapped owners need: share it with another mode of user ids",
        path.display()
    )]
    NoAttributes {
        /// The directory.
        path: PathBuf,
    },
}

/// A share and its one client's session.
#[derive(Debug)]
pub struct Server {
    pub(super) read_only: bool,
    pub(super) ids: IdMode,
    pub(super) tree: Tree,
    pub(super) fids: FidTable,
    pub(super) locks: LockTable,
    pub(super) qids: QidPaths,
    pub(super) open_directories: Arc<Capacity>,
    pub(super) memory: Arc<Capacity>,
    pub(super) next_open: AtomicU64,
    /// Held while a file's mapped owner is read, changed and written.
    pub(super) ownership: Mutex<()>,
    /// Counts the files that became set-user-id or set-group-id ones: an open file may be one since. Never 0.
    pub(super) set_ids: AtomicU64,
    flight: Arc<Flight>,
    /// The longest message agreed on; 0 before the first Tversion.
    msize: AtomicU32,
}

/// A request that has been admitted. It counts as under way until this is dropped, so drop it when the reply has been
/// delivered.
#[derive(Debug)]
#[must_use = "a request is under way until it is served and its reply delivered"]
pub struct Frame {
    seat: Seat,
    size: u32,
    kind: u8,
    tag: u16,
}

/// What a request came to.
pub(super) enum Done {
    Reply(Reply),
    /// So many bytes of data are in the reply's room already, behind the header.
    Data(usize),
}

/// Where a request's data is and a reply's data goes.
pub(super) struct Buffers<'a> {
    pub(super) request: &'a mut dyn RequestReader,
    pub(super) reply: &'a mut dyn ReplyWriter,
    /// Longest reply, bytes.
    pub(super) limit: usize,
}

impl Buffers<'_> {
    /// How many of `count` bytes of data a reply has room for.
    pub(super) fn data_room(&self, count: u32) -> usize {
        self.limit.saturating_sub(READ_REPLY_HEADER_LEN).min(count as usize)
    }
}

impl Server {
    /// Shares a directory.
    ///
    /// # Errors
    /// If it cannot be opened, or its file system lacks what the configuration needs.
    pub fn new(config: &ShareConfig) -> std::result::Result<Self, ShareError> {
        let open =
            |error: rustix::io::Errno| ShareError::Open { path: config.root.clone(), source: error.into() };
        let limits = config.limits;
        let tree_limits = TreeLimits {
            nodes: limits.nodes,
            handles: limits.cached_directories,
            open_files: limits.open_files,
        };
        let tree = Tree::new(&config.root, tree_limits).map_err(open)?;
        let root = tree.root().id();
        let server = Self {
            read_only: config.read_only,
            ids: config.ids,
            tree,
            fids: FidTable::new(limits.fids),
            locks: LockTable::default(),
            qids: QidPaths::new(root),
            open_directories: Capacity::new(limits.open_files),
            memory: Capacity::new(limits.memory),
            next_open: AtomicU64::new(0),
            ownership: Mutex::default(),
            set_ids: AtomicU64::new(1),
            flight: Arc::default(),
            msize: AtomicU32::new(0),
        };
        if config.ids == IdMode::Mapped && !server.has_attributes() {
            return Err(ShareError::NoAttributes { path: config.root.clone() });
        }
        Ok(server)
    }

    /// Takes a request's header. Requests are admitted one by one in the order they were sent, and begun in that order
    /// ([`Self::serve`], on any thread): Tflush and Tversion depend on it.
    ///
    /// None for a request too short to have a header, which cannot be answered.
    pub fn admit(&self, request: &mut dyn RequestReader) -> Option<Frame> {
        let mut header = [0; HEADER_LEN];
        if request.read(&mut header) < HEADER_LEN {
            return None;
        }
        let [s0, s1, s2, s3, kind, t0, t1] = header;
        let tag = u16::from_le_bytes([t0, t1]);
        let size = u32::from_le_bytes([s0, s1, s2, s3]);
        Some(Frame { seat: self.flight.admit(tag), size, kind, tag })
    }

    /// Carries out an admitted request, whose reader stands behind the header, and writes the reply. Answers the reply's
    /// length, bytes: 0 if there is no room even for an error.
    ///
    /// May wait for the host's file system, and for requests that were admitted earlier.
    pub fn serve(
        &self,
        frame: &Frame,
        request: &mut dyn RequestReader,
        reply: &mut dyn ReplyWriter,
    ) -> usize {
        if reply.capacity() < ERROR_REPLY_LEN {
            return 0;
        }
        let limit = match self.msize.load(Ordering::Acquire) {
            0 => reply.capacity(),
            msize => reply.capacity().min(msize as usize),
        };
        let done = self.decode_and_serve(frame, &mut Buffers { request, reply, limit });
        let (bytes, behind) = match done {
            Ok(Done::Reply(reply)) => (reply.finish(frame.tag, 0), 0),
            Ok(Done::Data(count)) => {
                let count = u32::try_from(count).unwrap_or(u32::MAX);
                (Reply::data_header(frame.kind, count).finish(frame.tag, count), count as usize)
            }
            Err(error) => (Reply::error(error).finish(frame.tag, 0), 0),
        };
        if bytes.len() + behind <= limit && reply.put(0, &bytes) {
            return bytes.len() + behind;
        }
        let error = Reply::error(Errno::EMSGSIZE).finish(frame.tag, 0);
        if reply.put(0, &error) { error.len() } else { 0 }
    }

    /// Admits and serves a request: for who serves one at a time.
    pub fn handle(&self, request: &mut dyn RequestReader, reply: &mut dyn ReplyWriter) -> usize {
        self.admit(request).map_or(0, |frame| self.serve(&frame, request, reply))
    }

    /// Forgets the session: every fid and lock. For a device that is reset; nothing may be under way.
    pub fn reset(&self) {
        self.msize.store(0, Ordering::Release);
        self.fids.clear();
        self.locks.clear();
    }

    fn decode_and_serve(&self, frame: &Frame, buffers: &mut Buffers<'_>) -> Result<Done> {
        let remaining = buffers.request.remaining();
        // Linux's client before 5.15 leaves a Twrite's data out of the size, so only too much is an error.
        let body = (frame.size as usize).checked_sub(HEADER_LEN).ok_or(Errno::EPROTO)?;
        if body > remaining {
            return Err(Errno::EPROTO);
        }
        let length = match frame.kind {
            message::TWRITE => WRITE_HEADER_LEN - HEADER_LEN,
            _ if body > MAX_BODY => return Err(Errno::EMSGSIZE),
            _ => body,
        };
        let mut bytes = vec![0; length];
        let read = buffers.request.read(&mut bytes);
        bytes.truncate(read);
        let request = Request::decode(frame.kind, &bytes)?;
        if self.msize.load(Ordering::Acquire) == 0 && frame.kind != message::TVERSION {
            return Err(Errno::EPROTO);
        }
        self.dispatch(frame, request, buffers)
    }

    fn dispatch(&self, frame: &Frame, request: Request<'_>, buffers: &mut Buffers<'_>) -> Result<Done> {
        let reply = Reply::new(frame.kind);
        Ok(Done::Reply(match request {
            Request::Version { msize, version } => self.version(&frame.seat, msize, version, reply)?,
            Request::Auth => return Err(Errno::EOPNOTSUPP),
            Request::Flush { old_tag } => {
                frame.seat.wait_for_earlier(Some(old_tag));
                reply
            }
            Request::Attach { fid, auth_fid, name, uid } => self.attach(fid, auth_fid, name, uid, reply)?,
            Request::Walk { fid, new_fid, names } => self.walk(fid, new_fid, &names, reply)?,
            Request::Clunk { fid } => self.clunk(fid).map(|()| reply)?,
            Request::Remove { fid } => self.remove(fid).map(|()| reply)?,
            Request::Statfs { fid } => self.statfs(fid, reply)?,
            Request::Getattr { fid } => self.getattr(fid, reply)?,
            Request::Setattr { fid, attr } => self.setattr(fid, &attr).map(|()| reply)?,
            Request::Lopen { fid, flags } => self.lopen(fid, flags, reply)?,
            Request::Lcreate { fid, name, flags, mode, gid } => {
                self.lcreate(fid, name, flags, mode, gid, reply)?
            }
            Request::Read { fid, offset, count } => {
                return self.read(fid, offset, count, buffers).map(Done::Data);
            }
            Request::Write { fid, offset, count } => {
                reply.u32(self.write(fid, offset, count, buffers.request)?)
            }
            Request::Fsync { fid, data_only } => self.fsync(fid, data_only).map(|()| reply)?,
            Request::Readdir { fid, offset, count } => {
                return self.readdir(fid, offset, count, buffers).map(Done::Data);
            }
            Request::Readlink { fid } => self.readlink(fid, reply)?,
            Request::Symlink { dir, name, target, gid } => self.symlink(dir, name, target, gid, reply)?,
            Request::Mknod { dir, name, mode, device, gid } => {
                self.mknod(dir, name, mode, device, gid, reply)?
            }
            Request::Mkdir { dir, name, mode, gid } => self.mkdir(dir, name, mode, gid, reply)?,
            Request::Link { dir, fid, name } => self.link(dir, fid, name).map(|()| reply)?,
            Request::Rename { fid, dir, name } => self.rename(fid, dir, name).map(|()| reply)?,
            Request::Renameat { dir, name, new_dir, new_name } => {
                self.renameat(dir, name, new_dir, new_name).map(|()| reply)?
            }
            Request::Unlinkat { dir, name, flags } => self.unlinkat(dir, name, flags).map(|()| reply)?,
            Request::XattrWalk { fid, new_fid, name } => self.xattr_walk(fid, new_fid, name, reply)?,
            Request::XattrCreate { fid, name, size, flags } => {
                self.xattr_create(fid, name, size, flags).map(|()| reply)?
            }
            Request::Lock { fid, lock } => self.lock(fid, &lock, reply)?,
            Request::Getlock { fid, lock } => self.getlock(fid, &lock, reply)?,
        }))
    }

    /// Begins a session, and ends the one before: fids and locks are gone.
    fn version(&self, seat: &Seat, msize: u32, version: &[u8], reply: Reply) -> Result<Reply> {
        if msize < MIN_MSIZE {
            return Err(Errno::EMSGSIZE);
        }
        seat.wait_for_earlier(None);
        self.reset();
        let msize = msize.min(MAX_MSIZE);
        if version != VERSION {
            return Ok(reply.u32(msize).string(VERSION_UNKNOWN));
        }
        self.msize.store(msize, Ordering::Release);
        Ok(reply.u32(msize).string(VERSION))
    }

    /// # Errors
    /// EROFS on a share that may only be read.
    pub(super) fn check_writable(&self) -> Result<()> {
        if self.read_only { Err(Errno::EROFS) } else { Ok(()) }
    }
}
