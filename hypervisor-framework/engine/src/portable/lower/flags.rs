//! The arithmetic flags.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I8, I16, I32, I64};
use cranelift_codegen::ir::{InstBuilder, Type, Value};
use iced_x86::{Instruction, RflagsBits};

use super::super::context::{field, kind};
use super::Lower;

/// What the flags follow from. Values are as wide as the operation but where it says otherwise.
#[derive(Clone, Copy)]
pub(super) enum Flags {
    /// In the region's variables.
    Unknown,
    /// As the context keeps them.
    Words([Value; 3]),
    Add {
        a: Value,
        b: Value,
        result: Value,
    },
    Subtract {
        a: Value,
        b: Value,
        result: Value,
    },
    Logic {
        result: Value,
    },
    /// Result, sign-extended, and XOR of the operands in 64 bits; carry and overflow in 8.
    Raw {
        result: Value,
        operands: Value,
        carry: Value,
        overflow: Value,
    },
}

/// Does the instruction read or write arithmetic flags?
pub(super) fn touches(insn: &Instruction) -> bool {
    let arithmetic =
        RflagsBits::OF | RflagsBits::SF | RflagsBits::ZF | RflagsBits::AF | RflagsBits::CF | RflagsBits::PF;
    let plain = insn.flow_control() == iced_x86::FlowControl::Next && !insn.is_privileged();
    !plain || (insn.rflags_read() | insn.rflags_modified()) & arithmetic != 0
}

/// log2 of the bytes of an integer type.
fn log2_bytes(ty: Type) -> u32 {
    ty.bytes().trailing_zeros()
}

impl Lower<'_, '_> {
    pub(super) fn ty(&self, value: Value) -> Type {
        self.b.func.dfg.value_type(value)
    }

    /// Zero-extends to 64 bits.
    pub(super) fn wide(&mut self, value: Value) -> Value {
        if self.ty(value) == I64 { value } else { self.b.ins().uextend(I64, value) }
    }

    /// Sign-extends to 64 bits.
    pub(super) fn signed(&mut self, value: Value) -> Value {
        if self.ty(value) == I64 { value } else { self.b.ins().sextend(I64, value) }
    }

    /// Truncates a word.
    pub(super) fn narrow(&mut self, value: Value, ty: Type) -> Value {
        if self.ty(value) == ty { value } else { self.b.ins().ireduce(ty, value) }
    }

    pub(super) fn constant(&mut self, ty: Type, value: u64) -> Value {
        let mask = match ty {
            I8 => 0xff,
            I16 => 0xffff,
            I32 => 0xffff_ffff,
            _ => u64::MAX,
        };
        self.b.ins().iconst(ty, (value & mask) as i64)
    }

    /// Is a value negative?
    pub(super) fn negative(&mut self, value: Value) -> Value {
        self.b.ins().icmp_imm(IntCC::SignedLessThan, value, 0)
    }

    /// The flags as the context keeps them.
    pub(super) fn flag_words(&mut self) -> [Value; 3] {
        match self.known.flags {
            Flags::Unknown => self.flag_word.map(|variable| self.b.use_var(variable)),
            Flags::Words(words) => words,
            Flags::Add { a, b, .. } => self.operand_words(kind::ADD, a, b),
            Flags::Subtract { a, b, .. } => self.operand_words(kind::SUBTRACT, a, b),
            Flags::Logic { result } => {
                let word = self.constant(I64, u64::from(kind::LOGIC));
                let zero = self.constant(I64, 0);
                [word, self.signed(result), zero]
            }
            Flags::Raw { result, operands, carry, overflow } => {
                let (carry, overflow) = (self.wide(carry), self.wide(overflow));
                let carry = self.b.ins().ishl_imm(carry, i64::from(kind::SHIFT));
                let overflow = self.b.ins().ishl_imm(overflow, i64::from(kind::SHIFT + 1));
                let both = self.b.ins().bor(carry, overflow);
                let word = self.b.ins().bor_imm(both, i64::from(kind::RAW));
                [word, result, operands]
            }
        }
    }

    fn operand_words(&mut self, kind: u32, a: Value, b: Value) -> [Value; 3] {
        let word = kind | log2_bytes(self.ty(a)) << kind::SHIFT;
        let word = self.constant(I64, u64::from(word));
        [word, self.wide(a), self.wide(b)]
    }

    /// Condition code 0–15, as 8 bits of 0 or 1 (SDM vol. 1, appendix B).
    pub(super) fn condition(&mut self, code: u8) -> Value {
        if let Some(value) = self.compared(code) {
            return value;
        }
        let value = self.holds(code >> 1 & 7, code & 0xe);
        if code & 1 == 0 { value } else { self.b.ins().bxor_imm(value, 1) }
    }

    /// A condition that is one comparison.
    fn compared(&mut self, code: u8) -> Option<Value> {
        let (a, b) = match self.known.flags {
            Flags::Subtract { a, b, .. } => (a, b),
            Flags::Logic { result } => {
                let zero = self.constant(self.ty(result), 0);
                (result, zero)
            }
            _ => return None,
        };
        let code = match (code, self.known.flags) {
            (8 | 9, Flags::Subtract { result, .. }) => {
                let relation =
                    if code == 8 { IntCC::SignedLessThan } else { IntCC::SignedGreaterThanOrEqual };
                return Some(self.b.ins().icmp_imm(relation, result, 0));
            }
            (2, _) => IntCC::UnsignedLessThan,
            (3, _) => IntCC::UnsignedGreaterThanOrEqual,
            (4, _) => IntCC::Equal,
            (5, _) => IntCC::NotEqual,
            (6, _) => IntCC::UnsignedLessThanOrEqual,
            (7, _) => IntCC::UnsignedGreaterThan,
            (8 | 12, _) => IntCC::SignedLessThan,
            (9 | 13, _) => IntCC::SignedGreaterThanOrEqual,
            (14, _) => IntCC::SignedLessThanOrEqual,
            (15, _) => IntCC::SignedGreaterThan,
            _ => return None,
        };
        Some(self.b.ins().icmp(code, a, b))
    }

