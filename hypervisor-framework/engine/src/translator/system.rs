//! Instructions that stay what they are only under conditions tested first: division and the interrupt flag.

use iced_x86::{Code, Instruction, OpKind};

use super::context::field;
use super::emitter::host::{RAX, RBP, RDX};
use super::emitter::{At, condition, group, opcode};
use super::memory::Need;
use super::registers::{ACCUMULATOR, Home, STACK_POINTER, home, spilled};
use super::stubs::{context, state};
use super::unit::{Back, Builder, Emitted, Unsupported};
use crate::cpu::flags::bit;

impl Builder<'_> {
    /// DIV and IDIV of 32 and 64 bits. What may overflow is left to the interpreter, and so are flags, which stay.
    pub(super) fn divide(&mut self, insn: &Instruction) -> Emitted {
        let (wide, signed) = match insn.code() {
            Code::Div_rm32 => (false, false),
            Code::Div_rm64 => (true, false),
            Code::Idiv_rm32 => (false, true),
            Code::Idiv_rm64 => (true, true),
            _ => return Err(Unsupported),
        };
        self.clobber_flags();
        match insn.op0_kind() {
            OpKind::Register => match home(insn.op0_register()).ok_or(Unsupported)? {
                Home::Host(host) => self.e.registers(wide, opcode::LOAD, RBP, host),
                Home::Spilled(index) => self.e.memory(wide, opcode::LOAD, RBP, spilled(index)),
            },
            _ => {
                self.linear(insn)?;
                self.translate_address(Need { write: false, size: if wide { 8 } else { 4 }, aligned: false });
                self.e.memory(wide, opcode::LOAD, RBP, At::Base(RAX, 0));
            }
        }
        let mut slow =
            |e: &mut super::emitter::Emitter, condition| self.branches.push(e.branch_if(condition));
        let e = &mut self.e;
        if signed {
            // The dividend is the accumulator's sign extension, as CDQ and CQO leave it, and the divisor not 0 or -1.
            e.registers(wide, opcode::LOAD, RAX, ACCUMULATOR);
            e.shift(wide, group::SAR, RAX, if wide { 63 } else { 31 });
            e.registers(wide, opcode::CMP, RAX, RDX);
            slow(e, condition::NOT_EQUAL);
            e.memory(wide, opcode::LEA, RAX, At::Base(RBP, 1));
            e.immediate(wide, group::CMP, RAX, 1);
            slow(e, condition::BELOW_OR_EQUAL);
        } else {
            // The quotient fits if the dividend's high half is below the divisor, which then is not 0.
            e.registers(wide, opcode::CMP, RDX, RBP);
            slow(e, condition::ABOVE_OR_EQUAL);
        }
        e.registers(wide, opcode::LOAD, RAX, ACCUMULATOR);
        e.registers(wide, &[0xf7], if signed { 7 } else { 6 }, RBP);
        e.copy(ACCUMULATOR, RAX);
        self.resume_here(false);
        Ok(())
    }

    /// CLI at CPL 0.
    pub(super) fn clear_interrupt_flag(&mut self) -> Emitted {
        if self.user != 0 {
            return Err(Unsupported);
        }
        self.clobber_flags();
        self.e.load(RBP, context(field::CPU));
        self.e.memory_with(false, &[0x80], 7, At::Base(RBP, state::CPL), 1);
        self.e.byte(0);
        let unprivileged = self.e.branch_if(condition::NOT_EQUAL);
        self.branches.push(unprivileged);
        self.e.memory_with(false, &[0x81], group::AND, At::Base(RBP, state::SYSTEM_FLAGS), 4);
        self.e.imm32(!(bit::IF as i32));
        self.resume_here(false);
        Ok(())
    }

    /// PUSHFQ; there is no virtual-8086 mode in 64-bit code.
    pub(super) fn push_flags(&mut self) -> Emitted {
        self.clobber_flags();
        // From LAHF and SETO to their places.
        self.e.memory(false, &[0x0f, 0xb7], RAX, context(field::FLAGS));
        self.e.registers(false, opcode::LOAD, RBP, RAX);
        self.e.immediate(false, group::AND, RBP, 1);
        self.e.shift(false, group::SHL, RBP, 11);
        self.e.shift(false, group::SHR, RAX, 8);
        self.e.immediate(false, group::AND, RAX, 0xd5);
        self.e.registers(false, &[0x0b], RAX, RBP);
        self.e.load(RBP, context(field::CPU));
        self.e.memory(false, &[0x0b], RAX, At::Base(RBP, state::SYSTEM_FLAGS));
        self.e.immediate(false, group::OR, RAX, bit::FIXED as i32);
        self.e.immediate(false, group::AND, RAX, !(bit::RF as i32));
        self.e.store(RAX, context(field::TARGET));
        self.e.lea(RAX, At::Base(STACK_POINTER, -8));
        self.translate_address(Need { write: true, size: 8, aligned: false });
        self.e.load(RBP, context(field::TARGET));
        self.e.store(RBP, At::Base(RAX, 0));
        self.e.immediate(true, group::SUB, STACK_POINTER, 8);
        let back = Back::Resume { at: self.e.here(), flags: false };
        self.end_slow(self.vectors, back, true);
        Ok(())
    }
}
