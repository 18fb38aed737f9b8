//! Instructions that stay what they are only under conditions tested first: division; and what kernels use of the
//! system's state at each entry: the interrupt flag, segment bases, CR2.

use iced_x86::{Code, Instruction, OpKind, Register};

use super::context::field;
use super::emitter::host::{RAX, RBP, RDX};
use super::emitter::{At, condition, group, opcode};
use super::memory::Need;
use super::registers::{ACCUMULATOR, Home, STACK_POINTER, home, spilled};
use super::slow::Back;
use super::stubs::{context, state};
use super::unit::{Builder, Emitted, Unsupported};
use crate::block::segment_number;
use crate::cpu::control::cr4;
use crate::cpu::flags::bit;
use crate::cpu::slot;
use crate::intercept::Controls;

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

    /// Puts the CPU's address into RBP and leaves all levels but 0 to the interpreter. Flags are saved.
    fn require_level_0(&mut self) -> Emitted {
        if self.user != 0 {
            return Err(Unsupported);
        }
        self.clobber_flags();
        self.e.load(RBP, context(field::CPU));
        self.e.memory_with(false, &[0x80], group::CMP, At::Base(RBP, state::CPL), 1);
        self.e.byte(0);
        self.slow_if(condition::NOT_EQUAL);
        Ok(())
    }

    fn slow_if(&mut self, condition: u8) {
        let branch = self.e.branch_if(condition);
        self.branches.push(branch);
    }

    /// `test dword [RBP + place], mask`
    fn test(&mut self, place: i32, mask: u32) {
        self.e.memory_with(false, &[0xf7], 0, At::Base(RBP, place), 4);
        self.e.imm32(mask as i32);
    }

    /// `op dword [RBP + SYSTEM_FLAGS], value`
    fn change_system_flags(&mut self, group: u8, value: u64) {
        self.e.memory_with(false, &[0x81], group, At::Base(RBP, state::SYSTEM_FLAGS), 4);
        self.e.imm32(value as i32);
    }

    /// CLI at CPL 0.
    pub(super) fn clear_interrupt_flag(&mut self) -> Emitted {
        self.require_level_0()?;
        self.change_system_flags(group::AND, !bit::IF);
        self.resume_here(false);
        Ok(())
    }

    /// STI at CPL 0, unless someone waits for what it allows. Its shadow is for whoever leaves before the next
    /// instruction is done: it is the last of its block.
    pub(super) fn set_interrupt_flag(&mut self) -> Emitted {
        let wanted = Controls::MONITOR_TRAP | Controls::NMI_WINDOW | Controls::INTERRUPT_WINDOW;
        self.require_level_0()?;
        self.test(state::CONTROLS, wanted.bits());
        self.slow_if(condition::NOT_EQUAL);
        self.test(state::SYSTEM_FLAGS, bit::IF as u32);
        let set = self.e.branch_if(condition::NOT_EQUAL);
        self.change_system_flags(group::OR, bit::IF);
        // mov word [SHADOW], STI's
        self.e.raw(&[0x66]);
        self.e.memory_with(false, &[0xc7], 0, context(field::SHADOW), 2);
        self.e.raw(&[1, 0]);
        self.e.memory(false, opcode::LOAD, RAX, context(field::BUDGET));
        self.e.memory(false, opcode::STORE, RAX, context(field::SHADOW_AT));
        self.e.land(set);
        self.resume_here(false);
        Ok(())
    }

    /// CLD and STD.
    pub(super) fn direction_flag(&mut self, set: bool) -> Emitted {
        self.clobber_flags();
        self.e.load(RBP, context(field::CPU));
        if set {
            self.change_system_flags(group::OR, bit::DF);
        } else {
            self.change_system_flags(group::AND, !bit::DF);
        }
        Ok(())
    }

    /// SWAPGS.
    pub(super) fn swap_gs(&mut self) -> Emitted {
        self.require_level_0()?;
        let base = At::Base(RBP, state::REGS + 8 * i32::from(slot::GS_BASE));
        let other = At::Base(RBP, state::KERNEL_GS_BASE);
        self.e.load(RAX, base);
        self.e.store(RAX, context(field::TARGET));
        self.e.load(RAX, other);
        self.e.store(RAX, base);
        self.e.load(RAX, context(field::TARGET));
        self.e.store(RAX, other);
        self.resume_here(false);
        Ok(())
    }

    /// MOV from CR2, which nobody intercepts.
    pub(super) fn read_control(&mut self, insn: &Instruction) -> Emitted {
        if insn.code() != Code::Mov_r64_cr || insn.op1_register() != Register::CR2 {
            return Err(Unsupported);
        }
        let to = home(insn.op0_register()).ok_or(Unsupported)?;
        self.require_level_0()?;
        self.load_home(to, At::Base(RBP, state::CR2));
        self.resume_here(false);
        Ok(())
    }

    fn load_home(&mut self, to: Home, from: At) {
        match to {
            Home::Host(host) => self.e.load(host, from),
            Home::Spilled(index) => {
                self.e.load(RAX, from);
                self.e.store(RAX, spilled(index));
            }
        }
    }

    /// MOV of a segment's selector to a register.
    pub(super) fn read_selector(&mut self, insn: &Instruction) -> Emitted {
        let number = i32::from(segment_number(insn.op1_register()));
        let from = At::Base(RBP, state::SELECTORS + number * state::SEGMENT_SIZE);
        let register = insn.op0_register();
        let Some(Home::Host(host)) = home(register) else { return Err(Unsupported) };
        self.e.load(RBP, context(field::CPU));
        if register.size() == 2 {
            self.e.raw(&[0x66]);
            self.e.memory(false, opcode::LOAD, host, from);
        } else {
            self.e.memory(false, opcode::MOVZX_WORD, host, from);
        }
        Ok(())
    }

    /// RDFSBASE, RDGSBASE, WRFSBASE and WRGSBASE of 64 bits.
    pub(super) fn segment_base(&mut self, insn: &Instruction) -> Emitted {
        let (number, write) = match insn.code() {
            Code::Rdfsbase_r64 => (slot::FS_BASE, false),
            Code::Rdgsbase_r64 => (slot::GS_BASE, false),
            Code::Wrfsbase_r64 => (slot::FS_BASE, true),
            Code::Wrgsbase_r64 => (slot::GS_BASE, true),
            _ => return Err(Unsupported),
        };
        let register = home(insn.op0_register()).ok_or(Unsupported)?;
        let base = At::Base(RBP, state::REGS + 8 * i32::from(number));
        self.clobber_flags();
        if write {
            match register {
                Home::Host(host) => self.e.copy(RAX, host),
                Home::Spilled(index) => self.e.load(RAX, spilled(index)),
            }
            // Not canonical: a fault.
            self.e.copy(RBP, RAX);
            self.e.shift(true, group::SHL, RBP, 16);
            self.e.shift(true, group::SAR, RBP, 16);
            self.e.registers(true, opcode::CMP, RBP, RAX);
            self.slow_if(condition::NOT_EQUAL);
        }
        self.e.load(RBP, context(field::CPU));
        self.test(state::CR4, cr4::FSGSBASE as u32);
        self.slow_if(condition::EQUAL);
        if write {
            self.e.store(RAX, base);
        } else {
            self.load_home(register, base);
        }
        self.resume_here(false);
        Ok(())
    }

    /// PUSHFQ; there is no virtual-8086 mode in 64-bit code.
    pub(super) fn push_flags(&mut self) -> Emitted {
        self.save_flags();
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
