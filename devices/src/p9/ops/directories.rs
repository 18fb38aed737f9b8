//! Directories' entries: readdir, rename, unlink, readlink.

use crate::lock;
use crate::p9::fid::Role;
use crate::p9::server::Buffers;
use crate::p9::wire::spec::{READ_REPLY_HEADER_LEN, UNLINK_DIRECTORY, file_type};
use crate::p9::wire::{DirectoryEntries, Errno, Reply, Result};
use crate::p9::{IdMode, Server};

impl Server {
    /// Treaddir: entries from `offset`, which is 0 or was given with an entry; answers the bytes of them.
    pub(in crate::p9) fn readdir(
        &self,
        fid: u32,
        offset: u64,
        count: u32,
        buffers: &mut Buffers<'_>,
    ) -> Result<usize> {
        let state = self.fids.get(fid)?.state();
        let Role::Directory(directory) = &state.role else { return Err(Errno::EBADF) };
        let room = buffers.data_room(count);
        let device = state.node.id().device;
        // What is above the share is not the guest's to know.
        let root = (state.node.id() == self.tree.root().id()).then(|| state.node.id().inode);
        let mut entries = DirectoryEntries::new(room);
        let mut any = false;
        let mut reader = lock(&directory.reader);
        reader.read(offset, room, |name, inode, kind, next| {
            any = true;
            let name = name.to_bytes();
            let inode = if name == b".." { root.unwrap_or(inode) } else { inode };
            // A mapped special file is a regular one on the host; which it is takes a look at it.
            let hidden = self.ids == IdMode::Mapped && u32::from(kind) << 12 == file_type::REGULAR;
            let qid = self.qids.entry_qid(device, inode, kind);
            entries.push(qid, next, if hidden { 0 } else { kind }, name)
        })?;
        if !lock(&directory.memory).resize(reader.memory()) {
            reader.forget();
            return Err(Errno::ENOMEM);
        }
        drop(reader);
        if entries.bytes().is_empty() && any {
            return Err(Errno::EINVAL); // as Linux says of a buffer too small for one entry
        }
        if !buffers.reply.put(READ_REPLY_HEADER_LEN, entries.bytes()) {
            return Err(Errno::EMSGSIZE);
        }
        Ok(entries.bytes().len())
    }

    /// Treadlink.
    pub(in crate::p9) fn readlink(&self, fid: u32, reply: Reply) -> Result<Reply> {
        let node = self.fids.get(fid)?.node();
        if node.file_type() != file_type::SYMLINK {
            return Err(Errno::EINVAL);
        }
        Ok(reply.string(&self.tree.handle(&node)?.read_link()?))
    }

    /// Trename: the file of `fid`, to `name` in `dir`.
    pub(in crate::p9) fn rename(&self, fid: u32, dir: u32, name: &[u8]) -> Result<()> {
        self.check_writable()?;
        let (node, dir) = (self.fids.get(fid)?.node(), self.fids.get(dir)?.node());
        self.tree.rename_node(&node, &dir, name)
    }

    /// Trenameat.
    pub(in crate::p9) fn renameat(&self, dir: u32, name: &[u8], new_dir: u32, new_name: &[u8]) -> Result<()> {
        self.check_writable()?;
        let (dir, new_dir) = (self.fids.get(dir)?.node(), self.fids.get(new_dir)?.node());
        self.tree.rename(&dir, name, &new_dir, new_name)
    }

    /// Tunlinkat.
    pub(in crate::p9) fn unlinkat(&self, dir: u32, name: &[u8], flags: u32) -> Result<()> {
        self.check_writable()?;
        let dir = self.fids.get(dir)?.node();
        self.tree.unlink(&dir, name, flags & UNLINK_DIRECTORY != 0)
    }
}
