//! MMX, and what later extensions do with MMX registers (SDM vol. 1, chapter 9).

mod arithmetic;
mod convert;
mod lanes;
mod moves;
mod shuffle;

use super::not_ready;
use crate::block::{Op, Translator};
use crate::cpu::control::{cr0, cr4};
use crate::cpu::{Cpu, Trap};

/// Translates an MMX instruction; false if it is none.
pub(super) fn translate(t: &mut Translator<'_>) -> bool {
    arithmetic::translate(t) || moves::translate(t) || shuffle::translate(t) || convert::translate(t)
}

/// What every MMX instruction checks first: #UD for CR0.EM, then as x87.
#[inline(always)]
pub(super) fn ready(cpu: &mut Cpu) -> Result<(), Trap> {
    if cpu.fpu_blocked & 1 != 0 || cpu.fpu.pending() { Err(blocked(cpu)) } else { Ok(()) }
}

#[cold]
#[inline(never)]
fn blocked(cpu: &mut Cpu) -> Trap {
    if cpu.cr0 & cr0::EM != 0 { cpu.undefined() } else { not_ready(cpu) }
}

/// The check of instructions that use an XMM register as well.
#[inline(always)]
fn ready_with_xmm(cpu: &mut Cpu) -> Result<(), Trap> {
    if cpu.cr4 & cr4::OSFXSR == 0 {
        return Err(cpu.undefined());
    }
    ready(cpu)
}

/// Where a 64-bit source comes from.
trait Source {
    fn get(cpu: &mut Cpu, op: &Op) -> Result<u64, Trap>;
}

/// The MMX register `op.src`.
struct Register;
/// 64 bits in memory.
struct Memory;
/// 32 bits in memory, for instructions that use only those.
struct Memory32;
/// The immediate.
struct Immediate;

impl Source for Register {
    #[inline(always)]
    fn get(cpu: &mut Cpu, op: &Op) -> Result<u64, Trap> {
        Ok(cpu.fpu.mmx(op.src))
    }
}

impl Source for Memory {
    #[inline(always)]
    fn get(cpu: &mut Cpu, op: &Op) -> Result<u64, Trap> {
        let address = cpu.address(op);
        cpu.load(address)
    }
}

impl Source for Memory32 {
    #[inline(always)]
    fn get(cpu: &mut Cpu, op: &Op) -> Result<u64, Trap> {
        let address = cpu.address(op);
        Ok(u64::from(cpu.load::<u32>(address)?))
    }
}

impl Source for Immediate {
    #[inline(always)]
    fn get(_cpu: &mut Cpu, op: &Op) -> Result<u64, Trap> {
        Ok(op.imm)
    }
}

/// `dst = compute(dst, source)`
#[inline(always)]
fn binary<S: Source>(cpu: &mut Cpu, op: &Op, compute: impl Fn(u64, u64) -> u64) -> Result<(), Trap> {
    ready(cpu)?;
    let source = S::get(cpu, op)?;
    cpu.fpu.enter_mmx();
    let value = compute(cpu.fpu.mmx(op.dst), source);
    cpu.fpu.set_mmx(op.dst, value);
    Ok(())
}

/// Fills in destination register and source, register or memory, of an instruction of the usual form.
fn operands(t: &mut Translator<'_>, op: &mut Op) {
    op.dst = t.register(0);
    if t.is_memory(1) {
        t.memory(op);
    } else {
        op.src = t.register(1);
    }
}
