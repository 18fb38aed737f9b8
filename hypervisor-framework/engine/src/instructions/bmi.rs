//! BMI1, BMI2, LZCNT and MOVBE (SDM vol. 1, 5.1.16; vol. 2). Before x86-64-v3 they raise #UD, and the prefixes of TZCNT
//! and LZCNT mean nothing.

use iced_x86::{Instruction, Mnemonic, OpKind};

use super::arithmetic::sign_extend;
use super::operand_size;
use crate::Level;
use crate::block::{Dst, Exec, Flow, Mem, Op, Place, Reg, Source, Translator, then};
use crate::cpu::control::Mode;
use crate::cpu::flags::Flags;
use crate::cpu::{Cpu, gpr};
use crate::memory::Scalar;

/// Bits of `T`.
const fn width<T: Scalar>() -> u32 {
    8 * T::SIZE as u32
}

/// The flags of most: ZF and SF follow the result, OF is 0. What is undefined is as after a logic instruction.
#[inline(always)]
fn flags<T: Scalar>(flags: &mut Flags, result: u64, carry: bool) -> u64 {
    flags.set_logic(sign_extend(T::narrow(result)));
    flags.carry = carry;
    result
}

/// An instruction with a destination, the operand that may be in memory, and one more register.
trait Operation {
    /// The result of `source` and `other`.
    fn compute<T: Scalar>(flags: &mut Flags, source: u64, other: u64) -> u64;
}

macro_rules! operations {
    ($($name:ident, $t:ident, |$flags:ident, $source:ident, $other:ident| $body:expr;)*) => {$(
        struct $name;
        impl Operation for $name {
            #[inline(always)]
            fn compute<$t: Scalar>($flags: &mut Flags, $source: u64, $other: u64) -> u64 {
                $body
            }
        }
    )*};
}

/// The low `count` bits, all from 64 on.
const fn low_bits(count: u32) -> u64 {
    if count >= 64 { u64::MAX } else { (1 << count) - 1 }
}

operations! {
    Andn, T, |f, source, other| flags::<T>(f, !other & source, false);
    Bextr, T, |f, source, other| {
        let (start, count) = ((other & 0xff) as u32, (other >> 8 & 0xff) as u32);
        let field = source.checked_shr(start).unwrap_or(0) & low_bits(count);
        flags::<T>(f, field, false)
    };
    Blsi, T, |f, source, _other| flags::<T>(f, source & source.wrapping_neg(), source != 0);
    Blsmsk, T, |f, source, _other| flags::<T>(f, source ^ source.wrapping_sub(1), source == 0);
    Blsr, T, |f, source, _other| flags::<T>(f, source & source.wrapping_sub(1), source == 0);
    Bzhi, T, |f, source, other| {
        let index = (other & 0xff) as u32;
        flags::<T>(f, source & low_bits(index), index >= width::<T>())
    };
    Pdep, T, |_f, source, other| deposit(other, source);
    Pext, T, |_f, source, other| extract(other, source);
    Rorx, T, |_f, source, other| {
        let count = other as u32 & (width::<T>() - 1);
        if T::SIZE == 4 { u64::from((source as u32).rotate_right(count)) } else { source.rotate_right(count) }
    };
    Sarx, T, |_f, source, other| {
        let count = other as u32 & (width::<T>() - 1);
        (sign_extend(T::narrow(source)) as i64 >> count) as u64
    };
    Shlx, T, |_f, source, other| source << (other as u32 & (width::<T>() - 1));
    Shrx, T, |_f, source, other| source >> (other as u32 & (width::<T>() - 1));
    Tzcnt, T, |f, source, _other| {
        let count = source.trailing_zeros().min(width::<T>());
        counted(f, count, source == 0)
    };
    Lzcnt, T, |f, source, _other| {
        let count = source.leading_zeros() - (64 - width::<T>());
        counted(f, count, source == 0)
    };
}

/// CF: there is no set bit. ZF: the count is 0. The rest is undefined.
#[inline(always)]
fn counted(flags: &mut Flags, count: u32, none: bool) -> u64 {
    flags.set_logic(u64::from(count));
    flags.carry = none;
    u64::from(count)
}

/// Bits of `value`, lowest first, at the places of the set bits of `mask`.
fn deposit(value: u64, mut mask: u64) -> u64 {
    let (mut result, mut from) = (0, 1_u64);
    while mask != 0 {
        if value & from != 0 {
            result |= mask & mask.wrapping_neg();
        }
        mask &= mask - 1;
        from <<= 1;
    }
    result
}

/// Bits of `value` at the places of the set bits of `mask`, together.
fn extract(value: u64, mut mask: u64) -> u64 {
    let (mut result, mut to) = (0, 1_u64);
    while mask != 0 {
        if value & mask & mask.wrapping_neg() != 0 {
            result |= to;
        }
        mask &= mask - 1;
        to <<= 1;
    }
    result
}

/// `imm` is the other register, or from 16 on an immediate.
#[inline(always)]
fn other(cpu: &Cpu, op: &Op) -> u64 {
    if op.imm & IMMEDIATE == 0 { cpu.reg::<u64>(op.imm as u8) } else { op.imm & 0xff }
}

const IMMEDIATE: u64 = 1 << 8;

fn operation<O: Operation, T: Scalar, S: Source>(cpu: &mut Cpu, op: &Op, rest: &[Op]) -> Flow {
    let outcome = S::get::<T>(cpu, op).map(|source| {
        let other = other(cpu, op);
        let result = O::compute::<T>(&mut cpu.flags, source.widen(), T::narrow(other).widen());
        cpu.set_reg(op.dst, T::narrow(result));
    });
    then(cpu, op, rest, outcome)
}

