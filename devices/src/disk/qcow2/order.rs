//! The order in which the parts of a qcow2 file reach the medium.
//!
//! imago writes counts before the entries of L2 tables that rely on them, and the other way round when it frees. That does
//! for a program that ends, but for two things: it names a new table before it has written the table's count, and it may
//! have given that table the place of a cluster that was freed and is still named in the file. And a host that loses power
//! may have kept any of the writes since the last sync. What is named and not counted, or named twice, is written over later.
//!
//! So the counts of new tables are written before the tables are named, tables are made only when nothing waits to be
//! written ([`Order::names_table_for`] tells), and there is a sync where one kind of write relies on another.

use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::header::Header;
use super::tables::{Table, Tables};
use super::view::View;
use crate::disk::buffers::Source;
use crate::disk::file::ImageFile;

/// Watches what is written to an image.
#[derive(Debug)]
pub(super) struct Order {
    /// Where the tables are; not known if they could not be read, and every write may be one to a root then.
    tables: RwLock<Option<Tables>>,
    /// Held during a sync: who relies on it waits.
    syncing: Mutex<()>,
    /// Refcount blocks.
    counts: Writes,
    /// L2 tables.
    mappings: Writes,
    /// Anything else: data, and tables that nothing names yet.
    data: Writes,
}

/// Writes of one kind.
#[derive(Debug)]
struct Writes {
    /// Those that are done.
    done: AtomicU64,
    /// As many of them are synced.
    synced: AtomicU64,
}

impl Writes {
    /// A program that was killed may have left some.
    fn new() -> Self {
        Self { done: AtomicU64::new(1), synced: AtomicU64::new(0) }
    }

    fn are_synced(&self) -> bool {
        self.synced.load(Ordering::Acquire) == self.done.load(Ordering::Acquire)
    }
}

impl Order {
    pub(super) fn new(tables: Tables) -> Self {
        Self {
            tables: RwLock::new(Some(tables)),
            syncing: Mutex::default(),
            counts: Writes::new(),
            mappings: Writes::new(),
            data: Writes::new(),
        }
    }

    /// Whether there is an L2 table for the byte at `offset` of the disk that is changed where it is.
    pub(super) fn names_table_for(&self, offset: u64) -> bool {
        self.tables().as_ref().is_some_and(|tables| tables.has_l2_for(offset))
    }

    /// Carries out `write`, which changes `range` of `file`, after a sync if there has to be one. `bytes` are what will be
    /// there, if that is known.
    pub(super) fn keep(
        &self,
        file: &ImageFile,
        range: Range<u64>,
        bytes: Option<&Source<'_>>,
        write: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<()> {
        let table = match &*self.tables() {
            Some(tables) => tables.at(&range),
            None => Some(Table::Root),
        };
        let (relies_on, becomes): (&[_], _) = match table {
            Some(Table::Root) => return self.keep_root(file, range.start, bytes, write),
            Some(Table::L2) => (&[&self.counts, &self.data], &self.mappings),
            Some(Table::RefcountBlock) => (&[&self.mappings], &self.counts),
            // Its place may have been something else's, in an L2 table that is not on the medium yet.
            None => (&[&self.mappings], &self.data),
        };
        if !relies_on.iter().all(|writes| writes.are_synced()) {
            let syncing = self.syncing();
            // Another one's sync may have done.
            if !relies_on.iter().all(|writes| writes.are_synced()) {
                self.sync_with(&syncing, || file.order())?;
            }
        }
        let answer = write();
        becomes.done.fetch_add(1, Ordering::AcqRel);
        answer
    }

    /// Roots rely on all there is, all there is relies on them, and they are seldom written.
    fn keep_root(
        &self,
        file: &ImageFile,
        offset: u64,
        bytes: Option<&Source<'_>>,
        write: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<()> {
        let syncing = self.syncing();
        let named = self.learn(file, offset, bytes);
        if let Some(tables) = &*self.tables() {
            tables.count_new(&named, file).map_err(io::Error::other)?;
        }
        self.sync_with(&syncing, || file.order())?;
        let answer = write().and_then(|()| file.order());
        if answer.is_err() || self.tables().is_none() {
            *self.tables_mut() = tables_of(View::of(file));
        }
        answer
    }

    /// Takes note of what a root is about to say; answers the places of tables that were not named before.
    fn learn(&self, file: &ImageFile, offset: u64, bytes: Option<&Source<'_>>) -> Vec<u64> {
        let mut tables = self.tables_mut();
        let Some(bytes) = bytes else {
            *tables = None;
            return Vec::new();
        };
        let mut copy = vec![0; bytes.len()];
        bytes.copy_to(&mut copy);
        if let Some(named) = tables.as_mut().and_then(|tables| tables.enter(offset, &copy)) {
            return named;
        }
        // It is the header.
        let before = std::mem::replace(&mut *tables, tables_of(View::of(file).after(&copy, offset)));
        tables.as_ref().zip(before).map(|(after, before)| after.not_in(&before)).unwrap_or_default()
    }

    /// Brings all that was written to safety.
    pub(super) fn sync(&self, file: &ImageFile) -> io::Result<()> {
        self.sync_with(&self.syncing(), || file.sync())
    }

    fn sync_with(&self, _: &MutexGuard<'_, ()>, sync: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let kinds = [&self.counts, &self.mappings, &self.data];
        // What is done from here on may miss it.
        let done = kinds.map(|writes| writes.done.load(Ordering::Acquire));
        sync()?;
        for (writes, done) in kinds.iter().zip(done) {
            writes.synced.store(done, Ordering::Release);
        }
        Ok(())
    }

    fn syncing(&self) -> MutexGuard<'_, ()> {
        self.syncing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tables_mut(&self) -> RwLockWriteGuard<'_, Option<Tables>> {
        self.tables.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn tables(&self) -> RwLockReadGuard<'_, Option<Tables>> {
        self.tables.read().unwrap_or_else(PoisonError::into_inner)
    }
}

fn tables_of(view: View<'_>) -> Option<Tables> {
    let header = Header::read(view).ok()?;
    Tables::read(&header, view).ok()
}
