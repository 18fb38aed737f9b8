//! Transcendental functions (SDM vol. 1, 8.3.5 to 8.3.10).
//!
//! They are computed with more than 110 bits and rounded once, by the control word's rounding: well within the unit in
//! the last place the manual allows. Trigonometric arguments are reduced by the manual's 66-bit π (8.3.8).

use super::arith::of_nans;
use super::flag;
use super::round::{Control, Outcome};
use super::value::{BIAS, Class, F80, INTEGER_BIT};
use super::wide::{Wide, high_product};

/// ln 2
const LN_2: Wide = Wide::constant(-1, 0xb172_17f7_d1cf_79ab_c9e3_b398_03f2_f6af);
/// 2 / ln 2
const TWO_OVER_LN_2: Wide = Wide::constant(1, 0xb8aa_3b29_5c17_f0bb_be87_fed0_691d_3e89);
/// π
const PI: Wide = Wide::constant(1, 0xc90f_daa2_2168_c234_c4c6_628b_80dc_1cd1);
/// π / 2
const HALF_PI: Wide = Wide { exponent: 0, ..PI };
/// Arc tangents of 0, ¼, ½, ¾ and 1.
const ARCTANGENTS: [Wide; 5] = [
    Wide::ZERO,
    Wide::constant(-3, 0xfadb_afc9_6406_eb15_6dc7_9ef5_f7a2_17e6),
    Wide::constant(-2, 0xed63_382b_0dda_7b45_6fe4_45ec_bc3a_8d03),
    Wide::constant(-1, 0xa4bc_7d19_34f7_0924_19a8_7f2a_457d_ac9f),
    Wide { exponent: -1, ..PI },
];
/// The π of range reduction, × 2^66; so this is also π/2 × 2^67.
const REDUCTION_PI: u128 = 0xc_90fd_aa22_168c_234c;

/// 1 in fixed point with 127 bits of fraction, which the series are summed in.
const FIXED_ONE: u128 = 1 << 127;
/// Below 2^`TINY` the second term of a series only tells on which side of the first the result is.
const TINY: i32 = -60;

/// 1/(2k+1)! for k from 0.
const SINE_TERMS: [u128; 16] = factorials(1);
/// 1/(2k)!
const COSINE_TERMS: [u128; 17] = factorials(0);
/// 1/(k+1)!
const EXPONENTIAL_TERMS: [u128; 31] = {
    let mut terms = [FIXED_ONE; 31];
    let mut k = 1;
    while k < 31 {
        terms[k] = terms[k - 1] / (k as u128 + 1);
        k += 1;
    }
    terms
};
/// 1/(2k+1)
const ODD_TERMS: [u128; 26] = {
    let mut terms = [FIXED_ONE; 26];
    let mut k = 1;
    while k < 26 {
        terms[k] = FIXED_ONE / (2 * k as u128 + 1);
        k += 1;
    }
    terms
};

const fn factorials<const N: usize>(first: u128) -> [u128; N] {
    let mut terms = [FIXED_ONE; N];
    let mut k = 1;
    while k < N {
        let n = 2 * k as u128 + first;
        terms[k] = terms[k - 1] / (n * (n - 1));
        k += 1;
    }
    terms
}

/// Σ `terms[k]` × (±t)^k, with t a fraction of 2^128.
fn series(terms: &[u128], t: u128, alternating: bool) -> u128 {
    terms.iter().rev().fold(0, |sum, term| {
        let product = high_product(sum, t);
        if alternating { term.wrapping_sub(product) } else { term.wrapping_add(product) }
    })
}

fn fixed(value: u128) -> Wide {
    Wide::normalise(false, 0, value)
}

/// The answer for a lone NaN, an unsupported encoding or, if `infinity` is invalid, an infinity; and DE.
fn single(a: F80, infinity_is_invalid: bool) -> Result<u16, Outcome> {
    match a.class() {
        Class::Unsupported => Err(Outcome::INVALID),
        Class::Signaling => Err(Outcome { value: a.quieted(), flags: flag::IE }),
        Class::Quiet => Err(Outcome::exact(a)),
        Class::Infinity if infinity_is_invalid => Err(Outcome::INVALID),
        Class::Denormal => Ok(flag::DE),
        _ => Ok(0),
    }
}

