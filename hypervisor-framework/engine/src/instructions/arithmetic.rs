//! ADD, OR, ADC, SBB, AND, SUB, XOR, CMP, TEST, INC, DEC, NEG, NOT, XADD, CMPXCHG.

use iced_x86::Mnemonic;

use super::operand_size;
use crate::block::{
    Dst, Exec, Flow, Imm, LockedMem, Mem, Op, Place, Reg, Source, Translator, exec, next, then,
};
use crate::cpu::flags::Flags;
use crate::cpu::{Cpu, Trap, gpr};
use crate::memory::Scalar;

/// Sign-extends a value of `T` to 64 bits.
#[inline(always)]
pub(crate) fn sign_extend<T: Scalar>(value: T) -> u64 {
    let shift = 64 - 8 * T::SIZE as u32;
    ((value.widen() << shift) as i64 >> shift) as u64
}

/// The top bit of `T`.
#[inline(always)]
pub(crate) fn sign_bit<T: Scalar>() -> u64 {
    1 << (8 * T::SIZE - 1)
}

/// a + b + carry, with flags.
#[inline(always)]
pub(crate) fn add<T: Scalar>(flags: &mut Flags, a: T, b: T, carry: bool) -> T {
    let (x, y) = (a.widen(), b.widen());
    let (sum, wrapped) = x.overflowing_add(y);
    let (sum, wrapped_again) = sum.overflowing_add(u64::from(carry));
    let result = T::narrow(sum);
    let out = if T::SIZE == 8 { wrapped | wrapped_again } else { sum >> ((8 * T::SIZE as u32) & 63) != 0 };
    let overflow = (x ^ sum) & (y ^ sum) & sign_bit::<T>() != 0;
    flags.set(sign_extend(result), x ^ y, out, overflow);
    result
}

/// a - b - borrow, with flags.
#[inline(always)]
pub(crate) fn subtract<T: Scalar>(flags: &mut Flags, a: T, b: T, borrow: bool) -> T {
    let (x, y) = (a.widen(), b.widen());
    let difference = x.wrapping_sub(y).wrapping_sub(u64::from(borrow));
    let result = T::narrow(difference);
    let out = if borrow { x <= y } else { x < y };
    let overflow = (x ^ y) & (x ^ difference) & sign_bit::<T>() != 0;
    flags.set(sign_extend(result), x ^ y, out, overflow);
    result
}

/// An instruction of two operands.
trait Binary {
    /// The destination is written.
    const WRITES: bool = true;
    /// The result and the flags.
    fn compute<T: Scalar>(flags: &mut Flags, a: T, b: T) -> T;
}

macro_rules! binary {
    ($($name:ident, $writes:expr, |$flags:ident, $a:ident, $b:ident| $body:expr;)*) => {$(
        struct $name;
        impl Binary for $name {
            const WRITES: bool = $writes;
            #[inline(always)]
            fn compute<T: Scalar>($flags: &mut Flags, $a: T, $b: T) -> T {
                $body
            }
        }
    )*};
}

#[inline(always)]
fn logic<T: Scalar>(flags: &mut Flags, value: u64) -> T {
    let result = T::narrow(value);
    flags.set_logic(sign_extend(result));
    result
}

binary! {
    Add, true, |flags, a, b| add(flags, a, b, false);
    Adc, true, |flags, a, b| { let carry = flags.carry; add(flags, a, b, carry) };
    Sub, true, |flags, a, b| subtract(flags, a, b, false);
    Sbb, true, |flags, a, b| { let borrow = flags.carry; subtract(flags, a, b, borrow) };
    Cmp, false, |flags, a, b| subtract(flags, a, b, false);
    And, true, |flags, a, b| logic(flags, a.widen() & b.widen());
    Or, true, |flags, a, b| logic(flags, a.widen() | b.widen());
    Xor, true, |flags, a, b| logic(flags, a.widen() ^ b.widen());
    Test, false, |flags, a, b| logic(flags, a.widen() & b.widen());
}

#[inline(always)]
fn binary<O: Binary, T: Scalar, D: Place, S: Source>(cpu: &mut Cpu, op: &Op, rest: &[Op]) -> Flow {
    let outcome = binary_step::<O, T, D, S>(cpu, op);
    then(cpu, op, rest, outcome)
}

#[inline(always)]
fn binary_step<O: Binary, T: Scalar, D: Place, S: Source>(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    let b: T = S::get(cpu, op)?;
    if O::WRITES {
        let before = cpu.flags;
        let a = D::update(cpu, op, |a: T| O::compute(&mut before.clone(), a, b))?;
        O::compute(&mut cpu.flags, a, b);
    } else {
        let a: T = D::get(cpu, op)?;
        O::compute(&mut cpu.flags, a, b);
    }
    Ok(())
}

/// Registers need no second computation.
#[inline(always)]
fn binary_register<O: Binary, T: Scalar, S: Source>(cpu: &mut Cpu, op: &Op, rest: &[Op]) -> Flow {
    let b: T = match S::get(cpu, op) {
        Ok(b) => b,
        Err(Trap) => return cpu.trapped(op),
    };
    let a: T = cpu.reg(op.dst);
    let result = O::compute(&mut cpu.flags, a, b);
    if O::WRITES {
        cpu.set_reg(op.dst, result);
    }
    next(cpu, rest)
}

