//! Which host memory backs which guest physical range: keeps it alive while it is mapped.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::HostRegion;

/// Guest ranges and their host memory. Ranges never overlap.
#[derive(Debug)]
pub(crate) struct Backings<T = Arc<HostRegion>> {
    /// Start → (end, what backs it).
    ranges: BTreeMap<u64, (u64, T)>,
}

impl<T> Default for Backings<T> {
    fn default() -> Self {
        Self { ranges: BTreeMap::new() }
    }
}

impl<T: Clone> Backings<T> {
    /// Records a range; what it covers of older ones is forgotten.
    pub(crate) fn insert(&mut self, start: u64, size: u64, backing: T) {
        self.remove(start, size);
        self.ranges.insert(start, (start.saturating_add(size), backing));
    }

    /// Forgets a range; ranges that it cuts keep their other parts.
    pub(crate) fn remove(&mut self, start: u64, size: u64) {
        let end = start.saturating_add(size);
        let cut: Vec<u64> = self
            .ranges
            .range(..end)
            .rev()
            .take_while(|(_, (its_end, _))| *its_end > start)
            .map(|(s, _)| *s)
            .collect();
        for its_start in cut {
            let Some((its_end, backing)) = self.ranges.remove(&its_start) else { continue };
            if its_end > end {
                self.ranges.insert(end, (its_end, backing.clone()));
            }
            if its_start < start {
                self.ranges.insert(its_start, (start, backing));
            }
        }
    }
}

#[cfg(test)]
#[path = "backing_test.rs"]
mod backing_test;
