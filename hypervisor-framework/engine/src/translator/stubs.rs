//! Code shared by all blocks: entry, leaving, calls of the interpreter, look-up of indirect branches.
#![allow(unsafe_code)] // offsets within the CPU's state

use std::mem::offset_of;

use super::context::{exit, field};
use super::emitter::host::{RAX, RBP, RDI, RDX, RSI, RSP};
use super::emitter::{At, Emitter, condition, group, opcode};
use super::memory::{FETCH, FETCH_HOST, emit_tlb_entry};
use super::registers::{HOMES, Home, spilled};
use crate::Segment;
use crate::cpu::flags::Flags;
use crate::cpu::{Cpu, Msrs};
use crate::intercept::Intercepts;

/// log2 of the entries of a jump table's first half.
pub(super) const JUMP_BITS: u32 = 14;
/// log2 of the bytes of an entry.
const ENTRY_BITS: u8 = 4;
const _: () = assert!(size_of::<super::context::Jump>() == 1 << ENTRY_BITS);

/// Offsets within [`Cpu`].
pub(super) mod state {
    use super::{Cpu, Flags, Intercepts, Msrs, Segment, offset_of};
    pub(crate) const REGS: i32 = offset_of!(Cpu, regs) as i32;
    pub(crate) const RIP: i32 = offset_of!(Cpu, rip) as i32;
    pub(crate) const XMM: i32 = offset_of!(Cpu, xmm) as i32;
    pub(crate) const YMM_UPPER: i32 = offset_of!(Cpu, ymm_upper) as i32;
    pub(crate) const MXCSR: i32 = offset_of!(Cpu, mxcsr) as i32;
    pub(crate) const CPL: i32 = offset_of!(Cpu, cpl) as i32;
    pub(crate) const SYSTEM_FLAGS: i32 = (offset_of!(Cpu, flags) + offset_of!(Flags, system)) as i32;
    pub(crate) const CR2: i32 = offset_of!(Cpu, cr2) as i32;
    pub(crate) const CR4: i32 = offset_of!(Cpu, cr4) as i32;
    pub(crate) const KERNEL_GS_BASE: i32 = (offset_of!(Cpu, msrs) + offset_of!(Msrs, kernel_gs_base)) as i32;
    pub(crate) const CONTROLS: i32 = (offset_of!(Cpu, intercepts) + offset_of!(Intercepts, controls)) as i32;
    /// The selector of segment register 0; the next one's is [`SEGMENT_SIZE`] behind.
    pub(crate) const SELECTORS: i32 = (offset_of!(Cpu, segments) + offset_of!(Segment, selector)) as i32;
    pub(crate) const SEGMENT_SIZE: i32 = size_of::<Segment>() as i32;
    pub(crate) const FPU_BLOCKED: i32 = offset_of!(Cpu, fpu_blocked) as i32;
}

/// Addresses of the shared code.
#[derive(Clone, Copy, Default)]
pub(super) struct Stubs {
    /// `extern "sysv64" fn(*mut Context, code) -> exit`
    pub(super) enter: u64,
    /// Runs micro-ops: EAX says which, RBP points at the unit. Comes back unless they stop or trap.
    pub(super) call: u64,
    /// Leaves at `offset` of the page to find the next block.
    pub(super) find: u64,
    /// Leaves at `offset` of the page for a look between instructions.
    pub(super) look: u64,
    /// Leaves at `target` to find the next block; flags and registers are where they belong.
    pub(super) find_target: [u64; 2],
    /// Leaves at `target`, since what the path from `offset` on holds is of no use.
    pub(super) vain: u64,
    /// Goes to the block at the CPU's RIP, after a call that ended a block; by privilege.
    pub(super) after: [u64; 2],
    /// Leaves to find the block at offset EAX of the page: its code was dropped.
    pub(super) gone: [u64; 2],
    /// Goes to the block at RAX.
    pub(super) lookup: [u64; 2],
    /// Answers in RAX the code for the guest's at `target`, 0 if it is not known; RBP is lost. Then `page` is set.
    pub(super) refetch: u64,
    /// Goes to the block at `target`, or leaves to find it.
    pub(super) refind: [u64; 2],
    /// REP MOVS and REP STOS by log2 of the element's size: ZF is set if it is done, else nothing is.
    pub(super) moves: [u64; 4],
    pub(super) stores: [u64; 4],
    /// SYSCALL and SYSRET; RAX holds the address behind them. Come back if the interpreter is to do it.
    pub(super) system_call: u64,
    pub(super) system_return: u64,
}

