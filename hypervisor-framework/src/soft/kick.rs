//! `hv_vcpu_interrupt`: a kick reaches a vCPU that is inside a run, and is lost otherwise.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use engine::Kicker;

/// One vCPU's kick, shared with the threads that use it.
#[derive(Debug)]
pub(super) struct Kick {
    engine: Kicker,
    sticky: bool,
    state: Mutex<Kicked>,
    /// Wakes a vCPU that waits in the HLT state.
    wake: Condvar,
}

#[derive(Debug, Default)]
struct Kicked {
    inside: bool,
    kicked: bool,
}

impl Kick {
    pub(super) fn new(engine: Kicker, sticky: bool) -> Self {
        Self { engine, sticky, state: Mutex::default(), wake: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, Kicked> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From any thread.
    pub(super) fn kick(&self) {
        let mut state = self.state();
        if state.inside || self.sticky {
            state.kicked = true;
            self.wake.notify_all();
            self.engine.kick();
        }
    }

    /// The vCPU begins a run.
    pub(super) fn enter(&self) {
        let mut state = self.state();
        state.inside = true;
        state.kicked &= self.sticky;
    }

    /// The vCPU's run ends; a kick that came too late to end it is lost.
    pub(super) fn leave(&self) {
        let mut state = self.state();
        state.inside = false;
        state.kicked &= self.sticky;
    }

    /// Was there a kick since the run began? Answers once.
    pub(super) fn take(&self) -> bool {
        std::mem::take(&mut self.state().kicked)
    }

    /// Waits for a kick, at most until `deadline`; `false` when the deadline passed first.
    pub(super) fn wait(&self, deadline: Option<Instant>) -> bool {
        let mut state = self.state();
        loop {
            if std::mem::take(&mut state.kicked) {
                return true;
            }
            state = match deadline {
                None => self.wake.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return false;
                    }
                    self.wake.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }
}
