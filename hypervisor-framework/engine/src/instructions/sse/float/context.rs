//! What MXCSR asks for, and the exceptions raised on the way (SDM vol. 1, 10.2.3 and 11.5).

use super::format::Format;
use crate::cpu::control::cr4;
use crate::cpu::trap_vector as vector;
use crate::cpu::{Cpu, Trap};

/// Bits of MXCSR.
pub(super) mod bit {
    /// Invalid operation.
    pub(in super::super) const IE: u32 = 1 << 0;
    /// Denormal operand.
    pub(in super::super) const DE: u32 = 1 << 1;
    /// Division by zero.
    pub(in super::super) const ZE: u32 = 1 << 2;
    /// Overflow.
    pub(in super::super) const OE: u32 = 1 << 3;
    /// Underflow.
    pub(in super::super) const UE: u32 = 1 << 4;
    /// Inexact.
    pub(in super::super) const PE: u32 = 1 << 5;
    pub(super) const FLAGS: u32 = 0x3f;
    /// Denormals are zeros.
    pub(super) const DAZ: u32 = 1 << 6;
    /// Distance from a flag to its mask.
    pub(super) const MASK_SHIFT: u32 = 7;
    pub(super) const ROUNDING_SHIFT: u32 = 13;
    /// Flush to zero.
    pub(super) const FTZ: u32 = 1 << 15;
}

/// MXCSR.RC, and the immediate of ROUND.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Rounding {
    /// Ties to even.
    Nearest = 0,
    /// To negative infinity.
    Down,
    /// To positive infinity.
    Up,
    /// Truncation.
    Zero,
}

impl Rounding {
    pub(super) fn from_bits(bits: u32) -> Self {
        match bits & 3 {
            0 => Self::Nearest,
            1 => Self::Down,
            2 => Self::Up,
            _ => Self::Zero,
        }
    }

    /// Does a value with the lowest kept bit `odd` and discarded bits `rest`, where `half` is half of the kept bit,
    /// round away from zero?
    #[inline(always)]
    pub(super) fn away(self, negative: bool, odd: bool, rest: u64, half: u64) -> bool {
        match self {
            Self::Nearest => rest > half || rest == half && odd,
            Self::Down => negative && rest != 0,
            Self::Up => !negative && rest != 0,
            Self::Zero => false,
        }
    }
}

/// The environment of one instruction.
#[derive(Clone, Copy, Default)]
pub(crate) struct Context {
    control: u32,
    /// By the current step.
    raised: u32,
    /// By the steps before it.
    earlier: u32,
}

impl Context {
    #[inline(always)]
    pub(in crate::instructions) fn new(mxcsr: u32) -> Self {
        Self { control: mxcsr, raised: 0, earlier: 0 }
    }

    #[inline(always)]
    pub(super) fn raise(&mut self, flags: u32) {
        self.raised |= flags;
    }

    /// Would raising inexact change nothing: is its flag set, and masked or raised by this instruction?
    #[inline(always)]
    pub(super) fn is_known_inexact(&self) -> bool {
        let masked = bit::PE << bit::MASK_SHIFT;
        self.control & (bit::PE | masked) == bit::PE | masked || self.raised & bit::PE != 0
    }

    #[inline(always)]
    pub(super) fn is_masked(&self, flag: u32) -> bool {
        self.control >> bit::MASK_SHIFT & flag != 0
    }

    #[inline(always)]
    pub(super) fn rounding(&self) -> Rounding {
        Rounding::from_bits(self.control >> bit::ROUNDING_SHIFT)
    }

    /// Flush-to-zero works only while underflow is masked.
    pub(super) fn flushes_to_zero(&self) -> bool {
        self.control & bit::FTZ != 0 && self.is_masked(bit::UE)
    }

    /// Does something with another rounding, and without flushing to zero.
    pub(super) fn unflushed(&mut self, rounding: Rounding, f: impl FnOnce(&mut Self)) {
        let control = self.control;
        self.control &= !(3 << bit::ROUNDING_SHIFT | bit::FTZ);
        self.control |= (rounding as u32) << bit::ROUNDING_SHIFT;
        f(self);
        self.control = control;
    }

    /// A denormal operand as zero if MXCSR.DAZ says so.
    #[inline(always)]
    pub(super) fn operand<T: Format>(&self, value: T) -> T {
        if self.control & bit::DAZ != 0 && value.is_denormal() { T::zero(value.negative()) } else { value }
    }

    /// Reports denormal operands.
    #[inline(always)]
    pub(super) fn note_denormal<T: Format>(&mut self, value: T) {
        if value.is_denormal() {
            self.raise(bit::DE);
        }
    }

    /// The result of an operation on a NaN: the first operand that is one, made quiet.
    pub(super) fn propagate<T: Format>(&mut self, a: T, b: T) -> Option<T> {
        if !a.is_nan() && !b.is_nan() {
            return None;
        }
        if a.is_signaling() || b.is_signaling() {
            self.raise(bit::IE);
        }
        Some(if a.is_nan() { a.quiet() } else { b.quiet() })
    }

    pub(super) fn invalid<T: Format>(&mut self) -> T {
        self.raise(bit::IE);
        T::indefinite()
    }

    /// Flags raised by the current step and not masked.
    fn unmasked(&self) -> u32 {
        self.raised & !(self.control >> bit::MASK_SHIFT) & bit::FLAGS
    }

    /// Ends a step of an instruction made of several; true if it does not go on.
    pub(super) fn step(&mut self) -> bool {
        if self.unmasked() != 0 {
            return true;
        }
        self.earlier |= self.raised;
        self.raised = 0;
        false
    }

    /// Puts the flags into MXCSR; #XM (or #UD without CR4.OSXMMEXCPT) if one of them is not masked.
    #[inline(always)]
    pub(in crate::instructions) fn finish(&self, cpu: &mut Cpu) -> Result<(), Trap> {
        if self.raised | self.earlier == 0 { Ok(()) } else { self.report(cpu) }
    }

    #[inline(never)]
    fn report(&self, cpu: &mut Cpu) -> Result<(), Trap> {
        let unmasked = self.unmasked();
        // What is found before computing is reported alone (SDM vol. 1, 11.5.2).
        let before = bit::IE | bit::DE | bit::ZE;
        let reported = if unmasked & before != 0 { self.raised & before } else { self.raised };
        cpu.mxcsr |= reported | self.earlier;
        if unmasked == 0 {
            Ok(())
        } else if cpu.cr4 & cr4::OSXMMEXCPT != 0 {
            Err(cpu.fault(vector::XM))
        } else {
            Err(cpu.undefined())
        }
    }
}
