//! The x87 unit: register stack, control, status and tag words, last instruction and operand (SDM vol. 1, 8.1).

use super::float::{Class, Control, F80, Outcome, flag};

/// Bits of the status word beyond the exceptions.
pub(super) mod status {
    /// Exception summary: an exception that is not masked is pending.
    pub(in super::super) const ES: u16 = 1 << 7;
    pub(in super::super) const C0: u16 = 1 << 8;
    pub(in super::super) const C1: u16 = 1 << 9;
    pub(in super::super) const C2: u16 = 1 << 10;
    pub(in super::super) const TOP: u16 = 7 << 11;
    pub(in super::super) const C3: u16 = 1 << 14;
    /// Busy: the same as ES.
    pub(in super::super) const BUSY: u16 = 1 << 15;
    /// What comparisons answer in.
    pub(in super::super) const ORDER: u16 = C0 | C2 | C3;
    pub(in super::super) const CONDITIONS: u16 = C0 | C1 | C2 | C3;
}

/// The bits of the control word that exist; bit 6 reads as 1.
const CONTROL_BITS: u16 = 0x1f3f;
const CONTROL_FIXED: u16 = 0x40;

/// Where an instruction or operand is: an offset in a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Pointer {
    pub(super) offset: u64,
    pub(super) selector: u16,
}

/// The state of the x87 unit, which MMX shares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fpu {
    /// R0–R7, by number, not by place in the stack.
    pub(super) registers: [F80; 8],
    /// Bit i: Ri is not empty.
    pub(super) valid: u8,
    /// Number of ST(0), 0–7.
    pub(super) top: u8,
    pub(super) control: Control,
    /// The status word without TOP.
    pub(super) status: u16,
    /// Opcode of the last instruction that raised an exception: 11 bits.
    pub(super) opcode: u16,
    /// The last instruction other than control instructions.
    pub(super) instruction: Pointer,
    /// Its memory operand, if it had one.
    pub(super) operand: Pointer,
}

impl Default for Fpu {
    /// After FNINIT, with all registers 0.
    fn default() -> Self {
        Self {
            registers: [F80::ZERO; 8],
            valid: 0,
            top: 0,
            control: Control::INITIAL,
            status: 0,
            opcode: 0,
            instruction: Pointer::default(),
            operand: Pointer::default(),
        }
    }
}

impl Fpu {
    /// FNINIT: registers keep their contents and become empty.
    pub(super) fn initialise(&mut self) {
        *self = Self { registers: self.registers, ..Self::default() };
    }

    /// Is an unmasked exception pending?
    #[inline(always)]
    pub(super) fn pending(&self) -> bool {
        self.status & status::ES != 0
    }

    /// The number of the register ST(`i`).
    #[inline(always)]
    pub(super) fn number(&self, i: u8) -> usize {
        (self.top.wrapping_add(i) & 7) as usize
    }

    /// ST(`i`), `None` when it is empty.
    #[inline(always)]
    pub(super) fn get(&self, i: u8) -> Option<F80> {
        let number = self.number(i);
        (self.valid >> number & 1 != 0).then_some(self.registers[number])
    }

    /// Writes ST(`i`), which is not empty then.
    #[inline(always)]
    pub(super) fn set(&mut self, i: u8, value: F80) {
        let number = self.number(i);
        self.registers[number] = value;
        self.valid |= 1 << number;
    }

    /// Empties ST(`i`).
    #[inline(always)]
    pub(super) fn free(&mut self, i: u8) {
        self.valid &= !(1 << self.number(i));
    }

    #[inline(always)]
    pub(super) fn pop(&mut self) {
        self.free(0);
        self.top = self.top.wrapping_add(1) & 7;
    }

    /// Makes the outcome the new ST(0). If its place is not empty, that is a stack fault with C1 set.
    pub(super) fn push(&mut self, outcome: Outcome) {
        self.push_unchecked(if self.get(7).is_some() { Outcome::STACK_OVERFLOW } else { outcome });
    }

    /// As [`Self::push`], for a value widened from memory: a denormal one is delivered even when that is not masked.
    pub(super) fn push_converted(&mut self, outcome: Outcome) {
        let unmasked = self.control.unmasked(outcome.flags & flag::DE) != 0;
        let delivered = unmasked && self.get(7).is_none();
        self.push(outcome);
        if delivered {
            self.top = self.top.wrapping_sub(1) & 7;
            self.set(0, outcome.value);
        }
    }

