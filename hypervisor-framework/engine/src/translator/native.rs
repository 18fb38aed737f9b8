//! Instructions that stay what they are: decoded, with their registers and memory operand replaced, encoded again.

use iced_x86::{Code, ConditionCode, Instruction, Mnemonic, OpKind, Register, RflagsBits};

use super::emitter::host::{RAX, RBP};
use super::emitter::opcode;
use super::flags::Flags;
use super::lazy::Origin;
use super::memory::Need;
use super::registers::{ACCUMULATOR, Home, home, sized, spilled, spilled_offset};
use super::slow::Back;
use super::unit::{ARITHMETIC, Builder, Emitted, Unsupported};
use crate::Level;

/// What an instruction does to its operands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// Writes operand 0, reads the others (and 0, perhaps).
    Writes,
    /// Reads all.
    Reads,
    /// Writes operands 0 and 1.
    Exchanges,
    /// RAX is an implied operand; RDX may be one.
    Accumulator,
}

/// Instructions that are rewritten operand by operand.
pub(super) fn shape(insn: &Instruction) -> Option<Shape> {
    use Mnemonic as M;
    Some(match insn.mnemonic() {
        M::Mov | M::Movzx | M::Movsx | M::Movsxd => {
            // Control, debug and segment registers are not moved to.
            let general = |i| insn.op_kind(i) != OpKind::Register || insn.op_register(i).is_gpr();
            if !(general(0) && general(1)) || matches!(insn.op_kind(1), OpKind::Memory) && is_moffs(insn) {
                return None;
            }
            Shape::Writes
        }
        M::Add | M::Or | M::Adc | M::Sbb | M::And | M::Sub | M::Xor => Shape::Writes,
        M::Inc | M::Dec | M::Neg | M::Not => Shape::Writes,
        M::Rol | M::Ror | M::Rcl | M::Rcr | M::Shl | M::Sal | M::Shr | M::Sar | M::Shld | M::Shrd => {
            Shape::Writes
        }
        M::Imul if insn.op_count() > 1 => Shape::Writes,
        M::Imul | M::Mul => Shape::Accumulator,
        // Of registers it is rare, and the destination may be the accumulator itself.
        M::Cmpxchg if insn.op0_kind() == OpKind::Memory => Shape::Accumulator,
        M::Cmpxchg8b => Shape::Accumulator,
        M::Cmpxchg16b if std::arch::is_x86_feature_detected!("cmpxchg16b") => Shape::Accumulator,
        M::Bswap if insn.op0_register().size() != 2 => Shape::Writes,
        // The prefixes of the latter two mean nothing before x86-64-v3.
        M::Bsf | M::Bsr | M::Tzcnt | M::Lzcnt if insn.op0_register().size() != 2 => Shape::Writes,
        M::Popcnt if std::arch::is_x86_feature_detected!("popcnt") => Shape::Writes,
        M::Btc | M::Btr | M::Bts | M::Bt => {
            // A register offset may reach beyond the operand.
            if insn.op0_kind() == OpKind::Memory && insn.op1_kind() == OpKind::Register {
                return None;
            }
            if insn.mnemonic() == M::Bt { Shape::Reads } else { Shape::Writes }
        }
        M::Cmp | M::Test => Shape::Reads,
        M::Xchg | M::Xadd => Shape::Exchanges,
        // CMOVcc and SETcc.
        _ if insn.condition_code() != ConditionCode::None
            && matches!(insn.op0_kind(), OpKind::Register | OpKind::Memory) =>
        {
            Shape::Writes
        }
        _ => return None,
    })
}

fn is_moffs(insn: &Instruction) -> bool {
    matches!(
        insn.code(),
        Code::Mov_AL_moffs8 | Code::Mov_AX_moffs16 | Code::Mov_EAX_moffs32 | Code::Mov_RAX_moffs64
    )
}

