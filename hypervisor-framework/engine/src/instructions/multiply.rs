//! MUL, IMUL, DIV, IDIV.

use iced_x86::Mnemonic;

use super::arithmetic::sign_extend;
use super::operand_size;
use crate::block::{Exec, Flow, Mem, Op, Reg, Source, Translator, then};
use crate::cpu::trap_vector as vector;
use crate::cpu::{Cpu, Trap, gpr};
use crate::memory::Scalar;

/// CF and OF say whether the upper half matters; SF and PF follow the low half as CPUs do, though undefined.
#[inline(always)]
fn product_flags<T: Scalar>(cpu: &mut Cpu, low: T, lost: bool) {
    cpu.flags.set_logic(sign_extend(low));
    cpu.flags.carry = lost;
    cpu.flags.overflow = lost;
}

/// MUL and one-operand IMUL: AX, DX:AX, EDX:EAX or RDX:RAX.
fn multiply<T: Scalar, S: Source, const SIGNED: bool>(cpu: &mut Cpu, op: &Op, rest: &[Op]) -> Flow {
    let outcome = S::get::<T>(cpu, op).map(|b| {
        let a: T = cpu.reg(gpr::RAX);
        let bits = 8 * T::SIZE as u32;
        let (low, high) = if SIGNED {
            let product = i128::from(sign_extend(a) as i64) * i128::from(sign_extend(b) as i64);
            (product as u64, (product >> bits) as u64)
        } else {
            let product = u128::from(a.widen()) * u128::from(b.widen());
            (product as u64, (product >> bits) as u64)
        };
        let (low, high) = (T::narrow(low), T::narrow(high));
        if T::SIZE == 1 {
            cpu.set_reg(gpr::RAX, (low.widen() | high.widen() << 8) as u16);
        } else {
            cpu.set_reg(gpr::RAX, low);
            cpu.set_reg(gpr::RDX, high);
        }
        let lost = if SIGNED {
            sign_extend(high) != (sign_extend(low) as i64 >> 63) as u64
        } else {
            high.widen() != 0
        };
        product_flags(cpu, low, lost);
    });
    then(cpu, op, rest, outcome)
}

/// IMUL with a destination register: `A` times `B`.
fn multiply_to<T: Scalar, A: Source, const IMMEDIATE: bool>(cpu: &mut Cpu, op: &Op, rest: &[Op]) -> Flow {
    let outcome = A::get::<T>(cpu, op).map(|a| {
        let b: T = if IMMEDIATE { T::narrow(op.imm) } else { cpu.reg(op.dst) };
        let product = i128::from(sign_extend(a) as i64) * i128::from(sign_extend(b) as i64);
        let low = T::narrow(product as u64);
        product_flags(cpu, low, product != i128::from(sign_extend(low) as i64));
        cpu.set_reg(op.dst, low);
    });
    then(cpu, op, rest, outcome)
}

/// DIV and IDIV.
fn divide<T: Scalar, S: Source, const SIGNED: bool>(cpu: &mut Cpu, op: &Op, rest: &[Op]) -> Flow {
    let outcome = divide_step::<T, S, SIGNED>(cpu, op);
    then(cpu, op, rest, outcome)
}

fn divide_step<T: Scalar, S: Source, const SIGNED: bool>(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    let divisor: T = S::get(cpu, op)?;
    let bits = 8 * T::SIZE as u32;
    let (high, low) = if T::SIZE == 1 {
        let ax: u16 = cpu.reg(gpr::RAX);
        (T::narrow(u64::from(ax >> 8)), T::narrow(u64::from(ax)))
    } else {
        (cpu.reg::<T>(gpr::RDX), cpu.reg::<T>(gpr::RAX))
    };
    if divisor.widen() == 0 {
        return Err(cpu.fault(vector::DE));
    }
    let (quotient, remainder) = if SIGNED {
        let dividend = i128::from(sign_extend(high) as i64) << bits | i128::from(low.widen());
        let by = i128::from(sign_extend(divisor) as i64);
        let (quotient, remainder) = (dividend.wrapping_div(by), dividend.wrapping_rem(by));
        let fitted = sign_extend(T::narrow(quotient as u64)) as i64;
        if i128::from(fitted) != quotient || dividend == i128::MIN {
            return Err(cpu.fault(vector::DE));
        }
        (quotient as u64, remainder as u64)
    } else if high.widen() == 0 {
        (low.widen() / divisor.widen(), low.widen() % divisor.widen())
    } else {
        let dividend = u128::from(high.widen()) << bits | u128::from(low.widen());
        let by = u128::from(divisor.widen());
        if high.widen() >= divisor.widen() {
            return Err(cpu.fault(vector::DE));
        }
        ((dividend / by) as u64, (dividend % by) as u64)
    };
    if T::SIZE == 1 {
        cpu.set_reg(gpr::RAX, (quotient & 0xff | (remainder & 0xff) << 8) as u16);
    } else {
        cpu.set_reg(gpr::RAX, T::narrow(quotient));
        cpu.set_reg(gpr::RDX, T::narrow(remainder));
    }
    Ok(())
}

fn one_operand(t: &mut Translator<'_>, memory: Exec, register: Exec) {
    let mut op = t.op(if t.is_memory(0) { memory } else { register });
    if t.is_memory(0) {
        t.memory(&mut op);
    } else {
        op.src = t.register(0);
    }
    t.push(op);
}

macro_rules! one {
    ($t:ident, $f:ident, $signed:literal) => {{
        macro_rules! pick {
            ($s:ty) => {
                match operand_size($t.insn, 0) {
                    1 => $f::<u8, $s, $signed> as Exec,
                    2 => $f::<u16, $s, $signed>,
                    4 => $f::<u32, $s, $signed>,
                    _ => $f::<u64, $s, $signed>,
                }
            };
        }
        one_operand($t, pick!(Mem), pick!(Reg));
    }};
}

fn translate_imul(t: &mut Translator<'_>) {
    if t.insn.op_count() == 1 {
        return one!(t, multiply, true);
    }
    let immediate = t.insn.op_count() == 3;
    macro_rules! pick {
        ($s:ty) => {
            match (operand_size(t.insn, 0), immediate) {
                (2, true) => multiply_to::<u16, $s, true> as Exec,
                (4, true) => multiply_to::<u32, $s, true>,
                (_, true) => multiply_to::<u64, $s, true>,
                (2, false) => multiply_to::<u16, $s, false>,
                (4, false) => multiply_to::<u32, $s, false>,
                (_, false) => multiply_to::<u64, $s, false>,
            }
        };
    }
    let mut op = t.op(if t.is_memory(1) { pick!(Mem) } else { pick!(Reg) });
    op.dst = t.register(0);
    if t.is_memory(1) {
        t.memory(&mut op);
    } else {
        op.src = t.register(1);
    }
    if immediate {
        op.imm = t.immediate(2);
    }
    t.push(op);
}

pub(super) fn translate(t: &mut Translator<'_>) -> bool {
    match t.insn.mnemonic() {
        Mnemonic::Mul => one!(t, multiply, false),
        Mnemonic::Imul => translate_imul(t),
        Mnemonic::Div => one!(t, divide, false),
        Mnemonic::Idiv => one!(t, divide, true),
        _ => return false,
    }
    true
}
