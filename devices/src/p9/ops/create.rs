//! New files of every kind: lcreate, mkdir, symlink, mknod, link.

use std::ffi::CStr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustix::fs::{self, AtFlags, Mode, OFlags};

use crate::p9::fid::{Fid, Role};
use crate::p9::identity::{NewFile, gives_rights};
use crate::p9::os::{self, Handle, Stat};
use crate::p9::wire::spec::{PERMISSIONS, file_type};
use crate::p9::wire::{Errno, OpenFlags, Reply, Result};
use crate::p9::{IdMode, Server};

/// How often an existing file is looked for that comes and goes while it is being created.
const ATTEMPTS: usize = 4;

/// Only ever the first of these names is made, and it is not followed if it is a symlink.
const CREATE: OFlags = OFlags::CREATE.union(OFlags::EXCL).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

impl Server {
    /// The fid of a directory in which something is to be made.
    fn parent_fid(&self, fid: u32) -> Result<Arc<Fid>> {
        self.check_writable()?;
        self.fids.get(fid)
    }

    /// Tlcreate: the fid of the directory becomes that of the file.
    pub(in crate::p9) fn lcreate(
        &self,
        fid: u32,
        name: &[u8],
        flags: OpenFlags,
        mode: u32,
        gid: u32,
        reply: Reply,
    ) -> Result<Reply> {
        let fid = self.parent_fid(fid)?;
        let state = fid.state();
        if !state.is_walked() {
            return Err(Errno::EBADF);
        }
        let host = flags.to_host()?;
        let plain = if gives_rights(mode) { 0 } else { self.set_ids.load(Ordering::Acquire) };
        let new =
            NewFile { mode: file_type::REGULAR | mode & PERMISSIONS, uid: fid.uid, gid, device: (0, 0) };
        let (node, stat, (handle, plain)) = self.tree.create(&state.node, name, |dir, name| {
            for _ in 0..ATTEMPTS {
                match self.create_file(dir, name, host, &new) {
                    Ok((stat, handle)) => return Ok((stat, (handle, plain))),
                    Err(Errno::EEXIST) if !flags.exclusive() => {}
                    Err(error) => return Err(error),
                }
                let existing = self.open_existing(dir, name, flags);
                if !matches!(existing, Err(Errno::ENOENT)) {
                    return existing;
                }
            }
            Err(Errno::EAGAIN)
        })?;
        let file = self.opened(&node, (handle, host), plain);
        fid.become_open(node, Role::File(file))?;
        Ok(reply.qid(self.qids.qid(&stat)).u32(0))
    }

    /// Makes a regular file, which must not be there yet, and opens it.
    fn create_file(&self, dir: &Handle, name: &CStr, flags: OFlags, new: &NewFile) -> Result<(Stat, Handle)> {
        let first = Mode::from_bits_retain(self.ids.first_permissions(new.mode) as _);
        let fd = self.tree.with_room(|| Ok(fs::openat(dir.fd()?, name, flags | CREATE, first)?))?;
        let handle = Handle::of_open(fd);
        let stat = self.settle(&handle, new, dir, name)?;
        Ok((stat, handle))
    }

    fn open_existing(
        &self,
        dir: &Arc<Handle>,
        name: &CStr,
        flags: OpenFlags,
    ) -> Result<(Stat, (Handle, u64))> {
        let kind = dir.stat_child(name)?.file_type();
        let handle = self.tree.with_room(|| Ok(Handle::child(dir, name, kind)?))?;
        let stat = handle.stat()?;
        let (file, _) = self.open_handle(&handle, stat.file_type(), flags)?;
        Ok((stat, (file, 0)))
    }

    /// Gives a new file its owner and mode, or removes it again.
    fn settle(&self, handle: &Handle, new: &NewFile, dir: &Handle, name: &CStr) -> Result<Stat> {
        self.ids.settle(handle, new).inspect_err(|_| {
            let directory = new.mode & file_type::MASK == file_type::DIRECTORY;
            let flags = if directory { AtFlags::REMOVEDIR } else { AtFlags::empty() };
            // What was made is empty; if it cannot be removed, that is all that is left of it.
            let _ = dir.fd().and_then(|dir| fs::unlinkat(dir, name, flags));
        })
    }

