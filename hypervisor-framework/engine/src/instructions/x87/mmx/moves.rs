//! Moves between MMX registers, memory, general and XMM registers.

use iced_x86::{Code, OpKind};

use super::{Memory, Memory32, Register, binary, operands, ready, ready_with_xmm};
use crate::SegmentRegister;
use crate::block::{Op, Translator, exec, segment_allows, segment_number};
use crate::cpu::control::Mode;
use crate::cpu::{Cpu, Trap, TrapCause, gpr, slot};

pub(super) fn translate(t: &mut Translator<'_>) -> bool {
    let (from_memory, to_memory) = (t.is_memory(1), t.is_memory(0));
    let exec = match t.insn.code() {
        Code::Movq_mm_mmm64 | Code::Movq_mm_rm64 if from_memory => {
            exec!(|cpu: &mut Cpu, op: &Op| binary::<Memory>(cpu, op, |_, b| b))
        }
        Code::Movq_mm_mmm64 => exec!(|cpu: &mut Cpu, op: &Op| binary::<Register>(cpu, op, |_, b| b)),
        Code::Movd_mm_rm32 if from_memory => {
            exec!(|cpu: &mut Cpu, op: &Op| binary::<Memory32>(cpu, op, |_, b| b))
        }
        Code::Movd_mm_rm32 => exec!(from_general::<0xffff_ffff>),
        Code::Movq_mm_rm64 => exec!(from_general::<{ u64::MAX }>),
        Code::Movq_mmm64_mm | Code::Movq_rm64_mm | Code::Movntq_m64_mm if to_memory => exec!(store),
        Code::Movq_mmm64_mm => exec!(|cpu: &mut Cpu, op: &Op| binary::<Register>(cpu, op, |_, b| b)),
        Code::Movd_rm32_mm if to_memory => exec!(store_32),
        Code::Movd_rm32_mm => exec!(to_general::<0xffff_ffff>),
        Code::Movq_rm64_mm => exec!(to_general::<{ u64::MAX }>),
        Code::Movq2dq_xmm_mm => exec!(to_xmm),
        Code::Movdq2q_mm_xmm => exec!(from_xmm),
        Code::Maskmovq_rDI_mm_mm => return masked_store(t),
        _ => return false,
    };
    let mut op = t.op(exec);
    if to_memory {
        op.src = t.register(1);
        t.memory(&mut op);
    } else {
        operands(t, &mut op);
    }
    t.push(op);
    true
}

fn from_general<const MASK: u64>(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    ready(cpu)?;
    cpu.fpu.enter_mmx();
    let value = cpu.reg::<u64>(op.src) & MASK;
    cpu.fpu.set_mmx(op.dst, value);
    Ok(())
}

fn to_general<const MASK: u64>(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    ready(cpu)?;
    cpu.fpu.enter_mmx();
    cpu.set_reg(op.dst, cpu.fpu.mmx(op.src) & MASK);
    Ok(())
}

fn store(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    ready(cpu)?;
    let address = cpu.address(op);
    cpu.store(address, cpu.fpu.mmx(op.src))?;
    cpu.fpu.enter_mmx();
    Ok(())
}

fn store_32(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    ready(cpu)?;
    let address = cpu.address(op);
    cpu.store(address, cpu.fpu.mmx(op.src) as u32)?;
    cpu.fpu.enter_mmx();
    Ok(())
}

fn to_xmm(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    ready_with_xmm(cpu)?;
    cpu.fpu.enter_mmx();
    cpu.xmm[op.dst as usize & 15] = u128::from(cpu.fpu.mmx(op.src));
    Ok(())
}

fn from_xmm(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    ready_with_xmm(cpu)?;
    cpu.fpu.enter_mmx();
    cpu.fpu.set_mmx(op.dst, cpu.xmm[op.src as usize & 15] as u64);
    Ok(())
}

/// MASKMOVQ: `dst` data, `src` mask, `imm` the mask of the address size, `index` the segment.
fn masked_store(t: &mut Translator<'_>) -> bool {
    let mut op = t.op(exec!(store_masked));
    op.dst = t.register(1);
    op.src = t.register(2);
    op.imm = match t.insn.op_kind(0) {
        OpKind::MemorySegDI => 0xffff,
        OpKind::MemorySegEDI => 0xffff_ffff,
        _ => u64::MAX,
    };
    op.index = segment_number(t.insn.memory_segment());
    if op.index == SegmentRegister::Ss as u8 && !t.mode.is64() {
        op.flags |= Op::STACK_SEGMENT;
    }
    t.push(op);
    true
}

fn store_masked(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    ready(cpu)?;
    let (data, mask) = (cpu.fpu.mmx(op.dst), cpu.fpu.mmx(op.src));
    let chosen = |i: &u64| mask >> (8 * i) & 0x80 != 0;
    if let (Some(first), Some(last)) = ((0..8).find(chosen), (0..8).rfind(chosen)) {
        let address = masked_address(cpu, op)?;
        // All or nothing.
        let start = cpu.wrap(address.wrapping_add(first));
        cpu.probe_write(start, (last - first + 1) as usize)?;
        for i in (first..=last).filter(chosen) {
            let at = cpu.wrap(address.wrapping_add(i));
            cpu.store(at, (data >> (8 * i)) as u8)?;
        }
    }
    cpu.fpu.enter_mmx();
    Ok(())
}

/// The linear address of what RDI points at, after the checks of its segment.
fn masked_address(cpu: &mut Cpu, op: &Op) -> Result<u64, Trap> {
    let offset = cpu.reg::<u64>(gpr::RDI) & op.imm;
    let flat = op.index <= SegmentRegister::Ds as u8 && op.index != SegmentRegister::Cs as u8;
    if cpu.mode.is64() || cpu.mode.has(Mode::FLAT) && flat {
        let base = match op.index {
            4 => cpu.slot(slot::FS_BASE),
            5 => cpu.slot(slot::GS_BASE),
            _ => 0,
        };
        return Ok(cpu.wrap(offset.wrapping_add(base)));
    }
    let segment = cpu.segments[op.index as usize & 7];
    let offset = offset & 0xffff_ffff;
    if !segment_allows(&segment, offset, 8, true) {
        cpu.cause = TrapCause::BadAddress;
        return Err(Trap);
    }
    Ok(offset.wrapping_add(segment.base) & 0xffff_ffff)
}
