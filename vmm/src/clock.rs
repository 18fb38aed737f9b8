//! The machine's clock: the host's time, or the guest's instructions.

use std::sync::Arc;
use std::time::Instant;

use devices::time::{Clock, HostClock, HostWallClock, ManualClock, NANOS_PER_SECOND, WallClock};

/// The date at which a machine whose time is counted starts: 2025-01-01 00:00:00 UTC.
const COUNTED_START: i64 = 1_735_689_600;

/// What [`Clock`] the machine goes by.
#[derive(Debug)]
pub(crate) enum MachineClock {
    /// Follows the host's.
    Host(HostClock),
    /// A nanosecond for each instruction of the guest, and jumps where all vCPUs wait.
    Counted(ManualClock),
}

impl MachineClock {
    /// The clock where time is counted.
    pub(crate) fn counted(&self) -> Option<&ManualClock> {
        match self {
            Self::Host(_) => None,
            Self::Counted(clock) => Some(clock),
        }
    }

    /// See [`HostClock::pause`]. Counted time stands by itself while no vCPU runs.
    pub(crate) fn pause(&self) {
        if let Self::Host(clock) = self {
            clock.pause();
        }
    }

    /// See [`HostClock::resume`].
    pub(crate) fn resume(&self) {
        if let Self::Host(clock) = self {
            clock.resume();
        }
    }

    /// See [`HostClock::instant_at`]; `None` where time is counted.
    pub(crate) fn instant_at(&self, ns: u64) -> Option<Instant> {
        match self {
            Self::Host(clock) => clock.instant_at(ns),
            Self::Counted(_) => None,
        }
    }
}

impl Clock for MachineClock {
    fn now_ns(&self) -> u64 {
        match self {
            Self::Host(clock) => clock.now_ns(),
            Self::Counted(clock) => clock.now_ns(),
        }
    }

    fn tsc_hz(&self) -> u64 {
        match self {
            Self::Host(clock) => clock.tsc_hz(),
            Self::Counted(clock) => clock.tsc_hz(),
        }
    }
}

/// The calendar of a counted clock.
struct CountedWallClock(Arc<MachineClock>);

impl WallClock for CountedWallClock {
    fn unix_seconds(&self) -> i64 {
        let since = i64::try_from(self.0.now_ns() / NANOS_PER_SECOND).unwrap_or(i64::MAX);
        COUNTED_START.saturating_add(since)
    }
}

/// The calendar that belongs to a clock.
pub(crate) fn calendar(clock: &Arc<MachineClock>) -> Arc<dyn WallClock> {
    match **clock {
        MachineClock::Host(_) => Arc::new(HostWallClock),
        MachineClock::Counted(_) => Arc::new(CountedWallClock(clock.clone())),
    }
}

#[cfg(test)]
#[path = "clock_test.rs"]
mod clock_test;
