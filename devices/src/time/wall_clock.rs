//! The calendar, for the real-time clock.

use std::time::{SystemTime, UNIX_EPOCH};

/// Tells the date. Read once when the machine starts and after the guest is paused; between, the virtual clock counts.
pub trait WallClock: Send + Sync {
    /// Seconds since 1970-01-01 00:00:00 UTC; negative before.
    fn unix_seconds(&self) -> i64;
}

/// The host's date.
#[derive(Debug, Default, Clone, Copy)]
pub struct HostWallClock;

impl WallClock for HostWallClock {
    fn unix_seconds(&self) -> i64 {
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_secs()).map_or(i64::MIN, |s| -s),
        }
    }
}

/// A date that was decided: for tests and for boots that must repeat exactly.
#[derive(Debug, Clone, Copy)]
pub struct FixedWallClock(
    /// Seconds since 1970-01-01 00:00:00 UTC.
    pub i64,
);

impl WallClock for FixedWallClock {
    fn unix_seconds(&self) -> i64 {
        self.0
    }
}
