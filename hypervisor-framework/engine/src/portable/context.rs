//! What compiled code keeps beside the CPU, and what it calls.
#![allow(unsafe_code)] // called by compiled code with raw pointers

use std::mem::offset_of;
use std::sync::atomic::AtomicU32;

use crate::block::{Flow, Op};
use crate::cpu::flags::Flags;
use crate::cpu::{Cpu, Trap, slot};
use crate::instructions::arithmetic;
use crate::mmu::Entry;

/// Why compiled code was left.
pub(super) mod exit {
    /// The next block, at the CPU's RIP, is to be found.
    pub(crate) const FIND: u32 = 0;
    /// Something wants a look between instructions.
    pub(crate) const LOOK: u32 = 1;
    /// As `Flow::Stop`.
    pub(crate) const STOP: u32 = crate::block::Flow::Stop as u32;
    /// As `Flow::Trap`.
    pub(crate) const TRAP: u32 = crate::block::Flow::Trap as u32;
    /// A load or store trapped; [`super::Place`] says where.
    pub(crate) const ACCESS: u32 = 5;
}

/// How the arithmetic flags are kept: a word of what computed them, and two operands.
pub(super) mod kind {
    /// In [`crate::cpu::Cpu::flags`].
    pub(crate) const CPU: u32 = 0;
    /// The result, and the operands' XOR; carry and overflow are bits 8 and 9 of the word.
    pub(crate) const RAW: u32 = 1;
    /// The result of a logic instruction, sign-extended.
    pub(crate) const LOGIC: u32 = 2;
    /// The operands of an addition; bits 8 and 9 are log2 of their bytes.
    pub(crate) const ADD: u32 = 3;
    /// The operands of a subtraction, likewise.
    pub(crate) const SUBTRACT: u32 = 4;
    /// Where bits 8 and 9 are.
    pub(crate) const SHIFT: u32 = 8;
}

/// An entry of a jump table: where the code for a host address is.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Jump {
    /// Host address.
    pub(super) key: u64,
    pub(super) code: u64,
}

impl Jump {
    /// Matches nothing: no guest memory lies there.
    pub(super) const NONE: Self = Self { key: 0, code: 0 };
}

/// Compiled code's first argument.
#[repr(C)]
pub(super) struct Context {
    pub(super) cpu: *mut Cpu,
    /// First TLB entry of the current space.
    pub(super) tlb: *const Entry,
    /// Linear address of the running block's page.
    pub(super) page: u64,
    /// Not zero: something is pending.
    pub(super) pending: *const AtomicU32,
    /// The jump table of the running mode.
    pub(super) jumps: *const Jump,
    /// Instructions left before the clock is looked at.
    pub(super) budget: i64,
    /// The arithmetic flags: see [`kind`].
    pub(super) flags: [u64; 3],
    /// Result of a call.
    pub(super) value: u64,
    /// Not zero: the access trapped.
    pub(super) trapped: u64,
    /// Where: see [`Place`].
    pub(super) place: u64,
    /// Code of the stubs.
    pub(super) lookup: u64,
    pub(super) preserving: u64,
    pub(super) load: Call,
    pub(super) store: Call,
    pub(super) update: Call,
    pub(super) condition: Call,
    pub(super) run_ops: RunOps,
    /// The mode that the running blocks are for.
    pub(super) mode: u8,
}

/// A call that leaves its outcome in the context.
pub(super) type Call = extern "C" fn(&mut Context, u64, u64, u64);
/// A call of the interpreter.
pub(super) type RunOps = extern "C" fn(&mut Context, *const Op, u64) -> u32;

