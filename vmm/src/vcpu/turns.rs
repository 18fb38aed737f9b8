//! vCPUs one at a time, where time is the count of the guest's instructions.
//!
//! One vCPU has the turn. It runs until its slice is used up, it waits, it has sent another one something, or another
//! one's timer is due; then the next in order that has something to do gets the turn. When all wait, time jumps to
//! what is due first. Who runs how long follows from the guest alone: nothing here looks at the host's clock, and what
//! other threads do (a ring, a pause) changes neither order nor counts.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use devices::time::Clock;

use super::Doorbell;
use crate::clock::MachineClock;

/// Instructions a vCPU runs at most while others wait.
const SLICE: u64 = 50_000;
/// The same for a lone vCPU: short enough for whoever wants it to look around.
const LONE_SLICE: u64 = 5_000_000;

/// What a vCPU that waits is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rest {
    /// Look at [`Turns::holds`] again: the turn went on, or time did.
    Again,
    /// Nothing will happen before somebody outside does something.
    Outside,
    /// Nothing will ever happen.
    ForGood,
}

#[derive(Debug, Clone, Copy, Default)]
struct Seat {
    /// It waits.
    idle: bool,
    /// Until then, nanoseconds.
    until: Option<u64>,
    /// Only another vCPU could wake it.
    for_good: bool,
    /// Something came since it began to look.
    news: bool,
}

impl Seat {
    fn wants_turn(&self, now: u64) -> bool {
        !self.idle || self.until.is_some_and(|until| until <= now)
    }
}

struct State {
    holder: usize,
    /// Instructions left of the holder's slice.
    left: u64,
    /// All wait for something from outside.
    stalled: bool,
    seats: Vec<Seat>,
}

/// The turn, passed among a machine's vCPUs.
pub(crate) struct Turns {
    clock: Arc<MachineClock>,
    bells: Vec<Arc<Doorbell>>,
    slice: u64,
    // Leaf lock; no bell is rung under it.
    state: Mutex<State>,
}

impl Turns {
    /// The turn is the first vCPU's.
    pub(crate) fn new(clock: Arc<MachineClock>, bells: Vec<Arc<Doorbell>>) -> Self {
        let slice = if bells.len() == 1 { LONE_SLICE } else { SLICE };
        let seats = vec![Seat::default(); bells.len()];
        let state = Mutex::new(State { holder: 0, left: slice, stalled: false, seats });
        Self { clock, bells, slice, state }
    }

    /// Is it this vCPU's turn?
    pub(crate) fn holds(&self, index: usize) -> bool {
        self.lock().holder == index
    }

    /// The holder is about to look at what is new.
    pub(crate) fn begin(&self, index: usize) {
        if let Some(seat) = self.lock().seats.get_mut(index) {
            *seat = Seat::default();
        }
    }

    /// Instructions that the holder may execute now: one at least.
    pub(crate) fn left(&self) -> u64 {
        let now = self.clock.now_ns();
        let state = self.lock();
        let due = state.seats.iter().filter(|seat| seat.idle).filter_map(|seat| seat.until).min();
        due.map_or(u64::MAX, |due| due.saturating_sub(now)).min(state.left).max(1)
    }

    /// The holder has executed some: time goes on. What it exited for is still to be done.
    pub(crate) fn ran(&self, instructions: u64) {
        if let Some(clock) = self.clock.counted() {
            clock.advance_by(instructions);
        }
        let mut state = self.lock();
        state.left = state.left.saturating_sub(instructions);
    }

    /// The holder has done what it exited for: perhaps the turn goes on.
    pub(crate) fn end_step(&self, index: usize) {
        let now = self.clock.now_ns();
        let state = self.lock();
        let due = state.seats.iter().any(|seat| seat.idle && seat.wants_turn(now));
        if state.left == 0 || due {
            self.pass(state, index, now);
        }
    }

    /// Something came for a vCPU. Any thread, also with devices locked.
    pub(crate) fn news(&self, index: usize) {
        let mut state = self.lock();
        let holder = state.holder;
        let Some(seat) = state.seats.get_mut(index) else { return };
        seat.news = true;
        let woken = std::mem::take(&mut seat.idle);
        if woken && index != holder {
            // Who has sent it may wait for the answer.
            state.left = 0;
        }
        if std::mem::take(&mut state.stalled) {
            drop(state);
            self.ring(holder);
        }
    }

    /// The holder has nothing to do before `until`, nor `devices` before theirs, both in nanoseconds.
    pub(crate) fn rest(
        &self,
        index: usize,
        until: Option<u64>,
        for_good: bool,
        devices: Option<u64>,
    ) -> Rest {
        let Some(clock) = self.clock.counted() else { return Rest::Outside };
        let mut state = self.lock();
        let Some(seat) = state.seats.get_mut(index) else { return Rest::Outside };
        if seat.news {
            return Rest::Again;
        }
        *seat = Seat { idle: true, until, for_good, news: false };
        let now = clock.now_ns();
        if state.seats.iter().any(|seat| seat.wants_turn(now)) {
            self.pass(state, index, now);
            return Rest::Again;
        }
        let timers = state.seats.iter().filter_map(|seat| seat.until);
        if let Some(due) = timers.chain(devices).min() {
            let now = clock.advance_to(due);
            self.pass(state, index, now);
            return Rest::Again;
        }
        state.stalled = true;
        if state.seats.iter().all(|seat| seat.for_good) { Rest::ForGood } else { Rest::Outside }
    }

    /// Gives the turn to the next that wants it, or a new slice to the holder.
    fn pass(&self, mut state: MutexGuard<'_, State>, from: usize, now: u64) {
        let count = state.seats.len();
        let order = (1..=count).map(|step| (from + step) % count);
        let next = order.into_iter().find(|at| state.seats.get(*at).is_some_and(|seat| seat.wants_turn(now)));
        let next = next.unwrap_or(from);
        state.holder = next;
        state.left = self.slice;
        drop(state);
        if next != from {
            self.ring(next);
        }
    }

    fn ring(&self, index: usize) {
        if let Some(bell) = self.bells.get(index) {
            bell.ring();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[path = "turns_test.rs"]
mod turns_test;
