//! SSE moves between XMM registers and memory.

use iced_x86::{Mnemonic, OpKind, Register};

use super::super::context::GuestContext;
use super::super::emulation::Emulation;
use super::super::error::{Exception, Stop, Unsupported};
use crate::x86_64::paging::Access;

/// Which bits of the register a move of less than 16 bytes concerns.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    /// The low bits; a load clears the rest.
    Low,
    /// The low half; a load keeps the high one.
    LowHalf,
    /// The high half; a load keeps the low one.
    HighHalf,
}

/// The low half of a register.
const LOW: u128 = u64::MAX as u128;

impl<C: GuestContext> Emulation<'_, C> {
    pub(super) fn vector(&mut self) -> Result<(), Stop<C::Error>> {
        let (part, aligned) = match self.instruction.mnemonic() {
            Mnemonic::Movups | Mnemonic::Movupd | Mnemonic::Movdqu | Mnemonic::Lddqu => (Part::Low, false),
            Mnemonic::Movaps
            | Mnemonic::Movapd
            | Mnemonic::Movdqa
            | Mnemonic::Movntdq
            | Mnemonic::Movntps
            | Mnemonic::Movntpd
            | Mnemonic::Movntdqa => (Part::Low, true),
            Mnemonic::Movd | Mnemonic::Movq | Mnemonic::Movss | Mnemonic::Movsd => (Part::Low, false),
            Mnemonic::Movlps | Mnemonic::Movlpd => (Part::LowHalf, false),
            Mnemonic::Movhps | Mnemonic::Movhpd => (Part::HighHalf, false),
            _ => return Err(Unsupported::Instruction.into()),
        };
        let store = self.instruction.op0_kind() == OpKind::Memory;
        let register = self.instruction.op_register(u32::from(store));
        let number = xmm_number(register).ok_or(Unsupported::Instruction)?;
        let width = self.instruction.memory_size().size();
        let access = if store { Access::Write } else { Access::Read };

        let (segment, offset, _) = self.effective_address(None)?;
        let window = self.window(segment)?;
        let linear = window.linear(offset, width as u64, access)?;
        if aligned && linear % 16 != 0 {
            return Err(Exception::general_protection().into());
        }
        let memory = self.locate(&window, offset, width, access)?;
        let old = self.context.xmm(number)?;
        if store {
            self.store(&memory, if part == Part::HighHalf { old >> 64 } else { old });
            return Ok(());
        }
        let value = self.load(&memory);
        let new = match part {
            Part::Low => value,
            Part::LowHalf => old & !LOW | value,
            Part::HighHalf => old & LOW | value << 64,
        };
        self.context.set_xmm(number, new)
    }
}

fn xmm_number(register: Register) -> Option<u8> {
    if register.is_xmm() { u8::try_from(register.number()).ok() } else { None }
}
