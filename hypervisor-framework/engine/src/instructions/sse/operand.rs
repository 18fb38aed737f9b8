//! Operands in XMM registers and memory, and the shapes of instructions over them.
#![allow(unsafe_code)] // one volatile read, see `xmm`

use iced_x86::OpKind;

use crate::block::{Exec, Op, Translator};
use crate::cpu::control::{cr0, cr4};
use crate::cpu::trap_vector as vector;
use crate::cpu::{Cpu, Trap};
use crate::instructions::vex;

/// Bit of [`Cpu::fpu_blocked`] that stands for SSE.
const SSE_BLOCKED: u8 = 2;

/// Can SSE instructions run (SDM vol. 3, table 2-2)?
#[inline(always)]
pub(super) fn ready(cpu: &mut Cpu) -> Result<(), Trap> {
    if cpu.fpu_blocked & SSE_BLOCKED == 0 { Ok(()) } else { Err(blocked(cpu)) }
}

#[cold]
#[inline(never)]
fn blocked(cpu: &mut Cpu) -> Trap {
    if cpu.cr0 & cr0::EM != 0 || cpu.cr4 & cr4::OSFXSR == 0 { cpu.undefined() } else { cpu.fault(vector::NM) }
}

/// How an instruction is encoded: what it needs to run, where its first source is, and what becomes of the upper half of
/// the register it writes.
pub(super) trait Encoding {
    fn ready(cpu: &mut Cpu) -> Result<(), Trap>;
    /// The first source register.
    fn first(cpu: &Cpu, op: &Op) -> u128;
    /// Writes an XMM register.
    fn set(cpu: &mut Cpu, register: u8, value: u128);
}

/// The destination is the first source; upper halves stay.
pub(super) struct Legacy;
/// VEX.128: the first source stands in `imm`, behind the immediate; the upper half becomes 0.
pub(super) struct Vex;

impl Encoding for Legacy {
    #[inline(always)]
    fn ready(cpu: &mut Cpu) -> Result<(), Trap> {
        ready(cpu)
    }

    #[inline(always)]
    fn first(cpu: &Cpu, op: &Op) -> u128 {
        xmm(cpu, op.dst)
    }

    #[inline(always)]
    fn set(cpu: &mut Cpu, register: u8, value: u128) {
        set_xmm(cpu, register, value);
    }
}

impl Encoding for Vex {
    #[inline(always)]
    fn ready(cpu: &mut Cpu) -> Result<(), Trap> {
        vex::ready(cpu)
    }

    #[inline(always)]
    fn first(cpu: &Cpu, op: &Op) -> u128 {
        xmm(cpu, (op.imm >> 8) as u8)
    }

    #[inline(always)]
    fn set(cpu: &mut Cpu, register: u8, value: u128) {
        set_xmm(cpu, register, value);
        cpu.ymm_upper[register as usize & 15] = 0;
    }
}

/// Operands of an instruction that writes a register from one register or memory operand: of three operands the middle
/// one is the first source of a VEX-encoded instruction. Answers whether the source is in memory.
pub(super) fn operands(t: &mut Translator<'_>, op: &mut Op) -> bool {
    let registers = |i| t.insn.op_kind(i) == OpKind::Register;
    let source = (0..t.insn.op_count())
        .rfind(|i| matches!(t.insn.op_kind(*i), OpKind::Register | OpKind::Memory))
        .unwrap_or_default();
    op.dst = t.register(0);
    op.imm = t.immediate(t.insn.op_count().saturating_sub(1)) & 0xff;
    if source == 2 && registers(1) {
        op.imm |= u64::from(t.register(1)) << 8;
    }
    if t.is_memory(source) {
        t.memory(op);
    } else {
        op.src = t.register(source);
    }
    t.is_memory(source)
}

/// XMM register by operand number.
///
/// Most results are written as two halves. The volatile read keeps the compiler from reading both as one vector, which
/// would have to wait until the halves have reached the cache.
#[inline(always)]
pub(in crate::instructions) fn xmm(cpu: &Cpu, register: u8) -> u128 {
    // SAFETY: a reference is valid for reads.
    unsafe { std::ptr::read_volatile(&cpu.xmm[register as usize & 15]) }
}

#[inline(always)]
pub(super) fn set_xmm(cpu: &mut Cpu, register: u8, value: u128) {
    cpu.xmm[register as usize & 15] = value;
}

/// Where a source value comes from, zero-extended to 128 bits.
pub(super) trait Operand {
    fn get(cpu: &mut Cpu, op: &Op) -> Result<u128, Trap>;
}

/// Where a result is stored in memory.
pub(super) trait Target {
    fn put(cpu: &mut Cpu, op: &Op, value: u128) -> Result<(), Trap>;
}

/// The XMM register `op.src`.
pub(super) struct Xmm;
/// 16 bytes in memory that must be aligned.
pub(super) struct Aligned;
/// 16 bytes in memory of any alignment.
pub(super) struct Unaligned;

impl Operand for Xmm {
    #[inline(always)]
    fn get(cpu: &mut Cpu, op: &Op) -> Result<u128, Trap> {
        Ok(xmm(cpu, op.src))
    }
}

/// The address of an aligned 16-byte operand; #GP(0) if it is not.
#[inline(always)]
fn aligned(cpu: &mut Cpu, op: &Op) -> Result<u64, Trap> {
    let address = cpu.address(op);
    if address & 15 == 0 { Ok(address) } else { Err(cpu.general_protection()) }
}

