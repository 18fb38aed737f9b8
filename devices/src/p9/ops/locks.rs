//! Byte-range locks: lock, getlock. Neither waits.

use std::sync::Arc;

use crate::p9::Server;
use crate::p9::fid::{Role, State};
use crate::p9::lock_table::{Outcome, Owner, Span};
use crate::p9::os::Handle;
use crate::p9::wire::spec::lock;
use crate::p9::wire::{Errno, Lock, Reply, Result};

impl Server {
    /// The open file's handle, which directories have none of, and serial number.
    fn lockable(&self, state: &State) -> Result<(Option<Arc<Handle>>, u64)> {
        match &state.role {
            Role::File(file) => Ok((Some(self.tree.descriptor(file)?), file.serial)),
            Role::Directory(directory) => Ok((None, directory.serial)),
            _ => Err(Errno::EBADF),
        }
    }

    /// Tlock. A lock that somebody else holds answers "blocked", whether or not the client would wait: Linux's asks again.
    pub(in crate::p9) fn lock(&self, fid: u32, request: &Lock<'_>, reply: Reply) -> Result<Reply> {
        let state = self.fids.get(fid)?.state();
        let (file, opener) = self.lockable(&state)?;
        let span = Span::new(request.start, request.length).ok_or(Errno::EINVAL)?;
        let owner = Owner::new(request.client, request.process);
        let id = state.node.id();
        let outcome = match request.kind {
            lock::UNLOCK => {
                self.locks.unlock(id, &owner, span);
                Outcome::Done
            }
            lock::READ | lock::WRITE => {
                self.locks.lock(id, file.as_deref(), owner, opener, span, request.kind == lock::WRITE)
            }
            _ => return Err(Errno::EINVAL),
        };
        Ok(reply.u8(match outcome {
            Outcome::Done => lock::SUCCESS,
            Outcome::Blocked => lock::BLOCKED,
            Outcome::Refused => lock::ERROR,
        }))
    }

    /// Tgetlock: the lock in the way of the one described, or "unlocked" if there is none.
    pub(in crate::p9) fn getlock(&self, fid: u32, request: &Lock<'_>, reply: Reply) -> Result<Reply> {
        let state = self.fids.get(fid)?.state();
        let (file, _) = self.lockable(&state)?;
        let span = Span::new(request.start, request.length).ok_or(Errno::EINVAL)?;
        let exclusive = match request.kind {
            lock::READ => false,
            // Linux's client looks among its own locks first, and then has forgotten which type was asked for.
            lock::WRITE | lock::UNLOCK => true,
            _ => return Err(Errno::EINVAL),
        };
        let owner = Owner::new(request.client, request.process);
        Ok(match self.locks.blocking(state.node.id(), file.as_deref(), &owner, span, exclusive) {
            Some(held) => reply
                .u8(if held.exclusive { lock::WRITE } else { lock::READ })
                .u64(held.span.first)
                .u64(held.span.length())
                .u32(held.owner.process)
                .string(&held.owner.client),
            None => reply
                .u8(lock::UNLOCK)
                .u64(request.start)
                .u64(request.length)
                .u32(request.process)
                .string(request.client),
        })
    }
}
