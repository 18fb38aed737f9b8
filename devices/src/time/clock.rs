//! The machine's virtual clock.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::lock;

/// Nanoseconds in a second.
pub const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// Whole ticks of a `hz` counter in `nanos`, rounded down, saturating.
pub fn nanos_to_ticks(nanos: u64, hz: u64) -> u64 {
    let ticks = u128::from(nanos) * u128::from(hz) / u128::from(NANOS_PER_SECOND);
    u64::try_from(ticks).unwrap_or(u64::MAX)
}

/// The time `ticks` of a `hz` counter take, in nanoseconds, rounded up, saturating: at that time the counter has
/// certainly made them. A frequency of zero never gets there.
pub fn ticks_to_nanos(ticks: u64, hz: u64) -> u64 {
    if hz == 0 {
        return u64::MAX;
    }
    let nanos = (u128::from(ticks) * u128::from(NANOS_PER_SECOND)).div_ceil(u128::from(hz));
    u64::try_from(nanos).unwrap_or(u64::MAX)
}

/// The one clock a machine has. Everything that counts in the guest (TSC, APIC timers, PIT, PM timer, RTC) follows it, so
/// calibrating one against another always agrees.
pub trait Clock: Send + Sync {
    /// Nanoseconds since the machine started, not counting the time it was paused. Never goes back.
    fn now_ns(&self) -> u64;

    /// Frequency of the guest's TSC in Hz; constant.
    fn tsc_hz(&self) -> u64;

    /// The TSC (of a vCPU that never wrote it) at `ns`.
    fn tsc_at(&self, ns: u64) -> u64 {
        nanos_to_ticks(ns, self.tsc_hz())
    }

    /// The first nanosecond at which the TSC is at least `tsc`; `u64::MAX` if that is beyond what the clock can count.
    fn ns_at_tsc(&self, tsc: u64) -> u64 {
        ticks_to_nanos(tsc, self.tsc_hz())
    }

    /// The TSC now.
    fn tsc_now(&self) -> u64 {
        self.tsc_at(self.now_ns())
    }
}

#[derive(Debug, Clone, Copy)]
enum HostClockState {
    /// Stands still at this many nanoseconds.
    Paused { at_ns: u64 },
    /// Counts on from `at_ns`, which was at `since`.
    Running { since: Instant, at_ns: u64 },
}

/// A clock that follows the host's monotonic clock while it runs. Made paused at zero.
#[derive(Debug)]
pub struct HostClock {
    tsc_hz: u64,
    // A leaf lock, held for a few instructions.
    state: Mutex<HostClockState>,
}

impl HostClock {
    /// A paused clock at zero whose TSC runs at `tsc_hz`.
    pub fn new(tsc_hz: u64) -> Self {
        Self { tsc_hz, state: Mutex::new(HostClockState::Paused { at_ns: 0 }) }
    }

    /// Stops the clock. Called by the machine's owner once its vCPUs stand still; a second call changes nothing.
    pub fn pause(&self) {
        let mut state = lock(&self.state);
        *state = HostClockState::Paused { at_ns: reading(*state) };
    }

    /// Lets the clock count on from where it stopped. Called before vCPUs run; a second call changes nothing.
    pub fn resume(&self) {
        let mut state = lock(&self.state);
        if let HostClockState::Paused { at_ns } = *state {
            *state = HostClockState::Running { since: Instant::now(), at_ns };
        }
    }

    /// The host's instant at which this clock will read `ns`, to sleep until; `None` while paused, or if it is too far
    /// away to be named.
    pub fn instant_at(&self, ns: u64) -> Option<Instant> {
        match *lock(&self.state) {
            HostClockState::Paused { .. } => None,
            HostClockState::Running { since, at_ns } => {
                since.checked_add(std::time::Duration::from_nanos(ns.saturating_sub(at_ns)))
            }
        }
    }
}

fn reading(state: HostClockState) -> u64 {
    match state {
        HostClockState::Paused { at_ns } => at_ns,
        HostClockState::Running { since, at_ns } => {
            let elapsed = u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX);
            at_ns.saturating_add(elapsed)
        }
    }
}

impl Clock for HostClock {
    fn now_ns(&self) -> u64 {
        reading(*lock(&self.state))
    }

    fn tsc_hz(&self) -> u64 {
        self.tsc_hz
    }
}

/// A clock that moves only when told to: for tests, and for machines whose time is counted rather than measured.
#[derive(Debug)]
pub struct ManualClock {
    tsc_hz: u64,
    now_ns: AtomicU64,
}

impl ManualClock {
    /// A clock at zero whose TSC runs at `tsc_hz`.
    pub fn new(tsc_hz: u64) -> Self {
        Self { tsc_hz, now_ns: AtomicU64::new(0) }
    }

    /// Moves to `ns`, unless the clock is already past it; gives what it now reads.
    pub fn advance_to(&self, ns: u64) -> u64 {
        self.now_ns.fetch_max(ns, Ordering::SeqCst).max(ns)
    }

    /// Moves on by `ns`; gives what the clock now reads.
    pub fn advance_by(&self, ns: u64) -> u64 {
        self.advance_to(self.now_ns.load(Ordering::SeqCst).saturating_add(ns))
    }
}

impl Clock for ManualClock {
    fn now_ns(&self) -> u64 {
        self.now_ns.load(Ordering::SeqCst)
    }

    fn tsc_hz(&self) -> u64 {
        self.tsc_hz
    }
}

#[cfg(test)]
#[path = "clock_test.rs"]
mod clock_test;
