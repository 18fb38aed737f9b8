//! Blends and insertion of a single.

use iced_x86::Mnemonic;

use super::lane::{LOW32, Lane, build, map, select, truth};
use super::operand::{Aligned, Forms, Xmm, binary_imm, forms, masked};
use crate::block::{Op, exec};
use crate::cpu::{Cpu, Trap};
use crate::instructions::vex::lanes;

/// Lanes of the second operand where the immediate's bit is set.
macro_rules! immediate {
    ($t:ty) => {
        forms!(binary_imm, Aligned, |a, b, imm| { select(build::<$t>(|i| truth(imm >> i & 1 != 0)), a, b) })
    };
}

/// Lanes of the second operand where the sign of XMM0's is set.
macro_rules! variable {
    ($t:ty) => {
        forms!(masked, Aligned, |a, b, mask| select(map::<$t>(mask, |lane| truth(lane < 0)), a, b))
    };
}

pub(in crate::instructions) fn forms(mnemonic: Mnemonic) -> Option<Forms> {
    Some(match mnemonic {
        Mnemonic::Pblendw => immediate!(u16),
        Mnemonic::Blendps => immediate!(u32),
        Mnemonic::Blendpd => immediate!(u64),
        Mnemonic::Pblendvb => variable!(i8),
        Mnemonic::Blendvps => variable!(i32),
        Mnemonic::Blendvpd => variable!(i64),
        Mnemonic::Insertps => Forms {
            lanes: exec!(|cpu: &mut Cpu, op: &Op| lanes::binary_imm(cpu, op, insert_lane)),
            register: exec!(insert_register),
            // A memory operand has no lanes to choose from.
            memory: exec!(|cpu: &mut Cpu, op: &Op| binary_imm::<u32>(cpu, op, |a, b, imm| insert(
                a, b as u32, imm
            ))),
        },
        _ => return None,
    })
}

fn insert_register(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    binary_imm::<Xmm>(cpu, op, insert_lane)
}

/// Bits 7:6 of the immediate choose the lane of the source.
fn insert_lane(a: u128, b: u128, imm: u8) -> u128 {
    insert(a, u32::split(b)[usize::from(imm >> 6)], imm)
}

/// INSERTPS: bits 5:4 choose the lane, bits 3:0 lanes to clear.
fn insert(a: u128, single: u32, imm: u8) -> u128 {
    let shift = 32 * u32::from(imm >> 4 & 3);
    let inserted = a & !(LOW32 << shift) | u128::from(single) << shift;
    inserted & !build::<u32>(|i| truth(imm >> i & 1 != 0))
}