/// 2^`x` − 1, F2XM1. The manual defines it for |x| ≤ 1; beyond, the argument comes back.
pub(crate) fn exponential(x: F80, control: Control) -> Outcome {
    let flags = match single(x, false) {
        Ok(flags) => flags,
        Err(outcome) => return outcome,
    };
    match x.class() {
        Class::Zero => return Outcome::exact(x),
        Class::Infinity if x.negative() => return Outcome::exact(F80::ONE.negate()),
        Class::Infinity => return Outcome::exact(x),
        _ => {}
    }
    if x.exponent() >= BIAS {
        if x == F80::ONE.negate() {
            return Outcome::exact(F80::new(true, BIAS - 1, INTEGER_BIT));
        }
        return Outcome::exact(x);
    }
    let y = Wide::of(x).multiply(LN_2);
    let sum = fixed(series(&EXPONENTIAL_TERMS, y.fraction(), y.negative));
    y.multiply(sum).inexact(control).with(flags)
}

/// log2 of (1 + s) / (1 − s) for small s.
fn logarithm_of_ratio(s: Wide) -> Wide {
    let sum = fixed(series(&ODD_TERMS, s.multiply(s).fraction(), false));
    s.multiply(sum).multiply(TWO_OVER_LN_2)
}

/// log2 of a positive value, and whether it is exact.
fn logarithm_base_2(x: Wide) -> (Wide, bool) {
    /// √2
    const ROOT: u128 = 0xb504_f333_f9de_6484_597d_89b3_754a_be9f;
    let up = x.significand > ROOT;
    let power = x.exponent + i32::from(up);
    let m = Wide { exponent: -i32::from(up), ..x };
    let difference = m.subtract(Wide::ONE);
    if difference.is_zero() {
        return (Wide::of_i32(power), true);
    }
    let ratio = difference.divide(m.add(Wide::ONE));
    (Wide::of_i32(power).add(logarithm_of_ratio(ratio)), false)
}

/// `y` × log2 `x`, FYL2X.
pub(crate) fn logarithm(x: F80, y: F80, control: Control) -> Outcome {
    if let Some(outcome) = of_nans(x, y) {
        return outcome;
    }
    let (cx, cy) = (x.class(), y.class());
    if x.negative() && cx != Class::Zero {
        return Outcome::INVALID;
    }
    let flags = if cx == Class::Denormal || cy == Class::Denormal { flag::DE } else { 0 };
    if cx == Class::Zero {
        return match cy {
            Class::Zero => Outcome::INVALID,
            Class::Infinity => Outcome::exact(F80::infinity(!y.negative())),
            _ => Outcome { value: F80::infinity(!y.negative()), flags: flag::ZE },
        };
    }
    if cx == Class::Infinity {
        return infinite_logarithm(y, cy).with(flags);
    }
    let below_1 = x.exponent() < BIAS;
    let is_1 = x == F80::ONE;
    match cy {
        Class::Infinity if is_1 => return Outcome::INVALID,
        Class::Infinity => return Outcome::exact(F80::infinity(y.negative() != below_1)).with(flags),
        Class::Zero => return Outcome::exact(F80::zero(y.negative() != below_1)).with(flags),
        _ if is_1 => return Outcome::exact(F80::zero(y.negative())).with(flags),
        _ => {}
    }
    let (log, exact) = logarithm_base_2(Wide::of(x));
    let product = log.multiply(Wide::of(y));
    let outcome = if exact {
        // Processors report the exact results of powers of two as inexact all the same.
        let outcome = product.rounded(control);
        let tiny = outcome.value.class() == Class::Denormal;
        outcome.with(if tiny { flag::PE | flag::UE } else { flag::PE })
    } else {
        product.inexact(control)
    };
    outcome.with(flags)
}

