//! Amounts of something bounded.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// So much of something (nodes, open files, bytes) may exist at once.
#[derive(Debug)]
pub(in crate::p9) struct Capacity {
    limit: usize,
    used: AtomicUsize,
}

/// A share in a [`Capacity`], given back when dropped.
#[derive(Debug)]
pub(in crate::p9) struct Charge {
    of: Arc<Capacity>,
    amount: usize,
}

impl Capacity {
    pub(in crate::p9) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, used: AtomicUsize::new(0) })
    }

    fn add(&self, amount: usize) -> bool {
        let more = |used: usize| used.checked_add(amount).filter(|sum| *sum <= self.limit);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    /// Takes `amount`, if there is as much.
    pub(in crate::p9) fn take(self: &Arc<Self>, amount: usize) -> Option<Charge> {
        self.add(amount).then(|| Charge { of: Arc::clone(self), amount })
    }

    #[cfg(test)]
    pub(in crate::p9) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }
}

impl Charge {
    /// Makes it `amount`; answers whether there was as much. If not, it stays what it was.
    pub(in crate::p9) fn resize(&mut self, amount: usize) -> bool {
        if amount <= self.amount {
            self.of.used.fetch_sub(self.amount - amount, Ordering::Relaxed);
        } else if !self.of.add(amount - self.amount) {
            return false;
        }
        self.amount = amount;
        true
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.of.used.fetch_sub(self.amount, Ordering::Relaxed);
    }
}
