//! Debug registers and single-stepping (SDM vol. 3, chapter 18).

use crate::cpu::flags::bit;
use crate::cpu::{Cpu, Interruptibility, TrapCause};
use crate::exit::{Access, Exit};
use crate::intercept::Controls;
use crate::memory::PAGE_SIZE;

/// DR6: a single step.
const STEP: u64 = 1 << 14;
/// DR7: all breakpoints' enable bits.
const ENABLED: u64 = 0xff;

/// A breakpoint as DR7 describes it.
struct Breakpoint {
    number: u32,
    address: u64,
    /// 0 execution, 1 writes, 2 I/O, 3 reads and writes.
    kind: u64,
    /// Bytes.
    len: u64,
}

/// What held before an instruction that runs by itself.
#[derive(Clone, Copy)]
pub(crate) struct Step {
    shadow: Interruptibility,
    trace: bool,
    resume: bool,
}

impl Cpu {
    /// The enabled breakpoints.
    fn breakpoints(&self) -> impl Iterator<Item = Breakpoint> + use<> {
        let dr = self.dr;
        (0..4_u32).filter(move |n| dr[7] >> (2 * n) & 3 != 0).map(move |number| {
            let control = dr[7] >> (16 + 4 * number) & 0xf;
            let len = [1, 2, 8, 4][(control >> 2) as usize & 3];
            Breakpoint { number, address: dr[number as usize & 3] & !(len - 1), kind: control & 3, len }
        })
    }

    /// Must instructions run one by one?
    pub(crate) fn steps(&mut self) -> bool {
        std::mem::take(&mut self.step_next)
            || self.flags.system & (bit::TF | bit::RF) != 0
            || self.intercepts.controls.contains(Controls::MONITOR_TRAP)
            || self.dr[7] & ENABLED != 0
    }

    /// Does nothing stand between this instruction and the next but that the mode may be another? The shadow of STI and
    /// RF, which end with the next instruction, count as nothing.
    #[allow(dead_code)] // not every host has generated code
    pub(crate) fn settled(&self) -> bool {
        let wanted = Controls::MONITOR_TRAP | Controls::NMI_WINDOW | Controls::INTERRUPT_WINDOW;
        self.pending_debug == 0
            && !self.trap_flag_due
            && !self.step_next
            && !self.flags.has(bit::TF)
            && self.dr[7] & ENABLED == 0
            && !self.intercepts.controls.intersects(wanted)
            && !self.interruptibility.contains(Interruptibility::MOV_SS)
            && self.mailbox.pending() == 0
    }

    /// Must the next instruction run by itself because of one before?
    pub(crate) fn shadowed(&self) -> bool {
        self.interruptibility.intersects(Interruptibility::STI | Interruptibility::MOV_SS)
            || self.flags.has(bit::RF)
    }

    /// Is there something to look at between instructions that no pending bit tells of?
    pub(crate) fn wants_attention(&self) -> bool {
        self.pending_debug != 0 || self.flags.has(bit::TF)
    }

    /// Before an instruction that runs by itself. RF has hidden a breakpoint and ends; IRET may set it anew.
    pub(crate) fn begin_step(&mut self) -> Step {
        let (trace, resume) = (self.flags.has(bit::TF), self.flags.has(bit::RF));
        self.flags.system &= !bit::RF;
        Step { shadow: self.interruptibility, trace, resume }
    }

    /// The instruction did not complete: RF goes on with it. Software interrupts have completed.
    pub(crate) fn undo_step(&mut self, step: Step) {
        if step.resume && !matches!(self.cause, TrapCause::Software { .. }) {
            self.flags.system |= bit::RF;
        }
    }

    /// After it: shadows end, single-step traps fall due.
    pub(crate) fn finish_step(&mut self, step: Step) {
        self.interruptibility.remove(step.shadow & (Interruptibility::STI | Interruptibility::MOV_SS));
        if step.trace {
            self.pending_debug |= STEP;
        }
        self.trap_flag_due |= self.intercepts.controls.contains(Controls::MONITOR_TRAP);
    }

    /// The fault of an instruction breakpoint at RIP, if there is one and RF does not hide it.
    pub(crate) fn check_instruction_breakpoint(&mut self) -> Result<(), Exit> {
        if self.dr[7] & ENABLED == 0 || self.flags.has(bit::RF) {
            return Ok(());
        }
        let linear = self.code_address(self.rip);
        let hit = self.breakpoints().filter(|b| b.kind == 0 && b.address == linear);
        let bits = hit.fold(0, |bits, b| bits | 1 << b.number);
        if bits == 0 { Ok(()) } else { self.raise_debug(bits) }
    }

    /// Is there an enabled data breakpoint in the page of this address?
    pub(crate) fn watched(&self, address: u64) -> bool {
        self.dr[7] & ENABLED != 0
            && self.breakpoints().any(|b| b.kind != 0 && (b.address ^ address) < PAGE_SIZE as u64)
    }

    /// Notes data breakpoints that an access hits; they trap after the instruction.
    pub(crate) fn watch_data(&mut self, address: u64, size: usize, access: Access) {
        if self.dr[7] & ENABLED == 0 {
            return;
        }
        let end = address.wrapping_add(size as u64);
        let write = access == Access::Write;
        let hits = self
            .breakpoints()
            .filter(|b| b.kind == 3 || b.kind == 1 && write)
            .filter(|b| address < b.address.wrapping_add(b.len) && b.address < end);
        self.pending_debug |= hits.fold(0, |bits, b| bits | 1 << b.number);
    }
}
