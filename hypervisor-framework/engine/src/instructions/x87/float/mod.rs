//! 80-bit extended precision (SDM vol. 1, chapter 4 and 8): values, conversions and arithmetic with the x87's own
//! rounding, precision control and exception flags.
//!
//! All of it is integer arithmetic on 128 bits, so that results are the same on every host.

mod arith;
mod convert;
mod decimal;
mod elementary;
mod integer;
mod order;
mod remainder;
mod round;
mod value;
mod wide;

pub(super) use arith::{add, divide, extract, multiply, scale, square_root, subtract};
pub(super) use convert::{from_f32, from_f64, to_f32, to_f64};
pub(super) use decimal::{DECIMAL_INDEFINITE, from_decimal, to_decimal};
pub(super) use elementary::{
    arctangent, beyond_circular, cosine, exponential, logarithm, logarithm_plus_1, sine, tangent,
};
pub(super) use integer::{from_i64, round_to_integer, to_integer};
pub(super) use order::compare;
pub(super) use remainder::{Quotient, partial_remainder};
pub(super) use round::{Control, Outcome, Rounding};
pub(super) use value::{Class, F80};

/// Exception flags and C1, as the status word has them (SDM vol. 1, 8.1.3).
pub(super) mod flag {
    /// Invalid operation.
    pub(in super::super) const IE: u16 = 1 << 0;
    /// Denormal operand.
    pub(in super::super) const DE: u16 = 1 << 1;
    /// Division by zero.
    pub(in super::super) const ZE: u16 = 1 << 2;
    /// Overflow.
    pub(in super::super) const OE: u16 = 1 << 3;
    /// Underflow.
    pub(in super::super) const UE: u16 = 1 << 4;
    /// Precision: the result was rounded.
    pub(in super::super) const PE: u16 = 1 << 5;
    /// Stack fault.
    pub(in super::super) const SF: u16 = 1 << 6;
    /// Condition code 1: rounded up; with SF, overflow of the stack.
    pub(in super::super) const C1: u16 = 1 << 9;
    /// The six exceptions.
    pub(in super::super) const EXCEPTIONS: u16 = 0x3f;
}

#[cfg(test)]
mod elementary_test;
#[cfg(test)]
mod oracle_test;
