//! Moves, arithmetic and logic, multiplication, bits.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I8, I16, I32, I64};
use cranelift_codegen::ir::{InstBuilder, Type, Value};
use iced_x86::{Instruction, Mnemonic, OpKind, Register};

use super::flags::Flags;
use super::operands::operand_type;
use super::{Lower, Lowered, Unsupported};
use crate::instructions::condition_code;

/// RAX and RDX by width.
fn accumulator(ty: Type) -> (Register, Register) {
    match ty {
        I16 => (Register::AX, Register::DX),
        I32 => (Register::EAX, Register::EDX),
        _ => (Register::RAX, Register::RDX),
    }
}

/// Are all register operands general?
fn general(insn: &Instruction) -> bool {
    (0..insn.op_count())
        .all(|operand| insn.op_kind(operand) != OpKind::Register || insn.op_register(operand).is_gpr())
}

impl Lower<'_, '_> {
    pub(super) fn integer(&mut self, insn: &Instruction) -> Lowered {
        use Mnemonic as M;
        if !general(insn) {
            return Err(Unsupported);
        }
        match insn.mnemonic() {
            M::Mov => self.mov(insn),
            M::Movzx => self.extend(insn, false),
            M::Movsx | M::Movsxd => self.extend(insn, true),
            M::Lea => self.lea(insn),
            M::Xchg => self.xchg(insn),
            M::Bswap => self.bswap(insn),
            M::Cbw => self.widen(Register::AL, Register::AX),
            M::Cwde => self.widen(Register::AX, Register::EAX),
            M::Cdqe => self.widen(Register::EAX, Register::RAX),
            M::Cwd => self.spread(I16),
            M::Cdq => self.spread(I32),
            M::Cqo => self.spread(I64),
            M::Nop | M::Endbr64 => Ok(()),
            M::Add | M::Adc | M::Sub | M::Sbb | M::And | M::Or | M::Xor => self.binary(insn),
            M::Cmp | M::Test => self.compare(insn),
            M::Inc | M::Dec | M::Neg | M::Not => self.unary(insn),
            M::Imul if insn.op_count() > 1 => self.multiply_to(insn),
            M::Imul => self.multiply(insn, true),
            M::Mul => self.multiply(insn, false),
            M::Bt => self.bit_test(insn),
            _ if condition_code(insn).is_some() && insn.op_count() == 2 => self.cmov(insn),
            _ if condition_code(insn).is_some() && operand_type(insn, 0).is_ok_and(|ty| ty == I8) => {
                self.setcc(insn)
            }
            _ => Err(Unsupported),
        }
    }

    fn mov(&mut self, insn: &Instruction) -> Lowered {
        let ty = operand_type(insn, 0)?;
        let value = self.read(insn, 1, ty)?;
        self.write(insn, value)
    }

    fn extend(&mut self, insn: &Instruction, signed: bool) -> Lowered {
        let (to, from) = (operand_type(insn, 0)?, operand_type(insn, 1)?);
        let value = self.read(insn, 1, from)?;
        let wide = if signed { self.signed(value) } else { self.wide(value) };
        let value = self.narrow(wide, to);
        self.write(insn, value)
    }

    fn lea(&mut self, insn: &Instruction) -> Lowered {
        let ty = operand_type(insn, 0)?;
        let address = self.effective(insn)?;
        let value = self.narrow(address, ty);
        self.write(insn, value)
    }

    fn xchg(&mut self, insn: &Instruction) -> Lowered {
        if insn.op0_kind() != OpKind::Register || insn.op1_kind() != OpKind::Register {
            return Err(Unsupported);
        }
        let (a, b) = (self.get(insn.op0_register())?, self.get(insn.op1_register())?);
        self.set(insn.op0_register(), b);
        self.set(insn.op1_register(), a);
        Ok(())
    }

    fn bswap(&mut self, insn: &Instruction) -> Lowered {
        let ty = operand_type(insn, 0)?;
        if ty == I16 {
            return Err(Unsupported);
        }
        let value = self.get(insn.op0_register())?;
        let value = self.b.ins().bswap(value);
        self.write(insn, value)
    }

    /// CBW, CWDE, CDQE.
    fn widen(&mut self, from: Register, to: Register) -> Lowered {
        let value = self.get(from)?;
        let wide = self.signed(value);
        let ty = match to {
            Register::AX => I16,
            Register::EAX => I32,
            _ => I64,
        };
        let value = self.narrow(wide, ty);
        self.set(to, value);
        Ok(())
    }

    /// CWD, CDQ, CQO.
    fn spread(&mut self, ty: Type) -> Lowered {
        let (low, high) = accumulator(ty);
        let value = self.get(low)?;
        let sign = self.b.ins().sshr_imm(value, i64::from(ty.bits()) - 1);
        self.set(high, sign);
        Ok(())
    }

