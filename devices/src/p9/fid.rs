//! Fids: the client's numbers for files.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex};

use super::os::DirReader;
use super::tree::{Charge, Node, OpenFile};
use super::wire::{Errno, Result};
use crate::lock;

/// What a fid stands for.
#[derive(Debug)]
pub(super) struct Fid {
    /// The guest's user who attached, to whom what is made through this fid belongs.
    pub(super) uid: u32,
    state: Mutex<State>,
}

/// A fid's file, and what was done with it. Cheap to clone, so that no lock is held while the file is worked on.
#[derive(Clone, Debug)]
pub(super) struct State {
    pub(super) node: Arc<Node>,
    pub(super) role: Role,
}

/// What a fid may be used for.
#[derive(Clone, Debug)]
pub(super) enum Role {
    /// Walked to: attributes, names, further walks.
    Walked,
    /// Opened, a regular file.
    File(Arc<OpenFile>),
    /// Opened, a directory.
    Directory(Arc<OpenDirectory>),
    /// An extended attribute's value, or the list of their names, to read.
    XattrRead(Arc<XattrValue>),
    /// An extended attribute to be set when the fid is clunked.
    XattrWrite(Arc<Mutex<XattrWrite>>),
}

/// An open directory.
#[derive(Debug)]
pub(super) struct OpenDirectory {
    /// As [`OpenFile::serial`].
    pub(super) serial: u64,
    pub(super) reader: Mutex<DirReader>,
    /// Bytes of memory that the reader has.
    pub(super) memory: Mutex<Charge>,
    pub(super) _charge: Charge,
}

/// Bytes of an extended attribute.
#[derive(Debug)]
pub(super) struct XattrValue {
    pub(super) bytes: Vec<u8>,
    pub(super) _charge: Charge,
}

/// An extended attribute on its way to the file.
#[derive(Debug)]
pub(super) struct XattrWrite {
    pub(super) name: std::ffi::CString,
    /// Of the length that was announced.
    pub(super) value: XattrValue,
    /// Bytes of it that have come.
    pub(super) written: usize,
    /// `spec::xattr`.
    pub(super) flags: u32,
}

impl Fid {
    pub(super) fn new(node: Arc<Node>, uid: u32) -> Self {
        Self::with_role(node, uid, Role::Walked)
    }

    pub(super) fn with_role(node: Arc<Node>, uid: u32, role: Role) -> Self {
        Self { uid, state: Mutex::new(State { node, role }) }
    }

    pub(super) fn state(&self) -> State {
        lock(&self.state).clone()
    }

    pub(super) fn node(&self) -> Arc<Node> {
        Arc::clone(&lock(&self.state).node)
    }

    /// Makes a fid that has only been walked to something else.
    ///
    /// # Errors
    /// EBADF if it is open already.
    pub(super) fn become_open(&self, node: Arc<Node>, role: Role) -> Result<()> {
        let mut state = lock(&self.state);
        let before = match state.role {
            Role::Walked => std::mem::replace(&mut *state, State { node, role }),
            _ => return Err(Errno::EBADF),
        };
        drop(state);
        drop(before);
        Ok(())
    }
}

impl State {
    pub(super) fn is_walked(&self) -> bool {
        matches!(self.role, Role::Walked)
    }
}

/// All fids of a session.
#[derive(Debug)]
pub(super) struct FidTable {
    limit: usize,
    fids: Mutex<HashMap<u32, Arc<Fid>>>,
}

impl FidTable {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, fids: Mutex::default() }
    }

    /// # Errors
    /// EBADF if the client has no such fid.
    pub(super) fn get(&self, number: u32) -> Result<Arc<Fid>> {
        lock(&self.fids).get(&number).cloned().ok_or(Errno::EBADF)
    }

    /// # Errors
    /// EBADF if the number is in use, ENFILE if there are too many.
    pub(super) fn insert(&self, number: u32, fid: Fid) -> Result<()> {
        let mut fids = lock(&self.fids);
        if fids.len() >= self.limit && !fids.contains_key(&number) {
            return Err(Errno::ENFILE);
        }
        match fids.entry(number) {
            Entry::Occupied(_) => Err(Errno::EBADF),
            Entry::Vacant(entry) => {
                entry.insert(Arc::new(fid));
                Ok(())
            }
        }
    }

    /// Puts `fid` in place of `old`, if the number still stands for it.
    ///
    /// # Errors
    /// EBADF if not.
    pub(super) fn replace(&self, number: u32, old: &Arc<Fid>, fid: Fid) -> Result<()> {
        match lock(&self.fids).get_mut(&number) {
            Some(current) if Arc::ptr_eq(current, old) => {
                *current = Arc::new(fid);
                Ok(())
            }
            _ => Err(Errno::EBADF),
        }
    }

    /// # Errors
    /// EBADF if the client has no such fid.
    pub(super) fn remove(&self, number: u32) -> Result<Arc<Fid>> {
        lock(&self.fids).remove(&number).ok_or(Errno::EBADF)
    }

    pub(super) fn clear(&self) {
        let all = std::mem::take(&mut *lock(&self.fids));
        drop(all);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        lock(&self.fids).len()
    }
}
