//! Byte-range locks among the guest's processes, with the host's other programs as one more party.
//!
//! A lock belongs to a process of a client, as POSIX wants it: two open files of one process do not exclude each other. So
//! who holds what is kept here; and what the guest holds in all is held on the host too, by one open file description per
//! file, so that it excludes programs there. Where the host has no such locks, only the guest's exclude each other.

use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex};

use super::os::{FileId, Handle, HostResult, LockKind, conflicting_lock, set_lock};
use crate::lock;

/// Most ranges held in one file, and in all.
const MAX_RANGES_PER_FILE: usize = 4096;
const MAX_RANGES: usize = 65_536;

/// Longest name of a client that is kept, bytes; a host name has 64 at most.
const MAX_CLIENT: usize = 255;

/// A guest process: what its client calls itself, and the process's number there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) client: Arc<[u8]>,
    pub(super) process: u32,
}

impl Owner {
    pub(super) fn new(client: &[u8], process: u32) -> Self {
        Self { client: client.get(..MAX_CLIENT).unwrap_or(client).into(), process }
    }
}

/// Bytes `first..=last` of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) first: u64,
    pub(super) last: u64,
}

impl Span {
    /// From `start`, so many bytes; 0 for all there will ever be. None if it goes beyond the largest offset.
    pub(super) fn new(start: u64, length: u64) -> Option<Self> {
        let end = i64::MAX.unsigned_abs();
        let last = if length == 0 { end } else { start.checked_add(length - 1)? };
        (start <= last && last <= end).then_some(Self { first: start, last })
    }

    /// Its length as the protocol says it.
    pub(super) fn length(self) -> u64 {
        if self.last == i64::MAX.unsigned_abs() { 0 } else { self.last - self.first + 1 }
    }

    fn overlaps(self, other: Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

/// A lock that is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) span: Span,
    pub(super) exclusive: bool,
    pub(super) owner: Owner,
    /// The open file through which it was taken, and with which it ends.
    opener: u64,
}

/// What became of a request for a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Done,
    /// Somebody else holds it.
    Blocked,
    /// There are too many.
    Refused,
}

#[derive(Debug, Default)]
struct FileLocks {
    held: Vec<Held>,
    /// Holds the guest's locks on the host.
    host: Option<OwnedFd>,
}

/// All locks of a session.
#[derive(Debug, Default)]
pub(super) struct LockTable {
    files: Mutex<HashMap<FileId, FileLocks>>,
}

/// Is it another program's lock that was in the way? Any other failure means that the host cannot help.
fn is_conflict(result: HostResult<()>) -> bool {
    matches!(result, Err(rustix::io::Errno::AGAIN | rustix::io::Errno::ACCESS))
}

impl FileLocks {
    fn blocking(&self, owner: &Owner, span: Span, exclusive: bool) -> Option<&Held> {
        self.held
            .iter()
            .find(|held| held.owner != *owner && held.span.overlaps(span) && (exclusive || held.exclusive))
    }

    /// Takes `span` out of what `gone` picks.
    fn cut(&mut self, span: Span, gone: impl Fn(&Held) -> bool) {
        let mut kept = Vec::with_capacity(self.held.len() + 1);
        for held in self.held.drain(..) {
            if !gone(&held) || !held.span.overlaps(span) {
                kept.push(held);
                continue;
            }
            if held.span.first < span.first {
                let before = Span { first: held.span.first, last: span.first - 1 };
                kept.push(Held { span: before, ..held.clone() });
            }
            if held.span.last > span.last {
                let behind = Span { first: span.last + 1, last: held.span.last };
                kept.push(Held { span: behind, ..held });
            }
        }
        self.held = kept;
    }

