//! BT, BTS, BTR, BTC, BSF, BSR, POPCNT.

use iced_x86::{Mnemonic, OpKind, Register};

use super::arithmetic::{set_zero, sign_extend, sized};
use super::operand_size;
use crate::block::{
    Dst, Exec, Flow, LockedMem, Mem, Op, Place, Reg, Source, Translator, segment_number, then,
};
use crate::cpu::{Cpu, Trap};
use crate::memory::Scalar;

const TEST: u8 = 0;
const SET: u8 = 1;
const RESET: u8 = 2;
const COMPLEMENT: u8 = 3;

/// A bit operation on a register or, with an immediate bit number, on memory: the number wraps within the operand.
fn bit_op<T: Scalar, D: Place, S: Source, const KIND: u8>(cpu: &mut Cpu, op: &Op, rest: &[Op]) -> Flow {
    let outcome = S::get::<T>(cpu, op).and_then(|number| apply::<T, D, KIND>(cpu, op, number.widen()));
    then(cpu, op, rest, outcome)
}

#[inline(always)]
fn apply<T: Scalar, D: Place, const KIND: u8>(cpu: &mut Cpu, op: &Op, number: u64) -> Result<(), Trap> {
    let mask = 1_u64 << (number & (8 * T::SIZE as u64 - 1));
    let old: T = if KIND == TEST {
        D::get(cpu, op)?
    } else {
        D::update(cpu, op, |value: T| {
            let value = value.widen();
            T::narrow(match KIND {
                SET => value | mask,
                RESET => value & !mask,
                _ => value ^ mask,
            })
        })?
    };
    cpu.flags.carry = old.widen() & mask != 0;
    Ok(())
}

/// A bit number in a register reaches beyond a memory operand; the address is moved first.
fn bit_string<T: Scalar, D: Place, const KIND: u8>(cpu: &mut Cpu, op: &Op, rest: &[Op]) -> Flow {
    let number = sign_extend(cpu.reg::<T>(op.src));
    let step = (number as i64 >> (3 + T::SIZE.trailing_zeros())).wrapping_mul(T::SIZE as i64);
    let address = match moved_address(cpu, op, step as u64) {
        Ok(address) => address,
        Err(Trap) => return cpu.trapped(op),
    };
    cpu.set_slot(crate::cpu::slot::ADDRESS, address);
    let moved =
        Op { base: crate::cpu::slot::ADDRESS, index: crate::cpu::slot::ZERO, scale: 0, disp: 0, ..*op };
    let outcome = apply::<T, D, KIND>(cpu, &moved, number);
    then(cpu, op, rest, outcome)
}

/// The linear address of an operand, moved by `step` bytes. `imm`: the segment, and the mask of a short address size, within which the offset wraps; 0 where it cannot.
#[inline(always)]
fn moved_address(cpu: &mut Cpu, op: &Op, step: u64) -> Result<u64, Trap> {
    let address = cpu.address(op);
    if op.imm == 0 {
        return Ok(cpu.wrap(address.wrapping_add(step)));
    }
    let (segment, mask) = ((op.imm >> 32) as u8, op.imm & 0xffff_ffff);
    let base = if cpu.mode.is64() && !matches!(segment, 4 | 5) { 0 } else { cpu.segment_base(segment) };
    Ok(cpu.wrap((address.wrapping_sub(base).wrapping_add(step) & mask).wrapping_add(base)))
}

/// See [`moved_address`].
fn short_address(t: &Translator<'_>) -> u64 {
    let (base, index) = (t.insn.memory_base(), t.insn.memory_index());
    let any = |test: fn(Register) -> bool| test(base) || test(index);
    let mask = if any(Register::is_gpr16) {
        0xffff
    } else if t.mode.is64() && (any(Register::is_gpr32) || base == Register::EIP) {
        0xffff_ffff
    } else {
        return 0;
    };
    u64::from(segment_number(t.insn.memory_segment())) << 32 | mask
}

struct Immediate;

impl Source for Immediate {
    #[inline(always)]
    fn get<T: Scalar>(_cpu: &mut Cpu, op: &Op) -> Result<T, Trap> {
        Ok(T::narrow(op.imm & 0xff))
    }
}