/// MULX: the halves of RDX times the source, in two registers; the high one wins if they are the same.
fn multiply<T: Scalar, S: Source>(cpu: &mut Cpu, op: &Op, rest: &[Op]) -> Flow {
    let outcome = S::get::<T>(cpu, op).map(|source| {
        let product = u128::from(cpu.reg::<T>(gpr::RDX).widen()) * u128::from(source.widen());
        cpu.set_reg(op.imm as u8, T::narrow(product as u64));
        cpu.set_reg(op.dst, T::narrow((product >> width::<T>()) as u64));
    });
    then(cpu, op, rest, outcome)
}

/// MOVBE between `From` and `To`.
fn swap<T: Scalar, From: Source, To: Place>(cpu: &mut Cpu, op: &Op, rest: &[Op]) -> Flow {
    let outcome = From::get::<T>(cpu, op).and_then(|value| {
        let swapped = value.widen().swap_bytes() >> (64 - width::<T>());
        To::set(cpu, op, T::narrow(swapped))
    });
    then(cpu, op, rest, outcome)
}

macro_rules! wide {
    ($size:expr, $f:ident, [$($before:ty),*], [$($after:ty),*]) => {
        match $size {
            4 => $f::<$($before,)* u32, $($after),*> as Exec,
            _ => $f::<$($before,)* u64, $($after),*> as Exec,
        }
    };
}

pub(super) fn translate(t: &mut Translator<'_>) -> bool {
    if t.level < Level::V3 {
        return false;
    }
    let (insn, mnemonic) = (t.insn, t.insn.mnemonic());
    match mnemonic {
        Mnemonic::Movbe => {
            translate_swap(t);
            return true;
        }
        Mnemonic::Tzcnt | Mnemonic::Lzcnt => {}
        // VEX prefixes are none in real and virtual-8086 mode.
        _ if t.mode.has(Mode::REAL) => return false,
        _ => {}
    }
    // The operand that may be in memory, and what else is read.
    let (source, other) = match mnemonic {
        Mnemonic::Andn | Mnemonic::Pdep | Mnemonic::Pext | Mnemonic::Mulx => (2, Some(1)),
        Mnemonic::Bextr
        | Mnemonic::Bzhi
        | Mnemonic::Sarx
        | Mnemonic::Shlx
        | Mnemonic::Shrx
        | Mnemonic::Rorx => (1, Some(2)),
        Mnemonic::Blsi | Mnemonic::Blsmsk | Mnemonic::Blsr | Mnemonic::Tzcnt | Mnemonic::Lzcnt => (1, None),
        _ => return false,
    };
    let size = operand_size(insn, 0);
    let memory = t.is_memory(source);
    macro_rules! pick {
        ($o:ty) => {
            if memory { wide!(size, operation, [$o], [Mem]) } else { wide!(size, operation, [$o], [Reg]) }
        };
    }
    let exec = match mnemonic {
        Mnemonic::Andn => pick!(Andn),
        Mnemonic::Bextr => pick!(Bextr),
        Mnemonic::Blsi => pick!(Blsi),
        Mnemonic::Blsmsk => pick!(Blsmsk),
        Mnemonic::Blsr => pick!(Blsr),
        Mnemonic::Bzhi => pick!(Bzhi),
        Mnemonic::Pdep => pick!(Pdep),
        Mnemonic::Pext => pick!(Pext),
        Mnemonic::Rorx => pick!(Rorx),
        Mnemonic::Sarx => pick!(Sarx),
        Mnemonic::Shlx => pick!(Shlx),
        Mnemonic::Shrx => pick!(Shrx),
        Mnemonic::Tzcnt if size == 2 => word::<Tzcnt>(memory),
        Mnemonic::Lzcnt if size == 2 => word::<Lzcnt>(memory),
        Mnemonic::Tzcnt => pick!(Tzcnt),
        Mnemonic::Lzcnt => pick!(Lzcnt),
        _ if memory => wide!(size, multiply, [], [Mem]),
        _ => wide!(size, multiply, [], [Reg]),
    };
    let mut op = t.op(exec);
    op.dst = t.register(0);
    op.imm = other.map_or(0, |operand| other_operand(insn, t, operand));
    if memory {
        t.memory(&mut op);
    } else {
        op.src = t.register(source);
    }
    t.push(op);
    true
}

fn word<O: Operation>(memory: bool) -> Exec {
    if memory { operation::<O, u16, Mem> } else { operation::<O, u16, Reg> }
}

fn other_operand(insn: &Instruction, t: &Translator<'_>, operand: u32) -> u64 {
    if insn.op_kind(operand) == OpKind::Register {
        u64::from(t.register(operand))
    } else {
        IMMEDIATE | t.immediate(operand) & 0xff
    }
}

fn translate_swap(t: &mut Translator<'_>) {
    let load = t.is_memory(1);
    let size = operand_size(t.insn, 0);
    let exec: Exec = match (size, load) {
        (2, true) => swap::<u16, Mem, Dst>,
        (4, true) => swap::<u32, Mem, Dst>,
        (_, true) => swap::<u64, Mem, Dst>,
        (2, false) => swap::<u16, Reg, Mem>,
        (4, false) => swap::<u32, Reg, Mem>,
        (_, false) => swap::<u64, Reg, Mem>,
    };
    let mut op = t.op(exec);
    if load {
        op.dst = t.register(0);
    } else {
        op.src = t.register(1);
    }
    t.memory(&mut op);
    t.push(op);
}