pub(super) fn context(offset: i32) -> At {
    At::Base(RSP, offset)
}

fn register(number: usize) -> At {
    At::Base(RBP, state::REGS + 8 * number as i32)
}

/// The index of a host address in a jump table.
pub(super) fn jump_index(host: u64) -> usize {
    ((host ^ host >> 12) & ((1 << JUMP_BITS) - 1)) as usize
}

/// Bytes from an entry to its second way.
const SECOND_WAY: i32 = 1 << (JUMP_BITS + ENTRY_BITS as u32);

/// Where what is driven out of a place in a jump table goes: its second half is for that.
pub(super) fn second_way(index: usize) -> usize {
    index + (1 << JUMP_BITS)
}

/// Goes to the block at RAX if a jump table knows it; answers the branches taken if not: where the TLB does not know the
/// page, and where [`emit_second_way`] goes on. `target` holds the address.
pub(super) fn emit_lookup(e: &mut Emitter, user: usize, commit: impl FnOnce(&mut Emitter)) -> [usize; 2] {
    e.store(RAX, context(field::TARGET));
    emit_tlb_entry(e);
    // On a hit the offset in the page is left, and becomes the host address.
    e.memory(true, opcode::XOR, RAX, At::Base(RBP, FETCH));
    e.immediate(true, group::CMP, RAX, 0xfff);
    let unknown = e.branch_if(condition::ABOVE);
    e.memory(true, opcode::ADD, RAX, At::Base(RBP, FETCH_HOST));
    e.registers(false, opcode::LOAD, RBP, RAX);
    e.shift(false, group::SHR, RBP, 12);
    e.registers(false, opcode::XOR, RBP, RAX);
    e.immediate(false, group::AND, RBP, (1 << JUMP_BITS) - 1);
    e.shift(false, group::SHL, RBP, ENTRY_BITS);
    e.memory(true, opcode::ADD, RBP, context(field::JUMPS + 8 * user as i32));
    e.memory(true, opcode::CMP, RAX, At::Base(RBP, 0));
    let other = e.branch_if(condition::NOT_EQUAL);
    commit(e);
    emit_go(e, 0);
    [unknown, other]
}

/// Goes on where the first place in the table was another block's; answers the branch taken if the second is, too. RAX
/// and RBP are lost behind it.
pub(super) fn emit_second_way(e: &mut Emitter, commit: impl FnOnce(&mut Emitter)) -> usize {
    e.memory(true, opcode::CMP, RAX, At::Base(RBP, SECOND_WAY));
    let other = e.branch_if(condition::NOT_EQUAL);
    commit(e);
    emit_go(e, SECOND_WAY);
    other
}

/// Goes to the block of the entry at RBP and an offset.
fn emit_go(e: &mut Emitter, offset: i32) {
    e.load(RAX, context(field::TARGET));
    e.immediate(true, group::AND, RAX, -4096);
    e.store(RAX, context(field::PAGE));
    e.jump_memory(At::Base(RBP, offset + 8));
}

/// Branches if something is pending. RBP and flags are lost.
pub(super) fn emit_pending(e: &mut Emitter) -> usize {
    e.load(RBP, context(field::PENDING));
    e.memory_immediate(false, group::CMP, At::Base(RBP, 0), 0);
    e.branch_if(condition::NOT_EQUAL)
}

fn store_registers(e: &mut Emitter) {
    e.load(RBP, context(field::CPU));
    for (number, home) in HOMES.iter().enumerate() {
        match *home {
            Home::Host(host) => e.store(host, register(number)),
            Home::Spilled(index) => {
                e.load(RAX, spilled(index));
                e.store(RAX, register(number));
            }
        }
    }
}

