//! Operands of micro-ops: where values come from and go to, as types that compile to one access each.

use super::Op;
use crate::cpu::{Cpu, Trap, slot};
use crate::memory::Scalar;

/// The register file's index mask.
const SLOTS: usize = slot::COUNT - 1;

impl Cpu {
    /// A register slot in full.
    #[inline(always)]
    pub(crate) fn slot(&self, index: u8) -> u64 {
        self.regs[index as usize & SLOTS]
    }

    #[inline(always)]
    pub(crate) fn set_slot(&mut self, index: u8, value: u64) {
        self.regs[index as usize & SLOTS] = value;
    }

    /// A general register operand; 8-bit ones may be AH–BH (see [`Op::HIGH`]).
    #[inline(always)]
    pub(crate) fn reg<T: Scalar>(&self, index: u8) -> T {
        let value = self.regs[index as usize & SLOTS];
        if T::SIZE == 1 { T::narrow(value >> (index >> 4 & 8)) } else { T::narrow(value) }
    }

    /// Writes a general register operand: 32 bits zero-extend, 8 and 16 bits leave the rest.
    #[inline(always)]
    pub(crate) fn set_reg<T: Scalar>(&mut self, index: u8, value: T) {
        let place = &mut self.regs[index as usize & SLOTS];
        match T::SIZE {
            1 => {
                let shift = index >> 4 & 8;
                *place = *place & !(0xff << shift) | value.widen() << shift;
            }
            2 => *place = *place & !0xffff | value.widen(),
            _ => *place = value.widen(),
        }
    }

    /// The linear address of a memory operand.
    #[inline(always)]
    pub(crate) fn address(&self, op: &Op) -> u64 {
        self.slot(op.base)
            .wrapping_add(self.slot(op.index) << (op.scale & 3))
            .wrapping_add(op.disp as i64 as u64)
    }

    /// RIP of the instruction behind `op`.
    #[inline(always)]
    pub(crate) fn next_rip(&self, op: &Op) -> u64 {
        let rip = self.regs[slot::BLOCK_RIP as usize].wrapping_add(u64::from(op.start) + u64::from(op.len));
        if self.mode.is64() { rip } else { rip & 0xffff_ffff }
    }
}

/// A readable operand.
pub(crate) trait Source {
    fn get<T: Scalar>(cpu: &mut Cpu, op: &Op) -> Result<T, Trap>;
}

/// An operand that is read and written in one step.
pub(crate) trait Place: Source {
    fn set<T: Scalar>(cpu: &mut Cpu, op: &Op, value: T) -> Result<(), Trap>;
    /// Replaces the value by `update(old)` and answers `old`. Only the value is passed, as locked updates repeat.
    fn update<T: Scalar>(cpu: &mut Cpu, op: &Op, update: impl FnMut(T) -> T) -> Result<T, Trap>;
}

/// The register `op.src` as a source, `op.dst` as a destination is [`Dst`]'s.
pub(crate) struct Reg;
/// The immediate `op.imm`.
pub(crate) struct Imm;
/// The memory operand.
pub(crate) struct Mem;
/// The memory operand, locked.
pub(crate) struct LockedMem;
/// The register `op.dst`.
pub(crate) struct Dst;

impl Source for Reg {
    #[inline(always)]
    fn get<T: Scalar>(cpu: &mut Cpu, op: &Op) -> Result<T, Trap> {
        Ok(cpu.reg(op.src))
    }
}

impl Source for Imm {
    #[inline(always)]
    fn get<T: Scalar>(_cpu: &mut Cpu, op: &Op) -> Result<T, Trap> {
        Ok(T::narrow(op.imm))
    }
}

impl Source for Mem {
    #[inline(always)]
    fn get<T: Scalar>(cpu: &mut Cpu, op: &Op) -> Result<T, Trap> {
        let address = cpu.address(op);
        cpu.load(address)
    }
}

impl Source for Dst {
    #[inline(always)]
    fn get<T: Scalar>(cpu: &mut Cpu, op: &Op) -> Result<T, Trap> {
        Ok(cpu.reg(op.dst))
    }
}

impl Place for Dst {
    #[inline(always)]
    fn set<T: Scalar>(cpu: &mut Cpu, op: &Op, value: T) -> Result<(), Trap> {
        cpu.set_reg(op.dst, value);
        Ok(())
    }

    #[inline(always)]
    fn update<T: Scalar>(cpu: &mut Cpu, op: &Op, mut update: impl FnMut(T) -> T) -> Result<T, Trap> {
        let old = cpu.reg(op.dst);
        cpu.set_reg(op.dst, update(old));
        Ok(old)
    }
}

impl Place for Mem {
    #[inline(always)]
    fn set<T: Scalar>(cpu: &mut Cpu, op: &Op, value: T) -> Result<(), Trap> {
        let address = cpu.address(op);
        cpu.store(address, value)
    }

    #[inline(always)]
    fn update<T: Scalar>(cpu: &mut Cpu, op: &Op, update: impl FnMut(T) -> T) -> Result<T, Trap> {
        let address = cpu.address(op);
        cpu.update(address, update)
    }
}

impl Source for LockedMem {
    #[inline(always)]
    fn get<T: Scalar>(cpu: &mut Cpu, op: &Op) -> Result<T, Trap> {
        Mem::get(cpu, op)
    }
}

impl Place for LockedMem {
    #[inline(always)]
    fn set<T: Scalar>(cpu: &mut Cpu, op: &Op, value: T) -> Result<(), Trap> {
        Mem::set(cpu, op, value)
    }

    #[inline(always)]
    fn update<T: Scalar>(cpu: &mut Cpu, op: &Op, update: impl FnMut(T) -> T) -> Result<T, Trap> {
        let address = cpu.address(op);
        cpu.update_locked(address, update)
    }
}
