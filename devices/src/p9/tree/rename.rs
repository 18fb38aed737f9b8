//! Changes to directories: entries made, removed and renamed, and what becomes of the nodes that stand for them.

use std::ffi::CStr;
use std::sync::{Arc, MutexGuard};

use rustix::fs::{self, AtFlags};

use super::node::{Children, entry_name};
use super::{Node, Tree};
use crate::lock;
use crate::p9::os::{Handle, Stat};
use crate::p9::wire::spec::file_type;
use crate::p9::wire::{Errno, Result};

impl Tree {
    /// Makes an entry of `dir` by `make`, which is given the directory and the name and answers the new entry's attributes.
    ///
    /// # Errors
    /// As [`Tree::lookup`], and what `make` says.
    pub(in crate::p9) fn create<T>(
        &self,
        dir: &Arc<Node>,
        name: &[u8],
        make: impl FnOnce(&Arc<Handle>, &CStr) -> Result<(Stat, T)>,
    ) -> Result<(Arc<Node>, Stat, T)> {
        if !dir.is_directory() {
            return Err(Errno::ENOTDIR);
        }
        let name = entry_name(name)?;
        let handle = self.handle(dir)?;
        let (stat, made) = make(&handle, &name)?;
        let mut children = lock(&dir.children);
        children.changes = children.changes.wrapping_add(1);
        let node = self.adopt(&mut children, dir, &name, &stat)?;
        Ok((node, stat, made))
    }

    /// Removes the entry `name` of `dir`: a directory if `directory`, else anything but one.
    ///
    /// # Errors
    /// What unlinkat(2) says, with Linux's EISDIR for a directory that is not meant to be one.
    pub(in crate::p9) fn unlink(&self, dir: &Arc<Node>, name: &[u8], directory: bool) -> Result<()> {
        if !dir.is_directory() {
            return Err(Errno::ENOTDIR);
        }
        let name = entry_name(name)?;
        let handle = self.handle(dir)?;
        let mut children = lock(&dir.children);
        self.unlink_locked(&mut children, &handle, &name, directory)
    }

    /// Removes the entry that `node` is, if it still is what it was.
    ///
    /// # Errors
    /// EBUSY for the root, ESTALE if the name is gone or stands for something else, and what unlinkat(2) says.
    pub(in crate::p9) fn remove(&self, node: &Arc<Node>) -> Result<()> {
        let place = node.linked_place()?;
        let handle = self.handle(&place.parent)?;
        let mut children = lock(&place.parent.children);
        if handle.stat_child(&place.name)?.id != node.id() {
            return Err(Errno::ESTALE);
        }
        self.unlink_locked(&mut children, &handle, &place.name, node.is_directory())
    }

    fn unlink_locked(
        &self,
        children: &mut Children,
        dir: &Arc<Handle>,
        name: &CStr,
        directory: bool,
    ) -> Result<()> {
        let known = children.get(name);
        if let Some(node) = &known {
            self.pin(node, dir, name);
        }
        let flags = if directory { AtFlags::REMOVEDIR } else { AtFlags::empty() };
        if let Err(error) = fs::unlinkat(dir.fd()?, name, flags) {
            // POSIX lets unlink of a directory fail with EPERM, as macOS does.
            let is_directory =
                || dir.stat_child(name).is_ok_and(|stat| stat.file_type() == file_type::DIRECTORY);
            let confused = !directory && error == rustix::io::Errno::PERM && is_directory();
            return Err(if confused { Errno::EISDIR } else { error.into() });
        }
        children.changes = children.changes.wrapping_add(1);
        children.by_name.remove(name);
        if let Some(node) = known {
            node.unlink();
        }
        Ok(())
    }

    /// Renames the entry that `node` is to `new_name` in `new_dir`.
    ///
    /// # Errors
    /// As [`Tree::remove`] and [`Tree::rename`].
    pub(in crate::p9) fn rename_node(
        &self,
        node: &Arc<Node>,
        new_dir: &Arc<Node>,
        new_name: &[u8],
    ) -> Result<()> {
        let place = node.linked_place()?;
        self.rename_entry(&place.parent, &place.name, new_dir, new_name, Some(node))
    }

