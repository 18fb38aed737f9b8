//! What generated code keeps beside the guest's registers, and its call into the interpreter.
#![allow(unsafe_code)] // called by generated code with raw pointers

use std::mem::offset_of;
use std::sync::atomic::AtomicU32;

use super::held::PLACES;
use super::stubs::{jump_index, second_way};
use crate::block::{Flow, Op, instructions_before};
use crate::cpu::control::Mode;
use crate::cpu::flags::bit;
use crate::cpu::{Cpu, Interruptibility, TrapCause, slot};
use crate::exit::Access;
use crate::mmu::Entry;

/// Why generated code was left.
pub(super) mod exit {
    /// The next block is to be found; `link` may be filled in with it.
    pub(crate) const FIND: u32 = 0;
    /// Something wants a look between instructions.
    pub(crate) const LEAVE: u32 = 1;
    /// As `Flow::Stop`.
    pub(crate) const STOP: u32 = crate::block::Flow::Stop as u32;
    /// As `Flow::Trap`.
    pub(crate) const TRAP: u32 = crate::block::Flow::Trap as u32;
    /// Not left: the block at RIP follows, supervisor's or user's code.
    pub(crate) const GO_ON: [u32; 2] = [TRAP + 1, TRAP + 2];
    /// As `FIND`; and the path from `offset` of the page on holds look-ups in vain.
    pub(crate) const VAIN: u32 = TRAP + 3;
}

/// An entry of a jump table: where the code for the guest's at a host address is.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Jump {
    pub(super) host: u64,
    pub(super) code: u64,
}

impl Jump {
    /// Matches nothing: no guest memory is at 0.
    pub(super) const NONE: Self = Self { host: 0, code: 0 };
}

/// Generated code addresses this through RSP.
#[repr(C)]
pub(super) struct Context {
    pub(super) cpu: *mut Cpu,
    /// First TLB entry of the current space.
    pub(super) tlb: *const Entry,
    /// Linear address of the running block's page.
    pub(super) page: u64,
    /// Supervisor's and user's.
    pub(super) jumps: [*mut Jump; 2],
    /// Not zero: something is pending.
    pub(super) pending: *const AtomicU32,
    /// Instructions left before the clock is looked at.
    pub(super) budget: i32,
    /// The arithmetic flags: SETO in the low byte, LAHF in the high one.
    pub(super) flags: u32,
    /// The guest registers that have no host register.
    pub(super) spilled: [u64; 3],
    /// Host addresses that a path comes back to.
    pub(super) held: [u64; PLACES],
    /// Target of a branch.
    pub(super) target: u64,
    /// Slot or inline cache to fill in, or 0.
    pub(super) link: u64,
    /// What to leave with; argument of the call stub.
    pub(super) exit: u32,
    /// Offset in its page of the instruction to leave at.
    pub(super) offset: u32,
    /// Scratch of the call stub.
    pub(super) unit: *const Unit,
    /// Return address of the call stub.
    pub(super) back: u64,
    pub(super) host_stack: u64,
    pub(super) run_ops: extern "sysv64" fn(&mut Context, u32, &Unit) -> u32,
    pub(super) refetch: extern "sysv64" fn(&mut Context) -> u64,
    pub(super) system_call: extern "sysv64" fn(&mut Context, u64) -> u32,
    pub(super) system_return: extern "sysv64" fn(&mut Context, u64) -> u32,
    /// Scratch of the string stubs.
    pub(super) ends: [u64; 2],
    /// Entries of dropped blocks through keys made before.
    pub(super) gone: u32,
    /// The mode that the running blocks are for.
    pub(super) mode: u8,
    /// What ends with the next instruction, and the budget at which that one was still to come.
    pub(super) shadow: Shadow,
    pub(super) shadow_at: i32,
}

/// What ends with the next instruction.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub(super) struct Shadow {
    /// Of STI.
    sti: bool,
    /// RFLAGS.RF.
    resume: bool,
}

