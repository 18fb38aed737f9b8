//! Exits by reason.

use std::sync::atomic::{AtomicU64, Ordering};

use hypervisor_framework::x86_64::ExitReason;

/// Basic reasons counted one by one; the architecture has fewer.
const REASONS: usize = 80;

/// Written by one vCPU, read by the report.
pub(crate) struct ExitCounters {
    by_reason: [AtomicU64; REASONS],
    instructions: AtomicU64,
    cache_bytes: AtomicU64,
}

impl Default for ExitCounters {
    fn default() -> Self {
        Self {
            by_reason: [const { AtomicU64::new(0) }; REASONS],
            instructions: AtomicU64::new(0),
            cache_bytes: AtomicU64::new(0),
        }
    }
}

impl ExitCounters {
    pub(super) fn count(&self, reason: ExitReason) {
        let index = usize::try_from(reason.basic().0).unwrap_or(REASONS).min(REASONS - 1);
        if let Some(counter) = self.by_reason.get(index) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Says how many instructions the guest has executed.
    pub(crate) fn set_instructions(&self, count: u64) {
        self.instructions.store(count, Ordering::Relaxed);
    }

    /// Guest instructions; 0 where the provider does not count.
    pub(crate) fn instructions(&self) -> u64 {
        self.instructions.load(Ordering::Relaxed)
    }

    /// Says how large the provider's translations were at the end.
    pub(crate) fn set_cache_bytes(&self, bytes: Option<u64>) {
        self.cache_bytes.store(bytes.unwrap_or(0), Ordering::Relaxed);
    }

    /// Bytes of the provider's translations; 0 where it has none.
    pub(crate) fn cache_bytes(&self) -> u64 {
        self.cache_bytes.load(Ordering::Relaxed)
    }

    /// Reasons seen, with their counts.
    pub(crate) fn list(&self) -> impl Iterator<Item = (ExitReason, u64)> + '_ {
        self.by_reason.iter().enumerate().filter_map(|(index, counter)| {
            let count = counter.load(Ordering::Relaxed);
            (count > 0).then(|| (ExitReason(u32::try_from(index).unwrap_or(u32::MAX)), count))
        })
    }
}
