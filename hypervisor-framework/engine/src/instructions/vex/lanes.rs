//! What a VEX-encoded instruction computes with, and the shapes of operations on it.

use crate::block::Op;
use crate::cpu::{Cpu, Trap};
use crate::instructions::sse::float::Context;

/// The sources of an instruction by 128-bit lanes; the first becomes the result.
#[derive(Clone, Copy, Default)]
pub(crate) struct Lanes {
    pub(crate) first: [u128; 2],
    pub(crate) second: [u128; 2],
    pub(crate) third: [u128; 2],
    /// Modes and exceptions of floating point.
    pub(crate) context: Context,
}

/// An operation on lanes: `src` says how many, the upper one takes `imm >> scale`.
#[inline(always)]
fn each(cpu: &mut Cpu, op: &Op, mut f: impl FnMut(&mut Lanes, usize, u8)) -> Result<(), Trap> {
    f(&mut cpu.lanes, 0, op.imm as u8);
    if op.src > 1 {
        f(&mut cpu.lanes, 1, op.imm as u8 >> (op.scale & 7));
    }
    Ok(())
}

/// `first = f(first, second)`
#[inline(always)]
pub(crate) fn binary(cpu: &mut Cpu, op: &Op, f: impl Fn(u128, u128) -> u128) -> Result<(), Trap> {
    each(cpu, op, |lanes, i, _| lanes.first[i] = f(lanes.first[i], lanes.second[i]))
}

/// `first = f(first, second, imm8)`
#[inline(always)]
pub(crate) fn binary_imm(cpu: &mut Cpu, op: &Op, f: impl Fn(u128, u128, u8) -> u128) -> Result<(), Trap> {
    each(cpu, op, |lanes, i, imm| lanes.first[i] = f(lanes.first[i], lanes.second[i], imm))
}

/// `first = f(first, second, third)`
#[inline(always)]
pub(crate) fn masked(cpu: &mut Cpu, op: &Op, f: impl Fn(u128, u128, u128) -> u128) -> Result<(), Trap> {
    each(cpu, op, |lanes, i, _| lanes.first[i] = f(lanes.first[i], lanes.second[i], lanes.third[i]))
}

/// `first = f(context, first, second, imm8)`
#[inline(always)]
pub(crate) fn compute(
    cpu: &mut Cpu,
    op: &Op,
    f: impl Fn(&mut Context, u128, u128, u8) -> u128,
) -> Result<(), Trap> {
    each(cpu, op, |lanes, i, imm| {
        lanes.first[i] = f(&mut lanes.context, lanes.first[i], lanes.second[i], imm);
    })
}

/// `first = f(context, [first, third, second], imm8)`: by the place of the operand
#[inline(always)]
pub(crate) fn compute_three(
    cpu: &mut Cpu,
    op: &Op,
    f: impl Fn(&mut Context, [u128; 3], u8) -> u128,
) -> Result<(), Trap> {
    each(cpu, op, |lanes, i, imm| {
        let operands = [lanes.first[i], lanes.third[i], lanes.second[i]];
        lanes.first[i] = f(&mut lanes.context, operands, imm);
    })
}