    /// As [`Self::push`], with the stack checked already.
    pub(super) fn push_unchecked(&mut self, outcome: Outcome) {
        if self.raise(outcome.flags) {
            self.top = self.top.wrapping_sub(1) & 7;
            self.set(0, outcome.value);
        }
    }

    /// Sets ST(`i`) to the outcome of an operation.
    #[inline(always)]
    pub(super) fn deliver(&mut self, i: u8, outcome: Outcome) -> bool {
        let done = self.raise(outcome.flags);
        if done {
            self.set(i, outcome.value);
        }
        done
    }

    /// Records exceptions and C1; false if the result is not to be delivered as an unmasked exception came before it was
    /// computed.
    #[inline(always)]
    pub(super) fn raise(&mut self, flags: u16) -> bool {
        self.status &= !flag::C1;
        if flags == 0 { true } else { self.raise_flags(flags) }
    }

    fn raise_flags(&mut self, flags: u16) -> bool {
        const BEFORE: u16 = flag::IE | flag::DE | flag::ZE;
        let unmasked = self.control.unmasked(flags);
        if unmasked & BEFORE != 0 {
            // C1 tells of the stack then, not of rounding.
            let c1 = if flags & flag::SF != 0 { flag::C1 } else { 0 };
            self.status |= flags & (BEFORE | flag::SF | c1) | status::ES | status::BUSY;
            return false;
        }
        self.status |= flags;
        if unmasked != 0 {
            self.status |= status::ES | status::BUSY;
        }
        true
    }

    /// As [`Self::raise`] for results that go to memory, which unmasked over- and underflow stop as well: is it stopped?
    pub(super) fn stops_store(&self, flags: u16) -> bool {
        self.control.unmasked(flags) & !flag::PE != 0
    }

    /// Sets C3, C2 and C0, and clears C1.
    #[inline(always)]
    pub(super) fn set_conditions(&mut self, conditions: u16) {
        self.status = self.status & !status::CONDITIONS | conditions;
    }

    /// Loads the control word, which may unmask pending exceptions or mask them.
    pub(super) fn set_control_word(&mut self, value: u16) {
        self.control = Control(value & CONTROL_BITS | CONTROL_FIXED);
        self.summarise();
    }

    /// The control word.
    pub(super) fn control_word(&self) -> u16 {
        self.control.0
    }

    /// The status word with TOP.
    #[inline(always)]
    pub(super) fn status_word(&self) -> u16 {
        self.status | u16::from(self.top) << 11
    }

    /// Loads the status word; ES and B follow from the exceptions and their masks.
    pub(super) fn set_status_word(&mut self, value: u16) {
        self.top = (value >> 11 & 7) as u8;
        self.status = value & !status::TOP;
        self.summarise();
    }

    fn summarise(&mut self) {
        self.status &= !(status::ES | status::BUSY);
        if self.control.unmasked(self.status) != 0 {
            self.status |= status::ES | status::BUSY;
        }
    }

    /// The tag word: two bits a register (SDM vol. 1, 8.1.7).
    pub(super) fn tag_word(&self) -> u16 {
        (0..8).fold(0, |word, number| {
            let tag = if self.valid >> number & 1 == 0 {
                3
            } else {
                match self.registers[number].class() {
                    Class::Normal => 0,
                    Class::Zero => 1,
                    _ => 2,
                }
            };
            word | tag << (2 * number)
        })
    }

    /// Loads the tag word, of which only emptiness counts.
    pub(super) fn set_tag_word(&mut self, word: u16) {
        self.valid =
            (0..8).fold(0, |valid, number| valid | u8::from(word >> (2 * number) & 3 != 3) << number);
    }

    /// The configuration XRSTOR gives and XSAVE need not save (SDM vol. 1, 13.6).
    pub(super) fn is_initial(&self) -> bool {
        *self == Self::default()
    }

    /// An MMX register.
    #[inline(always)]
    pub(super) fn mmx(&self, number: u8) -> u64 {
        self.registers[number as usize & 7].significand
    }

    /// Writes an MMX register; its exponent becomes all ones.
    #[inline(always)]
    pub(super) fn set_mmx(&mut self, number: u8, value: u64) {
        self.registers[number as usize & 7] = F80 { significand: value, sign_exponent: 0xffff };
    }

    /// What every MMX instruction but EMMS does: TOP is 0, no register is empty.
    #[inline(always)]
    pub(super) fn enter_mmx(&mut self) {
        self.top = 0;
        self.valid = 0xff;
    }
}
