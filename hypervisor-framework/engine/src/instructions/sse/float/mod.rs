//! Floating-point instructions (SDM vol. 1, 10.4, 11.4 and chapter 12).

mod compare;
mod context;
mod convert;
mod dot;
mod estimate;
mod exact;
mod fast;
mod format;
mod fused;
mod half;
mod integer;
pub(crate) mod mixed;
mod table;

pub(in crate::instructions) use context::Context;
pub(in crate::instructions) use dot::singles as dot_products;
pub(in crate::instructions) use format::Hosted;
pub(in crate::instructions) use fused::{Fusion, fuse_lanes, fuse_lowest};
pub(in crate::instructions) use half::{halves_to_singles, singles_to_halves};
pub(super) use integer::translate;
pub(in crate::instructions) use table::forms;

use context::Rounding;

use super::lane::zip;
use super::operand::{Operand, ready, set_xmm, xmm};
use crate::block::Op;
use crate::cpu::{Cpu, Trap};

/// `xmm(dst) = f(context, xmm(dst), source, imm8)`, unless an exception is not masked.
#[inline(always)]
fn compute<S: Operand>(
    cpu: &mut Cpu,
    op: &Op,
    f: impl FnOnce(&mut Context, u128, u128, u8) -> u128,
) -> Result<(), Trap> {
    ready(cpu)?;
    let source = S::get(cpu, op)?;
    let mut context = Context::new(cpu.mxcsr);
    let result = f(&mut context, xmm(cpu, op.dst), source, op.imm as u8);
    context.finish(cpu)?;
    set_xmm(cpu, op.dst, result);
    Ok(())
}

/// All ones in the lanes where the predicate holds: one of 32.
#[inline(always)]
pub(in crate::instructions) fn compare_lanes<T: Hosted>(c: &mut Context, a: u128, b: u128, imm: u8) -> u128 {
    zip::<T>(a, b, |a, b| compare::predicate(c, a, b, imm & 31))
}

#[inline(always)]
fn add<T: Hosted>(c: &mut Context, a: T, b: T) -> T {
    fast::add(c, a, b).unwrap_or_else(|| exact::add(c, a, b))
}

#[inline(always)]
fn sub<T: Hosted>(c: &mut Context, a: T, b: T) -> T {
    // NaNs keep their sign, so only the fast path may negate.
    fast::add(c, a, b.negated()).unwrap_or_else(|| exact::sub(c, a, b))
}

#[inline(always)]
fn mul<T: Hosted>(c: &mut Context, a: T, b: T) -> T {
    fast::mul(c, a, b).unwrap_or_else(|| exact::mul(c, a, b))
}

#[inline(always)]
fn div<T: Hosted>(c: &mut Context, a: T, b: T) -> T {
    fast::div(c, a, b).unwrap_or_else(|| exact::div(c, a, b))
}

#[inline(always)]
fn sqrt<T: Hosted>(c: &mut Context, b: T) -> T {
    fast::sqrt(c, b).unwrap_or_else(|| exact::sqrt(c, b))
}

#[inline(always)]
fn widen(c: &mut Context, value: u32) -> u64 {
    fast::widen(value).unwrap_or_else(|| convert::reformat(c, value))
}

#[inline(always)]
fn narrow(c: &mut Context, value: u64) -> u32 {
    fast::narrow(c, value).unwrap_or_else(|| convert::reformat(c, value))
}

/// An integer of `bits` bits, sign-extended.
#[inline(always)]
fn to_integer<T: Hosted>(c: &mut Context, value: T, rounding: Rounding, bits: u32) -> i64 {
    let fast = if rounding == Rounding::Zero { fast::truncate(c, value, bits) } else { None };
    fast.unwrap_or_else(|| convert::to_integer(c, value, rounding, bits))
}

#[inline(always)]
fn from_integer<T: Hosted>(c: &mut Context, value: i64) -> T {
    fast::from_integer(value).unwrap_or_else(|| convert::from_integer(c, value))
}