fn translate_bit<const KIND: u8>(t: &mut Translator<'_>) {
    let size = operand_size(t.insn, 0);
    let by_register = t.insn.op_kind(1) == OpKind::Register;
    macro_rules! pick {
        ($f:ident, $($arg:ty),*) => {
            match size {
                2 => $f::<u16, $($arg,)* KIND>,
                4 => $f::<u32, $($arg,)* KIND>,
                _ => $f::<u64, $($arg,)* KIND>,
            }
        };
    }
    let exec: Exec = match (t.is_memory(0), by_register, t.insn.has_lock_prefix()) {
        (true, true, true) => pick!(bit_string, LockedMem),
        (true, true, false) => pick!(bit_string, Mem),
        (true, false, true) => pick!(bit_op, LockedMem, Immediate),
        (true, false, false) => pick!(bit_op, Mem, Immediate),
        (false, true, _) => pick!(bit_op, Dst, Reg),
        (false, false, _) => pick!(bit_op, Dst, Immediate),
    };
    let mut op = t.op(exec);
    if t.is_memory(0) {
        t.memory(&mut op);
    } else {
        op.dst = t.register(0);
    }
    if by_register {
        op.src = t.register(1);
        op.imm = if t.is_memory(0) { short_address(t) } else { 0 };
    } else {
        op.imm = t.immediate(1);
    }
    t.push(op);
}

/// BSF, BSR: with a source of 0 the destination stays as it is, as CPUs do.
fn scan<T: Scalar, S: Source, const REVERSE: bool>(cpu: &mut Cpu, op: &Op, rest: &[Op]) -> Flow {
    let outcome = S::get::<T>(cpu, op).map(|value| {
        let wide = value.widen();
        if wide != 0 {
            let index = if REVERSE { 63 - wide.leading_zeros() } else { wide.trailing_zeros() };
            cpu.set_reg(op.dst, T::narrow(u64::from(index)));
        }
        set_zero(cpu, wide == 0);
    });
    then(cpu, op, rest, outcome)
}

fn popcnt<T: Scalar, S: Source>(cpu: &mut Cpu, op: &Op, rest: &[Op]) -> Flow {
    let outcome = S::get::<T>(cpu, op).map(|value| {
        let wide = value.widen();
        cpu.set_reg(op.dst, T::narrow(u64::from(wide.count_ones())));
        cpu.flags.set_arithmetic(if wide == 0 { crate::cpu::flags::bit::ZF } else { 0 });
    });
    then(cpu, op, rest, outcome)
}

fn two_operands(t: &mut Translator<'_>, memory: Exec, register: Exec) {
    let mut op = t.op(if t.is_memory(1) { memory } else { register });
    op.dst = t.register(0);
    if t.is_memory(1) {
        t.memory(&mut op);
    } else {
        op.src = t.register(1);
    }
    t.push(op);
}

fn translate_scan<const REVERSE: bool>(t: &mut Translator<'_>) {
    macro_rules! pick {
        ($s:ty) => {
            match operand_size(t.insn, 0) {
                2 => scan::<u16, $s, REVERSE> as Exec,
                4 => scan::<u32, $s, REVERSE>,
                _ => scan::<u64, $s, REVERSE>,
            }
        };
    }
    two_operands(t, pick!(Mem), pick!(Reg));
}

pub(super) fn translate(t: &mut Translator<'_>) -> bool {
    match t.insn.mnemonic() {
        Mnemonic::Bt => translate_bit::<TEST>(t),
        Mnemonic::Bts => translate_bit::<SET>(t),
        Mnemonic::Btr => translate_bit::<RESET>(t),
        Mnemonic::Btc => translate_bit::<COMPLEMENT>(t),
        // Without BMI1 and LZCNT the prefix of TZCNT and LZCNT means nothing.
        Mnemonic::Bsf | Mnemonic::Tzcnt => translate_scan::<false>(t),
        Mnemonic::Bsr | Mnemonic::Lzcnt => translate_scan::<true>(t),
        Mnemonic::Popcnt => {
            let size = operand_size(t.insn, 0);
            let memory: Exec = sized!(size, popcnt, [], [Mem]);
            let register: Exec = sized!(size, popcnt, [], [Reg]);
            two_operands(t, memory, register);
        }
        _ => return false,
    }
    true
}