fn load_registers(e: &mut Emitter) {
    e.load(RBP, context(field::CPU));
    for (number, home) in HOMES.iter().enumerate() {
        match *home {
            Home::Host(host) => e.load(host, register(number)),
            Home::Spilled(index) => {
                e.load(RAX, register(number));
                e.store(RAX, spilled(index));
            }
        }
    }
}

/// Begins a stub that is called: the return address leaves the stack, so that RSP is the context again.
pub(super) fn emit_enter(e: &mut Emitter) {
    // pop [BACK]
    e.memory(false, &[0x8f], 0, context(field::BACK));
}

/// Ends it.
pub(super) fn emit_return(e: &mut Emitter) {
    // push [BACK]; ret
    e.memory(false, &[0xff], 6, context(field::BACK));
    e.byte(0xc3);
}

/// Calls a function of the context's, which is its first argument; the registers are in the CPU then.
fn emit_call(e: &mut Emitter, function: i32, arguments: impl FnOnce(&mut Emitter)) {
    store_registers(e);
    emit_call_only(e, function, arguments);
}

/// As [`emit_call`], for a function that minds no registers but those it may overwrite by its calling convention: only
/// these are in the CPU then, and loaded again. Leaves its answer in RAX.
pub(super) fn emit_light_call(e: &mut Emitter, function: i32, arguments: impl FnOnce(&mut Emitter)) {
    let lost = || {
        let hosts = HOMES.iter().enumerate();
        hosts.filter_map(|(number, home)| match *home {
            Home::Host(host) if LOST.contains(&host) => Some((number, host)),
            _ => None,
        })
    };
    e.load(RBP, context(field::CPU));
    lost().for_each(|(number, host)| e.store(host, register(number)));
    emit_call_only(e, function, arguments);
    e.load(RBP, context(field::CPU));
    lost().for_each(|(number, host)| e.load(host, register(number)));
}

fn emit_call_only(e: &mut Emitter, function: i32, arguments: impl FnOnce(&mut Emitter)) {
    e.copy(RDI, RSP);
    arguments(e);
    e.copy(RBP, RSP);
    e.load(RSP, context(field::HOST_STACK));
    e.memory(false, &[0xff], 2, At::Base(RBP, function));
    e.copy(RSP, RBP);
}

/// Registers that functions of the System V ABI may overwrite, but RAX.
const LOST: [u8; 8] = [1, 2, 6, 7, 8, 9, 10, 11];
/// Callee-saved registers of the System V ABI but RSP, as PUSH encodes them.
const SAVED: [&[u8]; 6] = [&[0x53], &[0x55], &[0x41, 0x54], &[0x41, 0x55], &[0x41, 0x56], &[0x41, 0x57]];
const RESTORED: [&[u8]; 6] = [&[0x41, 0x5f], &[0x41, 0x5e], &[0x41, 0x5d], &[0x41, 0x5c], &[0x5d], &[0x5b]];
/// The stack is aligned to 16 bytes where functions are called.
const ALIGNMENT: i32 = 8;