    /// Makes something by `make` that is not opened by it, and settles it.
    fn make(
        &self,
        dir: u32,
        name: &[u8],
        (mode, gid, device): (u32, u32, (u32, u32)),
        make: impl FnOnce(&Handle, &CStr, &NewFile) -> Result<()>,
    ) -> Result<Stat> {
        let fid = self.parent_fid(dir)?;
        let new = NewFile { mode, uid: fid.uid, gid, device };
        let (_, stat, ()) = self.tree.create(&fid.node(), name, |dir, name| {
            make(dir, name, &new)?;
            let kind = dir.stat_child(name)?.file_type();
            let handle = self.tree.with_room(|| Ok(Handle::child(dir, name, kind)?))?;
            Ok((self.settle(&handle, &new, dir, name)?, ()))
        })?;
        Ok(stat)
    }

    /// Tmkdir.
    pub(in crate::p9) fn mkdir(
        &self,
        dir: u32,
        name: &[u8],
        mode: u32,
        gid: u32,
        reply: Reply,
    ) -> Result<Reply> {
        let mode = file_type::DIRECTORY | mode & PERMISSIONS;
        let stat = self.make(dir, name, (mode, gid, (0, 0)), |dir, name, _| {
            Ok(fs::mkdirat(dir.fd()?, name, Mode::RWXU)?)
        })?;
        Ok(reply.qid(self.qids.qid(&stat)))
    }

    /// Tsymlink. The target is the guest's text: nothing here ever follows it.
    pub(in crate::p9) fn symlink(
        &self,
        dir: u32,
        name: &[u8],
        target: &[u8],
        gid: u32,
        reply: Reply,
    ) -> Result<Reply> {
        let stat = self.make(dir, name, (file_type::SYMLINK | 0o777, gid, (0, 0)), |dir, name, _| {
            Ok(fs::symlinkat(target, dir.fd()?, name)?)
        })?;
        Ok(reply.qid(self.qids.qid(&stat)))
    }

    /// Tmknod. Device nodes would reach the host's devices, so they are refused where they would be real.
    pub(in crate::p9) fn mknod(
        &self,
        dir: u32,
        name: &[u8],
        mode: u32,
        device: (u32, u32),
        gid: u32,
        reply: Reply,
    ) -> Result<Reply> {
        let mode = match mode & file_type::MASK {
            0 => mode | file_type::REGULAR,
            _ => mode,
        };
        let kind = mode & file_type::MASK;
        let mapped = self.ids == IdMode::Mapped;
        match kind {
            file_type::REGULAR | file_type::FIFO | file_type::SOCKET => {}
            file_type::CHARACTER | file_type::BLOCK if mapped => {}
            file_type::CHARACTER | file_type::BLOCK => return Err(Errno::EPERM),
            _ => return Err(Errno::EINVAL),
        }
        let stat = self.make(dir, name, (kind | mode & PERMISSIONS, gid, device), |dir, name, new| {
            let first = self.ids.first_permissions(new.mode);
            if mapped || kind == file_type::REGULAR {
                let mode = Mode::from_bits_retain(first as _);
                fs::openat(dir.fd()?, name, OFlags::WRONLY | CREATE, mode)?;
                return Ok(());
            }
            Ok(os::make_special(dir, name, kind, first)?)
        })?;
        Ok(reply.qid(self.qids.qid(&stat)))
    }

    /// Tlink: another name, in `dir`, for the file of `fid`.
    pub(in crate::p9) fn link(&self, dir: u32, fid: u32, name: &[u8]) -> Result<()> {
        let dir = self.parent_fid(dir)?;
        let file = self.reach(&self.fids.get(fid)?.state())?;
        self.tree.create(&dir.node(), name, |dir, name| {
            file.link_to(dir, name)?;
            Ok((file.stat()?, ()))
        })?;
        Ok(())
    }
}
