//! Shifts and rotations.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I8, I64};
use cranelift_codegen::ir::{InstBuilder, Type, Value};
use iced_x86::{Instruction, Mnemonic, OpKind};

use super::flags::Flags;
use super::operands::operand_type;
use super::{Lower, Lowered, Unsupported};

/// The result, and what becomes of the flags if the count is not 0.
struct Shifted {
    result: Value,
    carry: Value,
    overflow: Value,
}

impl Lower<'_, '_> {
    pub(super) fn shift(&mut self, insn: &Instruction) -> Lowered {
        use Mnemonic as M;
        match insn.mnemonic() {
            M::Shl | M::Sal | M::Shr | M::Sar => {}
            M::Rol | M::Ror => return self.rotate(insn),
            M::Shld | M::Shrd => return self.double(insn),
            _ => return Err(Unsupported),
        }
        let ty = operand_type(insn, 0)?;
        let mask = if ty == I64 { 63 } else { 31 };
        if insn.op1_kind() == OpKind::Register {
            return self.shift_by_register(insn, ty, mask);
        }
        let count = insn.immediate(1) & mask;
        if count == 0 {
            return Err(Unsupported);
        }
        let (a, place) = self.open(insn, ty)?;
        let count = self.constant(I64, count);
        let shifted = self.shifted(insn.mnemonic(), a, count);
        self.close(place, shifted.result);
        self.set_raw(shifted.result, None, shifted.carry, shifted.overflow);
        Ok(())
    }

    /// A shift of `a` by a count of 64 bits that is masked, and not 0 where flags are wanted.
    fn shifted(&mut self, mnemonic: Mnemonic, a: Value, count: Value) -> Shifted {
        let ty = self.ty(a);
        let bit = |lower: &mut Self, value: Value| {
            let bit = lower.b.ins().band_imm(value, 1);
            lower.narrow(bit, I8)
        };
        let less = self.b.ins().iadd_imm(count, -1);
        match mnemonic {
            Mnemonic::Shr => {
                let wide = self.wide(a);
                let full = self.b.ins().ushr(wide, count);
                let last = self.b.ins().ushr(wide, less);
                Shifted { result: self.narrow(full, ty), carry: bit(self, last), overflow: self.negative(a) }
            }
            Mnemonic::Sar => {
                let wide = self.signed(a);
                let full = self.b.ins().sshr(wide, count);
                let last = self.b.ins().sshr(wide, less);
                let overflow = self.constant(I8, 0);
                Shifted { result: self.narrow(full, ty), carry: bit(self, last), overflow }
            }
            _ => {
                let wide = self.wide(a);
                let full = self.b.ins().ishl(wide, count);
                let out = if ty == I64 {
                    // The shift's count counts modulo 64.
                    let back = self.b.ins().ineg(count);
                    self.b.ins().ushr(wide, back)
                } else {
                    self.b.ins().ushr_imm(full, i64::from(ty.bits()))
                };
                let carry = bit(self, out);
                let result = self.narrow(full, ty);
                let sign = self.negative(result);
                Shifted { result, carry, overflow: self.b.ins().bxor(sign, carry) }
            }
        }
    }

    /// A count of 0 leaves the flags, so what they are depends on it.
    fn shift_by_register(&mut self, insn: &Instruction, ty: Type, mask: u64) -> Lowered {
        let (a, place) = self.open(insn, ty)?;
        let count = self.get(insn.op1_register())?;
        let count = self.wide(count);
        let count = self.b.ins().band_imm(count, mask as i64);
        let shifted = self.shifted(insn.mnemonic(), a, count);
        self.close(place, shifted.result);
        let before = self.flag_words();
        self.set_raw(shifted.result, None, shifted.carry, shifted.overflow);
        let after = self.flag_words();
        let zero = self.b.ins().icmp_imm(IntCC::Equal, count, 0);
        let mut words = after;
        for (word, (before, after)) in words.iter_mut().zip(before.into_iter().zip(after)) {
            *word = self.b.ins().select(zero, before, after);
        }
        self.known.flags = Flags::Words(words);
        Ok(())
    }

    /// ROL and ROR by an immediate, of 32 and 64 bits: they change carry and overflow alone.
    fn rotate(&mut self, insn: &Instruction) -> Lowered {
        let ty = operand_type(insn, 0)?;
        if ty.bits() < 32 || insn.op1_kind() == OpKind::Register {
            return Err(Unsupported);
        }
        let count = insn.immediate(1) & (u64::from(ty.bits()) - 1);
        if count == 0 {
            return Err(Unsupported);
        }
        let (flag_result, operands, _) = self.but_carry().ok_or(Unsupported)?;
        let (a, place) = self.open(insn, ty)?;
        let top = i64::from(ty.bits()) - 1;
        let (result, carry, other) = if insn.mnemonic() == Mnemonic::Rol {
            let result = self.b.ins().rotl_imm(a, count as i64);
            let sign = self.b.ins().ushr_imm(result, top);
            (result, result, sign)
        } else {
            let result = self.b.ins().rotr_imm(a, count as i64);
            let (sign, below) = (self.b.ins().ushr_imm(result, top), self.b.ins().ushr_imm(result, top - 1));
            (result, sign, below)
        };
        self.close(place, result);
        let carry = self.b.ins().band_imm(carry, 1);
        let other = self.b.ins().band_imm(other, 1);
        let overflow = self.b.ins().bxor(carry, other);
        let (carry, overflow) = (self.narrow(carry, I8), self.narrow(overflow, I8));
        self.known.flags = Flags::Raw { result: flag_result, operands, carry, overflow };
        Ok(())
    }

    /// SHLD and SHRD by an immediate, of 32 and 64 bits.
    fn double(&mut self, insn: &Instruction) -> Lowered {
        let ty = operand_type(insn, 0)?;
        if ty.bits() < 32 || insn.op_kind(2) == OpKind::Register {
            return Err(Unsupported);
        }
        let bits = u64::from(ty.bits());
        let count = insn.immediate(2) & (bits - 1);
        if count == 0 {
            return Err(Unsupported);
        }
        let filler = self.get(insn.op1_register())?;
        let (a, place) = self.open(insn, ty)?;
        let (there, back, out) = (count as i64, (bits - count) as i64, (count as i64) - 1);
        let (moved, filled, last) = if insn.mnemonic() == Mnemonic::Shld {
            let (moved, filled) = (self.b.ins().ishl_imm(a, there), self.b.ins().ushr_imm(filler, back));
            (moved, filled, self.b.ins().ushr_imm(a, back))
        } else {
            let (moved, filled) = (self.b.ins().ushr_imm(a, there), self.b.ins().ishl_imm(filler, back));
            (moved, filled, self.b.ins().ushr_imm(a, out))
        };
        let result = self.b.ins().bor(moved, filled);
        self.close(place, result);
        let carry = self.b.ins().band_imm(last, 1);
        let carry = self.narrow(carry, I8);
        let changed = self.b.ins().bxor(a, result);
        let overflow = self.negative(changed);
        self.set_raw(result, None, carry, overflow);
        Ok(())
    }
}
