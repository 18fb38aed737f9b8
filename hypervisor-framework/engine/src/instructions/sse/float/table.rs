//! Instructions whose result is an XMM register.

use iced_x86::Mnemonic;

use super::context::{Context, Rounding};
use super::format::{Format, Hosted};
use super::{
    add, compare, compute, convert, div, dot, estimate, from_integer, mul, narrow, sqrt, sub, to_integer,
    widen,
};
use crate::instructions::sse::lane::{LOW, LOW32, Lane, build, map, zip};
use crate::instructions::sse::operand::{Aligned, Forms, forms};

/// Every lane of both operands.
macro_rules! packed {
    ($t:ty, $f:expr) => {
        forms!(compute, Aligned, |c: &mut Context, a, b, _| zip::<$t>(a, b, |a, b| $f(c, a, b)))
    };
}

/// The lowest lane of both operands; the others stay.
macro_rules! scalar {
    ($t:ty, $f:expr) => {
        forms!(compute, $t, |c: &mut Context, a: u128, b: u128, _| { low::<$t>(a, $f(c, a as $t, b as $t)) })
    };
}

/// Every lane of the source.
macro_rules! packed_source {
    ($t:ty, $f:expr) => {
        forms!(compute, Aligned, |c: &mut Context, _, b, imm: u8| map::<$t>(b, |b| $f(&mut *c, b, imm)))
    };
}

/// The lowest lane of the source.
macro_rules! scalar_source {
    ($t:ty, $f:expr) => {
        forms!(compute, $t, |c: &mut Context, a, b: u128, imm: u8| low::<$t>(a, $f(c, b as $t, imm)))
    };
}

/// `value` in the lowest lane of `a`.
#[inline(always)]
fn low<T: Format>(a: u128, value: T) -> u128 {
    let mask = if T::FRACTION == 23 { LOW32 } else { LOW };
    a & !mask | u128::from(value.bits())
}

pub(in crate::instructions) fn forms(mnemonic: Mnemonic) -> Option<Forms> {
    arithmetic(mnemonic)
        .or_else(|| unary(mnemonic))
        .or_else(|| comparisons(mnemonic))
        .or_else(|| conversions(mnemonic))
}

fn arithmetic(mnemonic: Mnemonic) -> Option<Forms> {
    Some(match mnemonic {
        Mnemonic::Addps => packed!(u32, add),
        Mnemonic::Addpd => packed!(u64, add),
        Mnemonic::Addss => scalar!(u32, add),
        Mnemonic::Addsd => scalar!(u64, add),
        Mnemonic::Subps => packed!(u32, sub),
        Mnemonic::Subpd => packed!(u64, sub),
        Mnemonic::Subss => scalar!(u32, sub),
        Mnemonic::Subsd => scalar!(u64, sub),
        Mnemonic::Mulps => packed!(u32, mul),
        Mnemonic::Mulpd => packed!(u64, mul),
        Mnemonic::Mulss => scalar!(u32, mul),
        Mnemonic::Mulsd => scalar!(u64, mul),
        Mnemonic::Divps => packed!(u32, div),
        Mnemonic::Divpd => packed!(u64, div),
        Mnemonic::Divss => scalar!(u32, div),
        Mnemonic::Divsd => scalar!(u64, div),
        Mnemonic::Addsubps => forms!(compute, Aligned, |c, a, b, _| alternate::<u32>(c, a, b)),
        Mnemonic::Addsubpd => forms!(compute, Aligned, |c, a, b, _| alternate::<u64>(c, a, b)),
        Mnemonic::Haddps => forms!(compute, Aligned, |c, a, b, _| horizontal::<u32>(c, a, b, add)),
        Mnemonic::Haddpd => forms!(compute, Aligned, |c, a, b, _| horizontal::<u64>(c, a, b, add)),
        Mnemonic::Hsubps => forms!(compute, Aligned, |c, a, b, _| horizontal::<u32>(c, a, b, sub)),
        Mnemonic::Hsubpd => forms!(compute, Aligned, |c, a, b, _| horizontal::<u64>(c, a, b, sub)),
        Mnemonic::Dpps => forms!(compute, Aligned, |c, a, b, imm| { dot::singles(c, [a], [b], imm)[0] }),
        Mnemonic::Dppd => forms!(compute, Aligned, dot::doubles),
        _ => return None,
    })
}

/// Differences in even lanes, sums in odd ones.
fn alternate<T: Hosted>(c: &mut Context, a: u128, b: u128) -> u128 {
    let mut odd = true;
    zip::<T>(a, b, |a, b| {
        odd = !odd;
        if odd { add(c, a, b) } else { sub(c, a, b) }
    })
}

/// Neighbours of the first operand, then of the second.
fn horizontal<T: Format>(c: &mut Context, a: u128, b: u128, f: fn(&mut Context, T, T) -> T) -> u128 {
    let (a, b) = (T::split(a), T::split(b));
    let mut pairs = a.as_ref().chunks_exact(2).chain(b.as_ref().chunks_exact(2));
    build(|_| match pairs.next() {
        Some(&[low, high]) => f(c, low, high),
        _ => T::ZERO,
    })
}

