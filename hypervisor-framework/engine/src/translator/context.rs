//! What generated code keeps beside the guest's registers, and its call into the interpreter.
#![allow(unsafe_code)] // called by generated code with raw pointers

use std::mem::offset_of;
use std::sync::atomic::AtomicU32;

use super::flush::Generations;
use crate::block::{Flow, Op, instructions_before};
use crate::cpu::{Cpu, slot};
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
}

/// An entry of a jump table: where the code for a linear address is.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Jump {
    pub(super) linear: u64,
    /// Of its making; a later one makes the entry void.
    pub(super) generation: u64,
    pub(super) code: u64,
    pub(super) unused: u64,
}

impl Jump {
    /// Matches nothing: generations start above 0.
    pub(super) const NONE: Self = Self { linear: 0, generation: 0, code: 0, unused: 0 };
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
    pub(super) generations: Generations,
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
    /// Entries of dropped blocks through keys made before.
    pub(super) gone: u32,
    /// The mode that the running blocks are for.
    pub(super) mode: u8,
}

/// Offsets for generated code; all within 8 bits.
pub(super) mod field {
    use super::{Context, offset_of};
    pub(crate) const CPU: i32 = offset_of!(Context, cpu) as i32;
    pub(crate) const TLB: i32 = offset_of!(Context, tlb) as i32;
    pub(crate) const PAGE: i32 = offset_of!(Context, page) as i32;
    pub(crate) const GENERATIONS: i32 = offset_of!(Context, generations) as i32;
    pub(crate) const JUMPS: i32 = offset_of!(Context, jumps) as i32;
    pub(crate) const PENDING: i32 = offset_of!(Context, pending) as i32;
    pub(crate) const BUDGET: i32 = offset_of!(Context, budget) as i32;
    pub(crate) const FLAGS: i32 = offset_of!(Context, flags) as i32;
    pub(crate) const SPILLED: i32 = offset_of!(Context, spilled) as i32;
    pub(crate) const TARGET: i32 = offset_of!(Context, target) as i32;
    pub(crate) const LINK: i32 = offset_of!(Context, link) as i32;
    pub(crate) const EXIT: i32 = offset_of!(Context, exit) as i32;
    pub(crate) const OFFSET: i32 = offset_of!(Context, offset) as i32;
    pub(crate) const UNIT: i32 = offset_of!(Context, unit) as i32;
    pub(crate) const BACK: i32 = offset_of!(Context, back) as i32;
    pub(crate) const HOST_STACK: i32 = offset_of!(Context, host_stack) as i32;
    pub(crate) const GONE: i32 = offset_of!(Context, gone) as i32;
    pub(crate) const RUN_OPS: i32 = offset_of!(Context, run_ops) as i32;
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
        return exit::TRAP;
    }
    if cpu.mmu.flush != crate::mmu::Flush::None {
        context.generations.flush(cpu.mmu.flush);
    }
    context.tlb = cpu.mmu.current_entries();
    if cpu.mode.0 != context.mode { exit::STOP } else { flow as u32 }
}
