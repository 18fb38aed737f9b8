//! MOV and its extending and byte-swapping forms.

use iced_x86::OpKind;

use super::super::address::segment_of;
use super::super::context::GuestContext;
use super::super::emulation::Emulation;
use super::super::error::{Stop, Unsupported};
use super::super::operand::{Place, sign_extend};
use crate::x86_64::paging::Access;

impl<C: GuestContext> Emulation<'_, C> {
    /// MOV (88–8B, A0–A3, C6, C7, 8C) and MOVNTI.
    pub(super) fn mov(&mut self) -> Result<(), Stop<C::Error>> {
        if self.instruction.op1_kind() == OpKind::Register
            && let Some(segment) = segment_of(self.instruction.op1_register())
        {
            // A selector store is 16 bits wide whatever the operand size.
            let target = self.locate_operand(2, Access::Write)?;
            let selector = self.context.segment(segment).map_err(Stop::Context)?.selector;
            self.store(&target, selector.into());
            return Ok(());
        }
        let target = self.place(0, Access::Write)?;
        let source = self.place(1, Access::Read)?;
        let value = self.get(&source)?;
        self.put(&target, value)
    }

    /// MOVZX, MOVSX and MOVSXD; the destination is a register.
    pub(super) fn mov_extended(&mut self, signed: bool) -> Result<(), Stop<C::Error>> {
        let target = self.place(0, Access::Write)?;
        let width = self.operand_width(1);
        let source = self.place(1, Access::Read)?;
        let value = self.get(&source)?;
        self.put(&target, if signed { sign_extend(value, width) } else { value })
    }

    /// MOVBE, in both directions.
    pub(super) fn mov_big_endian(&mut self) -> Result<(), Stop<C::Error>> {
        let width = self.operand_width(0);
        let target = self.place(0, Access::Write)?;
        let source = self.place(1, Access::Read)?;
        if matches!((&target, &source), (Place::Immediate(_), _) | (_, Place::Immediate(_))) {
            return Err(Unsupported::Instruction.into());
        }
        let value = self.get(&source)?;
        self.put(&target, value.swap_bytes() >> (64 - 8 * u32::from(width.clamp(1, 8))))
    }
}
