//! Basic arithmetic: sum, difference, product, quotient, square root, scaling.

use super::flag;
use super::round::{Control, Outcome, round, shift_right_sticky};
use super::value::{BIAS, Class, F80, INTEGER_BIT};

/// The result for operands of which one is a NaN or unsupported (SDM vol. 1, table 4-7).
#[cold]
pub(super) fn of_nans(a: F80, b: F80) -> Option<Outcome> {
    let (ca, cb) = (a.class(), b.class());
    if ca == Class::Unsupported || cb == Class::Unsupported {
        return Some(Outcome::INVALID);
    }
    let chosen = match (ca.is_nan(), cb.is_nan()) {
        (false, false) => return None,
        (true, false) => a,
        (false, true) => b,
        (true, true) => match (ca, cb) {
            (Class::Quiet, Class::Signaling) => a,
            (Class::Signaling, Class::Quiet) => b,
            _ if a.significand != b.significand => {
                if a.significand > b.significand {
                    a
                } else {
                    b
                }
            }
            _ if a.negative() => b,
            _ => a,
        },
    };
    let signaling = ca == Class::Signaling || cb == Class::Signaling;
    Some(Outcome { value: chosen.quieted(), flags: if signaling { flag::IE } else { 0 } })
}

/// Is it neither finite-and-normal nor zero, so that the slow checks are due?
#[inline(always)]
fn ordinary(a: F80) -> bool {
    a.significand & INTEGER_BIT != 0 && (a.exponent() as u32).wrapping_sub(1) < 0x7ffe
}

/// DE for denormal operands; `extra` is DE if an operand was denormal in the format it came from.
#[inline]
fn denormal_flags(a: Class, b: Class, extra: u16) -> u16 {
    extra | if a == Class::Denormal || b == Class::Denormal { flag::DE } else { 0 }
}

/// `a + b`
pub(crate) fn add(a: F80, b: F80, extra: u16, control: Control) -> Outcome {
    if ordinary(a) && ordinary(b) {
        return add_finite(a, b, control).with(extra);
    }
    if let Some(outcome) = of_nans(a, b) {
        return outcome;
    }
    let (ca, cb) = (a.class(), b.class());
    let flags = denormal_flags(ca, cb, extra);
    let outcome = match (ca, cb) {
        (Class::Infinity, Class::Infinity) if a.negative() != b.negative() => return Outcome::INVALID,
        (Class::Infinity, _) => Outcome::exact(a),
        (_, Class::Infinity) => Outcome::exact(b),
        (Class::Zero, Class::Zero) => {
            let negative = if a.negative() == b.negative() { a.negative() } else { negative_zero(control) };
            Outcome::exact(F80::zero(negative))
        }
        (Class::Zero, _) => add_zero(b, control),
        (_, Class::Zero) => add_zero(a, control),
        _ => add_finite(a, b, control),
    };
    outcome.with(flags)
}

/// `a − b`
pub(crate) fn subtract(a: F80, b: F80, extra: u16, control: Control) -> Outcome {
    // A NaN keeps its sign.
    if b.class().is_nan() { add(a, b, extra, control) } else { add(a, b.negate(), extra, control) }
}

/// Sign of a sum of operands that cancel out.
fn negative_zero(control: Control) -> bool {
    control.rounding() == super::Rounding::Down
}

fn add_zero(a: F80, control: Control) -> Outcome {
    let (exponent, significand) = a.normalised();
    round(a.negative(), exponent, u128::from(significand) << 64, control.precision(), control)
}

fn add_finite(a: F80, b: F80, control: Control) -> Outcome {
    let ((mut ea, mut sa), (mut eb, mut sb)) = (a.normalised(), b.normalised());
    let mut negative = a.negative();
    if (ea, sa) < (eb, sb) {
        ((ea, sa), (eb, sb)) = ((eb, sb), (ea, sa));
        negative = b.negative();
    }
    // One bit is left above for the carry; 63 below keep rounding exact.
    let large = u128::from(sa) << 63;
    let small = shift_right_sticky(u128::from(sb) << 63, ea.abs_diff(eb));
    let sum = if a.negative() == b.negative() { large + small } else { large - small };
    if sum == 0 {
        return Outcome::exact(F80::zero(negative_zero(control)));
    }
    let shift = sum.leading_zeros();
    round(negative, ea + 1 - shift as i32, sum << shift, control.precision(), control)
}

/// `a × b`
pub(crate) fn multiply(a: F80, b: F80, extra: u16, control: Control) -> Outcome {
    let negative = a.negative() != b.negative();
    let mut flags = extra;
    if !(ordinary(a) && ordinary(b)) {
        if let Some(outcome) = of_nans(a, b) {
            return outcome;
        }
        let (ca, cb) = (a.class(), b.class());
        flags = denormal_flags(ca, cb, extra);
        match (ca, cb) {
            (Class::Infinity, Class::Zero) | (Class::Zero, Class::Infinity) => return Outcome::INVALID,
            (Class::Infinity, _) | (_, Class::Infinity) => {
                return Outcome::exact(F80::infinity(negative)).with(flags);
            }
            (Class::Zero, _) | (_, Class::Zero) => return Outcome::exact(F80::zero(negative)).with(flags),
            _ => {}
        }
    }
    let ((ea, sa), (eb, sb)) = (a.normalised(), b.normalised());
    let product = u128::from(sa) * u128::from(sb);
    let shift = product.leading_zeros();
    round(negative, ea + eb - BIAS + 1 - shift as i32, product << shift, control.precision(), control)
        .with(flags)
}

