//! Floating point with 128 bits of significand, for what the transcendental functions need beyond 64.

use super::round::{Control, Outcome, round, shift_right_sticky};
use super::value::{BIAS, F80};

/// ± `significand` / 2^127 × 2^`exponent`, normalised: bit 127 is set, or all of it is 0. Results are cut off, so that
/// their error is at most a few units of the last of 128 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wide {
    pub(super) negative: bool,
    pub(super) exponent: i32,
    pub(super) significand: u128,
}

/// The high half of a product of 128-bit integers.
pub(super) const fn high_product(a: u128, b: u128) -> u128 {
    const LOW: u128 = u64::MAX as u128;
    let (ah, al, bh, bl) = (a >> 64, a & LOW, b >> 64, b & LOW);
    let low = al * bl;
    let middle = ah * bl + (low >> 64);
    let other = al * bh + (middle & LOW);
    ah * bh + (middle >> 64) + (other >> 64)
}

impl Wide {
    pub(super) const ZERO: Self = Self { negative: false, exponent: 0, significand: 0 };
    pub(super) const ONE: Self = Self::constant(0, 1 << 127);

    pub(super) const fn constant(exponent: i32, significand: u128) -> Self {
        Self { negative: false, exponent, significand }
    }

    /// `value` × 2^(`exponent` − 127)
    pub(super) const fn normalise(negative: bool, exponent: i32, value: u128) -> Self {
        if value == 0 {
            return Self::ZERO;
        }
        let shift = value.leading_zeros();
        Self { negative, exponent: exponent - shift as i32, significand: value << shift }
    }

    /// A finite value.
    pub(super) fn of(a: F80) -> Self {
        if a.significand == 0 {
            return Self::ZERO;
        }
        let (exponent, significand) = a.normalised();
        Self { negative: a.negative(), exponent: exponent - BIAS, significand: u128::from(significand) << 64 }
    }

    pub(super) fn of_i32(value: i32) -> Self {
        Self::normalise(value < 0, 127, u128::from(value.unsigned_abs()))
    }

    pub(super) const fn is_zero(self) -> bool {
        self.significand == 0
    }

    pub(super) const fn negate(self) -> Self {
        Self { negative: !self.negative, ..self }
    }

    pub(super) fn multiply(self, other: Self) -> Self {
        let product = high_product(self.significand, other.significand);
        Self::normalise(self.negative != other.negative, self.exponent + other.exponent + 1, product)
    }

    pub(super) fn add(self, other: Self) -> Self {
        if self.is_zero() {
            return other;
        }
        if other.is_zero() {
            return self;
        }
        let (large, small) = if (self.exponent, self.significand) >= (other.exponent, other.significand) {
            (self, other)
        } else {
            (other, self)
        };
        let aligned = shift_right_sticky(small.significand >> 1, large.exponent.abs_diff(small.exponent));
        let base = large.significand >> 1;
        let sum = if large.negative == small.negative { base + aligned } else { base - aligned };
        Self::normalise(large.negative, large.exponent + 1, sum)
    }

    pub(super) fn subtract(self, other: Self) -> Self {
        self.add(other.negate())
    }

    /// The quotient; the divisor is not 0.
    pub(super) fn divide(self, other: Self) -> Self {
        if self.is_zero() {
            return Self::ZERO;
        }
        // Long division, a bit at a time, of a dividend below the divisor.
        let less = self.significand < other.significand;
        let mut rest = if less { self.significand } else { self.significand - other.significand };
        let mut quotient = u128::from(!less);
        let steps = if less { 128 } else { 127 };
        for _ in 0..steps {
            let carry = rest >> 127 != 0;
            rest <<= 1;
            quotient <<= 1;
            if carry || rest >= other.significand {
                rest = rest.wrapping_sub(other.significand);
                quotient |= 1;
            }
        }
        let exponent = self.exponent - other.exponent - i32::from(less);
        Self::normalise(self.negative != other.negative, exponent, quotient)
    }

    /// As a fraction of 2^128, cut off; the magnitude is below 1.
    pub(super) fn fraction(self) -> u128 {
        let shift = (-1 - self.exponent).max(0) as u32;
        if shift < 128 { self.significand >> shift } else { 0 }
    }

    /// A result that is not exactly representable, rounded to extended precision.
    pub(super) fn inexact(self, control: Control) -> Outcome {
        round(self.negative, self.exponent + BIAS, self.significand | 1, 64, control)
    }

    /// A result that may be exact.
    pub(super) fn rounded(self, control: Control) -> Outcome {
        if self.is_zero() {
            return Outcome::exact(F80::zero(self.negative));
        }
        round(self.negative, self.exponent + BIAS, self.significand, 64, control)
    }

    /// The next value toward 0, for results just below one of 64 bits.
    pub(super) const fn below(self) -> Self {
        if self.significand == 1 << 127 {
            Self { exponent: self.exponent - 1, significand: u128::MAX, ..self }
        } else {
            Self { significand: self.significand - 1, ..self }
        }
    }
}