    /// CF, as 8 bits of 0 or 1.
    pub(super) fn carry(&mut self) -> Value {
        self.condition(2)
    }

    /// The even condition `code`, whose number is twice `which`.
    fn holds(&mut self, which: u8, code: u8) -> Value {
        if matches!(self.known.flags, Flags::Unknown | Flags::Words(_)) {
            return self.asked(code);
        }
        match which {
            0 => self.overflow(),
            1 => self.carry_alone(),
            2 => {
                let result = self.result();
                self.b.ins().icmp_imm(IntCC::Equal, result, 0)
            }
            3 => {
                let (carry, zero) = (self.carry_alone(), self.holds(2, 4));
                self.b.ins().bor(carry, zero)
            }
            4 => {
                let result = self.result();
                self.negative(result)
            }
            5 => {
                let result = self.result();
                let low = self.narrow(result, I8);
                let ones = self.b.ins().popcnt(low);
                let odd = self.b.ins().band_imm(ones, 1);
                self.b.ins().bxor_imm(odd, 1)
            }
            6 => {
                let (sign, overflow) = (self.holds(4, 8), self.overflow());
                self.b.ins().bxor(sign, overflow)
            }
            _ => {
                let (less, zero) = (self.holds(6, 12), self.holds(2, 4));
                self.b.ins().bor(less, zero)
            }
        }
    }

    /// The result; ZF, SF and PF follow from it. Flags are known.
    fn result(&mut self) -> Value {
        match self.known.flags {
            Flags::Add { result, .. }
            | Flags::Subtract { result, .. }
            | Flags::Logic { result }
            | Flags::Raw { result, .. } => result,
            Flags::Unknown | Flags::Words(_) => self.constant(I64, 0),
        }
    }

    fn carry_alone(&mut self) -> Value {
        match self.known.flags {
            Flags::Add { a, result, .. } => self.b.ins().icmp(IntCC::UnsignedLessThan, result, a),
            Flags::Subtract { a, b, .. } => self.b.ins().icmp(IntCC::UnsignedLessThan, a, b),
            Flags::Raw { carry, .. } => carry,
            _ => self.constant(I8, 0),
        }
    }

    fn overflow(&mut self) -> Value {
        match self.known.flags {
            Flags::Add { a, b, result } => self.add_overflow(a, b, result),
            Flags::Subtract { a, b, result } => self.subtract_overflow(a, b, result),
            Flags::Raw { overflow, .. } => overflow,
            _ => self.constant(I8, 0),
        }
    }

    pub(super) fn add_overflow(&mut self, a: Value, b: Value, result: Value) -> Value {
        let (x, y) = (self.b.ins().bxor(a, result), self.b.ins().bxor(b, result));
        let both = self.b.ins().band(x, y);
        self.negative(both)
    }

    pub(super) fn subtract_overflow(&mut self, a: Value, b: Value, result: Value) -> Value {
        let (x, y) = (self.b.ins().bxor(a, b), self.b.ins().bxor(a, result));
        let both = self.b.ins().band(x, y);
        self.negative(both)
    }

    /// An even condition of flags that are not known: asks, but for the carry of [`kind::RAW`].
    fn asked(&mut self, code: u8) -> Value {
        let [word, a, b] = self.flag_words();
        let (ask, done) = (self.cold(), self.b.create_block());
        let answer = self.b.append_block_param(done, I8);
        if code == 2 {
            let known = self.b.create_block();
            let low = self.b.ins().band_imm(word, 0xff);
            let raw = self.b.ins().icmp_imm(IntCC::Equal, low, i64::from(kind::RAW));
            self.b.ins().brif(raw, known, &[], ask, &[]);
            self.b.switch_to_block(known);
            let bit = self.b.ins().ushr_imm(word, i64::from(kind::SHIFT));
            let bit = self.b.ins().band_imm(bit, 1);
            let bit = self.narrow(bit, I8);
            self.b.ins().jump(done, &[bit.into()]);
        } else {
            self.b.ins().jump(ask, &[]);
        }
        self.b.switch_to_block(ask);
        let low = self.b.ins().band_imm(word, 0xffff_ffff);
        let asked = self.b.ins().bor_imm(low, i64::from(code) << 32);
        self.call(field::CONDITION, asked, a, b);
        let value = self.b.ins().load(I64, super::OWN, self.context, field::VALUE);
        let value = self.narrow(value, I8);
        self.b.ins().jump(done, &[value.into()]);
        self.b.switch_to_block(done);
        answer
    }

    /// Flags of an instruction that has its own carry and overflow.
    pub(super) fn set_raw(&mut self, result: Value, operands: Option<Value>, carry: Value, overflow: Value) {
        let result = self.signed(result);
        let operands = match operands {
            Some(operands) => self.wide(operands),
            None => result,
        };
        self.known.flags = Flags::Raw { result, operands, carry, overflow };
    }
}
