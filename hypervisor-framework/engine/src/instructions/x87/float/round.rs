//! Rounding, overflow and underflow (SDM vol. 1, 4.8.4, 4.9.1 and 8.1.5).

use super::flag;
use super::value::{F80, INTEGER_BIT, SPECIAL};

/// Where results that cannot be represented go; numbered as in the control word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rounding {
    /// To nearest, ties to even.
    Nearest = 0,
    Down = 1,
    Up = 2,
    /// Toward zero.
    Zero = 3,
}

impl Rounding {
    /// Of a two-bit field.
    pub(crate) const fn of(bits: u16) -> Self {
        match bits & 3 {
            0 => Self::Nearest,
            1 => Self::Down,
            2 => Self::Up,
            _ => Self::Zero,
        }
    }
}

/// The control word (SDM vol. 1, 8.1.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Control(pub(crate) u16);

impl Control {
    /// After FNINIT: all exceptions masked, 64 bits, to nearest.
    pub(crate) const INITIAL: Self = Self(0x37f);

    pub(crate) const fn rounding(self) -> Rounding {
        Rounding::of(self.0 >> 10)
    }

    /// Bits of significand that basic arithmetic keeps.
    pub(crate) const fn precision(self) -> u32 {
        match self.0 >> 8 & 3 {
            0 => 24,
            2 => 53,
            _ => 64,
        }
    }

    /// Those of `flags` that are exceptions and not masked.
    #[inline(always)]
    pub(crate) const fn unmasked(self, flags: u16) -> u16 {
        flags & !self.0 & flag::EXCEPTIONS
    }
}

/// A result with the flags it raises, C1 included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) value: F80,
    pub(crate) flags: u16,
}

impl Outcome {
    /// The masked response to an invalid operation.
    pub(crate) const INVALID: Self = Self { value: F80::INDEFINITE, flags: flag::IE };
    /// The masked response to the use of an empty register.
    pub(crate) const STACK_UNDERFLOW: Self = Self { value: F80::INDEFINITE, flags: flag::IE | flag::SF };

    /// The masked response to a push onto a full stack.
    pub(crate) const STACK_OVERFLOW: Self =
        Self { value: F80::INDEFINITE, flags: flag::IE | flag::SF | flag::C1 };

    pub(crate) const fn exact(value: F80) -> Self {
        Self { value, flags: 0 }
    }

    pub(crate) const fn with(self, flags: u16) -> Self {
        Self { flags: self.flags | flags, ..self }
    }
}

/// What is left of a significand after rounding its low `drop` bits off.
pub(super) struct Rounded {
    pub(super) significand: u128,
    /// It became 2^128, and `significand` is 2^127.
    pub(super) carry: bool,
    pub(super) inexact: bool,
    pub(super) up: bool,
}

/// Rounds the low `drop` (1–127) bits off.
pub(super) const fn round_bits(significand: u128, drop: u32, negative: bool, rounding: Rounding) -> Rounded {
    let unit = 1_u128 << (drop & 127);
    let rest = significand & (unit - 1);
    let kept = significand - rest;
    let half = unit >> 1;
    let up = rest != 0
        && match rounding {
            Rounding::Nearest => rest > half || rest == half && kept & unit != 0,
            Rounding::Down => negative,
            Rounding::Up => !negative,
            Rounding::Zero => false,
        };
    let (mut significand, carry) = if up { kept.overflowing_add(unit) } else { (kept, false) };
    if carry {
        significand = 1 << 127;
    }
    Rounded { significand, carry, inexact: rest != 0, up }
}

/// Shifts right; what is lost leaves a 1 in the lowest bit.
#[inline]
pub(super) const fn shift_right_sticky(value: u128, by: u32) -> u128 {
    match by {
        0 => value,
        1..=127 => value >> by | (value << (128 - by) != 0) as u128,
        _ => (value != 0) as u128,
    }
}

/// Exponent adjustment of results delivered with an unmasked overflow or underflow.
const WRAP: i32 = 0x6000;

