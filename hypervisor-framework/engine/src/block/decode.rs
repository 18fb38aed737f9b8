//! From bytes to micro-ops.

use iced_x86::{Instruction, OpKind, Register};

use super::{Exec, Flow, Op, next};
use crate::cpu::control::Mode;
use crate::cpu::{Cpu, TrapCause, slot};
use crate::{Level, Segment, SegmentRegister};

/// Turns one instruction into micro-ops. Families of instructions use it to describe theirs.
pub(crate) struct Translator<'a> {
    /// The instruction, decoded as if it stood at address 0 of its block plus its offset.
    pub(crate) insn: &'a Instruction,
    pub(crate) mode: Mode,
    pub(crate) level: Level,
    ops: &'a mut Vec<Op>,
    start: u8,
    /// A micro-op that ends the block has been added.
    ended: bool,
}

impl<'a> Translator<'a> {
    pub(super) fn new(
        insn: &'a Instruction,
        (mode, level): (Mode, Level),
        start: u8,
        ops: &'a mut Vec<Op>,
    ) -> Self {
        Self { insn, mode, level, ops, start, ended: false }
    }

    /// A micro-op of this instruction without operands.
    pub(crate) fn op(&self, exec: Exec) -> Op {
        Op {
            exec,
            imm: 0,
            disp: 0,
            dst: 0,
            src: 0,
            base: slot::ZERO,
            index: slot::ZERO,
            scale: 0,
            start: self.start,
            len: self.insn.len() as u8,
            flags: 0,
        }
    }

    /// Adds a micro-op.
    pub(crate) fn push(&mut self, op: Op) {
        self.ops.push(op);
    }

    /// Adds a micro-op behind which the block does not go on.
    pub(crate) fn push_end(&mut self, op: Op) {
        self.ops.push(op);
        self.ended = true;
    }

    /// Adds an instruction that has no operands, or implied ones.
    pub(crate) fn push_simple(&mut self, exec: Exec) {
        let op = self.op(exec);
        self.push(op);
    }

    /// As [`Self::push_simple`], behind which the block does not go on.
    pub(crate) fn push_simple_end(&mut self, exec: Exec) {
        let op = self.op(exec);
        self.push_end(op);
    }

    /// Adds an instruction whose one explicit operand is in memory.
    pub(crate) fn push_memory(&mut self, exec: Exec) {
        let mut op = self.op(exec);
        self.memory(&mut op);
        self.push(op);
    }

    pub(super) fn ended(&self) -> bool {
        self.ended
    }

    /// Is operand `index` in memory?
    pub(crate) fn is_memory(&self, index: u32) -> bool {
        self.insn.op_kind(index) == OpKind::Memory
    }

    /// Operand `index` as a register: its number, with [`Op::HIGH`] for AH–BH. Works for every register class.
    pub(crate) fn register(&self, index: u32) -> u8 {
        register_number(self.insn.op_register(index))
    }

    /// Operand `index`, an immediate, sign- or zero-extended as the instruction has it.
    pub(crate) fn immediate(&self, index: u32) -> u64 {
        self.insn.try_immediate(index).unwrap_or_default()
    }

    /// Fills in the memory operand of the instruction, adding a micro-op that computes the address where base plus
    /// index plus displacement will not do (segments with limits, 16- and 32-bit addresses).
    pub(crate) fn memory(&mut self, op: &mut Op) {
        let insn = self.insn;
        let segment = insn.memory_segment();
        if self.is_on_stack() {
            op.flags |= Op::STACK_SEGMENT;
        }
        let base = insn.memory_base();
        let index = insn.memory_index();
        let wide =
            self.mode.is64() && !is_32bit(base) && !is_32bit(index) && !self.absolute_32bit(base, index);
        if !wide {
            return self.address_op(op);
        }
        let displacement = insn.memory_displacement64();
        if base == Register::RIP {
            // iced gives the target relative to the block's start.
            op.base = slot::BLOCK_RIP;
        } else if base != Register::None {
            op.base = register_number(base);
        }
        let segment_slot = match segment {
            Register::FS => Some(slot::FS_BASE),
            Register::GS => Some(slot::GS_BASE),
            _ => None,
        };
        if index != Register::None {
            op.index = register_number(index);
            op.scale = insn.memory_index_scale().trailing_zeros() as u8;
        }
        if let Some(segment_slot) = segment_slot {
            if op.index == slot::ZERO {
                op.index = segment_slot;
                op.scale = 0;
            } else if op.base == slot::ZERO {
                op.base = segment_slot;
            } else {
                return self.address_op(op);
            }
        }
        match i32::try_from(displacement as i64) {
            Ok(displacement) => op.disp = displacement,
            Err(_) => self.address_op(op),
        }
    }