fn unary(mnemonic: Mnemonic) -> Option<Forms> {
    Some(match mnemonic {
        Mnemonic::Sqrtps => packed_source!(u32, |c, b, _| sqrt(c, b)),
        Mnemonic::Sqrtpd => packed_source!(u64, |c, b, _| sqrt(c, b)),
        Mnemonic::Sqrtss => scalar_source!(u32, |c, b, _| sqrt(c, b)),
        Mnemonic::Sqrtsd => scalar_source!(u64, |c, b, _| sqrt(c, b)),
        Mnemonic::Rcpps => packed_source!(u32, |_, b, _| estimate::reciprocal(b)),
        Mnemonic::Rcpss => scalar_source!(u32, |_, b, _| estimate::reciprocal(b)),
        Mnemonic::Rsqrtps => packed_source!(u32, |_, b, _| estimate::reciprocal_root(b)),
        Mnemonic::Rsqrtss => scalar_source!(u32, |_, b, _| estimate::reciprocal_root(b)),
        Mnemonic::Roundps => packed_source!(u32, to_integral),
        Mnemonic::Roundpd => packed_source!(u64, to_integral),
        Mnemonic::Roundss => scalar_source!(u32, to_integral),
        Mnemonic::Roundsd => scalar_source!(u64, to_integral),
        _ => return None,
    })
}

/// ROUND: bit 2 of the immediate chooses MXCSR's mode over its own, bit 3 silences inexact.
fn to_integral<T: Format>(c: &mut Context, value: T, imm: u8) -> T {
    let rounding = if imm & 4 != 0 { c.rounding() } else { Rounding::from_bits(u32::from(imm)) };
    convert::to_integral(c, value, rounding, imm & 8 != 0)
}

fn comparisons(mnemonic: Mnemonic) -> Option<Forms> {
    Some(match mnemonic {
        Mnemonic::Minps => packed!(u32, compare::min),
        Mnemonic::Minpd => packed!(u64, compare::min),
        Mnemonic::Minss => scalar!(u32, compare::min),
        Mnemonic::Minsd => scalar!(u64, compare::min),
        Mnemonic::Maxps => packed!(u32, compare::max),
        Mnemonic::Maxpd => packed!(u64, compare::max),
        Mnemonic::Maxss => scalar!(u32, compare::max),
        Mnemonic::Maxsd => scalar!(u64, compare::max),
        Mnemonic::Cmpps => forms!(compute, Aligned, |c, a, b, imm| {
            zip::<u32>(a, b, |a, b| compare::predicate(c, a, b, imm & 7))
        }),
        Mnemonic::Cmppd => forms!(compute, Aligned, |c, a, b, imm| {
            zip::<u64>(a, b, |a, b| compare::predicate(c, a, b, imm & 7))
        }),
        Mnemonic::Cmpss => {
            forms!(compute, u32, |c, a, b, imm| {
                low(a, compare::predicate(c, a as u32, b as u32, imm & 7))
            })
        }
        Mnemonic::Cmpsd => {
            forms!(compute, u64, |c, a, b, imm| {
                low(a, compare::predicate(c, a as u64, b as u64, imm & 7))
            })
        }
        _ => return None,
    })
}

fn conversions(mnemonic: Mnemonic) -> Option<Forms> {
    Some(match mnemonic {
        Mnemonic::Cvtss2sd => {
            forms!(compute, u32, |c, a, b, _| { low::<u64>(a, widen(c, b as u32)) })
        }
        Mnemonic::Cvtsd2ss => {
            forms!(compute, u64, |c, a, b, _| { low::<u32>(a, narrow(c, b as u64)) })
        }
        Mnemonic::Cvtps2pd => forms!(compute, u64, |c, _, b, _| {
            let lanes = u32::split(b);
            build::<u64>(|i| widen(c, lanes[i]))
        }),
        Mnemonic::Cvtpd2ps => {
            forms!(compute, Aligned, |c, _, b, _| { halves(b, |b| narrow(c, b)) })
        }
        Mnemonic::Cvtdq2ps => {
            forms!(compute, Aligned, |c, _, b, _| { map::<u32>(b, |b| from_integer(c, i64::from(b as i32))) })
        }
        Mnemonic::Cvtdq2pd => forms!(compute, u64, |c, _, b, _| {
            let lanes = i32::split(b);
            build::<u64>(|i| from_integer(c, i64::from(lanes[i])))
        }),
        Mnemonic::Cvtps2dq => packed_source!(u32, |c: &mut Context, b, _| to_i32(c, b, c.rounding())),
        Mnemonic::Cvttps2dq => packed_source!(u32, |c, b, _| to_i32(c, b, Rounding::Zero)),
        Mnemonic::Cvtpd2dq => forms!(compute, Aligned, |c, _, b, _| {
            let rounding = c.rounding();
            halves(b, |b| to_i32(c, b, rounding))
        }),
        Mnemonic::Cvttpd2dq => {
            forms!(compute, Aligned, |c, _, b, _| { halves(b, |b| to_i32(c, b, Rounding::Zero)) })
        }
        _ => return None,
    })
}

fn to_i32<T: Hosted>(c: &mut Context, value: T, rounding: Rounding) -> u32 {
    to_integer(c, value, rounding, 32) as u32
}

/// Two quadwords made doublewords; the high half is 0.
fn halves(value: u128, mut f: impl FnMut(u64) -> u32) -> u128 {
    let low = f(value as u64);
    u128::from(low) | u128::from(f((value >> 64) as u64)) << 32
}