    /// Renames the entry `name` of `dir` to `new_name` in `new_dir`, in place of what may be there.
    ///
    /// # Errors
    /// What renameat(2) says.
    pub(in crate::p9) fn rename(
        &self,
        dir: &Arc<Node>,
        name: &[u8],
        new_dir: &Arc<Node>,
        new_name: &[u8],
    ) -> Result<()> {
        self.rename_entry(dir, &entry_name(name)?, new_dir, new_name, None)
    }

    fn rename_entry(
        &self,
        dir: &Arc<Node>,
        name: &CStr,
        new_dir: &Arc<Node>,
        new_name: &[u8],
        expected: Option<&Arc<Node>>,
    ) -> Result<()> {
        if !dir.is_directory() || !new_dir.is_directory() {
            return Err(Errno::ENOTDIR);
        }
        let new_name = entry_name(new_name)?;
        let _renames = lock(&self.renames);
        let (from, to) = (self.handle(dir)?, self.handle(new_dir)?);
        let mut directories = Directories::lock(dir, new_dir);
        if let Some(node) = expected
            && from.stat_child(name)?.id != node.id()
        {
            return Err(Errno::ESTALE);
        }
        let replaced = directories.target().get(&new_name);
        if let Some(node) = &replaced {
            self.pin(node, &to, &new_name);
        }
        fs::renameat(from.fd()?, name, to.fd()?, &*new_name)?;
        for children in directories.each() {
            children.changes = children.changes.wrapping_add(1);
        }
        if Arc::ptr_eq(dir, new_dir) && *name == *new_name {
            return Ok(());
        }
        directories.target().by_name.remove(&*new_name);
        if let Some(node) = replaced {
            node.unlink();
        }
        let moved = directories.source().get(name);
        directories.source().by_name.remove(name);
        let Some(moved) = moved else { return Ok(()) };
        if is_above(&moved, new_dir) {
            // The host has moved directories about, and what we know of them is no tree any more.
            moved.unlink();
            return Ok(());
        }
        let new_name: Arc<CStr> = new_name.into();
        if let Some(place) = &mut *lock(&moved.place) {
            place.parent = Arc::clone(new_dir);
            place.name = Arc::clone(&new_name);
        }
        directories.target().insert(new_name, &moved);
        Ok(())
    }
}

/// Is `node` the directory `below` or one above it?
fn is_above(node: &Arc<Node>, below: &Arc<Node>) -> bool {
    let mut at = Arc::clone(below);
    loop {
        if Arc::ptr_eq(&at, node) {
            return true;
        }
        let parent = at.parent();
        if Arc::ptr_eq(&parent, &at) {
            return false; // the root
        }
        at = parent;
    }
}

/// The entries of a rename's two directories, which may be one.
struct Directories<'a> {
    old: MutexGuard<'a, Children>,
    new: Option<MutexGuard<'a, Children>>,
}

impl<'a> Directories<'a> {
    fn lock(old: &'a Arc<Node>, new: &'a Arc<Node>) -> Self {
        if Arc::ptr_eq(old, new) {
            return Self { old: lock(&old.children), new: None };
        }
        if old.serial < new.serial {
            let old = lock(&old.children);
            return Self { old, new: Some(lock(&new.children)) };
        }
        let new = lock(&new.children);
        Self { old: lock(&old.children), new: Some(new) }
    }

    fn source(&mut self) -> &mut Children {
        &mut self.old
    }

    fn target(&mut self) -> &mut Children {
        self.new.as_mut().unwrap_or(&mut self.old)
    }

    fn each(&mut self) -> impl Iterator<Item = &mut Children> {
        std::iter::once(&mut *self.old).chain(self.new.as_deref_mut())
    }
}
