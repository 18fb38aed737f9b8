//! Moves between XMM and general registers (or memory), and masks.

use iced_x86::{Code, Mnemonic};

use super::lane::select;
use super::operand::{Aligned, Encoding, Legacy, Operand, Vex, Xmm, operands, push_store, store, xmm};
use crate::block::{Exec, Op, Source, Translator, exec};
use crate::block::{Mem, Reg};
use crate::cpu::flags::bit;
use crate::cpu::{Cpu, Trap};
use crate::instructions::vex::is_vex;
use crate::memory::Scalar;

pub(super) fn translate(t: &mut Translator<'_>) -> bool {
    insert(t) || extract(t) || mask(t)
}

/// Into an XMM register: MOVD, MOVQ, PINSR.
fn insert(t: &mut Translator<'_>) -> bool {
    macro_rules! either {
        ($f:ident, $e:ty, $t:ty) => {
            (exec!($f::<$e, Mem, $t>) as Exec, exec!($f::<$e, Reg, $t>) as Exec)
        };
    }
    let (memory, register) = match t.insn.code() {
        Code::Movd_xmm_rm32 => either!(load, Legacy, u32),
        Code::Movq_xmm_rm64 => either!(load, Legacy, u64),
        Code::Pinsrb_xmm_r32m8_imm8 | Code::Pinsrb_xmm_r64m8_imm8 => either!(insert_lane, Legacy, u8),
        Code::Pinsrw_xmm_r32m16_imm8 | Code::Pinsrw_xmm_r64m16_imm8 => either!(insert_lane, Legacy, u16),
        Code::Pinsrd_xmm_rm32_imm8 => either!(insert_lane, Legacy, u32),
        Code::Pinsrq_xmm_rm64_imm8 => either!(insert_lane, Legacy, u64),
        Code::VEX_Vmovd_xmm_rm32 => either!(load, Vex, u32),
        Code::VEX_Vmovq_xmm_rm64 => either!(load, Vex, u64),
        Code::VEX_Vpinsrb_xmm_xmm_r32m8_imm8 | Code::VEX_Vpinsrb_xmm_xmm_r64m8_imm8 => {
            either!(insert_lane, Vex, u8)
        }
        Code::VEX_Vpinsrw_xmm_xmm_r32m16_imm8 | Code::VEX_Vpinsrw_xmm_xmm_r64m16_imm8 => {
            either!(insert_lane, Vex, u16)
        }
        Code::VEX_Vpinsrd_xmm_xmm_rm32_imm8 => either!(insert_lane, Vex, u32),
        Code::VEX_Vpinsrq_xmm_xmm_rm64_imm8 => either!(insert_lane, Vex, u64),
        _ => return false,
    };
    let mut op = t.op(register);
    if operands(t, &mut op) {
        op.exec = memory;
    }
    t.push(op);
    true
}

fn load<E: Encoding, S: Source, T: Scalar>(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    E::ready(cpu)?;
    let value = S::get::<T>(cpu, op)?.widen();
    E::set(cpu, op.dst, u128::from(value));
    Ok(())
}

/// Bit position of the lane an immediate chooses.
fn lane_shift<T: Scalar>(imm: u64) -> u32 {
    let bits = T::SIZE as u32 * 8;
    (imm as u32).wrapping_mul(bits) & 127
}

fn insert_lane<E: Encoding, S: Source, T: Scalar>(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    E::ready(cpu)?;
    let value = u128::from(S::get::<T>(cpu, op)?.widen());
    let shift = lane_shift::<T>(op.imm);
    let lane = u128::from(u64::MAX >> (64 - 8 * T::SIZE)) << shift;
    let first = E::first(cpu, op);
    E::set(cpu, op.dst, select(lane, first, value << shift));
    Ok(())
}

