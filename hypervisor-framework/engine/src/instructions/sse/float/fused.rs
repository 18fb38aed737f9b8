//! Multiplication and addition with one rounding (SDM vol. 1, 14.5).

use super::context::{Context, Rounding};
use super::exact::{Finite, round, shift_right_sticky};
use super::fast::{is_certain, is_ordinary};
use super::format::Hosted;
use crate::instructions::sse::lane::{LOW, LOW32};

/// What one of the instructions does: which of its operands are multiplied, and what is negated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::instructions) struct Fusion(u8);

impl Fusion {
    const NEGATED_PRODUCT: u8 = 4;
    const NEGATED_EVEN: u8 = 8;
    const NEGATED_ODD: u8 = 16;

    /// `addend` says whether it is negated in even and in odd lanes.
    pub(in crate::instructions) fn new(product: bool, addend: [bool; 2]) -> Self {
        let bit = |on: bool, bit: u8| if on { bit } else { 0 };
        let [even, odd] = addend;
        Self(
            bit(product, Self::NEGATED_PRODUCT) | bit(even, Self::NEGATED_EVEN) | bit(odd, Self::NEGATED_ODD),
        )
    }

    /// The order of operands: 0 for 132, 1 for 213, 2 for 231.
    pub(in crate::instructions) fn in_order(self, order: u8) -> Self {
        Self(self.0 & !3 | order & 3)
    }

    pub(in crate::instructions) fn bits(self) -> u8 {
        self.0
    }

    pub(in crate::instructions) fn from_bits(bits: u8) -> Self {
        Self(bits)
    }

    /// The factors and the addend.
    #[inline(always)]
    fn arrange<T>(self, [one, two, three]: [T; 3]) -> [T; 3] {
        match self.0 & 3 {
            0 => [one, three, two],
            1 => [two, one, three],
            _ => [two, three, one],
        }
    }

    fn negates_addend(self, lane: usize) -> bool {
        self.0 & if lane & 1 == 0 { Self::NEGATED_EVEN } else { Self::NEGATED_ODD } != 0
    }

    #[inline(always)]
    fn apply<T: Hosted>(self, c: &mut Context, lane: usize, operands: [T; 3]) -> T {
        let [x, y, z] = self.arrange(operands);
        fuse(c, [x, y, z], self.0 & Self::NEGATED_PRODUCT != 0, self.negates_addend(lane))
    }
}

/// Every lane.
pub(in crate::instructions) fn fuse_lanes<T: Hosted>(
    c: &mut Context,
    fusion: Fusion,
    operands: [u128; 3],
) -> u128 {
    let [a, b, d] = operands.map(T::split);
    let mut result = a;
    for (i, lane) in result.as_mut().iter_mut().enumerate() {
        *lane = fusion.apply(c, i, [a.as_ref()[i], b.as_ref()[i], d.as_ref()[i]]);
    }
    T::join(result)
}

/// The lowest lane; the others are the first operand's.
pub(in crate::instructions) fn fuse_lowest<T: Hosted>(
    c: &mut Context,
    fusion: Fusion,
    operands: [u128; 3],
) -> u128 {
    let lane = if T::FRACTION == 23 { LOW32 } else { LOW };
    let result = fusion.apply(c, 0, operands.map(|operand| T::from_bits((operand & lane) as u64)));
    operands[0] & !lane | u128::from(result.bits())
}

/// `±(x * y) ± z`
#[inline(always)]
fn fuse<T: Hosted>(c: &mut Context, operands: [T; 3], negate_product: bool, negate_addend: bool) -> T {
    let [x, y, z] = operands;
    // As in `fast`: the host's unit, where its result is certain to be the guest's and nobody asks whether it is exact.
    if c.is_known_inexact() && c.rounding() == Rounding::Nearest && operands.into_iter().all(is_ordinary) {
        let x = if negate_product { x.negated() } else { x };
        let z = if negate_addend { z.negated() } else { z };
        let result = T::from_host(T::host_fused(x.host(), y.host(), z.host()));
        if is_certain(result) {
            return result;
        }
    }
    exact(c, operands, negate_product, negate_addend)
}

#[cold]
#[inline(never)]
fn exact<T: Hosted>(c: &mut Context, operands: [T; 3], negate_product: bool, negate_addend: bool) -> T {
    if let Some(nan) = propagate(c, operands) {
        return nan;
    }
    let [x, y, z] = operands.map(|operand| c.operand(operand));
    if x.is_infinite() && y.is_zero() || x.is_zero() && y.is_infinite() {
        return c.invalid();
    }
    let negative = x.negative() ^ y.negative() ^ negate_product;
    let infinite = x.is_infinite() || y.is_infinite();
    let addend = if negate_addend { z.negated() } else { z };
    if infinite && addend.is_infinite() && addend.negative() != negative {
        return c.invalid();
    }
    for operand in [x, y, z] {
        c.note_denormal(operand);
    }
    if infinite {
        return T::infinity(negative);
    }
    if addend.is_infinite() {
        return addend;
    }
    match (x.is_zero() || y.is_zero(), addend.is_zero()) {
        (true, true) if addend.negative() == negative => return addend,
        (true, true) => return T::zero(c.rounding() == Rounding::Down),
        (true, false) => return round(c, Finite::new(addend)),
        _ => {}
    }
    let (x, y) = (Finite::new(x), Finite::new(y));
    let product = Wide::new(
        negative,
        x.exponent + y.exponent + 1,
        u128::from(x.significand) * u128::from(y.significand),
    );
    if addend.is_zero() {
        return round(c, product.finite());
    }
    let addend = Finite::new(addend);
    let addend = Wide::new(addend.negative, addend.exponent, u128::from(addend.significand) << 64);
    let (large, small) = if product.key() < addend.key() { (addend, product) } else { (product, addend) };
    // The lowest bits of both are 0, so that halving for the carry's sake loses nothing.
    let distance = large.exponent.abs_diff(small.exponent);
    let (kept, aligned) = (large.value >> 1, shift_right_sticky(small.value >> 1, distance));
    let sum = if large.negative == small.negative { kept + aligned } else { kept - aligned };
    if sum == 0 {
        return T::zero(c.rounding() == Rounding::Down);
    }
    round(c, Finite::from_wide(large.negative, large.exponent + 1, sum))
}

/// A NaN of an operand, by the order factor, factor, addend.
fn propagate<T: Hosted>(c: &mut Context, operands: [T; 3]) -> Option<T> {
    let nan = operands.into_iter().find(|operand| operand.is_nan())?;
    if operands.into_iter().any(|operand| operand.is_signaling()) {
        c.raise(super::context::bit::IE);
    }
    Some(nan.quiet())
}

/// `value / 2^127 * 2^exponent`, the top bit of the value set.
#[derive(Clone, Copy)]
struct Wide {
    negative: bool,
    exponent: i32,
    value: u128,
}

impl Wide {
    /// Of a value that is not 0.
    fn new(negative: bool, exponent: i32, value: u128) -> Self {
        let shift = value.leading_zeros();
        Self { negative, exponent: exponent - shift as i32, value: value.checked_shl(shift).unwrap_or(0) }
    }

    fn key(&self) -> (i32, u128) {
        (self.exponent, self.value)
    }

    fn finite(self) -> Finite {
        Finite::from_wide(self.negative, self.exponent, self.value)
    }
}
