//! Integer arithmetic and logic with a memory operand on either side.

use iced_x86::Mnemonic;

use super::super::context::GuestContext;
use super::super::emulation::Emulation;
use super::super::error::{Stop, Unsupported};
use super::super::flags::{self, CF, STATUS};
use crate::x86_64::paging::Access;

impl<C: GuestContext> Emulation<'_, C> {
    /// ADD, ADC, SUB, SBB, AND, OR, XOR.
    pub(super) fn arithmetic(&mut self) -> Result<(), Stop<C::Error>> {
        let width = self.operand_width(0);
        let target = self.place(0, Access::Write)?;
        let source = self.place(1, Access::Read)?;
        let (a, b) = (self.get(&target)?, self.get(&source)?);
        let carry = self.rflags & CF != 0;
        let computed = match self.instruction.mnemonic() {
            Mnemonic::Add => flags::add(a, b, false, width),
            Mnemonic::Adc => flags::add(a, b, carry, width),
            Mnemonic::Sub => flags::subtract(a, b, false, width),
            Mnemonic::Sbb => flags::subtract(a, b, carry, width),
            Mnemonic::And => flags::logic(a & b, width),
            Mnemonic::Or => flags::logic(a | b, width),
            Mnemonic::Xor => flags::logic(a ^ b, width),
            _ => return Err(Unsupported::Instruction.into()),
        };
        self.put(&target, computed.value)?;
        self.set_status(computed.flags);
        Ok(())
    }

    /// CMP and TEST: nothing is written.
    pub(super) fn compare(&mut self) -> Result<(), Stop<C::Error>> {
        let width = self.operand_width(0);
        let first = self.place(0, Access::Read)?;
        let second = self.place(1, Access::Read)?;
        let (a, b) = (self.get(&first)?, self.get(&second)?);
        let computed = match self.instruction.mnemonic() {
            Mnemonic::Cmp => flags::subtract(a, b, false, width),
            _ => flags::logic(a & b, width),
        };
        self.set_status(computed.flags);
        Ok(())
    }

    /// INC and DEC leave CF; NEG sets all flags; NOT sets none.
    pub(super) fn unary(&mut self) -> Result<(), Stop<C::Error>> {
        let width = self.operand_width(0);
        let target = self.place(0, Access::Write)?;
        let value = self.get(&target)?;
        let (computed, affected) = match self.instruction.mnemonic() {
            Mnemonic::Inc => (flags::add(value, 1, false, width), STATUS & !CF),
            Mnemonic::Dec => (flags::subtract(value, 1, false, width), STATUS & !CF),
            Mnemonic::Neg => (flags::subtract(0, value, false, width), STATUS),
            _ => (flags::logic(!value, width), 0),
        };
        self.put(&target, computed.value)?;
        self.set_flags(affected, computed.flags);
        Ok(())
    }
}