/// Offsets for compiled code.
pub(super) mod field {
    use super::{Context, offset_of};
    pub(crate) const TLB: i32 = offset_of!(Context, tlb) as i32;
    pub(crate) const PAGE: i32 = offset_of!(Context, page) as i32;
    pub(crate) const PENDING: i32 = offset_of!(Context, pending) as i32;
    pub(crate) const JUMPS: i32 = offset_of!(Context, jumps) as i32;
    pub(crate) const BUDGET: i32 = offset_of!(Context, budget) as i32;
    pub(crate) const FLAGS: i32 = offset_of!(Context, flags) as i32;
    pub(crate) const VALUE: i32 = offset_of!(Context, value) as i32;
    pub(crate) const TRAPPED: i32 = offset_of!(Context, trapped) as i32;
    pub(crate) const PLACE: i32 = offset_of!(Context, place) as i32;
    pub(crate) const LOOKUP: i32 = offset_of!(Context, lookup) as i32;
    pub(crate) const PRESERVING: i32 = offset_of!(Context, preserving) as i32;
    pub(crate) const LOAD: i32 = offset_of!(Context, load) as i32;
    pub(crate) const STORE: i32 = offset_of!(Context, store) as i32;
    pub(crate) const UPDATE: i32 = offset_of!(Context, update) as i32;
    pub(crate) const CONDITION: i32 = offset_of!(Context, condition) as i32;
    pub(crate) const RUN_OPS: i32 = offset_of!(Context, run_ops) as i32;
}

/// Offsets within the CPU.
pub(super) mod state {
    use super::{Cpu, offset_of};
    pub(crate) const REGS: i32 = offset_of!(Cpu, regs) as i32;
    pub(crate) const RIP: i32 = offset_of!(Cpu, rip) as i32;
    pub(crate) const XMM: i32 = offset_of!(Cpu, xmm) as i32;
    pub(crate) const FPU_BLOCKED: i32 = offset_of!(Cpu, fpu_blocked) as i32;
}

/// Where an access trapped: block's offset in its page, instruction's in its block, its length, whether it is in the
/// stack segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) block: u16,
    pub(super) start: u8,
    pub(super) len: u8,
    pub(super) stack: bool,
}

impl Place {
    pub(super) fn pack(self) -> u64 {
        u64::from(self.block)
            | u64::from(self.start) << 16
            | u64::from(self.len) << 24
            | u64::from(self.stack) << 32
    }

    pub(super) fn unpack(word: u64) -> Self {
        Self {
            block: word as u16,
            start: (word >> 16) as u8,
            len: (word >> 24) as u8,
            stack: word >> 32 != 0,
        }
    }
}

impl Context {
    pub(super) fn new(lookup: u64, preserving: u64) -> Self {
        Self {
            cpu: std::ptr::null_mut(),
            tlb: std::ptr::null(),
            page: 0,
            pending: std::ptr::null(),
            jumps: std::ptr::null(),
            budget: 0,
            flags: [0; 3],
            value: 0,
            trapped: 0,
            place: 0,
            lookup,
            preserving,
            load,
            store,
            update,
            condition,
            run_ops,
            mode: 0,
        }
    }

    /// The running CPU, with its flags where it keeps them.
    ///
    /// # Safety
    /// Only within a call by compiled code, or by its caller.
    unsafe fn cpu(&mut self) -> &'static mut Cpu {
        // SAFETY: compiled code runs only inside `Portable::run`, whose caller lent the CPU for that long; nothing
        // else uses it meanwhile.
        let cpu = unsafe { &mut *self.cpu };
        cpu.regs[slot::BLOCK_RIP as usize] = self.page;
        cpu
    }

    /// Puts the flags where the interpreter has them.
    pub(super) fn settle(&mut self, flags: &mut Flags) {
        apply(flags, self.flags);
        self.flags = [u64::from(kind::CPU), 0, 0];
    }
}

/// Sets flags from how compiled code keeps them.
fn apply(flags: &mut Flags, [word, a, b]: [u64; 3]) {
    let size = word >> kind::SHIFT & 3;
    match word as u32 & 0xff {
        kind::CPU => {}
        kind::RAW => flags.set(a, b, word >> kind::SHIFT & 1 != 0, word >> (kind::SHIFT + 1) & 1 != 0),
        kind::LOGIC => flags.set_logic(a),
        kind::ADD => drop(match size {
            0 => arithmetic::add(flags, a as u8, b as u8, false).into(),
            1 => arithmetic::add(flags, a as u16, b as u16, false).into(),
            2 => arithmetic::add(flags, a as u32, b as u32, false).into(),
            _ => arithmetic::add(flags, a, b, false),
        }),
        _ => drop(match size {
            0 => arithmetic::subtract(flags, a as u8, b as u8, false).into(),
            1 => arithmetic::subtract(flags, a as u16, b as u16, false).into(),
            2 => arithmetic::subtract(flags, a as u32, b as u32, false).into(),
            _ => arithmetic::subtract(flags, a, b, false),
        }),
    }
}

