//! Vector moves, logic and simple integer arithmetic. XMM registers stay in the CPU.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I8, I8X16, I16X8, I32, I32X4, I64, I64X2};
use cranelift_codegen::ir::{Block, InstBuilder, MemFlags, Type, Value};
use iced_x86::{Code, Instruction, Mnemonic, OpKind, Register};

use super::super::context::state;
use super::access::is_wide;
use super::{Lower, Lowered, OWN, Unsupported};

/// Bit of [`crate::cpu::Cpu::fpu_blocked`] that stands for SSE.
const SSE_BLOCKED: i64 = 2;
/// Guest memory: any alignment, and no host fault.
const GUEST: MemFlags = MemFlags::new().with_notrap();
/// The byte order in which a vector's lanes are one.
const LANES: MemFlags = MemFlags::new().with_endianness(cranelift_codegen::ir::Endianness::Little);

/// A computation of two vectors.
#[derive(Clone, Copy)]
enum Binary {
    And,
    AndNot,
    Or,
    Xor,
    Add(Type),
    Subtract(Type),
    Equal(Type),
    Least,
    Most,
}

fn binary(mnemonic: Mnemonic) -> Option<Binary> {
    use Mnemonic as M;
    Some(match mnemonic {
        M::Pand | M::Andps | M::Andpd => Binary::And,
        M::Pandn | M::Andnps | M::Andnpd => Binary::AndNot,
        M::Por | M::Orps | M::Orpd => Binary::Or,
        M::Pxor | M::Xorps | M::Xorpd => Binary::Xor,
        M::Paddb => Binary::Add(I8X16),
        M::Paddw => Binary::Add(I16X8),
        M::Paddd => Binary::Add(I32X4),
        M::Paddq => Binary::Add(I64X2),
        M::Psubb => Binary::Subtract(I8X16),
        M::Psubw => Binary::Subtract(I16X8),
        M::Psubd => Binary::Subtract(I32X4),
        M::Psubq => Binary::Subtract(I64X2),
        M::Pcmpeqb => Binary::Equal(I8X16),
        M::Pcmpeqw => Binary::Equal(I16X8),
        M::Pcmpeqd => Binary::Equal(I32X4),
        M::Pminub => Binary::Least,
        M::Pmaxub => Binary::Most,
        _ => return None,
    })
}

fn place(register: Register) -> i32 {
    state::XMM + 16 * (register.number() as i32 & 15)
}

impl Lower<'_, '_> {
    pub(super) fn vector(&mut self, insn: &Instruction) -> Lowered {
        use Mnemonic as M;
        let registers = (0..insn.op_count()).filter(|operand| insn.op_kind(*operand) == OpKind::Register);
        if !registers.clone().all(|operand| {
            let register = insn.op_register(operand);
            register.is_xmm() || register.is_gpr32() || register.is_gpr64()
        }) || !registers.clone().any(|operand| insn.op_register(operand).is_xmm())
        {
            return Err(Unsupported);
        }
        let memory = (0..insn.op_count()).any(|operand| insn.op_kind(operand) == OpKind::Memory);
        if memory && !is_wide(insn) {
            return Err(Unsupported);
        }
        match insn.mnemonic() {
            M::Movaps | M::Movapd | M::Movdqa => self.vector_move(insn, true),
            M::Movups | M::Movupd | M::Movdqu => self.vector_move(insn, false),
            M::Movntps | M::Movntpd | M::Movntdq => self.vector_move(insn, true),
            mnemonic => match binary(mnemonic) {
                Some(binary) => self.vector_binary(insn, binary),
                None => self.scalar_move(insn),
            },
        }
    }

    fn xmm(&mut self, register: Register) -> Value {
        self.b.ins().load(I8X16, OWN, self.cpu, place(register))
    }

    fn set_xmm(&mut self, register: Register, value: Value) {
        self.b.ins().store(OWN, value, self.cpu, place(register));
    }

    /// Goes on if SSE instructions can run; else the interpreter does this one, and then goes to `done`.
    fn begin_vector(&mut self, done: Block) {
        if self.known.vectors {
            return;
        }
        let blocked = self.b.ins().load(I8, OWN, self.cpu, state::FPU_BLOCKED);
        let blocked = self.b.ins().band_imm(blocked, SSE_BLOCKED);
        let (slow, fine) = (self.cold(), self.b.create_block());
        self.b.ins().brif(blocked, slow, &[], fine, &[]);
        self.slowly(slow, done);
        self.b.switch_to_block(fine);
    }

    /// What the interpreter does instead, out of line.
    fn slowly(&mut self, slow: Block, done: Block) {
        let known = self.known;
        self.b.switch_to_block(slow);
        // Only vector registers change, and the flags do not.
        self.interpret(0, false, false);
        self.b.ins().jump(done, &[]);
        self.known = known;
    }