/// The same operation on any register, for forms that imply AL, AX, EAX or RAX.
pub(super) fn general_form(code: Code) -> Option<Code> {
    macro_rules! forms {
        ($($byte:ident $byte_rm:ident $word:ident $word_rm:ident $dword:ident $dword_rm:ident $qword:ident $qword_rm:ident;)*) => {
            match code {
                $(Code::$byte => Code::$byte_rm,
                Code::$word => Code::$word_rm,
                Code::$dword => Code::$dword_rm,
                Code::$qword => Code::$qword_rm,)*
                // The guest has neither BMI1 nor LZCNT: the prefix means nothing.
                Code::Tzcnt_r32_rm32 => Code::Bsf_r32_rm32,
                Code::Tzcnt_r64_rm64 => Code::Bsf_r64_rm64,
                Code::Lzcnt_r32_rm32 => Code::Bsr_r32_rm32,
                Code::Lzcnt_r64_rm64 => Code::Bsr_r64_rm64,
                Code::Xchg_r16_AX => Code::Xchg_rm16_r16,
                Code::Xchg_r32_EAX => Code::Xchg_rm32_r32,
                Code::Xchg_r64_RAX => Code::Xchg_rm64_r64,
                Code::Mov_moffs8_AL | Code::Mov_moffs16_AX | Code::Mov_moffs32_EAX | Code::Mov_moffs64_RAX => return None,
                other => other,
            }
        };
    }
    Some(forms! {
        Add_AL_imm8 Add_rm8_imm8 Add_AX_imm16 Add_rm16_imm16 Add_EAX_imm32 Add_rm32_imm32 Add_RAX_imm32 Add_rm64_imm32;
        Or_AL_imm8 Or_rm8_imm8 Or_AX_imm16 Or_rm16_imm16 Or_EAX_imm32 Or_rm32_imm32 Or_RAX_imm32 Or_rm64_imm32;
        Adc_AL_imm8 Adc_rm8_imm8 Adc_AX_imm16 Adc_rm16_imm16 Adc_EAX_imm32 Adc_rm32_imm32 Adc_RAX_imm32 Adc_rm64_imm32;
        Sbb_AL_imm8 Sbb_rm8_imm8 Sbb_AX_imm16 Sbb_rm16_imm16 Sbb_EAX_imm32 Sbb_rm32_imm32 Sbb_RAX_imm32 Sbb_rm64_imm32;
        And_AL_imm8 And_rm8_imm8 And_AX_imm16 And_rm16_imm16 And_EAX_imm32 And_rm32_imm32 And_RAX_imm32 And_rm64_imm32;
        Sub_AL_imm8 Sub_rm8_imm8 Sub_AX_imm16 Sub_rm16_imm16 Sub_EAX_imm32 Sub_rm32_imm32 Sub_RAX_imm32 Sub_rm64_imm32;
        Xor_AL_imm8 Xor_rm8_imm8 Xor_AX_imm16 Xor_rm16_imm16 Xor_EAX_imm32 Xor_rm32_imm32 Xor_RAX_imm32 Xor_rm64_imm32;
        Cmp_AL_imm8 Cmp_rm8_imm8 Cmp_AX_imm16 Cmp_rm16_imm16 Cmp_EAX_imm32 Cmp_rm32_imm32 Cmp_RAX_imm32 Cmp_rm64_imm32;
        Test_AL_imm8 Test_rm8_imm8 Test_AX_imm16 Test_rm16_imm16 Test_EAX_imm32 Test_rm32_imm32 Test_RAX_imm32 Test_rm64_imm32;
    })
}

/// Keeps some flags, or all if its count is 0, in ways that the decoder's tables do not tell: the old ones must be there.
pub(super) fn keeps_flags(insn: &Instruction) -> bool {
    use Mnemonic as M;
    match insn.mnemonic() {
        M::Rol | M::Ror | M::Rcl | M::Rcr => true,
        M::Shl | M::Sal | M::Shr | M::Sar => may_be_zero(insn, 1),
        M::Shld | M::Shrd => may_be_zero(insn, 2),
        _ => false,
    }
}

/// May the count of a shift be 0 once it is masked?
pub(super) fn may_be_zero(insn: &Instruction, operand: u32) -> bool {
    insn.op_kind(operand) == OpKind::Register || insn.immediate(operand) & 31 == 0
}

