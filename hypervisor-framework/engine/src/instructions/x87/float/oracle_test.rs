//! Arithmetic against `rustc_apfloat`, on every host.
#![allow(clippy::unwrap_used)] // tests

use rustc_apfloat::ieee::{Double, Single, X87DoubleExtended};
use rustc_apfloat::{Float, FloatConvert, Round, Status, StatusAnd};

use super::*;
use crate::Sequence;

/// Values for the oracle.
struct Random(Sequence);

impl Random {
    fn new(seed: u64) -> Self {
        Self(Sequence::new(seed))
    }

    fn next(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Zero, denormal, normal or infinite; magnitudes near each other and at the ends of the range.
    fn value(&mut self) -> F80 {
        let negative = self.next() & 1 != 0;
        let significand = match self.next() % 4 {
            0 => 1 << 63,
            1 => u64::MAX << (self.next() % 63),
            2 => self.next() >> (self.next() % 63) | 1 << 63,
            _ => self.next() | 1 << 63,
        };
        let exponent = match self.next() % 10 {
            0 => return F80::zero(negative),
            1 => return F80::new(negative, 0, significand & !(1 << 63)),
            2 => return F80::infinity(negative),
            3 => 1 + (self.next() % 70) as i32,
            4 => 0x7ffe - (self.next() % 70) as i32,
            5 => (0x3f6a + self.next() % 30) as i32,
            6 => (0x3bcd + self.next() % 60) as i32,
            _ => 0x3fff - 70 + (self.next() % 140) as i32,
        };
        F80::new(negative, exponent, significand)
    }
}

const ROUNDINGS: [(u16, Round); 4] = [
    (0, Round::NearestTiesToEven),
    (1, Round::TowardNegative),
    (2, Round::TowardPositive),
    (3, Round::TowardZero),
];

fn control(rounding: u16) -> Control {
    Control(Control::INITIAL.0 | rounding << 10)
}

fn theirs(value: F80) -> X87DoubleExtended {
    X87DoubleExtended::from_bits(value.bits())
}

/// The exceptions both know; what is tiny or too large is defined differently.
fn flags(status: Status) -> u16 {
    let pairs =
        [(Status::INVALID_OP, flag::IE), (Status::DIV_BY_ZERO, flag::ZE), (Status::INEXACT, flag::PE)];
    pairs.iter().filter(|(theirs, _)| status.contains(*theirs)).fold(0, |flags, (_, ours)| flags | ours)
}

const KNOWN: u16 = flag::IE | flag::ZE | flag::PE;

fn same(what: &str, operands: &[F80], ours: Outcome, expected: StatusAnd<X87DoubleExtended>) {
    let value = F80::from_bits(expected.value.to_bits());
    let both_nan = ours.value.class().is_nan() && value.class().is_nan();
    assert!(
        (ours.value == value || both_nan) && ours.flags & KNOWN == flags(expected.status),
        "{what} of {operands:x?}: {ours:x?}, not {value:x?} {:x}",
        flags(expected.status)
    );
}

#[test]
fn arithmetic() {
    let mut random = Random::new(1);
    for i in 0..60_000 {
        let (a, b) = (random.value(), random.value());
        let (bits, round) = ROUNDINGS[i % 4];
        let (control, operands) = (control(bits), [a, b]);
        same("sum", &operands, add(a, b, 0, control), theirs(a).add_r(theirs(b), round));
        same("difference", &operands, subtract(a, b, 0, control), theirs(a).sub_r(theirs(b), round));
        same("product", &operands, multiply(a, b, 0, control), theirs(a).mul_r(theirs(b), round));
        same("quotient", &operands, divide(a, b, 0, control), theirs(a).div_r(theirs(b), round));
    }
}

#[test]
fn remainders() {
    let mut random = Random::new(2);
    for _ in 0..10_000 {
        let (a, b) = (random.value(), random.value());
        for (kind, expected) in [
            (Quotient::Truncated, theirs(a).c_fmod(theirs(b))),
            (Quotient::Nearest, theirs(a).ieee_rem(theirs(b))),
        ] {
            let mut value = a;
            let mut steps = 0;
            let last = loop {
                let step = partial_remainder(value, b, kind, Control::INITIAL);
                steps += 1;
                assert!(steps < 1100, "{kind:?} of {a:x?} and {b:x?} does not end");
                if step.complete {
                    break step.outcome;
                }
                value = step.outcome.value;
            };
            let value = F80::from_bits(expected.value.to_bits());
            let both_nan = last.value.class().is_nan() && value.class().is_nan();
            assert!(
                last.value == value || both_nan,
                "{kind:?} of {a:x?} and {b:x?}: {last:x?}, not {value:x?}"
            );
        }
    }
}

#[test]
fn roots_are_the_largest_below() {
    let mut random = Random::new(3);
    for i in 0..30_000 {
        let a = random.value().absolute();
        let control = control(ROUNDINGS[i % 4].0);
        let root = square_root(a, control);
        let Class::Normal = root.value.class() else { continue };
        // The square of a root rounded down is not above, that of the next value is.
        let down = square_root(a, Control(0x77f)).value;
        let up = square_root(a, Control(0xb7f)).value;
        assert!(root.value == down || root.value == up);
        let square = |value: F80, round| theirs(value).mul_r(theirs(value), round).value;
        assert!(square(down, Round::TowardNegative) <= theirs(a), "{a:x?}");
        assert!(square(up, Round::TowardPositive) >= theirs(a), "{a:x?}");
        assert!(
            down == up || down.significand.wrapping_add(1) == up.significand || up.significand == 1 << 63
        );
    }
}

#[test]
fn conversions() {
    let mut random = Random::new(4);
    for i in 0..60_000 {
        let a = random.value();
        let (bits, round) = ROUNDINGS[i % 4];
        let mut loses = false;
        let single: StatusAnd<Single> = theirs(a).convert_r(round, &mut loses);
        let (ours, ours_flags) = to_f32(a, control(bits));
        assert_eq!(
            (u128::from(ours), ours_flags & KNOWN),
            (single.value.to_bits(), flags(single.status)),
            "{a:x?}"
        );
        let double: StatusAnd<Double> = theirs(a).convert_r(round, &mut loses);
        let (ours, ours_flags) = to_f64(a, control(bits));
        assert_eq!(
            (u128::from(ours), ours_flags & KNOWN),
            (double.value.to_bits(), flags(double.status)),
            "{a:x?}"
        );
        let back: StatusAnd<X87DoubleExtended> = double.value.convert(&mut loses);
        assert_eq!(from_f64(ours).value.bits(), back.value.to_bits());
        let integral = theirs(a).round_to_integral(round);
        assert_eq!(round_to_integer(a, control(bits)).value.bits(), integral.value.to_bits());
        let mut exact = false;
        let integer = theirs(a).to_i128_r(64, round, &mut exact);
        let (ours, ours_flags) = to_integer(a, 64, Rounding::of(bits));
        if ours_flags & flag::IE == 0 {
            assert_eq!(
                (i128::from(ours), ours_flags & KNOWN),
                (integer.value, flags(integer.status)),
                "{a:x?}"
            );
        } else {
            assert!(integer.status.contains(Status::INVALID_OP), "{a:x?}");
        }
    }
}

#[test]
fn decimals_round_trip() {
    let mut random = Random::new(5);
    for _ in 0..20_000 {
        let mut bits = u128::from(random.next() & 1) << 79;
        for digit in 0..random.next() % 19 {
            bits |= u128::from(random.next() % 10) << (4 * digit);
        }
        assert_eq!(to_decimal(from_decimal(bits), Control::INITIAL), (bits, 0));
    }
}