/// The executor for an operand size.
macro_rules! sized {
    ($size:expr, $f:ident, [$($before:ty),*], [$($after:ty),*]) => {
        match $size {
            1 => $f::<$($before,)* u8 $(,$after)*>,
            2 => $f::<$($before,)* u16 $(,$after)*>,
            4 => $f::<$($before,)* u32 $(,$after)*>,
            _ => $f::<$($before,)* u64 $(,$after)*>,
        }
    };
}
pub(super) use sized;

fn translate_binary<O: Binary>(t: &mut Translator<'_>) {
    let size = operand_size(t.insn, 0);
    let source_register = t.insn.op_kind(1) == iced_x86::OpKind::Register;
    let exec: Exec = if t.is_memory(0) {
        match (source_register, t.insn.has_lock_prefix()) {
            (true, true) => sized!(size, binary, [O], [LockedMem, Reg]),
            (false, true) => sized!(size, binary, [O], [LockedMem, Imm]),
            (true, false) => sized!(size, binary, [O], [Mem, Reg]),
            (false, false) => sized!(size, binary, [O], [Mem, Imm]),
        }
    } else if t.is_memory(1) {
        sized!(size, binary_register, [O], [Mem])
    } else if source_register {
        sized!(size, binary_register, [O], [Reg])
    } else {
        sized!(size, binary_register, [O], [Imm])
    };
    let mut op = t.op(exec);
    if t.is_memory(0) {
        t.memory(&mut op);
    } else {
        op.dst = t.register(0);
    }
    if t.is_memory(1) {
        t.memory(&mut op);
    } else if source_register {
        op.src = t.register(1);
    } else {
        op.imm = t.immediate(1);
    }
    t.push(op);
}

/// An instruction of one operand.
trait Unary {
    fn compute<T: Scalar>(flags: &mut Flags, a: T) -> T;
}

struct Inc;
struct Dec;
struct Neg;
struct Not;

impl Unary for Inc {
    #[inline(always)]
    fn compute<T: Scalar>(flags: &mut Flags, a: T) -> T {
        let carry = flags.carry;
        let result = add(flags, a, T::narrow(1), false);
        flags.carry = carry;
        result
    }
}

impl Unary for Dec {
    #[inline(always)]
    fn compute<T: Scalar>(flags: &mut Flags, a: T) -> T {
        let carry = flags.carry;
        let result = subtract(flags, a, T::narrow(1), false);
        flags.carry = carry;
        result
    }
}

impl Unary for Neg {
    #[inline(always)]
    fn compute<T: Scalar>(flags: &mut Flags, a: T) -> T {
        subtract(flags, T::narrow(0), a, false)
    }
}

impl Unary for Not {
    #[inline(always)]
    fn compute<T: Scalar>(_flags: &mut Flags, a: T) -> T {
        T::narrow(!a.widen())
    }
}

fn unary<O: Unary, T: Scalar, D: Place>(cpu: &mut Cpu, op: &Op, rest: &[Op]) -> Flow {
    let before = cpu.flags;
    let outcome = D::update(cpu, op, |a: T| O::compute(&mut before.clone(), a)).map(|a| {
        O::compute(&mut cpu.flags, a);
    });
    then(cpu, op, rest, outcome)
}

fn translate_unary<O: Unary>(t: &mut Translator<'_>) {
    let size = operand_size(t.insn, 0);
    let exec: Exec = match (t.is_memory(0), t.insn.has_lock_prefix()) {
        (true, true) => sized!(size, unary, [O], [LockedMem]),
        (true, false) => sized!(size, unary, [O], [Mem]),
        (false, _) => sized!(size, unary, [O], [Dst]),
    };
    let mut op = t.op(exec);
    if t.is_memory(0) {
        t.memory(&mut op);
    } else {
        op.dst = t.register(0);
    }
    t.push(op);
}

fn xadd<T: Scalar, D: Place>(cpu: &mut Cpu, op: &Op, rest: &[Op]) -> Flow {
    let b: T = cpu.reg(op.src);
    let outcome = D::update(cpu, op, |a: T| T::narrow(a.widen().wrapping_add(b.widen()))).map(|a| {
        let sum = add(&mut cpu.flags, a, b, false);
        cpu.set_reg(op.src, a);
        // With one register for both operands the sum stays.
        if op.dst == op.src && op.flags & MEMORY == 0 {
            cpu.set_reg(op.dst, sum);
        }
    });
    then(cpu, op, rest, outcome)
}

/// `Op::flags`: the destination is in memory.
const MEMORY: u8 = 0x10;

