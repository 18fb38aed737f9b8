//! The host's clock as a time-stamp counter.

use std::time::Instant;

use engine::TimeSource;

/// Counts at a fixed frequency from its creation, on the host's monotonic clock.
#[derive(Debug)]
pub(super) struct HostClock {
    start: Instant,
}

impl HostClock {
    /// Ticks per second: one per nanosecond, so that no conversion rounds.
    pub(super) const FREQUENCY_HZ: u64 = 1_000_000_000;

    pub(super) fn new() -> Self {
        Self { start: Instant::now() }
    }
}

impl TimeSource for HostClock {
    fn tsc(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}