    /// Does the memory operand lie in the stack segment? In 64-bit mode prefixes of the flat segments are ignored (SDM
    /// vol. 1, 3.3.7.1).
    pub(crate) fn is_on_stack(&self) -> bool {
        let segment = self.insn.memory_segment();
        if !self.mode.is64() || matches!(segment, Register::FS | Register::GS) {
            return segment == Register::SS;
        }
        matches!(self.insn.memory_base(), Register::RSP | Register::RBP | Register::ESP | Register::EBP)
    }

    /// As [`Self::memory`], with the operand of a changed copy of the instruction.
    pub(crate) fn memory_of(&mut self, insn: &Instruction, op: &mut Op) {
        Translator { insn, ops: self.ops, ..*self }.memory(op);
    }

    /// As [`Self::memory`] for LEA: segments do not count.
    pub(crate) fn effective_address(&mut self, op: &mut Op) {
        let mut insn = *self.insn;
        insn.set_segment_prefix(Register::DS);
        let mut mode = self.mode;
        mode.0 |= Mode::FLAT;
        Translator { insn: &insn, mode, ops: self.ops, ..*self }.memory(op);
        op.flags &= !Op::STACK_SEGMENT;
    }

    /// A 64-bit instruction with an address size prefix and neither base nor index to tell: iced says that 4 bytes of
    /// displacement are used, where it says 8 without the prefix.
    fn absolute_32bit(&self, base: Register, index: Register) -> bool {
        base == Register::None && index == Register::None && self.insn.memory_displ_size() == 4
    }

    /// Adds the micro-op that computes a linear address, and makes `op` use it.
    fn address_op(&mut self, op: &mut Op) {
        let insn = self.insn;
        let base = insn.memory_base();
        let index = insn.memory_index();
        let mut address = self.op(address);
        address.flags = op.flags;
        address.base = match base {
            Register::None => slot::ZERO,
            Register::RIP | Register::EIP => slot::BLOCK_RIP,
            register => register_number(register),
        };
        if index != Register::None {
            address.index = register_number(index);
            address.scale = insn.memory_index_scale().trailing_zeros() as u8;
        }
        address.imm = insn.memory_displacement64();
        address.dst = segment_number(insn.memory_segment());
        address.src = if self.mode.is64() {
            if is_32bit(base) || is_32bit(index) || self.absolute_32bit(base, index) { 4 } else { 8 }
        } else if is_16bit(base)
            || is_16bit(index)
            || base == Register::None && index == Register::None && insn.memory_displ_size() == 2
        {
            2
        } else {
            4
        };
        // A flat code segment can be read, but not written.
        let flat = self.mode.has(Mode::FLAT)
            && address.dst <= SegmentRegister::Ds as u8
            && address.dst != SegmentRegister::Cs as u8;
        if !self.mode.is64() && !flat {
            address.exec = address_checked;
            // What the access does decides which rights matter; the size is for the limit.
            let access = access_of(insn);
            address.disp = (u32::from(access.0) << 16 | access.1) as i32;
        }
        self.ops.push(address);
        op.base = slot::ADDRESS;
        op.index = slot::ZERO;
        op.scale = 0;
        op.disp = 0;
    }
}

