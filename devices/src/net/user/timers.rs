//! Deadlines of many things, the earliest first.

use std::collections::BTreeSet;
use std::time::Instant;

/// The deadlines of a table's entries, by index. An entry keeps its own deadline, so that it can be found again.
#[derive(Default)]
pub(super) struct Timers(BTreeSet<(Instant, usize)>);

impl Timers {
    /// Moves the deadline of entry `index` from `slot` to `at`.
    pub(super) fn set(&mut self, index: usize, slot: &mut Option<Instant>, at: Option<Instant>) {
        if *slot == at {
            return;
        }
        if let Some(old) = *slot {
            self.0.remove(&(old, index));
        }
        if let Some(new) = at {
            self.0.insert((new, index));
        }
        *slot = at;
    }

    /// An entry whose deadline is not after `now`. It stays the next one until its deadline is moved.
    pub(super) fn due(&self, now: Instant) -> Option<usize> {
        self.0.first().filter(|(at, _)| *at <= now).map(|(_, index)| *index)
    }

    /// The earliest deadline.
    pub(super) fn next(&self) -> Option<Instant> {
        self.0.first().map(|(at, _)| *at)
    }

    /// The entry whose deadline is the earliest.
    pub(super) fn first(&self) -> Option<usize> {
        self.0.first().map(|(_, index)| *index)
    }

    /// Forgets all deadlines, when all entries are gone.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}
