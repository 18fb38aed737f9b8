//! Packed decimal, FBLD and FBSTP (SDM vol. 1, 4.7).

use super::flag;
use super::integer::{from_magnitude, round_magnitude};
use super::round::{Control, Rounding};
use super::value::{Class, F80};

/// The packed decimal indefinite.
pub(crate) const DECIMAL_INDEFINITE: u128 = 0xffff_c000_0000_0000_0000;
/// Below this magnitudes fit 18 digits.
const LIMIT: u128 = 1_000_000_000_000_000_000;

/// From ten bytes: 18 digits of four bits, and the sign in bit 79. Digits above nine count as what they are.
pub(crate) fn from_decimal(bits: u128) -> F80 {
    let magnitude = (0..18).rev().fold(0_u64, |sum, digit| {
        let digit = (bits >> (4 * digit)) as u64 & 0xf;
        sum.wrapping_mul(10).wrapping_add(digit)
    });
    let negative = bits >> 79 & 1 != 0;
    if magnitude == 0 { F80::zero(negative) } else { from_magnitude(negative, magnitude) }
}

/// To ten bytes, and the flags.
pub(crate) fn to_decimal(a: F80, control: Control) -> (u128, u16) {
    match a.class() {
        Class::Unsupported | Class::Quiet | Class::Signaling | Class::Infinity => {
            return (DECIMAL_INDEFINITE, flag::IE);
        }
        Class::Zero | Class::Denormal | Class::Normal => {}
    }
    let rounding: Rounding = control.rounding();
    let (magnitude, flags) = round_magnitude(a, rounding);
    if magnitude >= LIMIT {
        return (DECIMAL_INDEFINITE, flag::IE);
    }
    let mut rest = magnitude as u64;
    let mut bits = u128::from(a.negative()) << 79;
    for digit in 0..18 {
        bits |= u128::from(rest % 10) << (4 * digit);
        rest /= 10;
    }
    (bits, flags)
}