/// Sets the outcome of an access.
fn outcome(context: &mut Context, result: Result<u64, Trap>) {
    context.trapped = u64::from(result.is_err());
    context.value = result.unwrap_or_default();
}

/// A load that the TLB does not know.
extern "C" fn load(context: &mut Context, address: u64, size: u64, _: u64) {
    // SAFETY: called by compiled code.
    let cpu = unsafe { context.cpu() };
    let result = load_sized(cpu, address, size);
    outcome(context, result);
}

fn load_sized(cpu: &mut Cpu, address: u64, size: u64) -> Result<u64, Trap> {
    match size {
        1 => cpu.load::<u8>(address).map(u64::from),
        2 => cpu.load::<u16>(address).map(u64::from),
        4 => cpu.load::<u32>(address).map(u64::from),
        _ => cpu.load::<u64>(address),
    }
}

/// A store that the TLB does not know.
extern "C" fn store(context: &mut Context, address: u64, value: u64, size: u64) {
    // SAFETY: called by compiled code.
    let cpu = unsafe { context.cpu() };
    let result = match size {
        1 => cpu.store(address, value as u8),
        2 => cpu.store(address, value as u16),
        4 => cpu.store(address, value as u32),
        _ => cpu.store(address, value),
    };
    outcome(context, result.map(|()| 0));
}

/// The first half of an update that the TLB does not know: everything that may fault, and the old value.
extern "C" fn update(context: &mut Context, address: u64, size: u64, _: u64) {
    // SAFETY: called by compiled code.
    let cpu = unsafe { context.cpu() };
    let result = cpu.probe_write(address, size as usize).and_then(|()| load_sized(cpu, address, size));
    outcome(context, result);
}

/// A condition code (bits 32 and up of `word`) of flags.
extern "C" fn condition(context: &mut Context, word: u64, a: u64, b: u64) {
    // SAFETY: called by compiled code.
    let mut flags = unsafe { context.cpu() }.flags;
    apply(&mut flags, [word & 0xffff_ffff, a, b]);
    context.value = u64::from(flags.condition((word >> 32) as u8));
}

/// An argument of [`run_ops`]: micro-ops, offset of their block in its page, whether they touch the arithmetic flags.
pub(super) fn packed(count: usize, offset: u16, flags: bool) -> u64 {
    count as u64 & 0xffff | u64::from(offset) << 16 | u64::from(flags) << 32
}

/// Runs micro-ops for compiled code. Answers the last one's [`Flow`].
extern "C" fn run_ops(context: &mut Context, ops: *const Op, packed: u64) -> u32 {
    // SAFETY: called by compiled code.
    let cpu = unsafe { context.cpu() };
    // SAFETY: a block's micro-ops live as long as the block, and its code is not entered once it is dropped.
    let ops = unsafe { std::slice::from_raw_parts(ops, (packed & 0xffff) as usize) };
    let start = context.page.wrapping_add(packed >> 16 & 0xffff);
    cpu.regs[slot::BLOCK_RIP as usize] = start;
    cpu.rip = start;
    if packed >> 32 != 0 {
        context.settle(&mut cpu.flags);
    }
    let flow = match ops.split_first() {
        Some((op, rest)) => (op.exec)(cpu, op, rest),
        None => Flow::Stop,
    };
    if flow == Flow::Trap {
        return exit::TRAP;
    }
    context.tlb = cpu.mmu.current_entries();
    if cpu.mode.0 != context.mode { exit::STOP } else { flow as u32 }
}
