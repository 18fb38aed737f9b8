//! Which request is legal when.
//!
//! ```text
//!            Resume            Pause
//!  Paused ───────────▶ Running ───────────▶ Paused
//!    │ Reset: boots again, stays paused       │
//!    │                    │ Reset: boots again, stays running
//!    └──────── Stop ──────┴──────▶ Stopped (the end)
//! ```
//!
//! A machine is made paused. One owner, the thread in [`crate::Machine::run`], moves it along these arrows; everybody else
//! sends requests. This module decides; it does nothing.

use serde::Serialize;

/// Where a machine is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Made, no vCPU runs, the guest's clock stands still.
    Paused,
    /// vCPUs run.
    Running,
    /// Over; nothing brings it back.
    Stopped,
}

/// What can be asked of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// Let vCPUs run.
    Resume,
    /// Stop vCPUs and the guest's clock; memory and devices stay.
    Pause,
    /// Reset vCPUs and devices and boot again.
    Reset,
    /// Press the power button: the guest is asked to shut down.
    PowerButton,
    /// End.
    Stop,
}

/// What the owner does about a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Start the vCPUs and the clock.
    Start,
    /// Bring all vCPUs to a stop, then the clock.
    Quiesce,
    /// Bring all vCPUs to a stop, reset everything, start them again.
    ResetAndStart,
    /// Reset everything; vCPUs stand already.
    ResetOnly,
    /// Press the button.
    PressPowerButton,
    /// Bring all vCPUs to a stop for good.
    End,
    /// It is so already.
    Nothing,
}

/// A request that makes no sense now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a {state:?} machine does not take {request:?}")]
pub struct Refusal {
    /// What was asked.
    pub request: Request,
    /// Where the machine was.
    pub state: State,
}

/// What to do about `request` in `state`, and the state afterwards.
///
/// # Errors
/// [`Refusal`] when the request is not legal in that state.
pub fn decide(state: State, request: Request) -> Result<(Action, State), Refusal> {
    use {Action as A, Request as R, State as S};
    Ok(match (state, request) {
        (S::Paused, R::Resume) => (A::Start, S::Running),
        (S::Running, R::Resume) => (A::Nothing, S::Running),
        (S::Running, R::Pause) => (A::Quiesce, S::Paused),
        (S::Paused, R::Pause) => (A::Nothing, S::Paused),
        (S::Running, R::Reset) => (A::ResetAndStart, S::Running),
        (S::Paused, R::Reset) => (A::ResetOnly, S::Paused),
        (S::Running, R::PowerButton) => (A::PressPowerButton, S::Running),
        (S::Running | S::Paused, R::Stop) => (A::End, S::Stopped),
        (S::Stopped, R::Stop) => (A::Nothing, S::Stopped),
        (S::Paused, R::PowerButton) | (S::Stopped, _) => return Err(Refusal { request, state }),
    })
}

#[cfg(test)]
#[path = "lifecycle_test.rs"]
mod lifecycle_test;
