//! PUSH and POP with a memory operand.

use super::super::address::offset_mask;
use super::super::context::{CodeSize, GuestContext, Segment};
use super::super::emulation::Emulation;
use super::super::error::Stop;
use crate::x86_64::paging::Access;

/// RSP's number.
const RSP: u8 = 4;

impl<C: GuestContext> Emulation<'_, C> {
    /// The stack's segment, RSP, and the mask of the stack pointer's width.
    fn stack(&mut self) -> Result<(super::super::address::Window, u64, u64), Stop<C::Error>> {
        let window = self.window(Segment::Ss)?;
        let size = match self.mode.code {
            CodeSize::Bits64 => 8,
            _ if window.big() => 4,
            _ => 2,
        };
        let rsp = self.context.gpr(RSP).map_err(Stop::Context)?;
        Ok((window, rsp, offset_mask(size)))
    }

    /// FF /6
    pub(super) fn push(&mut self) -> Result<(), Stop<C::Error>> {
        let width = self.operand_width(0);
        let source = self.place(0, Access::Read)?;
        let (window, rsp, mask) = self.stack()?;
        let top = rsp.wrapping_sub(width.into()) & mask;
        let target = self.locate(&window, top, width.into(), Access::Write)?;
        let value = self.get(&source)?;
        self.store(&target, value.into());
        self.context.set_gpr(RSP, rsp & !mask | top).map_err(Stop::Context)
    }

    /// 8F /0: an address based on RSP uses its value after the pop.
    pub(super) fn pop(&mut self) -> Result<(), Stop<C::Error>> {
        let width = self.operand_width(0);
        let (stack, rsp, mask) = self.stack()?;
        let source = self.locate(&stack, rsp & mask, width.into(), Access::Read)?;
        let popped = rsp & !mask | rsp.wrapping_add(width.into()) & mask;
        let (segment, offset, _) = self.effective_address(Some(popped))?;
        let window = self.window(segment)?;
        let target = self.locate(&window, offset, width.into(), Access::Write)?;
        let value = self.load(&source);
        self.store(&target, value);
        self.context.set_gpr(RSP, popped).map_err(Stop::Context)
    }
}
