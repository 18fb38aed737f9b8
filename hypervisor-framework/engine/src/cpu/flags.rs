//! RFLAGS, kept as the results they derive from (SDM vol. 1, 3.4.3).

/// Bits of RFLAGS.
pub(crate) mod bit {
    pub(crate) const CF: u64 = 1 << 0;
    pub(crate) const PF: u64 = 1 << 2;
    pub(crate) const AF: u64 = 1 << 4;
    pub(crate) const ZF: u64 = 1 << 6;
    pub(crate) const SF: u64 = 1 << 7;
    pub(crate) const TF: u64 = 1 << 8;
    pub(crate) const IF: u64 = 1 << 9;
    pub(crate) const DF: u64 = 1 << 10;
    pub(crate) const OF: u64 = 1 << 11;
    pub(crate) const IOPL: u64 = 3 << 12;
    pub(crate) const NT: u64 = 1 << 14;
    pub(crate) const RF: u64 = 1 << 16;
    pub(crate) const VM: u64 = 1 << 17;
    pub(crate) const AC: u64 = 1 << 18;
    pub(crate) const VIF: u64 = 1 << 19;
    pub(crate) const VIP: u64 = 1 << 20;
    pub(crate) const ID: u64 = 1 << 21;
    /// The six arithmetic flags.
    pub(crate) const ARITHMETIC: u64 = CF | PF | AF | ZF | SF | OF;
    /// Every bit that exists, without the one that is always 1.
    pub(crate) const ALL: u64 = ARITHMETIC | TF | IF | DF | IOPL | NT | RF | VM | AC | VIF | VIP | ID;
    /// Bit 1 reads as 1.
    pub(crate) const FIXED: u64 = 1 << 1;
}

/// The flags. An arithmetic instruction stores its result, carry and overflow; ZF, SF, PF and AF are derived on demand.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Flags {
    /// The result, sign-extended: ZF, SF and PF.
    pub(crate) result: u64,
    /// Operand 1 XOR operand 2: AF is bit 4 of it XOR the result.
    pub(crate) operands: u64,
    /// CF, 0 or 1.
    pub(crate) carry: bool,
    /// OF, 0 or 1.
    pub(crate) overflow: bool,
    /// SF is inverted: for values no single result gives, as POPF may load.
    pub(crate) invert_sign: bool,
    /// PF is inverted, likewise.
    pub(crate) invert_parity: bool,
    /// The flags that are not arithmetic, in place.
    pub(crate) system: u64,
}

impl Flags {
    #[inline(always)]
    pub(crate) fn zero(&self) -> bool {
        self.result == 0
    }

    #[inline(always)]
    pub(crate) fn sign(&self) -> bool {
        ((self.result as i64) < 0) ^ self.invert_sign
    }

    #[inline(always)]
    pub(crate) fn parity(&self) -> bool {
        ((self.result as u8).count_ones() & 1 == 0) ^ self.invert_parity
    }

    #[inline(always)]
    pub(crate) fn auxiliary(&self) -> bool {
        (self.result ^ self.operands) & 0x10 != 0
    }

    /// Sets all six from an instruction's outcome; `result` is sign-extended from the operand size.
    #[inline(always)]
    pub(crate) fn set(&mut self, result: u64, operands: u64, carry: bool, overflow: bool) {
        self.result = result;
        self.operands = operands;
        self.carry = carry;
        self.overflow = overflow;
        self.invert_sign = false;
        self.invert_parity = false;
    }

    /// Sets the flags of a logic instruction: CF, OF and AF are 0.
    #[inline(always)]
    pub(crate) fn set_logic(&mut self, result: u64) {
        self.set(result, result, false, false);
    }

    /// The arithmetic flags in place.
    pub(crate) fn arithmetic(&self) -> u64 {
        let flag = |on: bool, bit: u64| if on { bit } else { 0 };
        flag(self.carry, bit::CF)
            | flag(self.parity(), bit::PF)
            | flag(self.auxiliary(), bit::AF)
            | flag(self.zero(), bit::ZF)
            | flag(self.sign(), bit::SF)
            | flag(self.overflow, bit::OF)
    }

    /// Loads the arithmetic flags from their places.
    pub(crate) fn set_arithmetic(&mut self, value: u64) {
        let zero = value & bit::ZF != 0;
        let sign = value & bit::SF != 0;
        let result: u64 = if zero { 0 } else { 1 };
        self.result = result;
        self.operands = result ^ if value & bit::AF != 0 { 0x10 } else { 0 };
        self.carry = value & bit::CF != 0;
        self.overflow = value & bit::OF != 0;
        self.invert_sign = sign;
        self.invert_parity = false;
        self.invert_parity = self.parity() != (value & bit::PF != 0);
    }

    /// RFLAGS.
    pub(crate) fn get(&self) -> u64 {
        self.system | self.arithmetic() | bit::FIXED
    }

    /// Loads RFLAGS; bits that do not exist are dropped.
    pub(crate) fn load(&mut self, value: u64) {
        self.set_arithmetic(value);
        self.system = value & bit::ALL & !bit::ARITHMETIC;
    }

    #[inline(always)]
    pub(crate) fn has(&self, system_bit: u64) -> bool {
        self.system & system_bit != 0
    }

    /// Condition code 0–15 of Jcc, SETcc and CMOVcc (SDM vol. 1, appendix B).
    #[inline(always)]
    pub(crate) fn condition(&self, code: u8) -> bool {
        let holds = match code >> 1 & 7 {
            0 => self.overflow,
            1 => self.carry,
            2 => self.zero(),
            3 => self.carry | self.zero(),
            4 => self.sign(),
            5 => self.parity(),
            6 => self.sign() != self.overflow,
            _ => self.zero() | (self.sign() != self.overflow),
        };
        holds ^ (code & 1 != 0)
    }
}
