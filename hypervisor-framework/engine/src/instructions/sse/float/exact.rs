//! Arithmetic in integers: every rounding mode, every exception.

use super::context::{Context, Rounding, bit};
use super::format::Format;

/// A finite value other than zero: `significand / 2^63 * 2^exponent`, the top bit of the significand set.
#[derive(Clone, Copy)]
pub(super) struct Finite {
    pub(super) negative: bool,
    pub(super) exponent: i32,
    pub(super) significand: u64,
}

impl Finite {
    /// Of a value that is neither zero nor infinite nor NaN.
    pub(super) fn new<T: Format>(value: T) -> Self {
        let fraction = value.bits() & T::FRACTION_MASK;
        let (exponent, significand) = match value.exponent() {
            0 => (1, fraction),
            exponent => (exponent as i32, fraction | 1 << T::FRACTION),
        };
        let shift = significand.leading_zeros();
        let above = shift as i32 - (63 - T::FRACTION as i32);
        Self {
            negative: value.negative(),
            exponent: exponent - T::BIAS - above,
            significand: significand.checked_shl(shift).unwrap_or(0),
        }
    }

    /// `value / 2^127 * 2^exponent`, not zero; what does not fit stays visible in the lowest bit.
    pub(super) fn from_wide(negative: bool, exponent: i32, value: u128) -> Self {
        let shift = value.leading_zeros();
        let value = value.checked_shl(shift).unwrap_or(0);
        let significand = (value >> 64) as u64 | u64::from(value as u64 != 0);
        Self { negative, exponent: exponent - shift as i32, significand }
    }
}

/// Shifts right; bits lost stay visible in the lowest bit.
pub(super) fn shift_right_sticky(value: u128, by: u32) -> u128 {
    let kept = value.checked_shr(by).unwrap_or(0);
    let lost = value != kept.checked_shl(by).unwrap_or(0);
    kept | u128::from(lost)
}

/// Rounds to the format, with overflow and underflow.
pub(super) fn round<T: Format>(c: &mut Context, value: Finite) -> T {
    let Finite { negative, exponent, significand } = value;
    let rounding = c.rounding();
    let dropped = 63 - T::FRACTION;
    let half = 1_u64 << (dropped - 1);
    let keep = |significand: u64| {
        let rest = significand & ((1 << dropped) - 1);
        let kept = significand >> dropped;
        let away = rounding.away(negative, kept & 1 != 0, rest, half);
        (kept + u64::from(away), rest != 0)
    };
    let smallest = 1 - T::BIAS;
    if exponent < smallest {
        let (unbounded, unbounded_inexact) = keep(significand);
        // Tiny after rounding as if the exponent were unbounded (SDM vol. 1, 4.9.1.5).
        let tiny = !(exponent == smallest - 1 && unbounded >> (T::FRACTION + 1) != 0);
        let shift = smallest.abs_diff(exponent);
        let shifted = shift_right_sticky(u128::from(significand), shift) as u64;
        let (kept, inexact) = keep(shifted);
        if tiny && c.flushes_to_zero() {
            c.raise(bit::UE | bit::PE);
            return T::zero(negative);
        }
        let inexact = if tiny && !c.is_masked(bit::UE) {
            // Nobody sees the denormal result; what a handler would compute is less inexact.
            c.raise(bit::UE);
            unbounded_inexact
        } else {
            inexact
        };
        if inexact {
            c.raise(if tiny { bit::UE | bit::PE } else { bit::PE });
        }
        // A carry into the exponent field makes the smallest normal value.
        return T::signed(negative, kept);
    }
    let (kept, inexact) = keep(significand);
    // The implicit bit adds 1 to the exponent field, as does a carry.
    let field = exponent.saturating_add(T::BIAS - 1) as u64;
    let magnitude = if field < T::SPECIAL { (field << T::FRACTION) + kept } else { u64::MAX };
    if magnitude >= T::INFINITY {
        c.raise(bit::OE);
        // The result for those who mask overflow is never exact.
        if inexact || c.is_masked(bit::OE) {
            c.raise(bit::PE);
        }
        return overflowed(rounding, negative);
    }
    if inexact {
        c.raise(bit::PE);
    }
    T::signed(negative, magnitude)
}

/// What stands for a value too large (SDM vol. 1, table 4-10).
fn overflowed<T: Format>(rounding: Rounding, negative: bool) -> T {
    let infinite = match rounding {
        Rounding::Nearest => true,
        Rounding::Down => negative,
        Rounding::Up => !negative,
        Rounding::Zero => false,
    };
    T::signed(negative, if infinite { T::INFINITY } else { T::INFINITY - 1 })
}

/// `a + b`
#[cold]
#[inline(never)]
pub(super) fn add<T: Format>(c: &mut Context, a: T, b: T) -> T {
    if let Some(nan) = c.propagate(a, b) {
        return nan;
    }
    sum(c, a, b, b)
}

