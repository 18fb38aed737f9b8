//! IN, OUT, INS, OUTS.

use iced_x86::{Mnemonic, OpKind};

use super::super::context::{GuestContext, PortAccess};
use super::super::emulation::{Done, Emulation};
use super::super::error::{Stop, Unsupported};
use super::super::operand::{GprPart, width_mask};
use super::string::Kind;

/// RDX's number.
const RDX: u8 = 2;

impl<C: GuestContext> Emulation<'_, C> {
    pub(in super::super) fn execute_port_io(
        &mut self,
        ports: &mut dyn PortAccess,
    ) -> Result<Done, Stop<C::Error>> {
        let dx = self.context.gpr(RDX).map_err(Stop::Context)? as u16;
        match self.instruction.mnemonic() {
            Mnemonic::Insb => self.iterate(Kind::Ins(dx), 1, ports),
            Mnemonic::Insw => self.iterate(Kind::Ins(dx), 2, ports),
            Mnemonic::Insd => self.iterate(Kind::Ins(dx), 4, ports),
            Mnemonic::Outsb => self.iterate(Kind::Outs(dx), 1, ports),
            Mnemonic::Outsw => self.iterate(Kind::Outs(dx), 2, ports),
            Mnemonic::Outsd => self.iterate(Kind::Outs(dx), 4, ports),
            Mnemonic::In => {
                let part = GprPart::of(self.instruction.op0_register()).ok_or(Unsupported::Instruction)?;
                let value = u64::from(ports.read(self.port(1, dx), part.width));
                self.put_part(part, value & width_mask(part.width))?;
                Ok(Done::Complete)
            }
            Mnemonic::Out => {
                let part = GprPart::of(self.instruction.op1_register()).ok_or(Unsupported::Instruction)?;
                let value = self.get_part(part)? as u32;
                ports.write(self.port(0, dx), part.width, value);
                Ok(Done::Complete)
            }
            _ => Err(Unsupported::Instruction.into()),
        }
    }

    /// The port: an immediate byte, or DX.
    fn port(&self, operand: u32, dx: u16) -> u16 {
        if self.instruction.op_kind(operand) == OpKind::Immediate8 {
            self.instruction.immediate8().into()
        } else {
            dx
        }
    }
}
