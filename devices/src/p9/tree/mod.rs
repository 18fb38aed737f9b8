//! The part of the share that the client knows: what its fids stand for, by directory and name.
//!
//! A [`Node`] is an entry of a directory, as the kernel's dentry is: it belongs to a parent node under a name, and remembers
//! which inode it was. Fids hold nodes, and a node holds its parent. **A node has no descriptor**, so a client may know a
//! million files; it is reached, when it has to be, from its parent's directory descriptor by its one name, never following
//! a symlink, and is then compared with the inode it was. So a rename, by the guest or by the host, can make a node stale
//! but never lead it to another file, and no sequence of names leaves the share.
//!
//! Directories that have been searched keep their descriptor in a cache of bounded size ([`HandleCache`]). A node about to
//! be unlinked is pinned: it gets a descriptor while there still is a name, so that what the client holds stays usable.
//! [`OpenFile`]s are in another such cache: Linux's client, when it caches, has every file open that was ever written to.
//!
//! # Locks
//! 1. `Tree::renames`, by renames, across the call to the host;
//! 2. `Node::children` of one directory, or of two by a rename, in the order of their serial numbers; across the call to
//!    the host that changes the directory;
//! 3. a node's place, a node's handle, the cache's queue: leaves.
//!
//! A node is dropped without taking any lock, so an `Arc` of it may be let go of anywhere.

mod capacity;
mod handles;
mod node;
mod open;
mod rename;

pub(super) use capacity::{Capacity, Charge};
pub(super) use node::Node;
pub(super) use open::OpenFile;

use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use handles::HandleCache;

use super::os::{Handle, HostResult};

/// Bounds of a [`Tree`].
#[derive(Clone, Copy, Debug)]
pub(super) struct TreeLimits {
    pub(super) nodes: usize,
    pub(super) handles: usize,
    pub(super) open_files: usize,
}

/// A share's nodes.
#[derive(Debug)]
pub(super) struct Tree {
    root: Arc<Node>,
    handles: HandleCache<Node>,
    open_files: HandleCache<OpenFile>,
    nodes: Arc<Capacity>,
    /// For the order of locks.
    next_serial: AtomicU64,
    /// Held by renames, so that no two of them move directories into each other.
    renames: Mutex<()>,
}

impl Tree {
    /// The tree below the directory `path`.
    pub(super) fn new(path: &Path, limits: TreeLimits) -> HostResult<Self> {
        let handle = Handle::root(path)?;
        let stat = handle.stat()?;
        Ok(Self {
            root: Arc::new(Node::root(handle, &stat)),
            handles: HandleCache::new(limits.handles),
            open_files: HandleCache::new(limits.open_files),
            nodes: Capacity::new(limits.nodes),
            next_serial: AtomicU64::new(1),
            renames: Mutex::new(()),
        })
    }

    pub(super) fn root(&self) -> &Arc<Node> {
        &self.root
    }

    /// Closes every descriptor that is only kept to save time; for when the process has no more.
    pub(super) fn close_idle(&self) {
        self.handles.clear();
        self.open_files.clear();
    }
}

#[cfg(test)]
#[path = "tree_test.rs"]
mod tree_test;