impl Operand for Aligned {
    #[inline(always)]
    fn get(cpu: &mut Cpu, op: &Op) -> Result<u128, Trap> {
        let address = aligned(cpu, op)?;
        cpu.load_u128(address)
    }
}

impl Target for Aligned {
    #[inline(always)]
    fn put(cpu: &mut Cpu, op: &Op, value: u128) -> Result<(), Trap> {
        let address = aligned(cpu, op)?;
        cpu.store_u128(address, value)
    }
}

impl Operand for Unaligned {
    #[inline(always)]
    fn get(cpu: &mut Cpu, op: &Op) -> Result<u128, Trap> {
        let address = cpu.address(op);
        cpu.load_u128(address)
    }
}

impl Target for Unaligned {
    #[inline(always)]
    fn put(cpu: &mut Cpu, op: &Op, value: u128) -> Result<(), Trap> {
        let address = cpu.address(op);
        cpu.store_u128(address, value)
    }
}

macro_rules! scalar_operand {
    ($($t:ty),*) => {$(
        impl Operand for $t {
            #[inline(always)]
            fn get(cpu: &mut Cpu, op: &Op) -> Result<u128, Trap> {
                let address = cpu.address(op);
                cpu.load::<$t>(address).map(u128::from)
            }
        }

        impl Target for $t {
            #[inline(always)]
            fn put(cpu: &mut Cpu, op: &Op, value: u128) -> Result<(), Trap> {
                let address = cpu.address(op);
                cpu.store::<$t>(address, value as $t)
            }
        }
    )*};
}
scalar_operand!(u8, u16, u32, u64);

/// `xmm(dst) = f(xmm(dst), source)`
#[inline(always)]
pub(super) fn binary<S: Operand>(
    cpu: &mut Cpu,
    op: &Op,
    f: impl FnOnce(u128, u128) -> u128,
) -> Result<(), Trap> {
    ready(cpu)?;
    let source = S::get(cpu, op)?;
    let result = f(xmm(cpu, op.dst), source);
    set_xmm(cpu, op.dst, result);
    Ok(())
}

/// `xmm(dst) = f(xmm(dst), source, imm8)`
#[inline(always)]
pub(super) fn binary_imm<S: Operand>(
    cpu: &mut Cpu,
    op: &Op,
    f: impl FnOnce(u128, u128, u8) -> u128,
) -> Result<(), Trap> {
    binary::<S>(cpu, op, |a, b| f(a, b, op.imm as u8))
}

/// `xmm(dst) = f(xmm(dst), source, xmm0)`
#[inline(always)]
pub(super) fn masked<S: Operand>(
    cpu: &mut Cpu,
    op: &Op,
    f: impl FnOnce(u128, u128, u128) -> u128,
) -> Result<(), Trap> {
    let mask = cpu.xmm[0];
    binary::<S>(cpu, op, |a, b| f(a, b, mask))
}

/// `memory = f(xmm(src))`
#[inline(always)]
pub(super) fn store<E: Encoding, M: Target>(
    cpu: &mut Cpu,
    op: &Op,
    f: impl FnOnce(u128) -> u128,
) -> Result<(), Trap> {
    E::ready(cpu)?;
    let value = f(xmm(cpu, op.src));
    M::put(cpu, op, value)
}

/// The executors of an instruction whose destination is an XMM register, by the kind of its source.
#[derive(Clone, Copy)]
pub(in crate::instructions) struct Forms {
    pub(super) register: Exec,
    pub(super) memory: Exec,
    /// The operation alone, on the lanes of a VEX-encoded instruction.
    pub(in crate::instructions) lanes: Exec,
}

/// [`Forms`] of a shape and its function: `forms!(binary, Aligned, f)`.
macro_rules! forms {
    ($shape:ident, $memory:ty, $f:expr) => {
        $crate::instructions::sse::operand::Forms {
            register: $crate::block::exec!(|cpu: &mut $crate::cpu::Cpu, op: &$crate::block::Op| {
                $shape::<$crate::instructions::sse::operand::Xmm>(cpu, op, $f)
            }),
            memory: $crate::block::exec!(|cpu: &mut $crate::cpu::Cpu, op: &$crate::block::Op| {
                $shape::<$memory>(cpu, op, $f)
            }),
            lanes: $crate::block::exec!(|cpu: &mut $crate::cpu::Cpu, op: &$crate::block::Op| {
                $crate::instructions::vex::lanes::$shape(cpu, op, $f)
            }),
        }
    };
}
pub(super) use forms;

/// Adds an instruction `op xmm, xmm/memory[, imm8]`.
pub(super) fn push(t: &mut Translator<'_>, forms: Forms) {
    let memory = t.is_memory(1);
    let mut op = t.op(if memory { forms.memory } else { forms.register });
    op.dst = t.register(0);
    op.imm = t.immediate(t.insn.op_count().saturating_sub(1));
    if memory {
        t.memory(&mut op);
    } else {
        op.src = t.register(1);
    }
    t.push(op);
}

/// Adds an instruction `op memory, xmm[, imm8]`.
pub(super) fn push_store(t: &mut Translator<'_>, exec: Exec) {
    let mut op = t.op(exec);
    op.src = t.register(1);
    op.imm = t.immediate(2);
    t.memory(&mut op);
    t.push(op);
}
