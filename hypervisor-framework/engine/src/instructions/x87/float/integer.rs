//! Conversions from and to integers, and rounding to an integral value.

use super::flag;
use super::round::{Control, Outcome, Rounding, round_bits, shift_right_sticky};
use super::value::{BIAS, Class, F80};

/// An integer, which is always exact.
pub(crate) fn from_i64(value: i64) -> F80 {
    if value == 0 {
        return F80::ZERO;
    }
    from_magnitude(value < 0, value.unsigned_abs())
}

/// A magnitude that is not 0.
pub(super) fn from_magnitude(negative: bool, magnitude: u64) -> F80 {
    let shift = magnitude.leading_zeros();
    F80::new(negative, BIAS + 63 - shift as i32, magnitude << (shift & 63))
}

/// Rounds the magnitude of a finite value to an integer: the integer, saturated at 2^65, and PE and C1.
pub(super) fn round_magnitude(a: F80, rounding: Rounding) -> (u128, u16) {
    let exponent = a.exponent().max(1) - BIAS;
    if exponent >= 65 {
        return (1 << 65, 0);
    }
    // Fixed point with 62 bits of fraction: the significand's own 63 lose one to shifting, which is sticky.
    let fixed = if exponent >= 0 {
        u128::from(a.significand) << exponent >> 1 | u128::from(exponent == 0 && a.significand & 1 != 0)
    } else {
        shift_right_sticky(u128::from(a.significand), exponent.unsigned_abs() + 1)
    };
    let rounded = round_bits(fixed, 62, a.negative(), rounding);
    let inexact = if rounded.inexact { flag::PE } else { 0 };
    let up = if rounded.up { flag::C1 } else { 0 };
    (rounded.significand >> 62, inexact | up)
}

/// Converts to a signed integer of `bits` bits; what does not fit is invalid and gives the "integer indefinite".
pub(crate) fn to_integer(a: F80, bits: u32, rounding: Rounding) -> (i64, u16) {
    let limit = 1_u128 << (bits - 1);
    let indefinite = (i64::MIN >> (64 - bits), flag::IE);
    match a.class() {
        Class::Unsupported | Class::Quiet | Class::Signaling | Class::Infinity => return indefinite,
        Class::Zero => return (0, 0),
        Class::Denormal | Class::Normal => {}
    }
    let (magnitude, flags) = round_magnitude(a, rounding);
    if magnitude > limit || magnitude == limit && !a.negative() {
        return indefinite;
    }
    let magnitude = magnitude as i64;
    (if a.negative() { magnitude.wrapping_neg() } else { magnitude }, flags)
}

/// FRNDINT.
pub(crate) fn round_to_integer(a: F80, control: Control) -> Outcome {
    match a.class() {
        Class::Unsupported => return Outcome::INVALID,
        Class::Signaling => return Outcome { value: a.quieted(), flags: flag::IE },
        Class::Quiet | Class::Infinity | Class::Zero => return Outcome::exact(a),
        Class::Denormal | Class::Normal => {}
    }
    if a.exponent() >= BIAS + 63 {
        return Outcome::exact(a);
    }
    let (magnitude, mut flags) = round_magnitude(a, control.rounding());
    if a.class() == Class::Denormal {
        flags |= flag::DE;
    }
    let value =
        if magnitude == 0 { F80::zero(a.negative()) } else { from_magnitude(a.negative(), magnitude as u64) };
    Outcome { value, flags }
}