fn infinite_logarithm(y: F80, class: Class) -> Outcome {
    if class == Class::Zero { Outcome::INVALID } else { Outcome::exact(F80::infinity(y.negative())) }
}

/// `y` × log2 (`x` + 1), FYL2XP1. The manual defines it for |x| < 1 − √½; it is computed wherever it exists.
pub(crate) fn logarithm_plus_1(x: F80, y: F80, control: Control) -> Outcome {
    if let Some(outcome) = of_nans(x, y) {
        return outcome;
    }
    let (cx, cy) = (x.class(), y.class());
    let flags = if cx == Class::Denormal || cy == Class::Denormal { flag::DE } else { 0 };
    if x.negative() && x.exponent() >= BIAS {
        return Outcome::INVALID;
    }
    if cx == Class::Infinity {
        return infinite_logarithm(y, cy).with(flags);
    }
    let negative = x.negative() != y.negative();
    match (cx, cy) {
        (Class::Zero, Class::Infinity) => return Outcome::INVALID,
        (_, Class::Infinity) => return Outcome::exact(F80::infinity(negative)).with(flags),
        (Class::Zero, _) | (_, Class::Zero) => return Outcome::exact(F80::zero(negative)).with(flags),
        _ => {}
    }
    let x = Wide::of(x);
    let log = if x.exponent < -1 {
        let two = Wide { exponent: 1, ..Wide::ONE };
        logarithm_of_ratio(x.divide(x.add(two)))
    } else {
        logarithm_base_2(x.add(Wide::ONE)).0
    };
    log.multiply(Wide::of(y)).inexact(control).with(flags)
}

/// The angle of the point (`x`, `y`), FPATAN.
pub(crate) fn arctangent(x: F80, y: F80, control: Control) -> Outcome {
    if let Some(outcome) = of_nans(x, y) {
        return outcome;
    }
    let (cx, cy) = (x.class(), y.class());
    let flags = if cx == Class::Denormal || cy == Class::Denormal { flag::DE } else { 0 };
    let half_turn = |angle: Wide| if x.negative() { PI.subtract(angle) } else { angle };
    let angle = match (cx, cy) {
        (Class::Infinity, Class::Infinity) => half_turn(ARCTANGENTS[4]),
        (_, Class::Infinity) => HALF_PI,
        (Class::Infinity, _) | (_, Class::Zero) if x.negative() => PI,
        (Class::Infinity, _) | (_, Class::Zero) => {
            return Outcome::exact(F80::zero(y.negative())).with(flags);
        }
        (Class::Zero, _) => HALF_PI,
        _ => half_turn(quarter_angle(Wide::of(x.absolute()), Wide::of(y.absolute()))),
    };
    Wide { negative: y.negative(), ..angle }.inexact(control).with(flags)
}

/// The angle of a point in the first quadrant.
fn quarter_angle(x: Wide, y: Wide) -> Wide {
    if (y.exponent, y.significand) > (x.exponent, x.significand) {
        HALF_PI.subtract(small_angle(x.divide(y)))
    } else {
        small_angle(y.divide(x))
    }
}

/// The arc tangent of 0 < z ≤ 1.
fn small_angle(z: Wide) -> Wide {
    if z.exponent < TINY {
        return z.below();
    }
    // The nearest quarter is taken off: atan z = atan c + atan((z − c) / (1 + zc)).
    let eighths = if z.exponent < 0 { z.fraction() >> 125 } else { 8 };
    let index = (eighths.div_ceil(2) as usize).min(ARCTANGENTS.len() - 1);
    let c = Wide::normalise(false, 125, index as u128);
    let rest = if c.is_zero() { z } else { z.subtract(c).divide(Wide::ONE.add(z.multiply(c))) };
    if rest.is_zero() {
        return ARCTANGENTS[index];
    }
    let sum = fixed(series(&ODD_TERMS, rest.multiply(rest).fraction(), true));
    ARCTANGENTS[index].add(rest.multiply(sum))
}