    fn binary(&mut self, insn: &Instruction) -> Lowered {
        let ty = operand_type(insn, 0)?;
        if insn.op0_kind() == OpKind::Memory && insn.op1_kind() == OpKind::Memory {
            return Err(Unsupported);
        }
        // What a memory operand adds is read before the destination, as the interpreter does.
        let b = self.read(insn, 1, ty)?;
        let carry = match insn.mnemonic() {
            Mnemonic::Adc | Mnemonic::Sbb => Some(self.carry()),
            _ => None,
        };
        let (a, place) = self.open(insn, ty)?;
        let (result, flags) = match insn.mnemonic() {
            Mnemonic::Add => {
                let result = self.b.ins().iadd(a, b);
                (result, Flags::Add { a, b, result })
            }
            Mnemonic::Sub => {
                let result = self.b.ins().isub(a, b);
                (result, Flags::Subtract { a, b, result })
            }
            Mnemonic::And => {
                let result = self.b.ins().band(a, b);
                (result, Flags::Logic { result })
            }
            Mnemonic::Or => {
                let result = self.b.ins().bor(a, b);
                (result, Flags::Logic { result })
            }
            Mnemonic::Xor => {
                let result = self.b.ins().bxor(a, b);
                (result, Flags::Logic { result })
            }
            _ => {
                let Some(carry) = carry else { return Err(Unsupported) };
                self.with_carry(insn.mnemonic() == Mnemonic::Sbb, a, b, carry)
            }
        };
        self.close(place, result);
        self.known.flags = flags;
        Ok(())
    }

    /// ADC and SBB.
    fn with_carry(&mut self, borrow: bool, a: Value, b: Value, carry: Value) -> (Value, Flags) {
        let ty = self.ty(a);
        let wide = self.wide(carry);
        let step = self.narrow(wide, ty);
        let equal;
        let (result, out, overflow) = if borrow {
            let first = self.b.ins().isub(a, b);
            let result = self.b.ins().isub(first, step);
            equal = self.b.ins().icmp(IntCC::Equal, a, b);
            let out = self.b.ins().icmp(IntCC::UnsignedLessThan, a, b);
            (result, out, self.subtract_overflow(a, b, result))
        } else {
            let first = self.b.ins().iadd(a, b);
            let result = self.b.ins().iadd(first, step);
            equal = self.b.ins().icmp(IntCC::Equal, result, a);
            let out = self.b.ins().icmp(IntCC::UnsignedLessThan, result, a);
            (result, out, self.add_overflow(a, b, result))
        };
        let again = self.b.ins().band(carry, equal);
        let carry = self.b.ins().bor(out, again);
        let operands = self.b.ins().bxor(a, b);
        let (operands, wide) = (self.wide(operands), self.signed(result));
        (result, Flags::Raw { result: wide, operands, carry, overflow })
    }

    fn compare(&mut self, insn: &Instruction) -> Lowered {
        let ty = operand_type(insn, 0)?;
        let b = self.read(insn, 1, ty)?;
        let a = self.read(insn, 0, ty)?;
        self.known.flags = if insn.mnemonic() == Mnemonic::Cmp {
            let result = self.b.ins().isub(a, b);
            Flags::Subtract { a, b, result }
        } else {
            let result = self.b.ins().band(a, b);
            Flags::Logic { result }
        };
        Ok(())
    }

    fn unary(&mut self, insn: &Instruction) -> Lowered {
        let ty = operand_type(insn, 0)?;
        let (a, place) = self.open(insn, ty)?;
        let one = self.constant(ty, 1);
        match insn.mnemonic() {
            Mnemonic::Not => {
                let result = self.b.ins().bnot(a);
                self.close(place, result);
            }
            Mnemonic::Neg => {
                let zero = self.constant(ty, 0);
                let result = self.b.ins().isub(zero, a);
                self.close(place, result);
                self.known.flags = Flags::Subtract { a: zero, b: a, result };
            }
            mnemonic => {
                let (result, overflow) = if mnemonic == Mnemonic::Inc {
                    let result = self.b.ins().iadd(a, one);
                    (result, self.add_overflow(a, one, result))
                } else {
                    let result = self.b.ins().isub(a, one);
                    (result, self.subtract_overflow(a, one, result))
                };
                self.close(place, result);
                let carry = self.carry();
                let operands = self.b.ins().bxor(a, one);
                self.set_raw(result, Some(operands), carry, overflow);
            }
        }
        Ok(())
    }