/// (writes, bytes) of the memory operand.
fn access_of(insn: &Instruction) -> (bool, u32) {
    let mut factory = iced_x86::InstructionInfoFactory::new();
    let info = factory.info(insn);
    // The operand alone: PUSH and CALL write to the stack as well.
    let writes = (0..insn.op_count()).filter(|&i| insn.op_kind(i) == OpKind::Memory).any(|i| {
        matches!(
            info.op_access(i),
            iced_x86::OpAccess::Write
                | iced_x86::OpAccess::ReadWrite
                | iced_x86::OpAccess::CondWrite
                | iced_x86::OpAccess::ReadCondWrite
        )
    });
    let size = insn.memory_size().size().max(1) as u32;
    (writes, size.min(0xffff))
}

/// Computes a flat linear address. `src` is the address size in bytes, `dst` the segment.
fn address(cpu: &mut Cpu, op: &Op, rest: &[Op]) -> Flow {
    let offset = effective(cpu, op);
    let base = match op.dst {
        4 => cpu.slot(slot::FS_BASE),
        5 => cpu.slot(slot::GS_BASE),
        _ => 0,
    };
    let linear = offset.wrapping_add(base);
    let linear = cpu.wrap(linear);
    cpu.set_slot(slot::ADDRESS, linear);
    next(cpu, rest)
}

fn effective(cpu: &Cpu, op: &Op) -> u64 {
    let (base, index) = (cpu.slot(op.base), cpu.slot(op.index));
    let (base, index) = if op.src == 2 { (base & 0xffff, index & 0xffff) } else { (base, index) };
    let offset = base.wrapping_add(index << (op.scale & 3)).wrapping_add(op.imm);
    match op.src {
        2 => offset & 0xffff,
        4 => offset & 0xffff_ffff,
        _ => offset,
    }
}

/// Computes a linear address through a segment with its limit and rights. `disp` holds writes << 16 | bytes.
fn address_checked(cpu: &mut Cpu, op: &Op, rest: &[Op]) -> Flow {
    let offset = effective(cpu, op);
    let write = op.disp >> 16 != 0;
    let size = (op.disp & 0xffff) as u32;
    let segment = cpu.segments[op.dst as usize & 7];
    // Real mode knows limits, but no types: code can be written through CS.
    let write = write && !(cpu.mode.has(Mode::REAL) && segment.kind() & 8 != 0);
    if !segment_allows(&segment, offset, size, write) {
        cpu.cause = TrapCause::BadAddress;
        return cpu.trapped(op);
    }
    cpu.set_slot(slot::ADDRESS, offset.wrapping_add(segment.base) & 0xffff_ffff);
    next(cpu, rest)
}

/// Does a legacy segment allow an access of `size` bytes at `offset` (SDM vol. 3, 5.3–5.5)?
pub(crate) fn segment_allows(segment: &Segment, offset: u64, size: u32, write: bool) -> bool {
    if !segment.usable() {
        return false;
    }
    let kind = segment.kind();
    let code = kind & 8 != 0;
    let permitted = if write { !code && kind & 2 != 0 } else { !code || kind & 2 != 0 };
    let last = offset + u64::from(size) - 1;
    let limit = u64::from(segment.limit);
    let within = if !code && kind & 4 != 0 {
        let top = if segment.big() { 0xffff_ffff } else { 0xffff };
        offset > limit && last <= top
    } else {
        last <= limit
    };
    permitted && within
}

fn is_32bit(register: Register) -> bool {
    register == Register::EIP || register.is_gpr32()
}

fn is_16bit(register: Register) -> bool {
    register.is_gpr16()
}

/// The number of a register within its class; AH–BH have [`Op::HIGH`] set.
pub(crate) fn register_number(register: Register) -> u8 {
    match register {
        Register::AH => Op::HIGH,
        Register::CH => Op::HIGH | 1,
        Register::DH => Op::HIGH | 2,
        Register::BH => Op::HIGH | 3,
        _ if register.is_gpr8() && register >= Register::SPL => register.number() as u8 - 4,
        _ => register.number() as u8,
    }
}

/// ES 0 … GS 5.
pub(crate) fn segment_number(register: Register) -> u8 {
    match register {
        Register::ES => 0,
        Register::CS => 1,
        Register::SS => 2,
        Register::FS => 4,
        Register::GS => 5,
        _ => 3,
    }
}
