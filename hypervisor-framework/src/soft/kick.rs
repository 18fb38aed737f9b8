//! `hv_vcpu_interrupt`: a kick reaches a vCPU that is inside a run, and is lost otherwise.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Instant;

use engine::Kicker;

/// The vCPU is inside a run.
const INSIDE: u8 = 1;
/// It was kicked, and has not noticed yet.
const KICKED: u8 = 2;

/// One vCPU's kick, shared with the threads that use it.
#[derive(Debug)]
pub(super) struct Kick {
    engine: Kicker,
    sticky: bool,
    flags: AtomicU8,
    /// Taken between a look at `flags` and waiting for `wake`, and between setting `flags` and notifying.
    asleep: Mutex<()>,
    /// Wakes a vCPU that waits in the HLT state.
    wake: Condvar,
}

impl Kick {
    pub(super) fn new(engine: Kicker, sticky: bool) -> Self {
        Self { engine, sticky, flags: AtomicU8::new(0), asleep: Mutex::default(), wake: Condvar::new() }
    }

    /// From any thread.
    pub(super) fn kick(&self) {
        let noticed = self.flags.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |flags| {
            (flags & INSIDE != 0 || self.sticky).then_some(flags | KICKED)
        });
        if noticed.is_ok() {
            drop(self.asleep.lock().unwrap_or_else(PoisonError::into_inner));
            self.wake.notify_all();
            self.engine.kick();
        }
    }

    /// The vCPU begins a run.
    pub(super) fn enter(&self) {
        self.flags.fetch_or(INSIDE, Ordering::SeqCst);
    }

    /// The vCPU's run ends; a kick that came too late to end it is lost.
    pub(super) fn leave(&self) {
        let gone = if self.sticky { INSIDE } else { INSIDE | KICKED };
        self.flags.fetch_and(!gone, Ordering::SeqCst);
    }

    /// Was there a kick since the run began? Answers once.
    pub(super) fn take(&self) -> bool {
        self.flags.load(Ordering::SeqCst) & KICKED != 0
            && self.flags.fetch_and(!KICKED, Ordering::SeqCst) & KICKED != 0
    }

    /// Waits for a kick, at most until `deadline`; `false` when the deadline passed first.
    pub(super) fn wait(&self, deadline: Option<Instant>) -> bool {
        let mut asleep = self.asleep.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if self.take() {
                return true;
            }
            asleep = match deadline {
                None => self.wake.wait(asleep).unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return false;
                    }
                    self.wake.wait_timeout(asleep, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }
}
