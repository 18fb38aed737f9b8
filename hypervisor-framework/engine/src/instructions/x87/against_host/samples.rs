//! Generated values, reproducible by seed.

use super::State;
use crate::Sequence;

/// A small generator of values.
pub(super) struct Random(Sequence);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(Sequence::new(seed))
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0.next_u64()
    }

    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    /// True once in `n`.
    pub(super) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// 64 bits with runs of zeros and ones more often than chance has them.
    pub(super) fn bits(&mut self) -> u64 {
        match self.below(8) {
            0 => 0,
            1 => u64::MAX,
            2 => 1 << self.below(64),
            3 => u64::MAX << self.below(64),
            4 => u64::MAX >> self.below(64),
            5 => (self.next() & self.next() & self.next()) | 1 << self.below(64),
            6 => self.next() & (u64::MAX << self.below(64)),
            _ => self.next(),
        }
    }

    /// Any encoding, all classes often: (sign and exponent, significand).
    pub(super) fn extended(&mut self) -> (u16, u64) {
        let sign = (self.next() as u16 & 1) << 15;
        let integer_bit = 1 << 63;
        let (exponent, significand) = match self.below(24) {
            0 => (0, 0),
            1 => (0, self.bits() & !integer_bit),
            2 => (0, self.bits() | integer_bit),
            3 => (0x7fff, integer_bit),
            4 => (0x7fff, self.bits() | 3 << 62),
            5 => (0x7fff, (self.bits() | integer_bit) & !(1 << 62)),
            6 => (self.next() as u16 & 0x7fff, self.bits() & !integer_bit),
            7 => (self.below(70) as u16, self.bits() | integer_bit),
            8 => (0x7ffe - self.below(70) as u16, self.bits() | integer_bit),
            9..=11 => (self.next() as u16 & 0x7fff, self.bits() | integer_bit),
            12 => (0x3fff, integer_bit),
            13 => return self.integer(sign),
            14 => (0x3f81 - self.below(30) as u16, self.bits() | integer_bit),
            15 => (0x3c01 - self.below(60) as u16, self.bits() | integer_bit),
            16 => (0x407e + self.below(4) as u16, self.bits() | integer_bit),
            17 => (0x43fe + self.below(4) as u16, self.bits() | integer_bit),
            _ => ((0x3fff - 70 + self.below(140)) as u16, self.bits() | integer_bit),
        };
        (sign | exponent, significand)
    }

    fn integer(&mut self, sign: u16) -> (u16, u64) {
        let value = self.next() >> self.below(64) | 1;
        let shift = value.leading_zeros();
        (sign | (0x3fff + 63 - shift as u16), value << shift)
    }

    /// A single-precision encoding, all classes often.
    pub(super) fn single(&mut self) -> u32 {
        let sign = (self.next() as u32 & 1) << 31;
        let fraction = (self.bits() >> 41) as u32;
        let exponent = match self.below(8) {
            0 => 0,
            1 => 255,
            2 => return sign | (0x7f80_0000 * self.below(2) as u32),
            3 => self.below(256) as u32,
            _ => 127 - 32 + self.below(64) as u32,
        };
        sign | exponent << 23 | fraction
    }

    /// A double-precision encoding, all classes often.
    pub(super) fn double(&mut self) -> u64 {
        let sign = (self.next() & 1) << 63;
        let fraction = self.bits() >> 12;
        let exponent = match self.below(8) {
            0 => 0,
            1 => 2047,
            2 => return sign | (0x7ff0_0000_0000_0000 * self.below(2)),
            3 => self.below(2048),
            _ => 1023 - 70 + self.below(140),
        };
        sign | exponent << 52 | fraction
    }

    /// A control word: all exceptions masked more often than not.
    pub(super) fn control(&mut self) -> u16 {
        let masks = if self.one_in(3) { self.next() as u16 & 0x3f } else { 0x3f };
        let precision = [3, 3, 2, 0][self.below(4) as usize];
        masks | 0x40 | precision << 8 | (self.below(4) as u16) << 10
    }

    /// x87 state in which no exception is pending. `full` has no empty registers.
    pub(super) fn x87_state(&mut self) -> State {
        let mut state = State::initial();
        let control = self.control();
        state.set_control(control);
        let pending = self.next() as u16 & self.next() as u16 & 0x7f & (control | 0x40);
        state.set_status((self.next() as u16 & 0x7f00) | pending);
        state.image.0[4] = match self.below(6) {
            0 => self.next() as u8,
            // The place of a push is free.
            1..=3 => !(1 << ((state.top() + 7) & 7)),
            _ => 0xff,
        };
        for i in 0..8 {
            let value = self.extended();
            state.set_st(i, value);
        }
        if self.one_in(3) {
            // Close values, for cancellation and ties.
            let (se, sig) = state.st(0);
            let other = (se.wrapping_add(self.below(5) as u16).wrapping_sub(2), sig ^ self.below(4));
            state.set_st(1 + self.below(2) as usize, other);
        }
        state.flags = 2 | self.next() & 0x8d5;
        state.rax = self.next();
        state.rdx = self.next();
        for chunk in state.operand.0[..128].chunks_exact_mut(8) {
            chunk.copy_from_slice(&self.bits().to_le_bytes());
        }
        state
    }
}
