//! Regular files: open, read, write, sync.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustix::fs;

use crate::lock;
use crate::p9::Server;
use crate::p9::fid::{OpenDirectory, Role};
use crate::p9::os::{self, DirReader, Handle};
use crate::p9::server::Buffers;
use crate::p9::transfer::RequestReader;
use crate::p9::tree::{Node, OpenFile};
use crate::p9::wire::spec::{READ_REPLY_HEADER_LEN, file_type};
use crate::p9::wire::{Errno, OpenFlags, Reply, Result};

/// The user who keeps all rights.
const ROOT: u32 = 0;

impl Server {
    /// Tlopen. Only files and directories; FIFOs, sockets and devices are the guest kernel's own to open.
    pub(in crate::p9) fn lopen(&self, fid: u32, flags: OpenFlags, reply: Reply) -> Result<Reply> {
        let fid = self.fids.get(fid)?;
        let state = fid.state();
        if !state.is_walked() {
            return Err(Errno::EBADF);
        }
        if flags.writes() {
            self.check_writable()?;
        }
        let handle = self.tree.handle(&state.node)?;
        let stat = handle.stat()?;
        let role = if stat.file_type() == file_type::DIRECTORY {
            if flags.writes() {
                return Err(Errno::EISDIR);
            }
            self.open_directory(&handle)?
        } else {
            let opened = self.open_handle(&handle, stat.file_type(), flags)?;
            Role::File(self.opened(&state.node, opened, 0))
        };
        fid.become_open(state.node, role)?;
        // An iounit of 0: as much as fits into a message.
        Ok(reply.qid(self.qids.qid(&stat)).u32(0))
    }

    fn next_serial(&self) -> u64 {
        self.next_open.fetch_add(1, Ordering::Relaxed)
    }

    fn open_directory(&self, handle: &Handle) -> Result<Role> {
        let (serial, charge) = (self.next_serial(), self.open_directories.take(1).ok_or(Errno::ENFILE)?);
        let fd = self.tree.with_room(|| Ok(handle.open_dir()?))?;
        Ok(Role::Directory(Arc::new(OpenDirectory {
            serial,
            reader: DirReader::new(fd).into(),
            memory: self.memory.take(0).ok_or(Errno::ENOMEM)?.into(),
            _charge: charge,
        })))
    }

    /// Opens the file of type `kind` that `handle` reaches; answers the host's flags, too, to open it with again.
    ///
    /// # Errors
    /// EINVAL for access mode 3, ENOTDIR where the flags want a directory, EISDIR, ELOOP or ENXIO for what is no regular
    /// file, and what open(2) says.
    pub(super) fn open_handle(
        &self,
        handle: &Handle,
        kind: u32,
        flags: OpenFlags,
    ) -> Result<(Handle, fs::OFlags)> {
        let host = flags.to_host()?;
        match kind {
            file_type::REGULAR if flags.directory() => return Err(Errno::ENOTDIR),
            file_type::REGULAR => {}
            file_type::DIRECTORY => return Err(Errno::EISDIR),
            file_type::SYMLINK => return Err(Errno::ELOOP),
            _ => return Err(Errno::ENXIO),
        }
        let fd = self.tree.with_room(|| Ok(handle.open_file(host)?))?;
        if flags.truncate() {
            fs::ftruncate(&fd, 0)?;
        }
        Ok((Handle::of_open(fd), host))
    }

    /// Notes that the file of `node` was opened with these flags. `plain` is 0 if it may be a set-user-id program.
    pub(super) fn opened(
        &self,
        node: &Arc<Node>,
        (handle, flags): (Handle, fs::OFlags),
        plain: u64,
    ) -> Arc<OpenFile> {
        self.tree.opened(node, (handle, flags), self.next_serial(), plain)
    }

    /// Tread, straight into the reply's buffers; answers the bytes read.
    pub(in crate::p9) fn read(
        &self,
        fid: u32,
        offset: u64,
        count: u32,
        buffers: &mut Buffers<'_>,
    ) -> Result<usize> {
        let room = buffers.data_room(count);
        match self.fids.get(fid)?.state().role {
            Role::File(file) => {
                check_offset(offset)?;
                let handle = self.tree.descriptor(&file)?;
                Ok(buffers.reply.read_from(READ_REPLY_HEADER_LEN, handle.fd()?, offset, room)?)
            }
            Role::XattrRead(value) => {
                let from = usize::try_from(offset).unwrap_or(usize::MAX).min(value.bytes.len());
                let rest = value.bytes.get(from..).unwrap_or(&[]);
                let part = rest.get(..room).unwrap_or(rest);
                if buffers.reply.put(READ_REPLY_HEADER_LEN, part) {
                    Ok(part.len())
                } else {
                    Err(Errno::EMSGSIZE)
                }
            }
            Role::Directory(_) => Err(Errno::EISDIR),
            Role::Walked | Role::XattrWrite(_) => Err(Errno::EBADF),
        }
    }

    /// Twrite, straight from the request's buffers; answers the bytes written.
    pub(in crate::p9) fn write(
        &self,
        fid: u32,
        offset: u64,
        count: u32,
        request: &mut dyn RequestReader,
    ) -> Result<u32> {
        let length = count as usize;
        if length > request.remaining() {
            return Err(Errno::EPROTO);
        }
        let fid = self.fids.get(fid)?;
        let written = match fid.state().role {
            Role::File(file) => {
                check_offset(offset)?;
                let handle = self.tree.descriptor(&file)?;
                if fid.uid != ROOT {
                    self.drop_set_ids(&file, &handle)?;
                }
                request.write_to(handle.fd()?, offset, length)?
            }
            Role::XattrWrite(write) => {
                let write = &mut *lock(&write);
                let start = usize::try_from(offset).map_err(|_| Errno::ENOSPC)?;
                let end = start.checked_add(length).ok_or(Errno::ENOSPC)?;
                let room = write.value.bytes.get_mut(start..end).ok_or(Errno::ENOSPC)?;
                let read = request.read(room);
                write.written = write.written.max(end);
                read
            }
            Role::Directory(_) | Role::Walked | Role::XattrRead(_) => return Err(Errno::EBADF),
        };
        u32::try_from(written).map_err(|_| Errno::EIO)
    }

    /// Whoever writes to a set-user-id program, root aside, makes it an ordinary one. No client asks for that: it counts on
    /// the kernel below, which is none of the guest's or takes the server for root.
    fn drop_set_ids(&self, file: &OpenFile, handle: &Handle) -> Result<()> {
        let now = self.set_ids.load(Ordering::Acquire);
        if file.plain.load(Ordering::Relaxed) != now {
            let _one_at_a_time = lock(&self.ownership);
            self.ids.drop_set_ids(handle)?;
            file.plain.store(now, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Tfsync: answered when the host has done it.
    pub(in crate::p9) fn fsync(&self, fid: u32, data_only: bool) -> Result<()> {
        match self.fids.get(fid)?.state().role {
            Role::File(file) => Ok(os::sync(self.tree.descriptor(&file)?.fd()?, data_only)?),
            Role::Directory(directory) => Ok(os::sync(lock(&directory.reader).fd(), data_only)?),
            _ => Err(Errno::EBADF),
        }
    }
}

/// # Errors
/// EINVAL for an offset that files do not have.
fn check_offset(offset: u64) -> Result<()> {
    i64::try_from(offset).map(drop).map_err(|_| Errno::EINVAL)
}
