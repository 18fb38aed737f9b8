//! Debug registers and single-stepping (SDM vol. 3, chapter 18).

use crate::cpu::flags::bit;
use crate::cpu::{Cpu, Interruptibility};
use crate::exit::Access;
use crate::intercept::Controls;

impl Cpu {
    /// Must instructions run one by one?
    pub(crate) fn steps(&mut self) -> bool {
        std::mem::take(&mut self.step_next)
            || self.flags.system & (bit::TF | bit::RF) != 0
            || self.intercepts.controls.contains(Controls::MONITOR_TRAP)
            || self.dr[7] & 0xff != 0
    }

    /// Is there something to look at between instructions that no pending bit tells of?
    pub(crate) fn wants_attention(&self) -> bool {
        self.pending_debug != 0
    }

    /// After an instruction that ran by itself: shadows and RF end, single-step traps fall due.
    /// `shadow` is what blocked events before it.
    pub(crate) fn finish_step(&mut self, shadow: Interruptibility) {
        self.interruptibility.remove(shadow & (Interruptibility::STI | Interruptibility::MOV_SS));
        self.flags.system &= !bit::RF;
    }

    /// Is there an enabled data breakpoint in the page of this address?
    pub(crate) fn watched(&self, _address: u64) -> bool {
        false
    }

    /// Notes data breakpoints that an access hits.
    pub(crate) fn watch_data(&mut self, _address: u64, _size: usize, _access: Access) {}
}