/// Out of an XMM register: MOVD, MOVQ, PEXTR, EXTRACTPS. Register results are zero-extended.
fn extract(t: &mut Translator<'_>) -> bool {
    macro_rules! either {
        ($e:ty, $t:ty) => {
            (
                exec!(extract_lane::<$e, $t>),
                exec!(|cpu: &mut Cpu, op: &Op| store::<$e, $t>(cpu, op, |a| a >> lane_shift::<$t>(op.imm))),
            )
        };
    }
    let (register, memory): (Exec, Exec) = match t.insn.code() {
        // Without an immediate the lane is 0.
        Code::Movd_rm32_xmm
        | Code::Pextrd_rm32_xmm_imm8
        | Code::Extractps_rm32_xmm_imm8
        | Code::Extractps_r64m32_xmm_imm8 => either!(Legacy, u32),
        Code::Movq_rm64_xmm | Code::Pextrq_rm64_xmm_imm8 => either!(Legacy, u64),
        Code::Pextrb_r32m8_xmm_imm8 | Code::Pextrb_r64m8_xmm_imm8 => either!(Legacy, u8),
        Code::Pextrw_r32m16_xmm_imm8
        | Code::Pextrw_r64m16_xmm_imm8
        | Code::Pextrw_r32_xmm_imm8
        | Code::Pextrw_r64_xmm_imm8 => either!(Legacy, u16),
        Code::VEX_Vmovd_rm32_xmm
        | Code::VEX_Vpextrd_rm32_xmm_imm8
        | Code::VEX_Vextractps_rm32_xmm_imm8
        | Code::VEX_Vextractps_r64m32_xmm_imm8 => either!(Vex, u32),
        Code::VEX_Vmovq_rm64_xmm | Code::VEX_Vpextrq_rm64_xmm_imm8 => either!(Vex, u64),
        Code::VEX_Vpextrb_r32m8_xmm_imm8 | Code::VEX_Vpextrb_r64m8_xmm_imm8 => either!(Vex, u8),
        Code::VEX_Vpextrw_r32m16_xmm_imm8
        | Code::VEX_Vpextrw_r64m16_xmm_imm8
        | Code::VEX_Vpextrw_r32_xmm_imm8
        | Code::VEX_Vpextrw_r64_xmm_imm8 => either!(Vex, u16),
        _ => return false,
    };
    if t.is_memory(0) {
        push_store(t, memory);
    } else {
        let mut op = t.op(register);
        op.dst = t.register(0);
        op.src = t.register(1);
        op.imm = t.immediate(2);
        t.push(op);
    }
    true
}

fn extract_lane<E: Encoding, T: Scalar>(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    E::ready(cpu)?;
    let value = T::narrow((xmm(cpu, op.src) >> lane_shift::<T>(op.imm)) as u64);
    cpu.set_reg::<u64>(op.dst, value.widen());
    Ok(())
}

/// Sign masks and PTEST.
fn mask(t: &mut Translator<'_>) -> bool {
    macro_rules! signs {
        ($f:ident, $count:expr) => {
            match t.insn.op_register(1) {
                register if register.is_ymm() => {
                    exec!(|cpu: &mut Cpu, op: &Op| signs::<Vex>(cpu, op, |low, high| $f(low)
                        | $f(high) << $count))
                }
                _ if is_vex(t.insn) => exec!(|cpu: &mut Cpu, op: &Op| signs::<Vex>(cpu, op, |a, _| $f(a))),
                _ => exec!(|cpu: &mut Cpu, op: &Op| signs::<Legacy>(cpu, op, |a, _| $f(a))),
            }
        };
    }
    let exec: Exec = match t.insn.mnemonic() {
        Mnemonic::Pmovmskb | Mnemonic::Vpmovmskb => signs!(byte_signs, 16),
        Mnemonic::Movmskps | Mnemonic::Vmovmskps => signs!(single_signs, 4),
        Mnemonic::Movmskpd | Mnemonic::Vmovmskpd => signs!(double_signs, 2),
        Mnemonic::Ptest if t.is_memory(1) => exec!(test::<Aligned>),
        Mnemonic::Ptest => exec!(test::<Xmm>),
        _ => return false,
    };
    let mut op = t.op(exec);
    operands(t, &mut op);
    t.push(op);
    true
}

#[inline(always)]
fn signs<E: Encoding>(cpu: &mut Cpu, op: &Op, f: impl FnOnce(u128, u128) -> u32) -> Result<(), Trap> {
    E::ready(cpu)?;
    let mask = f(xmm(cpu, op.src), cpu.ymm_upper[op.src as usize & 15]);
    cpu.set_reg::<u32>(op.dst, mask);
    Ok(())
}

#[inline(always)]
fn byte_signs(value: u128) -> u32 {
    // The multiplication gathers bit 7 of each byte in the top byte.
    let gather = |half: u64| (half >> 7 & 0x0101_0101_0101_0101).wrapping_mul(0x0102_0408_1020_4080) >> 56;
    (gather(value as u64) | gather((value >> 64) as u64) << 8) as u32
}

#[inline(always)]
fn single_signs(value: u128) -> u32 {
    let pair = |half: u64| half >> 31 & 1 | half >> 62 & 2;
    (pair(value as u64) | pair((value >> 64) as u64) << 2) as u32
}

#[inline(always)]
fn double_signs(value: u128) -> u32 {
    (value >> 63) as u32 & 1 | (value >> 126) as u32 & 2
}

fn test<S: Operand>(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    Legacy::ready(cpu)?;
    let source = S::get(cpu, op)?;
    let destination = xmm(cpu, op.dst);
    let zero = if source & destination == 0 { bit::ZF } else { 0 };
    let carry = if source & !destination == 0 { bit::CF } else { 0 };
    cpu.flags.set_arithmetic(zero | carry);
    Ok(())
}
