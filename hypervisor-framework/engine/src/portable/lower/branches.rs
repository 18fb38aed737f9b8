//! Branches, calls, and the stack.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::I64;
use cranelift_codegen::ir::{InstBuilder, Value};
use iced_x86::{Code, Instruction, Mnemonic, OpKind, Register};

use super::{Lower, Lowered, Unsupported};
use crate::instructions::condition_code;

impl Lower<'_, '_> {
    pub(super) fn branch(&mut self, insn: &Instruction) -> Lowered {
        if insn.is_jcc_short_or_near() {
            return self.jcc(insn);
        }
        match insn.code() {
            Code::Jmp_rel8_64 | Code::Jmp_rel32_64 => {
                self.edge(1, insn.near_branch_target() as i64);
                Ok(())
            }
            Code::Call_rel32_64 => {
                self.push_next()?;
                self.edge(1, insn.near_branch_target() as i64);
                Ok(())
            }
            Code::Jmp_rm64 | Code::Call_rm64 => {
                let target = self.read(insn, 0, I64)?;
                self.check_canonical(target);
                if insn.mnemonic() == Mnemonic::Call {
                    self.push_next()?;
                }
                self.ended = true;
                self.go(target);
                Ok(())
            }
            Code::Retnq | Code::Retnq_imm16 => {
                let extra = if insn.op_count() > 0 { i64::from(insn.immediate16()) } else { 0 };
                self.step.stack = true;
                let pointer = self.full(Register::RSP);
                let target = self.load(pointer, I64);
                self.check_canonical(target);
                let pointer = self.b.ins().iadd_imm(pointer, 8 + extra);
                self.set_full(Register::RSP, pointer);
                self.ended = true;
                self.go(target);
                Ok(())
            }
            Code::Push_r64 => {
                let value = self.get(insn.op0_register())?;
                self.push(value);
                Ok(())
            }
            Code::Pushq_imm8 | Code::Pushq_imm32 => {
                let value = self.constant(I64, insn.immediate(0));
                self.push(value);
                Ok(())
            }
            Code::Push_rm64 if insn.op0_kind() == OpKind::Memory => {
                let value = self.read(insn, 0, I64)?;
                self.push(value);
                Ok(())
            }
            Code::Pop_r64 => {
                self.step.stack = true;
                let pointer = self.full(Register::RSP);
                let value = self.load(pointer, I64);
                let pointer = self.b.ins().iadd_imm(pointer, 8);
                self.set_full(Register::RSP, pointer);
                self.set_full(insn.op0_register(), value);
                Ok(())
            }
            Code::Leaveq => {
                self.step.stack = true;
                let frame = self.full(Register::RBP);
                let value = self.load(frame, I64);
                let pointer = self.b.ins().iadd_imm(frame, 8);
                self.set_full(Register::RSP, pointer);
                self.set_full(Register::RBP, value);
                Ok(())
            }
            _ => Err(Unsupported),
        }
    }

    fn jcc(&mut self, insn: &Instruction) -> Lowered {
        let code = condition_code(insn).ok_or(Unsupported)?;
        if insn.op0_kind() != OpKind::NearBranch64 {
            return Err(Unsupported);
        }
        let condition = self.condition(code);
        let (taken, not) = (self.b.create_block(), self.b.create_block());
        self.b.ins().brif(condition, taken, &[], not, &[]);
        self.b.switch_to_block(taken);
        self.edge(1, insn.near_branch_target() as i64);
        self.b.switch_to_block(not);
        self.edge(0, insn.next_ip() as i64);
        Ok(())
    }

    /// Pushes the address of the next instruction.
    fn push_next(&mut self) -> Lowered {
        let next = i64::from(self.offset()) + i64::from(self.step.start) + i64::from(self.step.len);
        let next = self.b.ins().iadd_imm(self.page, next);
        self.push(next);
        Ok(())
    }

    /// An access through RSP faults as one to the stack segment.
    fn push(&mut self, value: Value) {
        self.step.stack = true;
        let pointer = self.full(Register::RSP);
        let pointer = self.b.ins().iadd_imm(pointer, -8);
        self.store(pointer, value);
        self.set_full(Register::RSP, pointer);
    }

    /// A target that is not canonical: the interpreter does the instruction, and faults.
    fn check_canonical(&mut self, target: Value) {
        let shifted = self.b.ins().ishl_imm(target, 16);
        let extended = self.b.ins().sshr_imm(shifted, 16);
        let canonical = self.b.ins().icmp(IntCC::Equal, extended, target);
        let (fine, odd) = (self.b.create_block(), self.cold());
        self.b.ins().brif(canonical, fine, &[], odd, &[]);
        self.b.switch_to_block(odd);
        let known = self.known;
        self.interpret(0, true, true);
        self.known = known;
        self.ended = false;
        self.b.switch_to_block(fine);
    }
}