impl Shadow {
    /// Takes it off the CPU: generated code does not look at it.
    fn take(cpu: &mut Cpu) -> Self {
        let taken = Self {
            sti: cpu.interruptibility.contains(Interruptibility::STI),
            resume: cpu.flags.has(bit::RF),
        };
        cpu.interruptibility.remove(Interruptibility::STI);
        cpu.flags.system &= !bit::RF;
        taken
    }

    /// Puts it back: no instruction was executed.
    pub(super) fn restore(self, cpu: &mut Cpu) {
        if self.sti {
            cpu.interruptibility.insert(Interruptibility::STI);
        }
        if self.resume {
            cpu.flags.system |= bit::RF;
        }
    }
}

/// Offsets for generated code; those often used within 8 bits.
pub(super) mod field {
    use super::{Context, offset_of};
    pub(crate) const CPU: i32 = offset_of!(Context, cpu) as i32;
    pub(crate) const TLB: i32 = offset_of!(Context, tlb) as i32;
    pub(crate) const PAGE: i32 = offset_of!(Context, page) as i32;
    pub(crate) const JUMPS: i32 = offset_of!(Context, jumps) as i32;
    pub(crate) const PENDING: i32 = offset_of!(Context, pending) as i32;
    pub(crate) const BUDGET: i32 = offset_of!(Context, budget) as i32;
    pub(crate) const FLAGS: i32 = offset_of!(Context, flags) as i32;
    pub(crate) const SPILLED: i32 = offset_of!(Context, spilled) as i32;
    pub(crate) const HELD: i32 = offset_of!(Context, held) as i32;
    pub(crate) const TARGET: i32 = offset_of!(Context, target) as i32;
    pub(crate) const LINK: i32 = offset_of!(Context, link) as i32;
    pub(crate) const EXIT: i32 = offset_of!(Context, exit) as i32;
    pub(crate) const OFFSET: i32 = offset_of!(Context, offset) as i32;
    pub(crate) const UNIT: i32 = offset_of!(Context, unit) as i32;
    pub(crate) const BACK: i32 = offset_of!(Context, back) as i32;
    pub(crate) const HOST_STACK: i32 = offset_of!(Context, host_stack) as i32;
    pub(crate) const GONE: i32 = offset_of!(Context, gone) as i32;
    pub(crate) const RUN_OPS: i32 = offset_of!(Context, run_ops) as i32;
    pub(crate) const REFETCH: i32 = offset_of!(Context, refetch) as i32;
    pub(crate) const SYSTEM_CALL: i32 = offset_of!(Context, system_call) as i32;
    pub(crate) const SYSTEM_RETURN: i32 = offset_of!(Context, system_return) as i32;
    pub(crate) const ENDS: i32 = offset_of!(Context, ends) as i32;
    pub(crate) const SHADOW: i32 = offset_of!(Context, shadow) as i32;
    pub(crate) const SHADOW_AT: i32 = offset_of!(Context, shadow_at) as i32;
}

/// Stands in front of each block's code, for calls of the interpreter.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct Unit {
    pub(super) ops: *const Op,
    pub(super) len: u32,
    /// Offset of the block in its page.
    pub(super) offset: u16,
    /// Guest instructions.
    pub(super) instructions: u16,
}

/// A call of the interpreter: which micro-ops, and whether they touch the arithmetic flags.
pub(super) fn packed(first: usize, count: usize, flags: bool) -> u32 {
    first as u32 | (count as u32) << 15 | u32::from(flags) << 31
}

/// The arithmetic flags as LAHF and SETO give them.
pub(super) fn to_raw(flags: u64) -> u32 {
    ((flags & 0xd5) << 8 | 0x200 | flags >> 11 & 1) as u32
}

/// From LAHF and SETO to their places in RFLAGS.
pub(super) fn from_raw(raw: u32) -> u64 {
    let raw = u64::from(raw);
    raw >> 8 & 0xd5 | (raw & 1) << 11
}