/// An angle as a number of quarter turns, of which the low two bits count, and −π/4 to π/4 more.
struct Angle {
    quarters: u32,
    rest: Wide,
}

/// Is it a number too large for the circular functions, |x| ≥ 2^63?
pub(crate) fn beyond_circular(x: F80) -> bool {
    x.class() == Class::Normal && x.exponent() >= BIAS + 63
}

/// `None` for |x| ≥ 2^63, where the instructions give up.
fn reduce(x: F80) -> Option<Angle> {
    let exponent = x.exponent() - BIAS;
    if exponent >= 63 {
        return None;
    }
    if exponent < -1 {
        return Some(Angle { quarters: 0, rest: Wide::of(x) });
    }
    // In units of 2^-67, by two divisions.
    let shift = (exponent + 4) as u32;
    let first = shift.min(60);
    let second = shift - first;
    let dividend = u128::from(x.significand) << first;
    let (mut quarters, mut rest) = (dividend / REDUCTION_PI, dividend % REDUCTION_PI);
    quarters = (quarters << second) | ((rest << second) / REDUCTION_PI);
    rest = (rest << second) % REDUCTION_PI;
    let over = rest * 2 > REDUCTION_PI;
    if over {
        rest = REDUCTION_PI - rest;
        quarters += 1;
    }
    let quarters = quarters as u32;
    let quarters = if x.negative() { quarters.wrapping_neg() } else { quarters };
    Some(Angle { quarters, rest: Wide::normalise(over != x.negative(), 60, rest) })
}

/// Sine of −π/4 to π/4.
fn sine_series(x: Wide) -> Wide {
    if x.exponent < TINY {
        return x.below();
    }
    x.multiply(fixed(series(&SINE_TERMS, x.multiply(x).fraction(), true)))
}

/// Cosine of −π/4 to π/4.
fn cosine_series(x: Wide) -> Wide {
    if x.exponent < TINY {
        return Wide::ONE.below();
    }
    fixed(series(&COSINE_TERMS, x.multiply(x).fraction(), true))
}

fn sine_of(angle: &Angle) -> Wide {
    let value = if angle.quarters & 1 == 0 { sine_series(angle.rest) } else { cosine_series(angle.rest) };
    if angle.quarters & 2 == 0 { value } else { value.negate() }
}

fn turned(angle: &Angle) -> Angle {
    Angle { quarters: angle.quarters.wrapping_add(1), rest: angle.rest }
}

/// sin `x`; `None` for |x| ≥ 2^63.
pub(crate) fn sine(x: F80, control: Control) -> Option<Outcome> {
    let flags = match single(x, true) {
        Ok(flags) => flags,
        Err(outcome) => return Some(outcome),
    };
    if x.class() == Class::Zero {
        return Some(Outcome::exact(x));
    }
    Some(sine_of(&reduce(x)?).inexact(control).with(flags))
}

/// cos `x`; `None` for |x| ≥ 2^63.
pub(crate) fn cosine(x: F80, control: Control) -> Option<Outcome> {
    let flags = match single(x, true) {
        Ok(flags) => flags,
        Err(outcome) => return Some(outcome),
    };
    if x.class() == Class::Zero {
        return Some(Outcome::exact(F80::ONE));
    }
    Some(sine_of(&turned(&reduce(x)?)).inexact(control).with(flags))
}

/// tan `x`; `None` for |x| ≥ 2^63.
pub(crate) fn tangent(x: F80, control: Control) -> Option<Outcome> {
    let flags = match single(x, true) {
        Ok(flags) => flags,
        Err(outcome) => return Some(outcome),
    };
    if x.class() == Class::Zero {
        return Some(Outcome::exact(x));
    }
    let angle = reduce(x)?;
    if angle.quarters & 1 == 0 && angle.rest.exponent < TINY {
        return Some(angle.rest.inexact(control).with(flags));
    }
    let value = sine_of(&angle).divide(sine_of(&turned(&angle)));
    Some(value.inexact(control).with(flags))
}