impl Builder<'_> {
    /// Emits an instruction as host code.
    pub(super) fn native(&mut self, insn: &Instruction) -> Emitted {
        use Mnemonic as M;
        match insn.mnemonic() {
            M::Jmp if insn.is_jmp_short_or_near() => return self.jump(insn),
            M::Jmp if insn.is_jmp_near_indirect() => return self.indirect(insn, false),
            M::Call if insn.is_call_near() => return self.call_direct(insn),
            M::Call if insn.is_call_near_indirect() => return self.indirect(insn, true),
            M::Ret => return self.ret(insn),
            M::Push => return self.push(insn),
            M::Pop => return self.pop(insn),
            M::Leave => return self.leave(insn),
            M::Lea => return self.load_effective(insn),
            M::Nop | M::Endbr64 | M::Prefetcht0 | M::Prefetcht1 | M::Prefetcht2 | M::Prefetchnta => {
                return Ok(());
            }
            M::Lfence | M::Mfence | M::Sfence => {
                self.encode(insn)?;
                return Ok(());
            }
            M::Div | M::Idiv => return self.divide(insn),
            M::Cli => return self.clear_interrupt_flag(),
            M::Sti => return self.set_interrupt_flag(),
            M::Cld => return self.direction_flag(false),
            M::Std => return self.direction_flag(true),
            M::Swapgs => return self.swap_gs(),
            M::Syscall => return self.system_call(insn),
            M::Sysretq => return self.system_return(insn),
            M::Rdfsbase | M::Rdgsbase | M::Wrfsbase | M::Wrgsbase => return self.segment_base(insn),
            M::Mov if insn.op_kind(1) == OpKind::Register && insn.op1_register().is_cr() => {
                return self.read_control(insn);
            }
            M::Mov if is_selector_read(insn) => return self.read_selector(insn),
            M::Bt | M::Bts | M::Btr | M::Btc
                if insn.op0_kind() == OpKind::Memory && insn.op1_kind() == OpKind::Register =>
            {
                return self.bit_string(insn);
            }
            _ if insn.is_string_instruction() => return self.string(insn),
            M::Pushfq => return self.push_flags(),
            M::Cbw | M::Cwde | M::Cdqe | M::Cwd | M::Cdq | M::Cqo => {
                self.e.copy(RAX, ACCUMULATOR);
                self.encode(insn)?;
                self.e.copy(ACCUMULATOR, RAX);
                return Ok(());
            }
            _ if insn.is_jcc_short_or_near() => return self.conditional(insn),
            _ => {}
        }
        let shape = if self.source.level >= Level::V3 && super::bmi::is_one(insn) {
            super::bmi::shape(insn)
        } else {
            shape(insn)
        };
        match shape {
            Some(shape) => self.rewrite(insn, shape),
            None if crate::instructions::vex::is_vex(insn) => self.avx(insn),
            None => self.vector(insn),
        }
    }

    /// LEA.
    fn load_effective(&mut self, insn: &Instruction) -> Emitted {
        let register = insn.op0_register();
        if register.size() == 2 {
            return Err(Unsupported);
        }
        // The address is not one of a load: segments do not count, and it may be wider than the destination.
        match home(register).ok_or(Unsupported)? {
            Home::Host(host) => {
                if register.size() == 8 {
                    return self.effective(insn, host);
                }
                self.effective(insn, RAX)?;
                self.e.registers(false, opcode::LOAD, host, RAX);
            }
            Home::Spilled(index) => {
                self.effective(insn, RAX)?;
                if register.size() == 4 {
                    self.e.registers(false, opcode::LOAD, RAX, RAX);
                }
                self.e.store(RAX, spilled(index));
            }
        }
        Ok(())
    }

    /// Emits the instruction with other operands.
    fn rewrite(&mut self, insn: &Instruction, shape: Shape) -> Emitted {
        let mut out = *insn;
        if self.source.level < Level::V3 || !super::bmi::is_one(insn) {
            out.set_code(general_form(insn.code()).ok_or(Unsupported)?);
        }
        read_spilled(&mut out);
        out.set_has_rep_prefix(false);
        out.set_has_repne_prefix(false);
        let modified = insn.rflags_modified() & ARITHMETIC;
        let shifts = keeps_flags(insn);
        let writes = modified != 0 || shifts;
        let reads = insn.rflags_read() & ARITHMETIC != 0 || shifts || writes && modified != ARITHMETIC;
        let memory = memory_operand(insn);
        let mut offset = 0;
        if let Some(operand) = memory {
            let size = insn.memory_size().size() as u32;
            let aligned =
                insn.has_lock_prefix() || matches!(insn.mnemonic(), Mnemonic::Xchg | Mnemonic::Cmpxchg16b);
            let write =
                operand == 0 && shape != Shape::Reads && insn.mnemonic() != Mnemonic::Mul && !is_imul(insn);
            if !matches!(size, 1 | 2 | 4 | 8) && insn.mnemonic() != Mnemonic::Cmpxchg16b {
                return Err(Unsupported);
            }
            offset = self.locate(insn, Need { write, size, aligned })?;
        }
        // The scratch registers that are free for operands.
        let mut free = [Some(RAX), Some(RBP)];
        let mut address = RAX;
        if memory.is_some() {
            free[0] = None;
        }
        let high = (0..insn.op_count())
            .any(|i| insn.op_kind(i) == OpKind::Register && insn.op_register(i) == Register::AH);
        let implied = shape == Shape::Accumulator || high;
        // INC, DEC, ADC and SBB want no more than CF.
        let carry = insn.rflags_read() & ARITHMETIC | ARITHMETIC & !modified;
        if reads && carry == RflagsBits::CF && self.flags == Flags::Memory {
            self.load_carry();
        }
        if implied || reads && !self.host_has_flags() {
            // RAX is wanted.
            if memory.is_some() {
                self.e.copy(RBP, RAX);
                address = RBP;
                free = [Some(RAX), None];
            }
            if reads {
                self.load_flags();
            }
            if implied {
                self.e.copy(RAX, ACCUMULATOR);
                free[0] = None;
            }
        }
        let mut kept = [None; 2];
        for i in 0..insn.op_count() {
            match insn.op_kind(i) {
                // AH goes with no REX prefix, so with no register above RDI.
                OpKind::Register if high && insn.op_register(i).full_register() == Register::RAX => {}
                OpKind::Register => self.place_register(&mut out, i, shape, &mut free, &mut kept)?,
                OpKind::Memory => replace_memory(&mut out, address, offset),
                _ => {}
            }
        }
        self.encode(&out)?;
        if implied {
            self.e.copy(ACCUMULATOR, RAX);
        }
        for (scratch, index) in kept.into_iter().flatten() {
            self.e.store(scratch, spilled(index));
        }
        if writes {
            self.set_host_flags(Origin::of(insn));
        }
        if memory.is_some() && !self.branches.is_empty() {
            if !writes && self.flags != Flags::Dead {
                // The slow path has them in memory only, or nowhere.
                self.flags = if self.entry.is_some() { Flags::Lazy } else { Flags::Memory };
            }
            let back = Back::Resume { at: self.e.here(), flags: writes };
            self.end_slow(self.vectors, back, writes || reads);
        }
        Ok(())
    }

    /// Replaces a register operand; one without a host register is loaded into scratch and, if written, `kept`.
    pub(super) fn place_register(
        &mut self,
        out: &mut Instruction,
        operand: u32,
        shape: Shape,
        free: &mut [Option<u8>; 2],
        kept: &mut [Option<(u8, u8)>; 2],
    ) -> Emitted {
        let register = out.op_register(operand);
        if matches!(register, Register::CH | Register::DH | Register::BH) {
            // They are the host's own; the encoder refuses what cannot go with them.
            return Ok(());
        }
        let written = match shape {
            Shape::Writes => operand == 0,
            Shape::Reads => false,
            Shape::Exchanges => operand < 2,
            Shape::Accumulator => operand == 0 && out.mnemonic() == Mnemonic::Cmpxchg,
        };
        match home(register).ok_or(Unsupported)? {
            Home::Host(host) => out.set_op_register(operand, sized(host, register)),
            Home::Spilled(index) => {
                if !(written && register.size() == 4)
                    && let Some(lying) = spilled_operand(out, operand, shape, index)
                    && self.can_encode(&lying)
                {
                    *out = lying;
                    return Ok(());
                }
                if let Some((scratch, _)) = kept.iter().flatten().find(|(_, other)| *other == index) {
                    // XADD of a register with itself is for the interpreter.
                    let again = if shape == Shape::Exchanges { Err(Unsupported) } else { Ok(()) };
                    out.set_op_register(operand, sized(*scratch, register));
                    return again;
                }
                let scratch = free.iter_mut().find_map(Option::take).ok_or(Unsupported)?;
                let itself = out.op1_register().full_register() == register.full_register();
                if !(written && is_move(out) && register.size() >= 4) || itself {
                    self.e.load(scratch, spilled(index));
                }
                out.set_op_register(operand, sized(scratch, register));
                if written && let Some(place) = kept.iter_mut().find(|place| place.is_none()) {
                    *place = Some((scratch, index));
                }
            }
        }
        Ok(())
    }

    /// Is there such an instruction? The encoder's own tables of operands would stay in memory, a megabyte of them.
    fn can_encode(&mut self, insn: &Instruction) -> bool {
        let before = self.e.here();
        let can = self.encode(insn).is_ok();
        self.e.bytes.truncate(before);
        can
    }

    /// Encodes an instruction whose operands are the host's.
    pub(super) fn encode(&mut self, insn: &Instruction) -> Emitted {
        let before = self.e.here();
        self.encoder.set_buffer(std::mem::take(&mut self.e.bytes));
        let result = self.encoder.encode(insn, self.e.address + before as u64);
        self.e.bytes = self.encoder.take_buffer();
        if result.is_err() {
            self.e.bytes.truncate(before);
            return Err(Unsupported);
        }
        Ok(())
    }
}

