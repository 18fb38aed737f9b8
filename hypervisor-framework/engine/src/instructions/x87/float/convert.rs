//! Conversions from and to single and double precision.

use super::flag;
use super::round::{Control, Outcome, Rounded, Rounding, round_bits, shift_right_sticky};
use super::value::{BIAS, Class, F80, INTEGER_BIT, SPECIAL};

/// Widens a single-precision value. The flag is DE for a denormal. NaNs stay signaling.
pub(crate) fn from_f32(bits: u32) -> Outcome {
    widen::<8, 23>(u64::from(bits))
}

/// Widens a double-precision value; as [`from_f32`].
pub(crate) fn from_f64(bits: u64) -> Outcome {
    widen::<11, 52>(bits)
}

#[inline]
fn widen<const EXPONENT: u32, const FRACTION: u32>(bits: u64) -> Outcome {
    let top = (1 << EXPONENT) - 1;
    let negative = bits >> (EXPONENT + FRACTION) & 1 != 0;
    let exponent = (bits >> FRACTION) as i32 & top;
    let fraction = (bits & ((1 << FRACTION) - 1)) << (63 - FRACTION);
    let bias = BIAS - (top >> 1);
    if exponent == top {
        return Outcome::exact(F80::new(negative, SPECIAL, INTEGER_BIT | fraction));
    }
    if exponent != 0 {
        return Outcome::exact(F80::new(negative, exponent + bias, INTEGER_BIT | fraction));
    }
    if fraction == 0 {
        return Outcome::exact(F80::zero(negative));
    }
    let shift = fraction.leading_zeros();
    let value = F80::new(negative, bias + 1 - shift as i32, fraction << shift);
    Outcome { value, flags: flag::DE }
}

/// Narrows to single precision: the bits and the flags.
pub(crate) fn to_f32(a: F80, control: Control) -> (u32, u16) {
    let (bits, flags) = narrow::<8, 23>(a, control);
    (bits as u32, flags)
}

/// Narrows to double precision.
pub(crate) fn to_f64(a: F80, control: Control) -> (u64, u16) {
    narrow::<11, 52>(a, control)
}

fn narrow<const EXPONENT: u32, const FRACTION: u32>(a: F80, control: Control) -> (u64, u16) {
    let top = (1_u64 << EXPONENT) - 1;
    let sign = u64::from(a.negative()) << (EXPONENT + FRACTION);
    let infinity = sign | top << FRACTION;
    let fraction_mask = (1_u64 << FRACTION) - 1;
    match a.class() {
        Class::Zero => return (sign, 0),
        Class::Infinity => return (infinity, 0),
        Class::Unsupported => {
            let quiet = 1 << (FRACTION - 1);
            return (1 << (EXPONENT + FRACTION) | top << FRACTION | quiet, flag::IE);
        }
        class @ (Class::Quiet | Class::Signaling) => {
            let fraction = a.quieted().significand >> (63 - FRACTION) & fraction_mask;
            let flags = if class == Class::Signaling { flag::IE } else { 0 };
            return (infinity | fraction, flags);
        }
        Class::Denormal | Class::Normal => {}
    }
    let (exponent, significand) = a.normalised();
    let exponent = exponent - BIAS + (top >> 1) as i32;
    let significand = u128::from(significand) << 64;
    let drop = 127 - FRACTION;
    let rounding = control.rounding();
    let rounded = round_bits(significand, drop, a.negative(), rounding);
    let result_exponent = exponent + i32::from(rounded.carry);
    if result_exponent >= top as i32 {
        return overflow(infinity, a.negative(), rounding);
    }
    if exponent > 0 {
        let fraction = (rounded.significand >> drop) as u64 & fraction_mask;
        return (sign | (result_exponent as u64) << FRACTION | fraction, flags_of(&rounded));
    }
    let tiny = result_exponent <= 0;
    let denormal = shift_right_sticky(significand, exponent.unsigned_abs().saturating_add(1));
    let rounded = round_bits(denormal, drop, a.negative(), rounding);
    let mut flags = flags_of(&rounded);
    // Unmasked, being tiny is enough.
    if tiny && (rounded.inexact || control.unmasked(flag::UE) != 0) {
        flags |= flag::UE;
    }
    // A carry out of the fraction makes the exponent 1.
    (sign | (rounded.significand >> drop) as u64, flags)
}

fn flags_of(rounded: &Rounded) -> u16 {
    let inexact = if rounded.inexact { flag::PE } else { 0 };
    inexact | if rounded.up { flag::C1 } else { 0 }
}

fn overflow(infinity: u64, negative: bool, rounding: Rounding) -> (u64, u16) {
    let to_infinity = match rounding {
        Rounding::Nearest => true,
        Rounding::Down => negative,
        Rounding::Up => !negative,
        Rounding::Zero => false,
    };
    // The largest finite number is one below infinity.
    if to_infinity { (infinity, flag::OE | flag::PE | flag::C1) } else { (infinity - 1, flag::OE | flag::PE) }
}