    /// The host's address of a memory operand; the slow way ends at `done`.
    fn vector_address(
        &mut self,
        insn: &Instruction,
        access: (u32, bool, bool),
        done: Block,
    ) -> Result<Value, Unsupported> {
        let (size, write, aligned) = access;
        let address = self.linear(insn)?;
        let (mut hit, entry, offset) = self.probe(address, size, write);
        if aligned {
            let odd = self.b.ins().band_imm(offset, i64::from(size) - 1);
            let even = self.b.ins().icmp_imm(IntCC::Equal, odd, 0);
            hit = self.b.ins().band(hit, even);
        }
        let (fast, slow) = (self.b.create_block(), self.cold());
        self.b.ins().brif(hit, fast, &[], slow, &[]);
        self.slowly(slow, done);
        self.b.switch_to_block(fast);
        Ok(self.host_address(entry, offset))
    }

    fn vector_load(&mut self, ty: Type, at: Value) -> Value {
        let value = self.b.ins().load(ty, GUEST, at, 0);
        if self.weakly_ordered {
            self.b.ins().fence();
        }
        value
    }

    fn vector_store(&mut self, value: Value, at: Value) {
        if self.weakly_ordered {
            self.b.ins().fence();
        }
        self.b.ins().store(GUEST, value, at, 0);
    }

    fn end_vector(&mut self, done: Block) {
        self.b.ins().jump(done, &[]);
        self.b.switch_to_block(done);
        self.known.vectors = true;
    }

    fn vector_move(&mut self, insn: &Instruction, aligned: bool) -> Lowered {
        let (to, from) = (insn.op0_kind(), insn.op1_kind());
        let done = self.b.create_block();
        self.begin_vector(done);
        if to == OpKind::Memory {
            let at = self.vector_address(insn, (16, true, aligned), done)?;
            let value = self.xmm(insn.op1_register());
            self.vector_store(value, at);
        } else if from == OpKind::Memory {
            let at = self.vector_address(insn, (16, false, aligned), done)?;
            let value = self.vector_load(I8X16, at);
            self.set_xmm(insn.op0_register(), value);
        } else {
            let value = self.xmm(insn.op1_register());
            self.set_xmm(insn.op0_register(), value);
        }
        self.end_vector(done);
        Ok(())
    }

    fn vector_binary(&mut self, insn: &Instruction, binary: Binary) -> Lowered {
        let done = self.b.create_block();
        self.begin_vector(done);
        let b = if insn.op1_kind() == OpKind::Memory {
            let at = self.vector_address(insn, (16, false, true), done)?;
            self.vector_load(I8X16, at)
        } else {
            self.xmm(insn.op1_register())
        };
        let a = self.xmm(insn.op0_register());
        let result = match binary {
            Binary::And => self.b.ins().band(a, b),
            Binary::AndNot => self.b.ins().band_not(b, a),
            Binary::Or => self.b.ins().bor(a, b),
            Binary::Xor => self.b.ins().bxor(a, b),
            Binary::Least => self.b.ins().umin(a, b),
            Binary::Most => self.b.ins().umax(a, b),
            Binary::Add(ty) | Binary::Subtract(ty) | Binary::Equal(ty) => {
                let (a, b) = (self.b.ins().bitcast(ty, LANES, a), self.b.ins().bitcast(ty, LANES, b));
                let lanes = match binary {
                    Binary::Add(_) => self.b.ins().iadd(a, b),
                    Binary::Subtract(_) => self.b.ins().isub(a, b),
                    _ => self.b.ins().icmp(IntCC::Equal, a, b),
                };
                self.b.ins().bitcast(I8X16, LANES, lanes)
            }
        };
        self.set_xmm(insn.op0_register(), result);
        self.end_vector(done);
        Ok(())
    }

    /// MOVD and MOVQ: half a register or less.
    fn scalar_move(&mut self, insn: &Instruction) -> Lowered {
        let (load, ty) = match insn.code() {
            Code::Movd_xmm_rm32 => (true, I32),
            Code::Movq_xmm_rm64 | Code::Movq_xmm_xmmm64 => (true, I64),
            Code::Movd_rm32_xmm => (false, I32),
            Code::Movq_rm64_xmm | Code::Movq_xmmm64_xmm => (false, I64),
            _ => return Err(Unsupported),
        };
        let done = self.b.create_block();
        let (destination, source) = (insn.op0_register(), insn.op1_register());
        let into_general = insn.op0_kind() == OpKind::Register && destination.is_gpr();
        if into_general {
            // The interpreter's slow way would have to tell the register's variable.
            return Err(Unsupported);
        }
        self.begin_vector(done);
        let value = if insn.op1_kind() == OpKind::Memory {
            let at = self.vector_address(insn, (ty.bytes(), false, false), done)?;
            self.vector_load(ty, at)
        } else if source.is_gpr() {
            self.get(source)?
        } else {
            self.b.ins().load(ty, OWN, self.cpu, place(source))
        };
        if insn.op0_kind() == OpKind::Memory {
            let at = self.vector_address(insn, (ty.bytes(), true, false), done)?;
            self.vector_store(value, at);
        } else if load || destination.is_xmm() {
            let value = self.wide(value);
            let zero = self.constant(I64, 0);
            self.b.ins().store(OWN, value, self.cpu, place(destination));
            self.b.ins().store(OWN, zero, self.cpu, place(destination) + 8);
        }
        self.end_vector(done);
        Ok(())
    }
}