/// Only moves, and writes all of a destination of 32 or 64 bits.
pub(super) fn is_move(insn: &Instruction) -> bool {
    use Mnemonic as M;
    matches!(insn.mnemonic(), M::Mov | M::Movzx | M::Movsx | M::Movsxd)
}

/// Chooses the form that can read its second operand from the context, if that is where it lives.
pub(super) fn read_spilled(out: &mut Instruction) {
    let register = |i| (out.op_kind(i) == OpKind::Register).then(|| home(out.op_register(i))).flatten();
    if out.op_count() != 2 {
        return;
    }
    if let (Some(Home::Host(_)), Some(Home::Spilled(_))) = (register(0), register(1)) {
        out.set_code(match out.code() {
            Code::Add_rm32_r32 => Code::Add_r32_rm32,
            Code::Add_rm64_r64 => Code::Add_r64_rm64,
            Code::Or_rm32_r32 => Code::Or_r32_rm32,
            Code::Or_rm64_r64 => Code::Or_r64_rm64,
            Code::And_rm32_r32 => Code::And_r32_rm32,
            Code::And_rm64_r64 => Code::And_r64_rm64,
            Code::Sub_rm32_r32 => Code::Sub_r32_rm32,
            Code::Sub_rm64_r64 => Code::Sub_r64_rm64,
            Code::Xor_rm32_r32 => Code::Xor_r32_rm32,
            Code::Xor_rm64_r64 => Code::Xor_r64_rm64,
            Code::Cmp_rm32_r32 => Code::Cmp_r32_rm32,
            Code::Cmp_rm64_r64 => Code::Cmp_r64_rm64,
            Code::Mov_rm32_r32 => Code::Mov_r32_rm32,
            Code::Mov_rm64_r64 => Code::Mov_r64_rm64,
            other => other,
        });
    }
}

