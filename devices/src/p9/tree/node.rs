//! An entry of a directory.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, Weak};

use super::handles::{HandleSlot, Holder};
use super::{Charge, Tree};
use crate::lock;
use crate::p9::os::{FileId, Handle, Stat};
use crate::p9::wire::spec::file_type;
use crate::p9::wire::{Errno, Result};

/// Deepest place below the share's root. Linux's paths have at most 2,048 names.
const MAX_DEPTH: usize = 4096;

/// How often a node is looked for when its name leads elsewhere, since a rename may be under way.
const ATTEMPTS: usize = 3;

/// Dead children that a directory's map may hold beside as many living ones.
const DEAD_CHILDREN: usize = 16;

/// An entry of a directory, or the share's root. See [`super`].
#[derive(Debug)]
pub(in crate::p9) struct Node {
    id: FileId,
    file_type: u32,
    /// Orders the locks of two directories.
    pub(super) serial: u64,
    /// None for the root.
    pub(super) place: Mutex<Option<Place>>,
    pub(super) children: Mutex<Children>,
    handle: HandleSlot,
    _charge: Option<Charge>,
}

/// Where a node is.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) parent: Arc<Node>,
    pub(super) name: Arc<CStr>,
    /// False once the name is gone or stands for something else.
    pub(super) linked: bool,
}

/// The known entries of a directory.
#[derive(Debug, Default)]
pub(super) struct Children {
    pub(super) by_name: BTreeMap<Arc<CStr>, Weak<Node>>,
    /// Counts the changes made through us, so that a look at the directory can tell whether one came in between.
    pub(super) changes: u64,
    /// Size of the map at which the dead are next removed from it.
    purge_at: usize,
}

impl Children {
    pub(super) fn get(&self, name: &CStr) -> Option<Arc<Node>> {
        self.by_name.get(name).and_then(Weak::upgrade)
    }

    pub(super) fn insert(&mut self, name: Arc<CStr>, node: &Arc<Node>) {
        if self.by_name.len() >= self.purge_at {
            self.by_name.retain(|_, child| child.strong_count() > 0);
            self.purge_at = 2 * self.by_name.len() + DEAD_CHILDREN;
        }
        self.by_name.insert(name, Arc::downgrade(node));
    }
}

impl Node {
    pub(super) fn root(handle: Handle, stat: &Stat) -> Self {
        Self {
            id: stat.id,
            file_type: stat.file_type(),
            serial: 0,
            place: Mutex::new(None),
            children: Mutex::default(),
            handle: HandleSlot::holding(handle),
            _charge: None,
        }
    }

    pub(in crate::p9) fn id(&self) -> FileId {
        self.id
    }

    /// `wire::spec::file_type`.
    pub(in crate::p9) fn file_type(&self) -> u32 {
        self.file_type
    }

    pub(in crate::p9) fn is_directory(&self) -> bool {
        self.file_type == file_type::DIRECTORY
    }

    /// Is there a name that leads to it, as far as is known here?
    pub(super) fn is_linked(&self) -> bool {
        lock(&self.place).as_ref().is_none_or(|place| place.linked)
    }

    fn is(&self, stat: &Stat) -> bool {
        self.id == stat.id && self.file_type == stat.file_type()
    }

    /// The directory and name of a node that has one.
    pub(super) fn linked_place(&self) -> Result<Place> {
        match &*lock(&self.place) {
            Some(place) if place.linked => Ok(place.clone()),
            Some(_) => Err(Errno::ESTALE),
            None => Err(Errno::EBUSY),
        }
    }

    /// The name stands for this node no more.
    pub(super) fn unlink(&self) {
        if let Some(place) = &mut *lock(&self.place) {
            place.linked = false;
        }
    }

    /// The directory it is or was in; the root is in itself.
    pub(in crate::p9) fn parent(self: &Arc<Self>) -> Arc<Self> {
        lock(&self.place).as_ref().map_or_else(|| Arc::clone(self), |place| Arc::clone(&place.parent))
    }

    /// Opens this node's entry of `parent`, if it still is what it was.
    fn open_from(&self, parent: &Arc<Handle>, name: &CStr) -> Result<Handle> {
        let handle = Handle::child(parent, name, self.file_type)?;
        if self.is(&handle.stat()?) { Ok(handle) } else { Err(Errno::ESTALE) }
    }
}

impl Holder for Node {
    fn handle_slot(&self) -> &HandleSlot {
        &self.handle
    }

    fn is_pinned(&self) -> bool {
        self.handle.is_pinned()
    }
}

/// A parent may be the last reference to its own, and so on: one by one, since a chain may be long.
impl Drop for Node {
    fn drop(&mut self) {
        let parent_of = |node: &mut Self| {
            let place = node.place.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
            place.take().map(|place| place.parent)
        };
        let mut next = parent_of(self);
        while let Some(mut node) = next.and_then(Arc::into_inner) {
            next = parent_of(&mut node);
        }
    }
}

