//! FPREM and FPREM1.

use super::arith::of_nans;
use super::flag;
use super::round::{Control, Outcome, round};
use super::value::{Class, F80};

/// How the quotient is made an integer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Quotient {
    /// Toward zero: FPREM.
    Truncated,
    /// To nearest, ties to even: FPREM1.
    Nearest,
}

/// A remainder, whole or partial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Partial {
    pub(crate) outcome: Outcome,
    /// The reduction is complete (or there is nothing to reduce).
    pub(crate) complete: bool,
    /// The low bits of the quotient, if there is one and it is complete.
    pub(crate) quotient: Option<u64>,
}

impl Partial {
    fn special(outcome: Outcome) -> Self {
        Self { outcome, complete: true, quotient: None }
    }
}

/// One step of `a` modulo `b`, exact: it takes off up to 63 bits of quotient.
pub(crate) fn partial_remainder(a: F80, b: F80, kind: Quotient, control: Control) -> Partial {
    if let Some(outcome) = of_nans(a, b) {
        return Partial::special(outcome);
    }
    let (ca, cb) = (a.class(), b.class());
    if ca == Class::Infinity || cb == Class::Zero {
        return Partial::special(Outcome::INVALID);
    }
    let flags = if ca == Class::Denormal || cb == Class::Denormal { flag::DE } else { 0 };
    if ca == Class::Zero || cb == Class::Infinity {
        let outcome = if ca == Class::Zero {
            Outcome::exact(a)
        } else {
            let (exponent, significand) = a.normalised();
            finish(a.negative(), exponent, u128::from(significand), control)
        };
        let outcome = outcome.with(flags);
        return Partial { outcome, complete: true, quotient: Some(0) };
    }
    let ((ea, sa), (eb, sb)) = (a.normalised(), b.normalised());
    let difference = ea - eb;
    let nearest = kind == Quotient::Nearest;
    if difference < if nearest { -1 } else { 0 } {
        // Less than half of the divisor: the quotient is 0.
        let value = finish(a.negative(), ea, u128::from(sa), control);
        return Partial { outcome: value.with(flags), complete: true, quotient: Some(0) };
    }
    let divisor = u128::from(sb);
    if difference >= 64 {
        // A multiple of the divisor by a power of two, as the SDM's algorithm has it, with N from 32 to 63.
        let n = difference & 31 | 32;
        let rest = (u128::from(sa) << n) % divisor;
        let outcome = finish(a.negative(), eb + difference - n, rest, control).with(flags);
        return Partial { outcome, complete: false, quotient: None };
    }
    // For a difference of −1 in half units of the divisor's last place.
    let half_units = u32::from(difference < 0);
    let (dividend, divisor) = (u128::from(sa) << difference.max(0), divisor << half_units);
    let exponent = eb - half_units as i32;
    let (mut quotient, mut rest) = ((dividend / divisor) as u64, dividend % divisor);
    let mut negative = a.negative();
    if nearest && (rest * 2 > divisor || rest * 2 == divisor && quotient & 1 != 0) {
        quotient = quotient.wrapping_add(1);
        rest = divisor - rest;
        negative = !negative;
    }
    if rest == 0 {
        negative = a.negative();
    }
    let outcome = finish(negative, exponent, rest, control).with(flags);
    Partial { outcome, complete: true, quotient: Some(quotient) }
}

/// `rest` / 2^63 × 2^(`exponent` − bias), which is exact unless it is denormal and underflow is not masked.
fn finish(negative: bool, exponent: i32, rest: u128, control: Control) -> Outcome {
    if rest == 0 {
        return Outcome::exact(F80::zero(negative));
    }
    let shift = rest.leading_zeros();
    round(negative, exponent + 64 - shift as i32, rest << shift, 64, control)
}
