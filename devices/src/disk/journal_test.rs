//! What is done to an image's file, noted in order, and what a loss of power may leave of it.

use std::ops::Range;
use std::sync::{Arc, Mutex};

use super::buffers::Source;

/// Bytes that reach the medium together, or not.
const SECTOR: u64 = 512;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    Write(u64, Vec<u8>),
    Zero(Range<u64>),
    Length(u64),
    Sync,
}

impl Change {
    pub(super) fn of(source: &Source<'_>, offset: u64) -> Self {
        let mut bytes = vec![0; source.len()];
        source.copy_to(&mut bytes);
        Self::Write(offset, bytes)
    }

    /// Does the same to `file`, as far as `keeps` has it for each sector.
    fn apply(&self, file: &mut Vec<u8>, mut keeps: impl FnMut() -> bool) {
        match self {
            Self::Length(bytes) => file.resize(*bytes as usize, 0),
            Self::Sync => {}
            Self::Write(offset, bytes) => {
                let end = offset + bytes.len() as u64;
                for range in sectors(*offset..end).filter(|_| keeps()) {
                    file.resize(file.len().max(range.end as usize), 0);
                    let from = (range.start - offset) as usize..(range.end - offset) as usize;
                    file[range.start as usize..range.end as usize].copy_from_slice(&bytes[from]);
                }
            }
            Self::Zero(range) => {
                for range in sectors(range.clone()).filter(|_| keeps()) {
                    let end = file.len().min(range.end as usize);
                    file[end.min(range.start as usize)..end].fill(0);
                }
            }
        }
    }
}

fn sectors(range: Range<u64>) -> impl Iterator<Item = Range<u64>> {
    let mut start = range.start;
    std::iter::from_fn(move || {
        let end = (start - start % SECTOR + SECTOR).min(range.end);
        let sector = start..end;
        start = end;
        (!sector.is_empty()).then_some(sector)
    })
}

/// Nothing is noted until it is asked for.
#[derive(Debug, Clone, Default)]
pub(super) struct Journal(Arc<Mutex<Option<Vec<Change>>>>);

impl Journal {
    pub(super) fn start(&self) {
        *self.0.lock().unwrap() = Some(Vec::new());
    }

    pub(super) fn note(&self, change: impl FnOnce() -> Change) {
        if let Some(changes) = &mut *self.0.lock().unwrap() {
            changes.push(change());
        }
    }

    /// How many were noted so far.
    pub(super) fn len(&self) -> usize {
        self.0.lock().unwrap().as_ref().map_or(0, Vec::len)
    }

    /// What was noted so far.
    pub(super) fn changes(&self) -> Vec<Change> {
        self.0.lock().unwrap().clone().unwrap_or_default()
    }
}

/// What of `file` there is after `changes` and a loss of power: all that was synced, and of the rest what `keeps` says.
pub(super) fn after_power_loss(
    mut file: Vec<u8>,
    changes: &[Change],
    mut keeps: impl FnMut() -> bool,
) -> Vec<u8> {
    let synced = changes.iter().rposition(|change| *change == Change::Sync).unwrap_or(0);
    for (at, change) in changes.iter().enumerate() {
        change.apply(&mut file, || at < synced || keeps());
    }
    file
}