/// Writes the shared code.
pub(super) fn emit(e: &mut Emitter) -> Stubs {
    let mut stubs = Stubs { enter: e.address_here(), ..Stubs::default() };
    for push in SAVED {
        e.raw(push);
    }
    e.immediate(true, group::SUB, RSP, ALIGNMENT);
    e.store(RSP, At::Base(RDI, field::HOST_STACK));
    e.copy(RSP, RDI);
    e.store(RSI, context(field::TARGET));
    load_registers(e);
    e.jump_memory(context(field::TARGET));

    // Registers are stored; EXIT says why.
    let out = e.address_here();
    e.memory(false, opcode::LOAD, RAX, context(field::EXIT));
    e.load(RSP, context(field::HOST_STACK));
    e.immediate(true, group::ADD, RSP, ALIGNMENT);
    for pop in RESTORED {
        e.raw(pop);
    }
    e.byte(0xc3);

    let leave = |e: &mut Emitter, code: u32| {
        let here = e.address_here();
        e.store_immediate(false, context(field::EXIT), code as i32);
        e.memory(false, opcode::LOAD, RAX, context(field::OFFSET));
        e.memory(true, opcode::ADD, RAX, context(field::PAGE));
        e.store(RAX, context(field::TARGET));
        store_registers(e);
        e.load(RAX, context(field::TARGET));
        e.store(RAX, At::Base(RBP, state::RIP));
        e.jump(out);
        here
    };
    stubs.find = leave(e, exit::FIND);
    stubs.look = leave(e, exit::LEAVE);

    let leave_target = |e: &mut Emitter, code: u32| {
        let here = e.address_here();
        e.store_immediate(false, context(field::EXIT), code as i32);
        store_registers(e);
        e.load(RAX, context(field::TARGET));
        e.store(RAX, At::Base(RBP, state::RIP));
        e.jump(out);
        here
    };
    for user in 0..2 {
        stubs.find_target[user] = leave_target(e, exit::FIND);
    }
    let look_target = leave_target(e, exit::LEAVE);
    stubs.vain = leave_target(e, exit::VAIN);

    stubs.refetch = e.address_here();
    emit_enter(e);
    emit_call(e, field::REFETCH, |_| {});
    e.store(RAX, context(field::UNIT));
    load_registers(e);
    e.load(RAX, context(field::UNIT));
    emit_return(e);

    for user in 0..2 {
        stubs.refind[user] = e.address_here();
        e.call(stubs.refetch);
        e.registers(true, opcode::TEST, RAX, RAX);
        e.jump_if(condition::EQUAL, stubs.find_target[user]);
        // jmp rax
        e.raw(&[0xff, 0xe0]);

        stubs.after[user] = e.address_here();
        e.load(RBP, context(field::CPU));
        e.load(RAX, At::Base(RBP, state::RIP));
        stubs.lookup[user] = e.address_here();
        e.store(RAX, context(field::TARGET));
        e.store_immediate(true, context(field::LINK), 0);
        e.load(RBP, context(field::PENDING));
        e.memory_immediate(false, group::CMP, At::Base(RBP, 0), 0);
        e.jump_if(condition::NOT_EQUAL, look_target);
        let [unknown, other] = emit_lookup(e, user, |_| {});
        e.land(other);
        let other = emit_second_way(e, |_| {});
        e.land(unknown);
        e.land(other);
        e.jump(stubs.refind[user]);

        stubs.gone[user] = e.address_here();
        e.memory_immediate(false, group::ADD, context(field::GONE), 1);
        e.store_immediate(true, context(field::LINK), 0);
        e.memory(true, opcode::ADD, RAX, context(field::PAGE));
        e.store(RAX, context(field::TARGET));
        e.jump(stubs.find_target[user]);
    }

    stubs.call = e.address_here();
    emit_enter(e);
    e.memory(false, opcode::STORE, RAX, context(field::EXIT));
    e.store(RBP, context(field::UNIT));
    emit_call(e, field::RUN_OPS, |e| {
        e.memory(false, opcode::LOAD, RSI, context(field::EXIT));
        e.load(RDX, context(field::UNIT));
    });
    e.memory(false, opcode::STORE, RAX, context(field::EXIT));
    e.immediate(false, group::CMP, RAX, exit::STOP as i32);
    let unusual = e.branch_if(condition::ABOVE_OR_EQUAL);
    load_registers(e);
    emit_return(e);
    e.land(unusual);
    e.immediate(false, group::CMP, RAX, exit::GO_ON[0] as i32);
    e.jump_if(condition::BELOW, out);
    load_registers(e);
    e.jump_if(condition::EQUAL, stubs.after[0]);
    e.jump(stubs.after[1]);
    for size in 0..4 {
        stubs.moves[size] = super::strings::emit(e, size as u8, true);
        stubs.stores[size] = super::strings::emit(e, size as u8, false);
    }
    stubs.system_call = super::system_call::emit(e, field::SYSTEM_CALL, stubs.after[0]);
    stubs.system_return = super::system_call::emit(e, field::SYSTEM_RETURN, stubs.after[1]);
    stubs
}
