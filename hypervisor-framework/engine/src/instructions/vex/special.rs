//! Operations within lanes that SSE does not have: comparisons with 32 predicates, variable shifts and permutations.

use iced_x86::{Mnemonic, OpKind};

use super::lanes::{binary, binary_imm, compute};
use super::steps::{Shape, push};
use crate::block::{Exec, Op, Translator, exec};
use crate::cpu::{Cpu, Trap};
use crate::instructions::sse::float::{Context, Hosted, compare_lanes, dot_products};
use crate::instructions::sse::lane::{LOW, LOW32, Lane, build, select, truth, zip};

macro_rules! lanes {
    ($shape:ident, $f:expr) => {
        exec!(|cpu: &mut Cpu, op: &Op| $shape(cpu, op, $f)) as Exec
    };
}

/// Each lane shifted by the lane of the second source.
macro_rules! shift {
    ($t:ty, $f:ident) => {
        lanes!(binary, |a, b| zip::<$t>(a, b, |a, count| {
            a.$f(u32::try_from(count).unwrap_or(u32::MAX)).unwrap_or(0)
        }))
    };
}

/// VDPPS: step by step in all lanes, as an exception that is not masked ends it at its step.
fn dot(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    let lanes = &mut cpu.lanes;
    let imm = op.imm as u8;
    if op.src > 1 {
        lanes.first = dot_products(&mut lanes.context, lanes.first, lanes.second, imm);
    } else {
        [lanes.first[0]] = dot_products(&mut lanes.context, [lanes.first[0]], [lanes.second[0]], imm);
    }
    Ok(())
}

pub(super) fn translate(t: &mut Translator<'_>) -> bool {
    let immediate = t.insn.op_kind(2) == OpKind::Immediate8;
    let (exec, shift) = match t.insn.mnemonic() {
        Mnemonic::Vdpps => (exec!(dot) as Exec, 0),
        Mnemonic::Vcmpps => (lanes!(compute, compare_lanes::<u32>), 0),
        Mnemonic::Vcmppd => (lanes!(compute, compare_lanes::<u64>), 0),
        Mnemonic::Vcmpss => (lanes!(compute, |c, a, b, imm| lowest::<u32>(c, a, b, imm, LOW32)), 0),
        Mnemonic::Vcmpsd => (lanes!(compute, |c, a, b, imm| lowest::<u64>(c, a, b, imm, LOW)), 0),
        Mnemonic::Vpsllvd => (shift!(u32, checked_shl), 0),
        Mnemonic::Vpsllvq => (shift!(u64, checked_shl), 0),
        Mnemonic::Vpsrlvd => (shift!(u32, checked_shr), 0),
        Mnemonic::Vpsrlvq => (shift!(u64, checked_shr), 0),
        Mnemonic::Vpsravd => {
            (lanes!(binary, |a, b| zip::<u32>(a, b, |a, count| (a as i32 >> count.min(31)) as u32)), 0)
        }
        Mnemonic::Vpblendd => {
            (lanes!(binary_imm, |a, b, imm| select(build::<u32>(|i| truth(imm >> i & 1 != 0)), a, b)), 4)
        }
        Mnemonic::Vpermilps if immediate => (
            lanes!(binary_imm, |_, b, imm| {
                let b = u32::split(b);
                build::<u32>(|i| b[usize::from(imm >> (2 * i) & 3)])
            }),
            0,
        ),
        Mnemonic::Vpermilpd if immediate => (
            lanes!(binary_imm, |_, b, imm| {
                let b = u64::split(b);
                build::<u64>(|i| b[usize::from(imm >> i & 1)])
            }),
            2,
        ),
        Mnemonic::Vpermilps => (
            lanes!(binary, |a, b| {
                let (a, b) = (u32::split(a), u32::split(b));
                build::<u32>(|i| a[b[i] as usize & 3])
            }),
            0,
        ),
        Mnemonic::Vpermilpd => (
            lanes!(binary, |a, b| {
                let (a, b) = (u64::split(a), u64::split(b));
                build::<u64>(|i| a[(b[i] >> 1) as usize & 1])
            }),
            0,
        ),
        _ => return false,
    };
    push(t, exec, Shape::Lanes(shift));
    true
}

/// The lowest lanes compared; the rest of the first source stays.
#[inline(always)]
fn lowest<T: Hosted>(c: &mut Context, a: u128, b: u128, imm: u8, lane: u128) -> u128 {
    // The other lanes are made equal to nothing that raises an exception.
    select(lane, a, compare_lanes::<T>(c, a & lane, b & lane, imm))
}