/// Runs micro-ops of a block for generated code. Answers the last one's [`Flow`].
pub(super) extern "sysv64" fn run_ops(context: &mut Context, packed: u32, unit: &Unit) -> u32 {
    let (first, count) = ((packed & 0x7fff) as usize, (packed >> 15 & 0xffff) as usize);
    // SAFETY: generated code runs only inside `Translator::run`, whose caller lent the CPU for that long, and nothing
    // else uses it meanwhile.
    let cpu = unsafe { &mut *context.cpu };
    // SAFETY: a unit's micro-ops live as long as its block; a block's code is not entered once it is dropped.
    let ops = unsafe { std::slice::from_raw_parts(unit.ops, unit.len as usize) };
    let flags = packed >> 31 != 0;
    let start = context.page.wrapping_add(u64::from(unit.offset));
    cpu.regs[slot::BLOCK_RIP as usize] = start;
    cpu.rip = start;
    if flags {
        cpu.flags.set_arithmetic(from_raw(context.flags));
    }
    let flow = match ops.get(first..first + count).and_then(<[Op]>::split_first) {
        Some((op, rest)) => (op.exec)(cpu, op, rest),
        None => Flow::Stop,
    };
    if flags {
        context.flags = to_raw(cpu.flags.arithmetic());
    }
    if flow == Flow::Trap {
        let at = cpu.trapped.start;
        let done = instructions_before(ops, at) as i32;
        context.budget += i32::from(unit.instructions) - done;
        return trap(context, cpu);
    }
    if flow == Flow::Stop || cpu.mode.0 != context.mode {
        return go_on(context, cpu);
    }
    context.tlb = cpu.mmu.current_entries();
    flow as u32
}

/// Delivers a fault or software interrupt to the guest, if that is what a trap comes to; an exit waits in the CPU.
fn trap(context: &mut Context, cpu: &mut Cpu) -> u32 {
    cpu.flags.set_arithmetic(from_raw(context.flags));
    // A software interrupt is an instruction that has completed.
    if context.shadow_at == context.budget && !matches!(cpu.cause, TrapCause::Software { .. }) {
        std::mem::take(&mut context.shadow).restore(cpu);
    }
    let before = cpu.instructions;
    cpu.left = cpu.take_trap();
    // What it counts is counted by the budget here.
    context.budget -= cpu.instructions.wrapping_sub(before) as i32;
    cpu.instructions = before;
    if cpu.left.is_some() {
        return exit::TRAP;
    }
    go_on(context, cpu)
}

/// The code for the guest's at `target`, or 0: where the first level of the TLB does not know the page any more. An
/// inline cache is filled in.
pub(super) extern "sysv64" fn refetch(context: &mut Context) -> u64 {
    // SAFETY: as in `run_ops`.
    let cpu = unsafe { &mut *context.cpu };
    let target = context.target;
    let known = cpu.mmu.lookup_fetch(target).or_else(|| cpu.mmu.refill(target, Access::Fetch));
    let Some(host) = known.map(|host| host as u64) else { return 0 };
    let user = usize::from(context.mode & Mode::USER != 0);
    let index = jump_index(host);
    // SAFETY: each table has an entry for every index.
    let ways = [index, second_way(index)].map(|index| unsafe { *context.jumps[user].add(index) });
    let Some(jump) = ways.into_iter().find(|jump| jump.host == host) else { return 0 };
    if context.link & 1 != 0 {
        let cache = (context.link & !1) as *mut [u64; 2];
        // SAFETY: the two slots of the inline cache through which this was reached; only this thread uses them.
        unsafe { cache.write([host & !0xfff, jump.code]) };
    }
    context.page = target & !0xfff;
    jump.code
}

/// After an instruction behind which everything may be different: goes on in generated code if nothing wants a look.
fn go_on(context: &mut Context, cpu: &mut Cpu) -> u32 {
    if !cpu.settled() {
        return exit::STOP;
    }
    cpu.update_mode();
    if !super::Translator::takes(cpu.mode) {
        return exit::STOP;
    }
    context.shadow = Shadow::take(cpu);
    context.shadow_at = context.budget;
    context.mode = cpu.mode.0;
    context.tlb = cpu.mmu.current_entries();
    exit::GO_ON[usize::from(cpu.mode.has(Mode::USER))]
}
