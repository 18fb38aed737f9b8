//! SHL, SHR, SAR, ROL, ROR, RCL, RCR, SHLD, SHRD.

use iced_x86::{Mnemonic, OpKind};

use super::arithmetic::{sign_bit, sign_extend, sized};
use super::operand_size;
use crate::block::{Dst, Exec, Flow, Imm, Mem, Op, Place, Source, Translator, then};
use crate::cpu::flags::Flags;
use crate::cpu::{Cpu, Trap, gpr};
use crate::memory::Scalar;

/// CL as a count.
struct Cl;

impl Source for Cl {
    #[inline(always)]
    fn get<T: Scalar>(cpu: &mut Cpu, _op: &Op) -> Result<T, Trap> {
        Ok(T::narrow(cpu.regs[gpr::RCX as usize] & 0xff))
    }
}

/// A shift or rotation by a masked count that is not 0.
trait Shift {
    fn compute<T: Scalar>(flags: &mut Flags, a: T, count: u32) -> T;
}

#[inline(always)]
fn bits<T: Scalar>() -> u32 {
    8 * T::SIZE as u32
}

struct Shl;
struct Shr;
struct Sar;
struct Rol;
struct Ror;
struct Rcl;
struct Rcr;

impl Shift for Shl {
    #[inline(always)]
    fn compute<T: Scalar>(flags: &mut Flags, a: T, count: u32) -> T {
        let wide = u128::from(a.widen()) << count;
        let result = T::narrow(wide as u64);
        let carry = wide >> bits::<T>() & 1 != 0;
        let sign = result.widen() & sign_bit::<T>() != 0;
        flags.set(sign_extend(result), sign_extend(result), carry, sign != carry);
        result
    }
}

impl Shift for Shr {
    #[inline(always)]
    fn compute<T: Scalar>(flags: &mut Flags, a: T, count: u32) -> T {
        let wide = a.widen();
        let carry = wide >> (count - 1) & 1 != 0;
        let result = T::narrow(if count >= 64 { 0 } else { wide >> count });
        flags.set(sign_extend(result), sign_extend(result), carry, wide & sign_bit::<T>() != 0);
        result
    }
}

impl Shift for Sar {
    #[inline(always)]
    fn compute<T: Scalar>(flags: &mut Flags, a: T, count: u32) -> T {
        let wide = sign_extend(a) as i64;
        let carry = wide >> (count - 1) & 1 != 0;
        let result = T::narrow((wide >> count.min(63)) as u64);
        flags.set(sign_extend(result), sign_extend(result), carry, false);
        result
    }
}

/// Rotations change CF and OF alone.
#[inline(always)]
fn rotated(flags: &mut Flags, carry: bool, overflow: bool) {
    flags.carry = carry;
    flags.overflow = overflow;
}

impl Shift for Rol {
    #[inline(always)]
    fn compute<T: Scalar>(flags: &mut Flags, a: T, count: u32) -> T {
        let (wide, width) = (a.widen(), bits::<T>());
        let turn = count % width;
        let result = if turn == 0 { wide } else { wide << turn | wide >> (width - turn) };
        let result = T::narrow(result);
        let carry = result.widen() & 1 != 0;
        rotated(flags, carry, (result.widen() & sign_bit::<T>() != 0) != carry);
        result
    }
}

impl Shift for Ror {
    #[inline(always)]
    fn compute<T: Scalar>(flags: &mut Flags, a: T, count: u32) -> T {
        let (wide, width) = (a.widen(), bits::<T>());
        let turn = count % width;
        let result = if turn == 0 { wide } else { wide >> turn | wide << (width - turn) };
        let result = T::narrow(result);
        let carry = result.widen() & sign_bit::<T>() != 0;
        rotated(flags, carry, carry != (result.widen() & sign_bit::<T>() >> 1 != 0));
        result
    }
}

impl Shift for Rcl {
    #[inline(always)]
    fn compute<T: Scalar>(flags: &mut Flags, a: T, count: u32) -> T {
        let width = bits::<T>() + 1;
        let turn = count % width;
        let ring = u128::from(a.widen()) | u128::from(flags.carry) << bits::<T>();
        let ring = if turn == 0 { ring } else { ring << turn | ring >> (width - turn) };
        let result = T::narrow(ring as u64);
        let carry = ring >> bits::<T>() & 1 != 0;
        rotated(flags, carry, (result.widen() & sign_bit::<T>() != 0) != carry);
        result
    }
}

impl Shift for Rcr {
    #[inline(always)]
    fn compute<T: Scalar>(flags: &mut Flags, a: T, count: u32) -> T {
        let width = bits::<T>() + 1;
        let turn = count % width;
        let ring = u128::from(a.widen()) | u128::from(flags.carry) << bits::<T>();
        let ring = if turn == 0 { ring } else { ring >> turn | ring << (width - turn) };
        let result = T::narrow(ring as u64);
        let carry = ring >> bits::<T>() & 1 != 0;
        let top = result.widen() & sign_bit::<T>() != 0;
        rotated(flags, carry, top != (result.widen() & sign_bit::<T>() >> 1 != 0));
        result
    }
}

fn shift<O: Shift, T: Scalar, D: Place, C: Source>(cpu: &mut Cpu, op: &Op, rest: &[Op]) -> Flow {
    let outcome = shift_step::<O, T, D, C>(cpu, op);
    then(cpu, op, rest, outcome)
}

