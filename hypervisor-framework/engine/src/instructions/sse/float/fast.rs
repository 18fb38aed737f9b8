//! The same on the host's floating-point unit, where its result is certain to be the guest's.
//!
//! That is so when rounding to nearest, for operands that are normal or zero and a result that is normal (or a zero
//! that is exact): no mode but the rounding matters then, and no exception but inexact can occur. Whether it does is
//! looked at only as long as its flag is not set.

use super::context::{Context, Rounding, bit};
use super::format::Format;

#[inline(always)]
fn is_ordinary<T: Format>(value: T) -> bool {
    // Away from the top, so that no step of an error computation overflows.
    let exponent = value.exponent();
    exponent != 0 && exponent < T::SPECIAL - 1 || value.is_zero()
}

/// Normal, and away from the bottom, where rounding to the smallest normal value may underflow.
#[inline(always)]
fn is_certain<T: Format>(result: T) -> bool {
    result.exponent() > 1 && result.exponent() < T::SPECIAL - 1
}

/// The result, or `None` if the exact path must be taken.
#[inline(always)]
fn finish<T: Format>(c: &mut Context, result: T, zero: bool, exact: impl FnOnce() -> bool) -> Option<T> {
    if !(is_certain(result) || zero && result.is_zero()) {
        return None;
    }
    if !c.is_known_inexact() && !result.is_zero() && !exact() {
        c.raise(bit::PE);
    }
    Some(result)
}

#[inline(always)]
fn applies<T: Format>(c: &Context, a: T, b: T) -> bool {
    c.rounding() == Rounding::Nearest && is_ordinary(a) && is_ordinary(b)
}

#[inline(always)]
pub(super) fn add<T: Format>(c: &mut Context, a: T, b: T) -> Option<T> {
    if !applies(c, a, b) {
        return None;
    }
    let (x, y) = (a.host(), b.host());
    let sum = x + y;
    // The rounding error of a sum is a value of the format (Knuth's TwoSum); a sum of 0 is exact.
    finish(c, T::from_host(sum), true, || {
        let other = sum - x;
        (x - (sum - other)) + (y - other) == T::Host::default()
    })
}

/// The significand as an integer.
#[inline(always)]
fn significand<T: Format>(value: T) -> u128 {
    u128::from(value.bits() & T::FRACTION_MASK | 1 << T::FRACTION)
}

/// A positive integer without its factors of 2.
#[inline(always)]
fn odd_part(value: u128) -> u128 {
    value >> (value.trailing_zeros() & 127)
}

#[inline(always)]
pub(super) fn mul<T: Format>(c: &mut Context, a: T, b: T) -> Option<T> {
    if !applies(c, a, b) {
        return None;
    }
    let product = T::from_host(a.host() * b.host());
    finish(c, product, a.is_zero() || b.is_zero(), || {
        odd_part(significand(a) * significand(b)) >> (T::FRACTION + 1) == 0
    })
}

#[inline(always)]
pub(super) fn div<T: Format>(c: &mut Context, a: T, b: T) -> Option<T> {
    if !applies(c, a, b) || b.is_zero() {
        return None;
    }
    let quotient = T::from_host(a.host() / b.host());
    finish(c, quotient, a.is_zero(), || {
        odd_part(significand(quotient) * significand(b)) == odd_part(significand(a))
    })
}

#[inline(always)]
pub(super) fn sqrt<T: Format>(c: &mut Context, b: T) -> Option<T> {
    if !applies(c, b, b) || b.negative() || b.is_zero() {
        return None;
    }
    let root = T::from_host(T::host_sqrt(b.host()));
    finish(c, root, false, || odd_part(significand(root) * significand(root)) == odd_part(significand(b)))
}
