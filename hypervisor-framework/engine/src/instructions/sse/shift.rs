//! Packed shifts.

use iced_x86::Mnemonic;

use super::lane::map;
use super::operand::{Aligned, Forms, binary, forms, ready, set_xmm, xmm};
use super::word;
use crate::block::{Op, exec};
use crate::cpu::{Cpu, Trap};
use crate::instructions::vex::lanes;

/// Logical shift of narrow lanes; counts past the lane give 0.
macro_rules! logical {
    ($f:ident, $t:ty) => {
        |a, count| {
            if count < u64::from(<$t>::BITS) {
                word::halves(a, 0, |a, _| word::$f::<$t>(a, count as u32))
            } else {
                0
            }
        }
    };
}

/// Logical shift of quadwords.
macro_rules! logical_quadwords {
    ($f:ident) => {
        |a, count: u64| {
            let count = u32::try_from(count).unwrap_or(u32::MAX);
            word::halves(a, 0, |a, _| a.$f(count).unwrap_or(0))
        }
    };
}

/// Arithmetic right shift of lanes (signed types); counts past the lane leave the sign.
macro_rules! arithmetic {
    ($t:ty) => {
        |a, count: u64| {
            let count = count.min(u64::from(<$t>::BITS) - 1);
            map::<$t>(a, |lane| lane >> count)
        }
    };
}

/// The count in the immediate or in the low quadword of the second operand.
macro_rules! shift {
    ($immediate:expr, $f:expr) => {
        if $immediate {
            let exec = exec!(|cpu: &mut Cpu, op: &Op| by_immediate(cpu, op, $f));
            let lanes =
                exec!(|cpu: &mut Cpu, op: &Op| lanes::binary_imm(cpu, op, |_, b, imm| $f(b, u64::from(imm))));
            Forms { register: exec, memory: exec, lanes }
        } else {
            forms!(binary, Aligned, |a, count: u128| $f(a, count as u64))
        }
    };
}

/// A shift by an immediate or by the low quadword of the source.
pub(in crate::instructions) fn forms(mnemonic: Mnemonic, immediate: bool) -> Option<Forms> {
    Some(match mnemonic {
        Mnemonic::Psllw => shift!(immediate, logical!(shift_left, u16)),
        Mnemonic::Pslld => shift!(immediate, logical!(shift_left, u32)),
        Mnemonic::Psllq => shift!(immediate, logical_quadwords!(checked_shl)),
        Mnemonic::Psrlw => shift!(immediate, logical!(shift_right, u16)),
        Mnemonic::Psrld => shift!(immediate, logical!(shift_right, u32)),
        Mnemonic::Psrlq => shift!(immediate, logical_quadwords!(checked_shr)),
        Mnemonic::Psraw => shift!(immediate, arithmetic!(i16)),
        Mnemonic::Psrad => shift!(immediate, arithmetic!(i32)),
        Mnemonic::Pslldq => shift!(true, |a: u128, count| a.checked_shl(count as u32 * 8).unwrap_or(0)),
        Mnemonic::Psrldq => shift!(true, |a: u128, count| a.checked_shr(count as u32 * 8).unwrap_or(0)),
        _ => return None,
    })
}

#[inline(always)]
fn by_immediate(cpu: &mut Cpu, op: &Op, f: impl FnOnce(u128, u64) -> u128) -> Result<(), Trap> {
    ready(cpu)?;
    let result = f(xmm(cpu, op.dst), op.imm & 0xff);
    set_xmm(cpu, op.dst, result);
    Ok(())
}