fn is_selector_read(insn: &Instruction) -> bool {
    let register = |i| insn.op_kind(i) == OpKind::Register;
    register(0) && register(1) && insn.op0_register().is_gpr() && insn.op1_register().is_segment_register()
}

fn is_imul(insn: &Instruction) -> bool {
    insn.mnemonic() == Mnemonic::Imul
}

/// The operand that is in memory.
pub(super) fn memory_operand(insn: &Instruction) -> Option<u32> {
    (0..insn.op_count()).find(|i| insn.op_kind(*i) == OpKind::Memory)
}

/// Makes the memory operand `[base + offset]`.
pub(super) fn replace_memory(out: &mut Instruction, base: u8, offset: i32) {
    out.set_segment_prefix(Register::None);
    out.set_memory_base(sized(base, Register::RAX));
    out.set_memory_index(Register::None);
    out.set_memory_index_scale(1);
    out.set_memory_displacement64(i64::from(offset) as u64);
    out.set_memory_displ_size(u32::from(base == RBP || offset != 0));
}

/// The instruction with a spilled register where it lies, if the encoding has it and it means the same there.
fn spilled_operand(insn: &Instruction, operand: u32, shape: Shape, index: u8) -> Option<Instruction> {
    use Mnemonic as M;
    // In memory XCHG is locked, and a bit's number in a register reaches beyond the operand.
    let bit_string =
        matches!(insn.mnemonic(), M::Bt | M::Btc | M::Btr | M::Bts) && insn.op1_kind() == OpKind::Register;
    if shape == Shape::Exchanges || bit_string || memory_operand(insn).is_some() {
        return None;
    }
    let mut out = *insn;
    out.set_op_kind(operand, OpKind::Memory);
    replace_memory(&mut out, super::emitter::host::RSP, spilled_offset(index));
    Some(out)
}