#[inline(always)]
fn shift_step<O: Shift, T: Scalar, D: Place, C: Source>(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    let mask = if T::SIZE == 8 { 63 } else { 31 };
    let count = u32::from(C::get::<u8>(cpu, op)?) & mask;
    if count == 0 {
        // A destination register of 32 bits is still zero-extended, memory still probed for writing.
        D::update(cpu, op, |a: T| a)?;
        return Ok(());
    }
    let before = cpu.flags;
    let a = D::update(cpu, op, |a: T| O::compute(&mut before.clone(), a, count))?;
    O::compute(&mut cpu.flags, a, count);
    Ok(())
}

fn translate_shift<O: Shift>(t: &mut Translator<'_>) {
    let size = operand_size(t.insn, 0);
    let by_register = t.insn.op_kind(1) == OpKind::Register;
    let exec: Exec = match (t.is_memory(0), by_register) {
        (true, true) => sized!(size, shift, [O], [Mem, Cl]),
        (true, false) => sized!(size, shift, [O], [Mem, Imm]),
        (false, true) => sized!(size, shift, [O], [Dst, Cl]),
        (false, false) => sized!(size, shift, [O], [Dst, Imm]),
    };
    let mut op = t.op(exec);
    if t.is_memory(0) {
        t.memory(&mut op);
    } else {
        op.dst = t.register(0);
    }
    if !by_register {
        op.imm = t.immediate(1);
    }
    t.push(op);
}

/// SHLD and SHRD.
fn double_shift<T: Scalar, D: Place, C: Source, const LEFT: bool>(
    cpu: &mut Cpu,
    op: &Op,
    rest: &[Op],
) -> Flow {
    let outcome = double_step::<T, D, C, LEFT>(cpu, op);
    then(cpu, op, rest, outcome)
}

#[inline(always)]
fn double_step<T: Scalar, D: Place, C: Source, const LEFT: bool>(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    let mask = if T::SIZE == 8 { 63 } else { 31 };
    let count = u32::from(C::get::<u8>(cpu, op)?) & mask;
    let filler: T = cpu.reg(op.src);
    if count == 0 {
        D::update(cpu, op, |a: T| a)?;
        return Ok(());
    }
    let mut carry = false;
    let old = D::update(cpu, op, |a: T| double::<T, LEFT>(a, filler, count, &mut carry))?;
    let result = double::<T, LEFT>(old, filler, count, &mut carry);
    let overflow = (old.widen() ^ result.widen()) & sign_bit::<T>() != 0;
    cpu.flags.set(sign_extend(result), sign_extend(result), carry, overflow);
    Ok(())
}

/// A 16-bit count beyond 16 goes on with the destination's bits, as CPUs do; the manual leaves it undefined.
#[inline(always)]
fn double<T: Scalar, const LEFT: bool>(a: T, filler: T, count: u32, carry: &mut bool) -> T {
    let width = bits::<T>();
    let (x, y) = (u128::from(a.widen()), u128::from(filler.widen()));
    if LEFT {
        let ring = if T::SIZE == 2 { x << 32 | y << 16 | x } else { x << width | y };
        let total = if T::SIZE == 2 { 48 } else { 2 * width };
        *carry = ring >> (total - count) & 1 != 0;
        T::narrow((ring << count >> (total - width)) as u64)
    } else {
        let ring = if T::SIZE == 2 { x << 32 | y << 16 | x } else { y << width | x };
        *carry = ring >> (count - 1) & 1 != 0;
        T::narrow((ring >> count) as u64)
    }
}

fn translate_double<const LEFT: bool>(t: &mut Translator<'_>) {
    let size = operand_size(t.insn, 0);
    let by_register = t.insn.op_kind(2) == OpKind::Register;
    macro_rules! pick {
        ($d:ty, $c:ty) => {
            match size {
                2 => double_shift::<u16, $d, $c, LEFT>,
                4 => double_shift::<u32, $d, $c, LEFT>,
                _ => double_shift::<u64, $d, $c, LEFT>,
            }
        };
    }
    let exec: Exec = match (t.is_memory(0), by_register) {
        (true, true) => pick!(Mem, Cl),
        (true, false) => pick!(Mem, Imm),
        (false, true) => pick!(Dst, Cl),
        (false, false) => pick!(Dst, Imm),
    };
    let mut op = t.op(exec);
    op.src = t.register(1);
    if t.is_memory(0) {
        t.memory(&mut op);
    } else {
        op.dst = t.register(0);
    }
    if !by_register {
        op.imm = t.immediate(2);
    }
    t.push(op);
}

pub(super) fn translate(t: &mut Translator<'_>) -> bool {
    match t.insn.mnemonic() {
        Mnemonic::Shl | Mnemonic::Sal => translate_shift::<Shl>(t),
        Mnemonic::Shr => translate_shift::<Shr>(t),
        Mnemonic::Sar => translate_shift::<Sar>(t),
        Mnemonic::Rol => translate_shift::<Rol>(t),
        Mnemonic::Ror => translate_shift::<Ror>(t),
        Mnemonic::Rcl => translate_shift::<Rcl>(t),
        Mnemonic::Rcr => translate_shift::<Rcr>(t),
        Mnemonic::Shld => translate_double::<true>(t),
        Mnemonic::Shrd => translate_double::<false>(t),
        _ => return false,
    }
    true
}
