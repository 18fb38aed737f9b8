//! IMUL with two and three operands: register from memory.

use super::super::context::GuestContext;
use super::super::emulation::Emulation;
use super::super::error::{Stop, Unsupported};
use super::super::flags::{self, CF, OF, STATUS};
use super::super::operand::sign_extend;
use crate::x86_64::paging::Access;

impl<C: GuestContext> Emulation<'_, C> {
    /// CF and OF tell a product that does not fit; the other flags are undefined and follow the result.
    pub(super) fn multiply(&mut self) -> Result<(), Stop<C::Error>> {
        let width = self.operand_width(0);
        let (first, second) = match self.instruction.op_count() {
            2 => (0, 1),
            3 => (1, 2),
            _ => return Err(Unsupported::Instruction.into()),
        };
        let target = self.place(0, Access::Write)?;
        let a = self.place(first, Access::Read)?;
        let b = self.place(second, Access::Read)?;
        let signed = |value| i128::from(sign_extend(value, width) as i64);
        let product = signed(self.get(&a)?) * signed(self.get(&b)?);
        let value = product as u64;
        self.put(&target, value)?;
        let overflow = if product == signed(value) { 0 } else { CF | OF };
        self.set_flags(STATUS, flags::logic(value, width).flags | overflow);
        Ok(())
    }
}