/// Rounds `significand` / 2^127 × 2^(`exponent` − bias), whose bit 127 is set, to `precision` bits. The lowest bits may
/// stand for everything below them ("sticky").
pub(super) fn round(
    negative: bool,
    exponent: i32,
    significand: u128,
    precision: u32,
    control: Control,
) -> Outcome {
    if precision == 64 && exponent > 0 && exponent < SPECIAL - 1 {
        return round_ordinary(negative, exponent, significand, control);
    }
    let rounding = control.rounding();
    let drop = 128 - precision;
    let rounded = round_bits(significand, drop, negative, rounding);
    let result_exponent = exponent + rounded.carry as i32;
    let mut flags = rounding_flags(&rounded);
    if result_exponent >= SPECIAL {
        return overflow(negative, result_exponent, &rounded, precision, control);
    }
    if exponent > 0 {
        return Outcome { value: pack(negative, result_exponent, rounded.significand), flags };
    }
    // Tiny is what is below the smallest normal number after rounding with an unbounded exponent.
    let tiny = result_exponent <= 0;
    if tiny && control.unmasked(flag::UE) != 0 {
        let wrapped = result_exponent + WRAP;
        if wrapped > 0 {
            let value = pack(negative, wrapped, rounded.significand);
            return Outcome { value, flags: flags | flag::UE };
        }
        // Too small even so, as only FSCALE's can be.
        return Outcome { value: F80::zero(negative), flags: flag::UE | flag::PE };
    }
    let denormal = shift_right_sticky(significand, exponent.unsigned_abs().saturating_add(1));
    let rounded = round_bits(denormal, drop, negative, rounding);
    flags = rounding_flags(&rounded);
    if tiny && rounded.inexact {
        flags |= flag::UE;
    }
    let significand = (rounded.significand >> 64) as u64;
    let exponent = (significand & INTEGER_BIT != 0) as i32;
    Outcome { value: F80::new(negative, exponent, significand), flags }
}

/// [`round`] to 64 bits far from overflow and underflow: the usual case.
#[inline(always)]
fn round_ordinary(negative: bool, exponent: i32, significand: u128, control: Control) -> Outcome {
    const HALF: u64 = 1 << 63;
    let (kept, rest) = ((significand >> 64) as u64, significand as u64);
    if rest == 0 {
        return Outcome::exact(F80::new(negative, exponent, kept));
    }
    let up = match control.rounding() {
        Rounding::Nearest => rest > HALF || rest == HALF && kept & 1 != 0,
        Rounding::Down => negative,
        Rounding::Up => !negative,
        Rounding::Zero => false,
    };
    let (kept, carry) = kept.overflowing_add(u64::from(up));
    // A carry leaves 0, which stands for 2^64.
    let kept = kept | u64::from(carry) << 63;
    let flags = flag::PE | if up { flag::C1 } else { 0 };
    Outcome { value: F80::new(negative, exponent + i32::from(carry), kept), flags }
}

fn rounding_flags(rounded: &Rounded) -> u16 {
    let inexact = if rounded.inexact { flag::PE } else { 0 };
    inexact | if rounded.up { flag::C1 } else { 0 }
}

fn pack(negative: bool, exponent: i32, significand: u128) -> F80 {
    F80::new(negative, exponent, (significand >> 64) as u64)
}

fn overflow(negative: bool, exponent: i32, rounded: &Rounded, precision: u32, control: Control) -> Outcome {
    if control.unmasked(flag::OE) != 0 {
        let wrapped = exponent - WRAP;
        if wrapped < SPECIAL {
            let value = pack(negative, wrapped, rounded.significand);
            return Outcome { value, flags: flag::OE | rounding_flags(rounded) };
        }
        // Too large even so, as only FSCALE's can be.
        return Outcome { value: F80::infinity(negative), flags: flag::OE | flag::PE | flag::C1 };
    }
    let to_infinity = match control.rounding() {
        Rounding::Nearest => true,
        Rounding::Down => negative,
        Rounding::Up => !negative,
        Rounding::Zero => false,
    };
    if to_infinity {
        return Outcome { value: F80::infinity(negative), flags: flag::OE | flag::PE | flag::C1 };
    }
    let largest = F80::new(negative, SPECIAL - 1, u64::MAX << (64 - precision));
    Outcome { value: largest, flags: flag::OE | flag::PE }
}