    /// IMUL with a destination register.
    fn multiply_to(&mut self, insn: &Instruction) -> Lowered {
        let ty = operand_type(insn, 0)?;
        let a = self.read(insn, 1, ty)?;
        let b = if insn.op_count() == 3 { self.read(insn, 2, ty)? } else { self.get(insn.op0_register())? };
        let low = self.b.ins().imul(a, b);
        let lost = if ty == I64 {
            let high = self.b.ins().smulhi(a, b);
            let sign = self.b.ins().sshr_imm(low, 63);
            self.b.ins().icmp(IntCC::NotEqual, high, sign)
        } else {
            let (a, b) = (self.signed(a), self.signed(b));
            let full = self.b.ins().imul(a, b);
            let back = self.signed(low);
            self.b.ins().icmp(IntCC::NotEqual, full, back)
        };
        self.write(insn, low)?;
        self.set_raw(low, None, lost, lost);
        Ok(())
    }

    /// MUL and IMUL with one operand, of 32 and 64 bits.
    fn multiply(&mut self, insn: &Instruction, signed: bool) -> Lowered {
        let ty = operand_type(insn, 0)?;
        if !matches!(ty, I32 | I64) {
            return Err(Unsupported);
        }
        let b = self.read(insn, 0, ty)?;
        let (into_low, into_high) = accumulator(ty);
        let a = self.get(into_low)?;
        let low = self.b.ins().imul(a, b);
        let high = match (ty, signed) {
            (I64, false) => self.b.ins().umulhi(a, b),
            (I64, true) => self.b.ins().smulhi(a, b),
            (_, signed) => {
                let (a, b) =
                    if signed { (self.signed(a), self.signed(b)) } else { (self.wide(a), self.wide(b)) };
                let full = self.b.ins().imul(a, b);
                let high = self.b.ins().ushr_imm(full, 32);
                self.narrow(high, I32)
            }
        };
        let lost = if signed {
            let sign = self.b.ins().sshr_imm(low, i64::from(ty.bits()) - 1);
            self.b.ins().icmp(IntCC::NotEqual, high, sign)
        } else {
            self.b.ins().icmp_imm(IntCC::NotEqual, high, 0)
        };
        self.set(into_low, low);
        self.set(into_high, high);
        self.set_raw(low, None, lost, lost);
        Ok(())
    }

    /// BT of a register, or of memory by an immediate bit number. The other flags must be known, as they stay.
    fn bit_test(&mut self, insn: &Instruction) -> Lowered {
        let ty = operand_type(insn, 0)?;
        if insn.op0_kind() == OpKind::Memory && insn.op1_kind() == OpKind::Register {
            return Err(Unsupported);
        }
        let (result, operands, overflow) = self.but_carry().ok_or(Unsupported)?;
        let number = match insn.op1_kind() {
            OpKind::Register => self.get(insn.op1_register())?,
            _ => self.constant(ty, u64::from(insn.immediate8())),
        };
        let number = self.b.ins().band_imm(number, i64::from(ty.bits()) - 1);
        let value = self.read(insn, 0, ty)?;
        let bit = self.b.ins().ushr(value, number);
        let bit = self.b.ins().band_imm(bit, 1);
        let carry = self.narrow(bit, I8);
        self.known.flags = Flags::Raw { result, operands, carry, overflow };
        Ok(())
    }

    /// Result, operands and overflow of flags that are known, in the form of [`Flags::Raw`].
    pub(super) fn but_carry(&mut self) -> Option<(Value, Value, Value)> {
        let (operands, result) = match self.known.flags {
            Flags::Unknown | Flags::Words(_) => return None,
            Flags::Raw { result, operands, overflow, .. } => return Some((result, operands, overflow)),
            Flags::Logic { result } => (None, result),
            Flags::Add { a, b, result } | Flags::Subtract { a, b, result } => {
                (Some(self.b.ins().bxor(a, b)), result)
            }
        };
        let overflow = self.condition(0);
        let result = self.signed(result);
        let operands = match operands {
            Some(operands) => self.wide(operands),
            None => result,
        };
        Some((result, operands, overflow))
    }

    fn cmov(&mut self, insn: &Instruction) -> Lowered {
        let code = condition_code(insn).ok_or(Unsupported)?;
        let ty = operand_type(insn, 0)?;
        let new = self.read(insn, 1, ty)?;
        let old = self.get(insn.op0_register())?;
        let condition = self.condition(code);
        let value = self.b.ins().select(condition, new, old);
        self.write(insn, value)
    }

    fn setcc(&mut self, insn: &Instruction) -> Lowered {
        let code = condition_code(insn).ok_or(Unsupported)?;
        let value = self.condition(code);
        self.write(insn, value)
    }
}