fn cmpxchg<T: Scalar, D: Place>(cpu: &mut Cpu, op: &Op, rest: &[Op]) -> Flow {
    let expected: T = cpu.reg(gpr::RAX);
    let new: T = cpu.reg(op.src);
    // The destination is always written, with its old value if the comparison fails.
    let outcome = D::update(cpu, op, |old: T| if old == expected { new } else { old }).map(|old| {
        subtract(&mut cpu.flags, expected, old, false);
        if old != expected {
            cpu.set_reg(gpr::RAX, old);
        }
    });
    then(cpu, op, rest, outcome)
}

/// With a register as destination, which is not touched if the comparison fails: its upper half stays.
fn cmpxchg_register<T: Scalar>(cpu: &mut Cpu, op: &Op, rest: &[Op]) -> Flow {
    let expected: T = cpu.reg(gpr::RAX);
    let old: T = cpu.reg(op.dst);
    subtract(&mut cpu.flags, expected, old, false);
    if old == expected {
        let new: T = cpu.reg(op.src);
        cpu.set_reg(op.dst, new);
    } else {
        cpu.set_reg(gpr::RAX, old);
    }
    next(cpu, rest)
}

fn translate_exchange(t: &mut Translator<'_>, compare: bool) {
    let size = operand_size(t.insn, 0);
    let exec: Exec = match (t.is_memory(0), t.insn.has_lock_prefix(), compare) {
        (true, true, true) => sized!(size, cmpxchg, [], [LockedMem]),
        (true, false, true) => sized!(size, cmpxchg, [], [Mem]),
        (false, _, true) => sized!(size, cmpxchg_register, [], []),
        (true, true, false) => sized!(size, xadd, [], [LockedMem]),
        (true, false, false) => sized!(size, xadd, [], [Mem]),
        (false, _, false) => sized!(size, xadd, [], [Dst]),
    };
    let mut op = t.op(exec);
    op.src = t.register(1);
    if t.is_memory(0) {
        t.memory(&mut op);
        op.flags |= MEMORY;
    } else {
        op.dst = t.register(0);
    }
    t.push(op);
}

/// CMPXCHG8B.
fn cmpxchg8b(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    let address = cpu.address(op);
    let pair =
        |cpu: &Cpu, high: u8, low: u8| u64::from(cpu.reg::<u32>(high)) << 32 | u64::from(cpu.reg::<u32>(low));
    let expected = pair(cpu, gpr::RDX, gpr::RAX);
    let new = pair(cpu, gpr::RCX, gpr::RBX);
    let old = cpu.update_locked(address, |old: u64| if old == expected { new } else { old })?;
    set_zero(cpu, old == expected);
    if old != expected {
        cpu.set_reg(gpr::RAX, old as u32);
        cpu.set_reg(gpr::RDX, (old >> 32) as u32);
    }
    Ok(())
}

/// CMPXCHG16B.
fn cmpxchg16b(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    let address = cpu.address(op);
    if address & 15 != 0 {
        return Err(cpu.general_protection());
    }
    let pair = |cpu: &Cpu, high: u8, low: u8| u128::from(cpu.slot(high)) << 64 | u128::from(cpu.slot(low));
    let expected = pair(cpu, gpr::RDX, gpr::RAX);
    let new = pair(cpu, gpr::RCX, gpr::RBX);
    let old = cpu.compare_exchange_u128(address, expected, new)?;
    set_zero(cpu, old == expected);
    if old != expected {
        cpu.set_slot(gpr::RAX, old as u64);
        cpu.set_slot(gpr::RDX, (old >> 64) as u64);
    }
    Ok(())
}

/// Sets ZF alone.
pub(crate) fn set_zero(cpu: &mut Cpu, zero: bool) {
    use crate::cpu::flags::bit;
    let flags = cpu.flags.arithmetic() & !bit::ZF;
    cpu.flags.set_arithmetic(flags | if zero { bit::ZF } else { 0 });
}

pub(super) fn translate(t: &mut Translator<'_>) -> bool {
    match t.insn.mnemonic() {
        Mnemonic::Add => translate_binary::<Add>(t),
        Mnemonic::Adc => translate_binary::<Adc>(t),
        Mnemonic::Sub => translate_binary::<Sub>(t),
        Mnemonic::Sbb => translate_binary::<Sbb>(t),
        Mnemonic::Cmp => translate_binary::<Cmp>(t),
        Mnemonic::And => translate_binary::<And>(t),
        Mnemonic::Or => translate_binary::<Or>(t),
        Mnemonic::Xor => translate_binary::<Xor>(t),
        Mnemonic::Test => translate_binary::<Test>(t),
        Mnemonic::Inc => translate_unary::<Inc>(t),
        Mnemonic::Dec => translate_unary::<Dec>(t),
        Mnemonic::Neg => translate_unary::<Neg>(t),
        Mnemonic::Not => translate_unary::<Not>(t),
        Mnemonic::Xadd => translate_exchange(t, false),
        Mnemonic::Cmpxchg => translate_exchange(t, true),
        Mnemonic::Cmpxchg8b => t.push_memory(exec!(cmpxchg8b)),
        Mnemonic::Cmpxchg16b => t.push_memory(exec!(cmpxchg16b)),
        _ => return false,
    }
    true
}
