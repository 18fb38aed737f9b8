//! Interleaving and permuting lanes, lanes to and from general registers.

use iced_x86::Code;

use super::lanes::{build, interleave, lane};
use super::{Memory, Memory32, Register, Source, binary, operands, ready};
use crate::block::{Exec, Op, Translator, exec};
use crate::cpu::{Cpu, Trap};

pub(super) fn translate(t: &mut Translator<'_>) -> bool {
    let code = t.insn.code();
    let exec = match (t.is_memory(1), code) {
        // These read only the half that they use.
        (true, Code::Punpcklbw_mm_mmm32 | Code::Punpcklwd_mm_mmm32 | Code::Punpckldq_mm_mmm32) => {
            usual::<Memory32>(code)
        }
        (true, _) => usual::<Memory>(code),
        (false, _) => usual::<Register>(code),
    };
    if let Some(exec) = exec {
        let mut op = t.op(exec);
        if t.insn.op_count() > 2 {
            op.imm = t.immediate(2) & 0xff;
        }
        operands(t, &mut op);
        t.push(op);
        return true;
    }
    let exec = match code {
        Code::Pextrw_r32_mm_imm8 | Code::Pextrw_r64_mm_imm8 => exec!(extract),
        Code::Pinsrw_mm_r32m16_imm8 | Code::Pinsrw_mm_r64m16_imm8 if t.is_memory(1) => {
            exec!(insert_from_memory)
        }
        Code::Pinsrw_mm_r32m16_imm8 | Code::Pinsrw_mm_r64m16_imm8 => exec!(insert),
        Code::Pmovmskb_r32_mm | Code::Pmovmskb_r64_mm => exec!(signs),
        _ => return false,
    };
    let mut op = t.op(exec);
    if t.insn.op_count() > 2 {
        op.imm = t.immediate(2) & 3;
    }
    operands(t, &mut op);
    t.push(op);
    true
}

fn usual<S: Source>(code: Code) -> Option<Exec> {
    macro_rules! op {
        ($compute:expr) => {
            exec!(|cpu: &mut Cpu, op: &Op| binary::<S>(cpu, op, $compute))
        };
    }
    Some(match code {
        Code::Punpcklbw_mm_mmm32 => op!(|a, b| interleave::<u8>(a, b, 0)),
        Code::Punpcklwd_mm_mmm32 => op!(|a, b| interleave::<u16>(a, b, 0)),
        Code::Punpckldq_mm_mmm32 => op!(|a, b| interleave::<u32>(a, b, 0)),
        Code::Punpckhbw_mm_mmm64 => op!(|a, b| interleave::<u8>(a, b, 4)),
        Code::Punpckhwd_mm_mmm64 => op!(|a, b| interleave::<u16>(a, b, 2)),
        Code::Punpckhdq_mm_mmm64 => op!(|a, b| interleave::<u32>(a, b, 1)),
        Code::Pshufb_mm_mmm64 => op!(shuffle_bytes),
        Code::Pshufw_mm_mmm64_imm8 => exec!(|cpu: &mut Cpu, op: &Op| {
            binary::<S>(cpu, op, |_, b| build(|i| lane::<u16>(b, (op.imm >> (2 * i)) as u32 & 3)))
        }),
        Code::Palignr_mm_mmm64_imm8 => {
            exec!(|cpu: &mut Cpu, op: &Op| binary::<S>(cpu, op, |a, b| align(a, b, op.imm)))
        }
        _ => return None,
    })
}

/// Bytes of `a` by the numbers in `b`; 0 where a number has its top bit set.
fn shuffle_bytes(a: u64, b: u64) -> u64 {
    build(|i| {
        let index: u8 = lane(b, i);
        if index & 0x80 != 0 { 0 } else { lane::<u8>(a, u32::from(index & 7)) }
    })
}

/// Eight bytes of `a` above `b`, from byte `offset` on.
fn align(a: u64, b: u64, offset: u64) -> u64 {
    let both = u128::from(a) << 64 | u128::from(b);
    if offset < 16 { (both >> (8 * offset)) as u64 } else { 0 }
}

fn extract(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    ready(cpu)?;
    cpu.fpu.enter_mmx();
    let word: u16 = lane(cpu.fpu.mmx(op.src), op.imm as u32 & 3);
    cpu.set_reg(op.dst, u64::from(word));
    Ok(())
}

fn put_word(cpu: &mut Cpu, op: &Op, word: u16) {
    cpu.fpu.enter_mmx();
    let shift = 16 * (op.imm & 3);
    let rest = cpu.fpu.mmx(op.dst) & !(0xffff << shift);
    cpu.fpu.set_mmx(op.dst, rest | u64::from(word) << shift);
}

fn insert(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    ready(cpu)?;
    put_word(cpu, op, cpu.reg(op.src));
    Ok(())
}

fn insert_from_memory(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    ready(cpu)?;
    let address = cpu.address(op);
    let word = cpu.load(address)?;
    put_word(cpu, op, word);
    Ok(())
}

fn signs(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    ready(cpu)?;
    cpu.fpu.enter_mmx();
    let value = cpu.fpu.mmx(op.src);
    let mask = (0..8).fold(0, |mask, i| mask | (value >> (8 * i + 7) & 1) << i);
    cpu.set_reg(op.dst, mask);
    Ok(())
}
