//! SETcc and CMOVcc.

use iced_x86::ConditionCode;

use super::super::context::GuestContext;
use super::super::emulation::Emulation;
use super::super::error::{Stop, Unsupported};
use super::super::flags::{CF, OF, PF, SF, ZF};
use crate::x86_64::paging::Access;

impl<C: GuestContext> Emulation<'_, C> {
    /// Does the instruction's condition hold (SDM vol. 1 appendix B)?
    fn condition(&self) -> Option<bool> {
        let set = |flag| self.rflags & flag != 0;
        let less = set(SF) != set(OF);
        Some(match self.instruction.condition_code() {
            ConditionCode::None => return None,
            ConditionCode::o => set(OF),
            ConditionCode::no => !set(OF),
            ConditionCode::b => set(CF),
            ConditionCode::ae => !set(CF),
            ConditionCode::e => set(ZF),
            ConditionCode::ne => !set(ZF),
            ConditionCode::be => set(CF) || set(ZF),
            ConditionCode::a => !set(CF) && !set(ZF),
            ConditionCode::s => set(SF),
            ConditionCode::ns => !set(SF),
            ConditionCode::p => set(PF),
            ConditionCode::np => !set(PF),
            ConditionCode::l => less,
            ConditionCode::ge => !less,
            ConditionCode::le => less || set(ZF),
            ConditionCode::g => !less && !set(ZF),
        })
    }

    /// 0F 90–9F, to memory.
    pub(super) fn set_conditional(&mut self) -> Result<(), Stop<C::Error>> {
        let holds = self.condition().ok_or(Unsupported::Instruction)?;
        let target = self.place(0, Access::Write)?;
        self.put(&target, holds.into())
    }

    /// 0F 40–4F: memory is read, and a 32-bit destination cleared above, even where the condition fails.
    pub(super) fn mov_conditional(&mut self) -> Result<(), Stop<C::Error>> {
        let holds = self.condition().ok_or(Unsupported::Instruction)?;
        let target = self.place(0, Access::Write)?;
        let source = self.place(1, Access::Read)?;
        let (old, new) = (self.get(&target)?, self.get(&source)?);
        self.put(&target, if holds { new } else { old })
    }
}
