//! Operands of integer instructions.

use cranelift_codegen::ir::types::{I8, I16, I32, I64};
use cranelift_codegen::ir::{InstBuilder, Type, Value};
use iced_x86::{Instruction, OpKind, Register};

use super::access::Update;
use super::{Lower, Unsupported};

/// What an instruction changes.
#[derive(Clone, Copy)]
pub(super) enum Place {
    Register(Register),
    Memory(Update),
}

/// The integer type of so many bytes.
fn integer(bytes: usize) -> Result<Type, Unsupported> {
    match bytes {
        1 => Ok(I8),
        2 => Ok(I16),
        4 => Ok(I32),
        8 => Ok(I64),
        _ => Err(Unsupported),
    }
}

/// The type of an operand that is a register or in memory.
pub(super) fn operand_type(insn: &Instruction, operand: u32) -> Result<Type, Unsupported> {
    match insn.op_kind(operand) {
        OpKind::Register => integer(insn.op_register(operand).size()),
        OpKind::Memory => integer(insn.memory_size().size()),
        _ => Err(Unsupported),
    }
}

fn is_high(register: Register) -> bool {
    matches!(register, Register::AH | Register::BH | Register::CH | Register::DH)
}

/// The number of a register: iced counts AH–BH as 4–7 and SPL on from 8.
fn number(register: Register) -> usize {
    register.full_register().number() & 15
}

impl Lower<'_, '_> {
    /// A general register in full.
    pub(super) fn full(&mut self, register: Register) -> Value {
        self.b.use_var(self.regs[number(register)])
    }

    /// A general register, as wide as it is.
    pub(super) fn get(&mut self, register: Register) -> Result<Value, Unsupported> {
        if !register.is_gpr() {
            return Err(Unsupported);
        }
        let ty = integer(register.size())?;
        let mut value = self.full(register);
        if is_high(register) {
            value = self.b.ins().ushr_imm(value, 8);
        }
        Ok(self.narrow(value, ty))
    }

    /// Writes a general register in full.
    pub(super) fn set_full(&mut self, register: Register, value: Value) {
        let number = number(register);
        self.b.def_var(self.regs[number], value);
        self.known.dirty |= 1 << number;
        // A change that nobody expects would be lost where edges meet.
        self.failed |= self.written >> number & 1 == 0;
    }

    /// Writes a general register of the value's width: 32 bits zero-extend, 8 and 16 leave the rest.
    pub(super) fn set(&mut self, register: Register, value: Value) {
        let ty = self.ty(value);
        let wide = self.wide(value);
        let value = match ty {
            I8 if is_high(register) => {
                let old = self.full(register);
                let old = self.b.ins().band_imm(old, !0xff00);
                let new = self.b.ins().ishl_imm(wide, 8);
                self.b.ins().bor(old, new)
            }
            I8 | I16 => {
                let old = self.full(register);
                let old = self.b.ins().band_imm(old, if ty == I8 { !0xff } else { !0xffff });
                self.b.ins().bor(old, wide)
            }
            _ => wide,
        };
        self.set_full(register, value);
    }

    /// An operand that is read, of a type.
    pub(super) fn read(&mut self, insn: &Instruction, operand: u32, ty: Type) -> Result<Value, Unsupported> {
        match insn.op_kind(operand) {
            OpKind::Register => self.get(insn.op_register(operand)),
            OpKind::Memory => {
                let address = self.linear(insn)?;
                Ok(self.load(address, ty))
            }
            _ => {
                let value = insn.try_immediate(operand).map_err(|_| Unsupported)?;
                Ok(self.constant(ty, value))
            }
        }
    }

    /// The first operand, to be changed by [`Self::close`].
    pub(super) fn open(&mut self, insn: &Instruction, ty: Type) -> Result<(Value, Place), Unsupported> {
        if insn.op0_kind() == OpKind::Register {
            let register = insn.op0_register();
            return Ok((self.get(register)?, Place::Register(register)));
        }
        let address = self.linear(insn)?;
        let (old, update) = self.begin_update(address, ty);
        Ok((old, Place::Memory(update)))
    }

    /// Writes what [`Self::open`] read.
    pub(super) fn close(&mut self, place: Place, value: Value) {
        match place {
            Place::Register(register) => self.set(register, value),
            Place::Memory(update) => self.finish_update(update, value),
        }
    }

    /// Writes the first operand, which is not read.
    pub(super) fn write(&mut self, insn: &Instruction, value: Value) -> Result<(), Unsupported> {
        match insn.op0_kind() {
            OpKind::Register if insn.op0_register().is_gpr() => {
                self.set(insn.op0_register(), value);
                Ok(())
            }
            OpKind::Memory => {
                let address = self.linear(insn)?;
                self.store(address, value);
                Ok(())
            }
            _ => Err(Unsupported),
        }
    }
}
