//! Hosts that cannot run the guest's instructions: there is nothing to compare with.

use crate::state::{Outcome, Program, State};

/// There is no host to have it.
pub(crate) fn has_v3() -> bool {
    false
}

/// Does not exist.
pub(crate) enum Native {}

impl Native {
    /// None here.
    pub(crate) fn open() -> Option<Self> {
        None
    }

    /// See the Linux one.
    pub(crate) fn set_window(&mut self, _offset: usize, _bytes: &[u8]) {
        match *self {}
    }

    /// See the Linux one.
    pub(crate) fn window(&self, _bytes: &mut [u8]) {
        match *self {}
    }

    /// See the Linux one.
    pub(crate) fn run(&mut self, _program: &Program, _state: &State) -> Outcome {
        match *self {}
    }
}
