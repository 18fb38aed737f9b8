//! The micro-ops around an operation on lanes: reading the sources, arranging lanes, writing the result.

use iced_x86::OpKind;

use super::lanes::Lanes;
use super::ready;
use crate::block::{Exec, Op, Translator, exec};
use crate::cpu::{Cpu, Trap};
use crate::instructions::sse::float::Context;
use crate::instructions::sse::operand::xmm;

/// How an operation's lanes come from the source's, and the result's from them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// Lane by lane; the upper one takes the immediate shifted by so much.
    Lanes(u8),
    /// The upper lane's source stands so many bits above the lower one's, in one lane. 0: they are the same.
    Spread(u8),
    /// The low halves of the results, together.
    Join,
}

/// `imm` of a reading step: there is no first source, so the second stands for it.
const NO_FIRST: u64 = 1 << 8;

/// A YMM register.
#[inline(always)]
pub(super) fn ymm(cpu: &Cpu, register: u8) -> [u128; 2] {
    [xmm(cpu, register), cpu.ymm_upper[register as usize & 15]]
}

/// Writes a YMM register.
#[inline(always)]
pub(super) fn set_ymm(cpu: &mut Cpu, register: u8, value: [u128; 2]) {
    [cpu.xmm[register as usize & 15], cpu.ymm_upper[register as usize & 15]] = value;
}

/// `dst` the third source, `imm` the first, the second as given.
#[inline(always)]
fn sources(cpu: &mut Cpu, op: &Op, second: [u128; 2]) {
    let first = if op.imm & NO_FIRST == 0 { ymm(cpu, op.imm as u8) } else { second };
    let third = ymm(cpu, op.dst);
    cpu.lanes = Lanes { first, second, third, context: Context::new(cpu.mxcsr) };
}

fn read_registers(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    ready(cpu)?;
    let second = ymm(cpu, op.src);
    sources(cpu, op, second);
    Ok(())
}

/// A memory operand of `SIZE` bytes, zero-extended.
#[inline(always)]
pub(super) fn load<const SIZE: usize>(cpu: &mut Cpu, address: u64) -> Result<[u128; 2], Trap> {
    Ok(match SIZE {
        1 => [cpu.load::<u8>(address)?.into(), 0],
        2 => [cpu.load::<u16>(address)?.into(), 0],
        4 => [cpu.load::<u32>(address)?.into(), 0],
        8 => [cpu.load::<u64>(address)?.into(), 0],
        16 => [cpu.load_u128(address)?, 0],
        _ => {
            let upper = cpu.wrap(address.wrapping_add(16));
            [cpu.load_u128(address)?, cpu.load_u128(upper)?]
        }
    })
}

fn read_memory<const SIZE: usize>(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    ready(cpu)?;
    let address = cpu.address(op);
    let second = load::<SIZE>(cpu, address)?;
    sources(cpu, op, second);
    Ok(())
}

fn spread(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    cpu.lanes.second[1] = cpu.lanes.second[0] >> (op.imm & 127);
    Ok(())
}

/// `src` lanes of the result; exceptions of floating point come now.
fn write(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    finish(cpu)?;
    let [low, high] = cpu.lanes.first;
    set_ymm(cpu, op.dst, [low, if op.src > 1 { high } else { 0 }]);
    Ok(())
}

fn write_joined(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    finish(cpu)?;
    let [low, high] = cpu.lanes.first;
    set_ymm(cpu, op.dst, [low | high << 64, 0]);
    Ok(())
}

#[inline(always)]
fn finish(cpu: &mut Cpu) -> Result<(), Trap> {
    let context = cpu.lanes.context;
    context.finish(cpu)
}

/// Adds the step that reads the sources: of the operands in registers or memory behind the destination the last but
/// those in `third` is the second source, the one before it the first.
pub(super) fn push_read(t: &mut Translator<'_>, second: u32, first: Option<u32>, third: Option<u32>) {
    let memory = t.is_memory(second);
    let exec: Exec = match t.insn.memory_size().size() {
        _ if !memory => exec!(read_registers),
        1 => exec!(read_memory::<1>),
        2 => exec!(read_memory::<2>),
        4 => exec!(read_memory::<4>),
        8 => exec!(read_memory::<8>),
        16 => exec!(read_memory::<16>),
        _ => exec!(read_memory::<32>),
    };
    let mut op = t.op(exec);
    op.imm = first.map_or(NO_FIRST, |operand| t.register(operand).into());
    op.dst = third.map_or(0, |operand| t.register(operand));
    if memory {
        t.memory(&mut op);
    } else {
        op.src = t.register(second);
    }
    t.push(op);
}

/// Adds an operation on so many lanes.
pub(super) fn push_operation(t: &mut Translator<'_>, exec: Exec, lanes: u8, imm: u64, shift: u8) {
    let mut op = t.op(exec);
    (op.src, op.imm, op.scale) = (lanes, imm & 0xff, shift);
    t.push(op);
}

/// Adds the step that writes the result.
pub(super) fn push_write(t: &mut Translator<'_>, lanes: u8) {
    let mut op = t.op(exec!(write));
    (op.dst, op.src) = (t.register(0), lanes);
    t.push(op);
}

/// Does the operand have 256 bits?
pub(super) fn is_wide(t: &Translator<'_>, operand: u32) -> bool {
    if t.is_memory(operand) {
        t.insn.memory_size().size() == 32
    } else {
        t.insn.op_kind(operand) == OpKind::Register && t.insn.op_register(operand).is_ymm()
    }
}

/// Adds an instruction `op register, [register,] register/memory[, register or imm8]`.
pub(super) fn push(t: &mut Translator<'_>, exec: Exec, shape: Shape) {
    let count = t.insn.op_count();
    let vector = |i: &u32| matches!(t.insn.op_kind(*i), OpKind::Register | OpKind::Memory);
    let sources: Vec<u32> = (1..count).filter(vector).collect();
    let (first, second, third) = match *sources.as_slice() {
        [second] => (None, second, None),
        [first, second] => (Some(first), second, None),
        [first, second, third, ..] => (Some(first), second, Some(third)),
        [] => return,
    };
    let wide = is_wide(t, if shape == Shape::Join { second } else { 0 });
    let lanes = if wide { 2 } else { 1 };
    let mut imm = t.immediate(count.saturating_sub(1));
    if t.insn.mnemonic() == iced_x86::Mnemonic::Vinsertps && t.is_memory(second) {
        // A memory operand has no lanes to choose from.
        imm &= 0x3f;
    }
    push_read(t, second, first, third);
    let mut shift = 0;
    match shape {
        Shape::Lanes(by) => shift = by,
        Shape::Spread(bits) if wide => {
            let mut op = t.op(exec!(spread));
            op.imm = bits.into();
            t.push(op);
        }
        _ => {}
    }
    push_operation(t, exec, lanes, imm, shift);
    if shape == Shape::Join && wide {
        let mut op = t.op(exec!(write_joined));
        op.dst = t.register(0);
        t.push(op);
    } else {
        push_write(t, lanes);
    }
}
