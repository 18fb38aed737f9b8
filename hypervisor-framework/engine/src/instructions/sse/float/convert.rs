//! Conversions between integers and floating-point formats, and rounding to integers.

use super::context::{Context, Rounding, bit};
use super::exact::{Finite, round};
use super::format::Format;

/// A signed integer as a floating-point value.
pub(super) fn from_integer<T: Format>(c: &mut Context, value: i64) -> T {
    if value == 0 {
        return T::zero(false);
    }
    let magnitude = value.unsigned_abs();
    let shift = magnitude.leading_zeros();
    round(
        c,
        Finite {
            negative: value < 0,
            exponent: 63 - shift as i32,
            significand: magnitude.checked_shl(shift).unwrap_or(0),
        },
    )
}

/// An integer of `bits` bits (32 or 64), sign-extended; the most negative one if the value does not fit.
pub(super) fn to_integer<T: Format>(c: &mut Context, value: T, rounding: Rounding, bits: u32) -> i64 {
    let indefinite = i64::MIN >> (64 - bits);
    let value = c.operand(value);
    if value.is_zero() {
        return 0;
    }
    if value.exponent() == T::SPECIAL {
        c.raise(bit::IE);
        return indefinite;
    }
    let Finite { negative, exponent, significand } = Finite::new(value);
    if exponent > 63 {
        c.raise(bit::IE);
        return indefinite;
    }
    // Integer part, and the fraction as 64 bits with what is lost in the lowest.
    let wide = u128::from(significand) << 64;
    let shift = 63_u32.saturating_sub_signed(exponent).min(127);
    let shifted = wide >> shift;
    let lost = shifted << shift != wide;
    let rest = shifted as u64 | u64::from(lost);
    let whole = (shifted >> 64) as u64;
    let away = rounding.away(negative, whole & 1 != 0, rest, 1 << 63);
    let magnitude = u128::from(whole) + u128::from(away);
    let limit = 1_u128 << (bits - 1);
    if magnitude >= limit + u128::from(negative) {
        c.raise(bit::IE);
        return indefinite;
    }
    if rest != 0 {
        c.raise(bit::PE);
    }
    let magnitude = magnitude as i64;
    if negative { magnitude.wrapping_neg() } else { magnitude }
}

/// The nearest integral value in the same format.
pub(super) fn to_integral<T: Format>(c: &mut Context, value: T, rounding: Rounding, quiet: bool) -> T {
    if let Some(nan) = c.propagate(value, value) {
        return nan;
    }
    let value = c.operand(value);
    let fraction_bits = T::FRACTION as i32 + T::BIAS - value.exponent() as i32;
    if value.is_zero() || fraction_bits <= 0 {
        return value;
    }
    let negative = value.negative();
    let magnitude = value.magnitude();
    let (result, inexact) = if fraction_bits > T::FRACTION as i32 {
        // Below 1: 0 or 1. Half of 1 has the exponent of 0.5 and no fraction.
        let half = ((T::BIAS - 1) as u64) << T::FRACTION;
        let one = (T::BIAS as u64) << T::FRACTION;
        (if rounding.away(negative, false, magnitude, half) { one } else { 0 }, true)
    } else {
        let unit = 1_u64 << fraction_bits;
        let rest = magnitude & (unit - 1);
        let whole = magnitude - rest;
        let away = rounding.away(negative, whole & unit != 0, rest, unit >> 1);
        (if away { whole + unit } else { whole }, rest != 0)
    };
    if inexact && !quiet {
        c.raise(bit::PE);
    }
    T::signed(negative, result)
}

/// Between the formats.
pub(super) fn reformat<From: Format, To: Format>(c: &mut Context, value: From) -> To {
    if value.is_nan() {
        if value.is_signaling() {
            c.raise(bit::IE);
        }
        let fraction = (value.bits() & From::FRACTION_MASK) << (63 - From::FRACTION);
        let fraction = fraction >> (63 - To::FRACTION);
        return To::signed(value.negative(), To::INFINITY | fraction).quiet();
    }
    let value = c.operand(value);
    c.note_denormal(value);
    if value.is_infinite() {
        return To::infinity(value.negative());
    }
    if value.is_zero() {
        return To::zero(value.negative());
    }
    round(c, Finite::new(value))
}
