//! The same on the host's floating-point unit, where its result is certain to be the guest's.
//!
//! That is so when rounding to nearest, for operands that are normal or zero and a result that is normal (or a zero
//! that is exact): no mode but the rounding matters then, and no exception but inexact can occur. Whether it does is
//! looked at only as long as its flag is not set.

use super::context::{Context, Rounding, bit};
use super::format::{Format, Hosted};

#[inline(always)]
pub(super) fn is_ordinary<T: Hosted>(value: T) -> bool {
    // Away from the top, so that no step of an error computation overflows.
    let exponent = value.exponent();
    exponent != 0 && exponent < T::SPECIAL - 1 || value.is_zero()
}

/// Normal, and away from the bottom, where rounding to the smallest normal value may underflow.
#[inline(always)]
pub(super) fn is_certain<T: Hosted>(result: T) -> bool {
    result.exponent() > 1 && result.exponent() < T::SPECIAL - 1
}

/// The result, or `None` if the exact path must be taken.
#[inline(always)]
fn finish<T: Hosted>(c: &mut Context, result: T, zero: bool, exact: impl FnOnce() -> bool) -> Option<T> {
    if !(is_certain(result) || zero && result.is_zero()) {
        return None;
    }
    if !c.is_known_inexact() && !result.is_zero() && !exact() {
        c.raise(bit::PE);
    }
    Some(result)
}

#[inline(always)]
fn applies<T: Hosted>(c: &Context, a: T, b: T) -> bool {
    c.rounding() == Rounding::Nearest && is_ordinary(a) && is_ordinary(b)
}

#[inline(always)]
pub(super) fn add<T: Hosted>(c: &mut Context, a: T, b: T) -> Option<T> {
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
fn significand<T: Hosted>(value: T) -> u128 {
    u128::from(value.bits() & T::FRACTION_MASK | 1 << T::FRACTION)
}

/// A positive integer without its factors of 2.
#[inline(always)]
fn odd_part(value: u128) -> u128 {
    value >> (value.trailing_zeros() & 127)
}

#[inline(always)]
pub(super) fn mul<T: Hosted>(c: &mut Context, a: T, b: T) -> Option<T> {
    if !applies(c, a, b) {
        return None;
    }
    let product = T::from_host(a.host() * b.host());
    finish(c, product, a.is_zero() || b.is_zero(), || {
        odd_part(significand(a) * significand(b)) >> (T::FRACTION + 1) == 0
    })
}

#[inline(always)]
pub(super) fn div<T: Hosted>(c: &mut Context, a: T, b: T) -> Option<T> {
    if !applies(c, a, b) || b.is_zero() {
        return None;
    }
    let quotient = T::from_host(a.host() / b.host());
    finish(c, quotient, a.is_zero(), || {
        odd_part(significand(quotient) * significand(b)) == odd_part(significand(a))
    })
}

#[inline(always)]
pub(super) fn sqrt<T: Hosted>(c: &mut Context, b: T) -> Option<T> {
    if !applies(c, b, b) || b.negative() || b.is_zero() {
        return None;
    }
    let root = T::from_host(T::host_sqrt(b.host()));
    finish(c, root, false, || odd_part(significand(root) * significand(root)) == odd_part(significand(b)))
}

/// Truncation to an integer of `bits` bits, sign-extended.
#[inline(always)]
pub(super) fn truncate<T: Hosted>(c: &mut Context, value: T, bits: u32) -> Option<i64> {
    let host: f64 = value.host().into();
    // The power of two itself is out of range on one side only; denormals may be zeros.
    let limit = if bits == 32 { 2_147_483_648.0 } else { 9_223_372_036_854_775_808.0 };
    if !is_ordinary(value) || host.abs() >= limit {
        return None;
    }
    let integer = host as i64;
    if !c.is_known_inexact() && integer as f64 != host {
        c.raise(bit::PE);
    }
    Some(integer)
}

/// A single as a double; exact but for denormals and NaNs.
#[inline(always)]
pub(super) fn widen(value: u32) -> Option<u64> {
    is_ordinary(value).then(|| u64::from_host(f64::from(value.host())))
}

/// A double as a single.
#[inline(always)]
pub(super) fn narrow(c: &mut Context, value: u64) -> Option<u32> {
    let single = value.host() as f32;
    if !applies(c, value, value) || !is_certain(u32::from_host(single)) && !value.is_zero() {
        return None;
    }
    if !c.is_known_inexact() && f64::from(single) != value.host() {
        c.raise(bit::PE);
    }
    Some(u32::from_host(single))
}

/// An integer that the format holds exactly.
#[inline(always)]
pub(super) fn from_integer<T: Hosted>(value: i64) -> Option<T> {
    let exact = value.unsigned_abs() >> (T::FRACTION + 1) == 0;
    exact.then(|| T::from_host(T::host_integer(value)))
}