/// `a - b`
#[cold]
#[inline(never)]
pub(super) fn sub<T: Format>(c: &mut Context, a: T, b: T) -> T {
    if let Some(nan) = c.propagate(a, b) {
        return nan;
    }
    sum(c, a, b, b.negated())
}

/// `a + addend` of numbers; `b` is the operand behind `addend`.
fn sum<T: Format>(c: &mut Context, a: T, b: T, addend: T) -> T {
    let (a, b, addend) = (c.operand(a), c.operand(b), c.operand(addend));
    if a.is_infinite() && addend.is_infinite() && a.negative() != addend.negative() {
        return c.invalid();
    }
    c.note_denormal(a);
    c.note_denormal(b);
    if a.is_infinite() || addend.is_infinite() {
        return if a.is_infinite() { a } else { addend };
    }
    match (a.is_zero(), addend.is_zero()) {
        (true, true) if a.negative() == addend.negative() => return a,
        (true, true) => return T::zero(c.rounding() == Rounding::Down),
        (true, false) => return round(c, Finite::new(addend)),
        (false, true) => return round(c, Finite::new(a)),
        (false, false) => {}
    }
    let (a, b) = (Finite::new(a), Finite::new(addend));
    let (large, small) =
        if (a.exponent, a.significand) < (b.exponent, b.significand) { (b, a) } else { (a, b) };
    // One bit of headroom for the carry.
    let wide = |value: Finite| u128::from(value.significand) << 63;
    let aligned = shift_right_sticky(wide(small), large.exponent.abs_diff(small.exponent));
    let result = if large.negative == small.negative { wide(large) + aligned } else { wide(large) - aligned };
    if result == 0 {
        return T::zero(c.rounding() == Rounding::Down);
    }
    round(c, Finite::from_wide(large.negative, large.exponent + 1, result))
}

/// `a * b`
#[cold]
#[inline(never)]
pub(super) fn mul<T: Format>(c: &mut Context, a: T, b: T) -> T {
    if let Some(nan) = c.propagate(a, b) {
        return nan;
    }
    let (a, b) = (c.operand(a), c.operand(b));
    if a.is_infinite() && b.is_zero() || a.is_zero() && b.is_infinite() {
        return c.invalid();
    }
    c.note_denormal(a);
    c.note_denormal(b);
    let negative = a.negative() != b.negative();
    if a.is_infinite() || b.is_infinite() {
        return T::infinity(negative);
    }
    if a.is_zero() || b.is_zero() {
        return T::zero(negative);
    }
    let (a, b) = (Finite::new(a), Finite::new(b));
    let product = u128::from(a.significand) * u128::from(b.significand);
    round(c, Finite::from_wide(negative, a.exponent + b.exponent + 1, product))
}

/// `a / b`
#[cold]
#[inline(never)]
pub(super) fn div<T: Format>(c: &mut Context, a: T, b: T) -> T {
    if let Some(nan) = c.propagate(a, b) {
        return nan;
    }
    let (a, b) = (c.operand(a), c.operand(b));
    if a.is_infinite() && b.is_infinite() || a.is_zero() && b.is_zero() {
        return c.invalid();
    }
    let negative = a.negative() != b.negative();
    if b.is_zero() && !a.is_infinite() {
        c.raise(bit::ZE);
        return T::infinity(negative);
    }
    c.note_denormal(a);
    c.note_denormal(b);
    if a.is_infinite() {
        return T::infinity(negative);
    }
    if a.is_zero() || b.is_infinite() {
        return T::zero(negative);
    }
    let (a, b) = (Finite::new(a), Finite::new(b));
    let (dividend, divisor) = (u128::from(a.significand) << 63, u128::from(b.significand));
    let quotient = dividend / divisor;
    let remains = dividend % divisor != 0;
    // Between 2^62 and 2^64, so that the lowest bits are never kept.
    let wide = quotient << 64 | u128::from(remains);
    round(c, Finite::from_wide(negative, a.exponent - b.exponent, wide))
}

/// The square root of `b`.
#[cold]
#[inline(never)]
pub(super) fn sqrt<T: Format>(c: &mut Context, b: T) -> T {
    if let Some(nan) = c.propagate(b, b) {
        return nan;
    }
    let b = c.operand(b);
    if b.is_zero() {
        return b;
    }
    if b.negative() {
        return c.invalid();
    }
    c.note_denormal(b);
    if b.is_infinite() {
        return b;
    }
    let b = Finite::new(b);
    // An even exponent, and a radicand whose root has 64 bits.
    let radicand = u128::from(b.significand) << (63 + (b.exponent & 1));
    let root = radicand.isqrt();
    let wide = root << 64 | u128::from(root * root != radicand);
    round(c, Finite::from_wide(false, b.exponent >> 1, wide))
}
