//! How long to wait before a lost peer is tried again.

use std::time::{Duration, Instant};

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(10);

/// Waiting times that double.
pub(super) struct Backoff {
    wait: Duration,
    until: Option<Instant>,
}

impl Backoff {
    pub(super) fn new() -> Self {
        Self { wait: FIRST, until: None }
    }

    /// It failed: when to try again.
    pub(super) fn failed(&mut self, now: Instant) {
        self.until = Some(now + self.wait);
        self.wait = (self.wait * 2).min(LONGEST);
    }

    /// It worked.
    pub(super) fn succeeded(&mut self) {
        *self = Self::new();
    }

    /// When to try again.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.until
    }

    /// Whether it is time to try again.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.until.is_none_or(|until| until <= now)
    }
}