/// `name` as system calls want it.
///
/// # Errors
/// EINVAL for a name that is empty, "." or "..", or holds '/' or NUL; ENAMETOOLONG for one of more than 255 bytes.
pub(super) fn entry_name(name: &[u8]) -> Result<CString> {
    match name {
        b"" | b"." | b".." => Err(Errno::EINVAL),
        _ if name.len() > 255 => Err(Errno::ENAMETOOLONG),
        _ if name.contains(&b'/') => Err(Errno::EINVAL),
        _ => CString::new(name).map_err(|_| Errno::EINVAL),
    }
}

impl Tree {
    /// A way to the node's file, checked to be what it was. Directories keep theirs.
    ///
    /// # Errors
    /// ESTALE or ENOENT if the host or the guest has moved or removed it, and what open(2) says.
    pub(in crate::p9) fn handle(&self, node: &Arc<Node>) -> Result<Arc<Handle>> {
        let mut attempts = ATTEMPTS;
        loop {
            attempts -= 1;
            match self.find(node) {
                Err(Errno::ENOENT | Errno::ESTALE | Errno::ENOTDIR | Errno::ELOOP) if attempts > 0 => {}
                other => return other,
            }
        }
    }

    fn find(&self, node: &Arc<Node>) -> Result<Arc<Handle>> {
        // Up to a directory that is open; the root always is.
        let mut way = Vec::new();
        let mut at = Arc::clone(node);
        let mut handle = loop {
            if let Some(handle) = at.handle.get() {
                break handle;
            }
            if way.len() >= MAX_DEPTH {
                return Err(Errno::ELOOP);
            }
            let place = at.linked_place()?;
            way.push((at, place.name));
            at = place.parent;
        };
        // And down again.
        while let Some((node, name)) = way.pop() {
            handle = Arc::new(self.with_room(|| node.open_from(&handle, &name))?);
            if node.is_directory() {
                self.handles.keep(&node, &handle);
            }
        }
        Ok(handle)
    }

    /// Repeats what failed for want of descriptors, after closing those that are only kept to save time.
    pub(in crate::p9) fn with_room<T>(&self, call: impl Fn() -> Result<T>) -> Result<T> {
        match call() {
            Err(Errno::EMFILE | Errno::ENFILE) => {
                self.close_idle();
                call()
            }
            other => other,
        }
    }

    /// The node's attributes now.
    pub(in crate::p9) fn stat(&self, node: &Arc<Node>) -> Result<Stat> {
        if let Some(handle) = node.handle.get() {
            return Ok(handle.stat()?);
        }
        if node.is_directory() {
            return Ok(self.handle(node)?.stat()?);
        }
        // One call instead of open, look, close. If it is not what it was, `handle` says why, and looks again.
        let place = node.linked_place()?;
        match self.handle(&place.parent)?.stat_child(&place.name) {
            Ok(stat) if node.is(&stat) => Ok(stat),
            _ => Ok(self.handle(node)?.stat()?),
        }
    }

    /// The entry `name` of `dir`, and its attributes.
    ///
    /// # Errors
    /// ENOTDIR if `dir` is none, ENOENT if there is no such entry, ENFILE if too many are known.
    pub(in crate::p9) fn lookup(&self, dir: &Arc<Node>, name: &[u8]) -> Result<(Arc<Node>, Stat)> {
        if !dir.is_directory() {
            return Err(Errno::ENOTDIR);
        }
        let name = entry_name(name)?;
        let handle = self.handle(dir)?;
        // The look is taken without the lock, and again under it if the directory was changed meanwhile.
        let before = lock(&dir.children).changes;
        let stat = handle.stat_child(&name);
        let mut children = lock(&dir.children);
        let stat = if children.changes == before { stat? } else { handle.stat_child(&name)? };
        let node = self.adopt(&mut children, dir, &name, &stat)?;
        Ok((node, stat))
    }

    /// The node for what has been seen or made under `name`. One that stood for another file before is stale from now on.
    pub(super) fn adopt(
        &self,
        children: &mut Children,
        dir: &Arc<Node>,
        name: &CStr,
        stat: &Stat,
    ) -> Result<Arc<Node>> {
        if let Some(known) = children.get(name) {
            if known.is(stat) {
                return Ok(known);
            }
            known.unlink();
        }
        let charge = self.nodes.take(1).ok_or(Errno::ENFILE)?;
        let name: Arc<CStr> = name.into();
        let node = Arc::new(Node {
            id: stat.id,
            file_type: stat.file_type(),
            serial: self.next_serial.fetch_add(1, Ordering::Relaxed),
            place: Mutex::new(Some(Place { parent: Arc::clone(dir), name: Arc::clone(&name), linked: true })),
            children: Mutex::default(),
            handle: HandleSlot::default(),
            _charge: Some(charge),
        });
        children.insert(name, &node);
        Ok(node)
    }

    /// Gives a node that is about to lose its name a descriptor, if it has none. Where that cannot be had the node becomes
    /// stale, which is no reason not to remove it.
    pub(super) fn pin(&self, node: &Arc<Node>, dir: &Arc<Handle>, name: &CStr) {
        let handle = node.handle.get().or_else(|| {
            let handle = self.with_room(|| Ok(Handle::lasting_child(dir, name, node.file_type)?)).ok()?;
            handle.stat().is_ok_and(|stat| node.is(&stat)).then(|| Arc::new(handle))
        });
        if let Some(handle) = handle {
            node.handle.pin();
            self.handles.keep(node, &handle);
        }
    }
}
