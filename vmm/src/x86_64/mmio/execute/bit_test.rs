//! BT, BTS, BTR, BTC.

use iced_x86::{Mnemonic, OpKind};

use super::super::address::offset_mask;
use super::super::context::GuestContext;
use super::super::emulation::Emulation;
use super::super::error::Stop;
use super::super::flags::CF;
use super::super::operand::sign_extend;
use crate::x86_64::paging::Access;

impl<C: GuestContext> Emulation<'_, C> {
    /// With a register as bit offset the bit may lie anywhere around the address, counted in units of the operand.
    pub(super) fn bit_test(&mut self) -> Result<(), Stop<C::Error>> {
        let width = self.operand_width(0);
        let bits = 8 * u64::from(width);
        let writes = self.instruction.mnemonic() != Mnemonic::Bt;
        let access = if writes { Access::Write } else { Access::Read };
        let source = self.place(1, Access::Read)?;
        let bit = self.get(&source)?;
        let (segment, mut offset, size) = self.effective_address(None)?;
        if self.instruction.op1_kind() == OpKind::Register {
            let units = (sign_extend(bit, width) as i64).div_euclid(bits as i64);
            offset = offset.wrapping_add((units as u64).wrapping_mul(width.into())) & offset_mask(size);
        }
        let window = self.window(segment)?;
        let target = self.locate(&window, offset, width.into(), access)?;
        let value = self.load(&target);
        let mask = 1_u128 << (bit % bits);
        let new = match self.instruction.mnemonic() {
            Mnemonic::Bts => value | mask,
            Mnemonic::Btr => value & !mask,
            _ => value ^ mask,
        };
        if writes {
            self.store(&target, new);
        }
        self.set_flags(CF, if value & mask != 0 { CF } else { 0 });
        Ok(())
    }
}