    /// Unlocks on the host what nobody in the guest holds any more of `span`.
    fn release_host(&self, span: Span) {
        let Some(host) = &self.host else { return };
        let mut held: Vec<Span> =
            self.held.iter().map(|held| held.span).filter(|held| held.overlaps(span)).collect();
        held.sort_by_key(|held| held.first);
        let mut free_from = Some(span.first);
        for held in held {
            if let Some(first) = free_from
                && first < held.first
            {
                let _ = set_lock(host.as_fd(), LockKind::Unlocked, first, held.first - 1);
            }
            let behind = held.last.checked_add(1).filter(|next| *next <= span.last);
            // Ranges overlap, so the end that reaches furthest counts.
            free_from = free_from.and_then(|first| behind.map(|next| next.max(first)));
        }
        if let Some(first) = free_from {
            let _ = set_lock(host.as_fd(), LockKind::Unlocked, first, span.last);
        }
    }
}

impl LockTable {
    /// Takes a lock for `owner`, or changes one, without waiting. `opener` is the open file's serial number, `file` itself if
    /// the host is to know of the lock.
    pub(super) fn lock(
        &self,
        id: FileId,
        file: Option<&Handle>,
        owner: Owner,
        opener: u64,
        span: Span,
        exclusive: bool,
    ) -> Outcome {
        let mut files = lock(&self.files);
        let total: usize = files.values().map(|locks| locks.held.len()).sum();
        let locks = files.entry(id).or_default();
        if locks.blocking(&owner, span, exclusive).is_some() {
            return Outcome::Blocked;
        }
        // One request adds two at most: itself, and the end of one it divides.
        if locks.held.len() + 2 > MAX_RANGES_PER_FILE || total + 2 > MAX_RANGES {
            return Outcome::Refused;
        }
        if locks.host.is_none() {
            locks.host = file.and_then(|file| file.open_for_locks().ok());
        }
        let kind = if exclusive { LockKind::Exclusive } else { LockKind::Shared };
        if let Some(host) = &locks.host
            && is_conflict(set_lock(host.as_fd(), kind, span.first, span.last))
        {
            if locks.held.is_empty() {
                files.remove(&id);
            }
            return Outcome::Blocked;
        }
        locks.cut(span, |held| held.owner == owner);
        locks.held.push(Held { span, exclusive, owner, opener });
        Outcome::Done
    }

    /// Gives up what `owner` holds of `span`.
    pub(super) fn unlock(&self, id: FileId, owner: &Owner, span: Span) {
        self.give_up(id, span, |held| held.owner == *owner);
    }

    /// Gives up what was locked through an open file that is now closed.
    pub(super) fn close(&self, id: FileId, opener: u64) {
        let Some(all) = Span::new(0, 0) else { return };
        self.give_up(id, all, |held| held.opener == opener);
    }

    fn give_up(&self, id: FileId, span: Span, gone: impl Fn(&Held) -> bool) {
        let mut files = lock(&self.files);
        let Some(locks) = files.get_mut(&id) else { return };
        locks.cut(span, gone);
        locks.release_host(span);
        if locks.held.is_empty() {
            files.remove(&id);
        }
    }

    /// The lock in the way of one that `owner` might ask for.
    pub(super) fn blocking(
        &self,
        id: FileId,
        file: Option<&Handle>,
        owner: &Owner,
        span: Span,
        exclusive: bool,
    ) -> Option<Held> {
        let files = lock(&self.files);
        let locks = files.get(&id);
        if let Some(held) = locks.and_then(|locks| locks.blocking(owner, span, exclusive)) {
            return Some(held.clone());
        }
        // The guest's own locks on the host must not count, so it is asked through the descriptor that holds them.
        let kind = if exclusive { LockKind::Exclusive } else { LockKind::Shared };
        let opened = match locks.and_then(|locks| locks.host.as_ref()) {
            Some(_) => None,
            None => Some(file?.open_for_locks().ok()?),
        };
        let host = opened.as_ref().or_else(|| locks.and_then(|locks| locks.host.as_ref()))?;
        let (exclusive, start, length, process) =
            conflicting_lock(host.as_fd(), kind, span.first, span.last).ok()??;
        let span = Span::new(start, length)?;
        Some(Held { span, exclusive, owner: Owner::new(b"host", process), opener: 0 })
    }

    /// Gives up everything.
    pub(super) fn clear(&self) {
        lock(&self.files).clear();
    }
}

#[cfg(test)]
#[path = "lock_table_test.rs"]
mod lock_table_test;
