//! MSRs the guest asked for that do not exist.

use std::collections::BTreeMap;
use std::sync::Mutex;

use crate::lock;

/// Distinct MSRs remembered; a guest that sweeps all of them must not make the host's memory grow.
const MAX_MSRS: usize = 128;

/// The record, one per machine.
#[derive(Debug, Default)]
pub(crate) struct UnknownMsrs(Mutex<BTreeMap<(u32, bool), u64>>);

impl UnknownMsrs {
    /// A read or a write of `msr` raised #GP. The first of each is logged.
    pub(crate) fn note(&self, msr: u32, write: bool) {
        let mut seen = lock(&self.0);
        if let Some(count) = seen.get_mut(&(msr, write)) {
            *count = count.saturating_add(1);
        } else if seen.len() < MAX_MSRS {
            seen.insert((msr, write), 1);
            drop(seen);
            log::debug!("no MSR {msr:#x}: {} is #GP", if write { "write" } else { "read" });
        }
    }

    /// Number, whether written, and how often; ascending.
    pub(crate) fn list(&self) -> Vec<(u32, bool, u64)> {
        let seen = lock(&self.0);
        seen.iter().map(|((msr, write), count)| (*msr, *write, *count)).collect()
    }
}

#[cfg(test)]
#[path = "msr_log_test.rs"]
mod msr_log_test;