/// `a ÷ b`
pub(crate) fn divide(a: F80, b: F80, extra: u16, control: Control) -> Outcome {
    let negative = a.negative() != b.negative();
    let mut flags = extra;
    if !(ordinary(a) && ordinary(b)) {
        if let Some(outcome) = of_nans(a, b) {
            return outcome;
        }
        let (ca, cb) = (a.class(), b.class());
        flags = denormal_flags(ca, cb, extra);
        match (ca, cb) {
            (Class::Infinity, Class::Infinity) | (Class::Zero, Class::Zero) => return Outcome::INVALID,
            (Class::Infinity, _) => return Outcome::exact(F80::infinity(negative)).with(flags),
            (_, Class::Infinity) | (Class::Zero, _) => {
                return Outcome::exact(F80::zero(negative)).with(flags);
            }
            (_, Class::Zero) => return Outcome { value: F80::infinity(negative), flags: flag::ZE },
            _ => {}
        }
    }
    let ((ea, sa), (eb, sb)) = (a.normalised(), b.normalised());
    // Twice 64 bits of quotient; what remains is sticky.
    let divisor = u128::from(sb);
    let dividend = u128::from(sa) << 63;
    let (high, rest) = (dividend / divisor, (dividend % divisor) << 64);
    let quotient = (high << 64) | (rest / divisor) | u128::from(rest % divisor != 0);
    let shift = quotient.leading_zeros();
    round(negative, ea - eb + BIAS - shift as i32, quotient << shift, control.precision(), control)
        .with(flags)
}

/// √`a`
pub(crate) fn square_root(a: F80, control: Control) -> Outcome {
    let class = a.class();
    match class {
        Class::Unsupported => return Outcome::INVALID,
        Class::Signaling => return Outcome { value: a.quieted(), flags: flag::IE },
        Class::Quiet | Class::Zero => return Outcome::exact(a),
        _ if a.negative() => return Outcome::INVALID,
        Class::Infinity => return Outcome::exact(a),
        Class::Denormal | Class::Normal => {}
    }
    let flags = denormal_flags(class, class, 0);
    let (exponent, significand) = a.normalised();
    // An even power of two is taken out: the radicand has bit 127 or 126 set, its root bit 63.
    let odd = (exponent - BIAS) & 1;
    let radicand = u128::from(significand) << (63 + odd);
    let root = radicand.isqrt();
    let rest = radicand - root * root;
    // The root's next bit, and whether anything is below it: (root + ½)² = root² + root + ¼.
    let below = u128::from(rest > root) << 63 | u128::from(rest != 0);
    round(false, (exponent - BIAS - odd) / 2 + BIAS, root << 64 | below, control.precision(), control)
        .with(flags)
}

/// `a` × 2^trunc(`b`), FSCALE.
pub(crate) fn scale(a: F80, b: F80, control: Control) -> Outcome {
    if let Some(outcome) = of_nans(a, b) {
        return outcome;
    }
    let (ca, cb) = (a.class(), b.class());
    let flags = denormal_flags(ca, cb, 0);
    match (ca, cb) {
        (Class::Infinity, Class::Infinity) if b.negative() => return Outcome::INVALID,
        (Class::Zero, Class::Infinity) if !b.negative() => return Outcome::INVALID,
        (Class::Infinity | Class::Zero, _) => return Outcome::exact(a).with(flags),
        (_, Class::Infinity) if b.negative() => return Outcome::exact(F80::zero(a.negative())).with(flags),
        (_, Class::Infinity) => return Outcome::exact(F80::infinity(a.negative())).with(flags),
        _ => {}
    }
    let (exponent, significand) = a.normalised();
    // Beyond 2^16 every result over- or underflows, even with a wrapped exponent.
    let power = match b.exponent() - BIAS {
        ..0 => 0,
        power @ 0..17 => (b.significand >> (63 - power)) as i32,
        _ => 1 << 17,
    };
    let power = if b.negative() { -power } else { power };
    round(a.negative(), exponent + power, u128::from(significand) << 64, 64, control).with(flags)
}

/// Exponent and significand of `a` as two values, FXTRACT; the flags are of both.
pub(crate) fn extract(a: F80) -> (F80, F80, u16) {
    match a.class() {
        Class::Unsupported => (F80::INDEFINITE, F80::INDEFINITE, flag::IE),
        Class::Signaling => (a.quieted(), a.quieted(), flag::IE),
        Class::Quiet => (a, a, 0),
        Class::Infinity => (F80::infinity(false), a, 0),
        Class::Zero => (F80::infinity(true), a, flag::ZE),
        class @ (Class::Denormal | Class::Normal) => {
            let (exponent, significand) = a.normalised();
            let power = super::from_i64(i64::from(exponent - BIAS));
            let flags = denormal_flags(class, class, 0);
            (power, F80::new(a.negative(), BIAS, significand), flags)
        }
    }
}
