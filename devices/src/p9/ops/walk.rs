//! Fids: attach, walk, clunk, remove.

use std::sync::Arc;

use crate::lock;
use crate::p9::Server;
use crate::p9::fid::{Fid, Role, State};
use crate::p9::tree::Node;
use crate::p9::wire::spec::NO_FID;
use crate::p9::wire::{Errno, Qid, Reply, Result};

impl Server {
    /// Tattach: the share's root. There is one tree, "" or "/", and no authentication.
    pub(in crate::p9) fn attach(
        &self,
        fid: u32,
        auth_fid: u32,
        name: &[u8],
        uid: u32,
        reply: Reply,
    ) -> Result<Reply> {
        if auth_fid != NO_FID {
            return Err(Errno::EOPNOTSUPP);
        }
        if !matches!(name, b"" | b"/") {
            return Err(Errno::ENOENT);
        }
        let root = self.tree.root();
        let qid = self.qids.qid(&self.tree.stat(root)?);
        self.fids.insert(fid, Fid::new(Arc::clone(root), uid))?;
        Ok(reply.qid(qid))
    }

    /// Twalk: an error if the first name leads nowhere; if a later one does, the qids of those that lead somewhere, and no
    /// new fid.
    pub(in crate::p9) fn walk(&self, fid: u32, new_fid: u32, names: &[&[u8]], reply: Reply) -> Result<Reply> {
        let from = self.fids.get(fid)?;
        let state = from.state();
        if matches!(state.role, Role::XattrRead(_) | Role::XattrWrite(_)) {
            return Err(Errno::EBADF);
        }
        let mut node = state.node.clone();
        let mut qids = Vec::with_capacity(names.len());
        for name in names {
            match self.step(&node, name) {
                Ok((next, qid)) => {
                    node = next;
                    qids.push(qid);
                }
                Err(error) if qids.is_empty() => return Err(error),
                Err(_) => break,
            }
        }
        if qids.len() == names.len() {
            let walked = Fid::new(node, from.uid);
            if new_fid != fid {
                self.fids.insert(new_fid, walked)?;
            } else if state.is_walked() {
                self.fids.replace(fid, &from, walked)?;
            } else {
                return Err(Errno::EBADF);
            }
        }
        let count = u16::try_from(qids.len()).unwrap_or(u16::MAX);
        Ok(qids.into_iter().fold(reply.u16(count), Reply::qid))
    }

    fn step(&self, node: &Arc<Node>, name: &[u8]) -> Result<(Arc<Node>, Qid)> {
        let (node, stat) = match name {
            b"." | b".." if !node.is_directory() => return Err(Errno::ENOTDIR),
            b"." => (Arc::clone(node), self.tree.stat(node)?),
            b".." => {
                let parent = node.parent();
                let stat = self.tree.stat(&parent)?;
                (parent, stat)
            }
            _ => self.tree.lookup(node, name)?,
        };
        let qid = self.qids.qid(&stat);
        Ok((node, qid))
    }

    /// Tclunk. The fid is gone whatever the answer: an error tells that what it was for did not happen.
    pub(in crate::p9) fn clunk(&self, fid: u32) -> Result<()> {
        let state = self.fids.remove(fid)?.state();
        self.close_locks(&state);
        match &state.role {
            Role::XattrWrite(write) => self.set_xattr(&state, &lock(write)),
            _ => Ok(()),
        }
    }

    /// Tremove: removes the file and the fid, the fid even if the file stays.
    pub(in crate::p9) fn remove(&self, fid: u32) -> Result<()> {
        let state = self.fids.remove(fid)?.state();
        self.close_locks(&state);
        self.check_writable()?;
        self.tree.remove(&state.node)
    }

    fn close_locks(&self, state: &State) {
        let opener = match &state.role {
            Role::File(file) => file.serial,
            Role::Directory(directory) => directory.serial,
            _ => return,
        };
        self.locks.close(state.node.id(), opener);
    }
}
