//! Checks of a VM entry (SDM vol. 3, 27.2 and 27.3), run on what may have changed since the last entry.
//!
//! On real hardware these are the processor's; a VMM that fails one sees an opaque error there. Here the rule that
//! was broken is named in the log.

mod controls;
mod event;
mod registers;
mod segments;
mod situation;

use super::state::State;
use crate::x86_64::vmcs::Field;

/// A check that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) kind: Kind,
    /// The field at fault.
    pub(super) field: Field,
    /// The rule it breaks.
    pub(super) rule: &'static str,
}

/// What kind of failure the processor reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// VMfailValid with VM-instruction error 7; no exit.
    Controls,
    /// Exit reason 33 with this qualification.
    GuestState(u64),
}

type Check = Result<(), Refusal>;

/// `Ok` if the condition holds.
fn control(holds: bool, field: Field, rule: &'static str) -> Check {
    if holds { Ok(()) } else { Err(Refusal { kind: Kind::Controls, field, rule }) }
}

/// `Ok` if the condition holds.
fn guest(holds: bool, field: Field, rule: &'static str) -> Check {
    if holds { Ok(()) } else { Err(Refusal { kind: Kind::GuestState(0), field, rule }) }
}

/// All checks, in the order of the manual.
pub(super) fn check(state: &State) -> Check {
    if state.changed.controls || state.changed.guest {
        controls::check(state)?;
    }
    event::check(state)?;
    if state.changed.controls || state.changed.guest {
        registers::check(state)?;
        segments::check(state)?;
        registers::check_pdptes(state)?;
    }
    situation::check(state)
}

/// Is the address canonical, with 48 linear-address bits?
fn canonical(address: u64) -> bool {
    (address as i64) << 16 >> 16 == address as i64
}
