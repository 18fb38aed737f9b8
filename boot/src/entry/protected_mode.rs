//! The entries in flat protected mode without paging: Linux 32-bit (boot protocol, "32-bit boot protocol") and PVH.

use super::low_memory::{GDT, STACK_TOP, START_INFO, ZERO_PAGE};
use super::registers::{CODE_32, InitialState};

const CR0_PE: u64 = 1 << 0;
const CR0_ET: u64 = 1 << 4;

pub(crate) fn linux(entry: u64) -> InitialState {
    InitialState {
        rsi: ZERO_PAGE,
        cr0: CR0_PE | CR0_ET,
        ..InitialState::flat(CODE_32, GDT, STACK_TOP, entry)
    }
}

pub(crate) fn pvh(entry: u64) -> InitialState {
    InitialState {
        rbx: START_INFO,
        cr0: CR0_PE | CR0_ET,
        ..InitialState::flat(CODE_32, GDT, STACK_TOP, entry)
    }
}
