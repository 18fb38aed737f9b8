//! What moves data between 128-bit lanes: broadcasts, permutations, insertion and extraction of lanes.

use iced_x86::Mnemonic;

use super::lanes::Lanes;
use super::ready;
use super::steps::{is_wide, push_operation, push_read, push_write, set_ymm, ymm};
use crate::block::{Exec, Op, Translator, exec};
use crate::cpu::{Cpu, Trap};
use crate::instructions::sse::lane::{Lane, build};

/// An operation on both lanes at once, with the immediate.
#[inline(always)]
fn whole(cpu: &mut Cpu, op: &Op, f: impl FnOnce(&Lanes, u8) -> [u128; 2]) -> Result<(), Trap> {
    cpu.lanes.first = f(&cpu.lanes, op.imm as u8);
    Ok(())
}

macro_rules! whole {
    ($f:expr) => {
        exec!(|cpu: &mut Cpu, op: &Op| whole(cpu, op, $f)) as Exec
    };
}

/// The lowest lane of the source everywhere.
macro_rules! broadcast {
    ($t:ty) => {
        whole!(|lanes, _| {
            let lowest = <$t>::split(lanes.second[0])[0];
            [build::<$t>(|_| lowest); 2]
        })
    };
}

/// The quadwords of both lanes, lowest first.
fn quadwords(value: [u128; 2]) -> [u64; 4] {
    let ([a, b], [c, d]) = (u64::split(value[0]), u64::split(value[1]));
    [a, b, c, d]
}

/// Two bits of the immediate choose each quadword.
fn permute_quadwords(lanes: &Lanes, imm: u8) -> [u128; 2] {
    let source = quadwords(lanes.second);
    let chosen = |i: usize| source[usize::from(imm >> (2 * i) & 3)];
    [build::<u64>(chosen), build::<u64>(|i| chosen(i + 2))]
}

/// The first source's doublewords choose among the second's.
fn permute_doublewords(lanes: &Lanes, _imm: u8) -> [u128; 2] {
    let source = lanes.second.map(u32::split);
    let chosen = |by: u128| {
        let by = u32::split(by);
        build::<u32>(|i| source[(by[i] >> 2 & 1) as usize][by[i] as usize & 3])
    };
    lanes.first.map(chosen)
}

/// Four bits of the immediate choose each lane: two say which, the top one that it is 0.
fn permute_lanes(lanes: &Lanes, imm: u8) -> [u128; 2] {
    let source = [lanes.first[0], lanes.first[1], lanes.second[0], lanes.second[1]];
    let chosen = |by: u8| if by & 8 == 0 { source[usize::from(by & 3)] } else { 0 };
    [chosen(imm), chosen(imm >> 4)]
}

fn insert_lane(lanes: &Lanes, imm: u8) -> [u128; 2] {
    let mut result = lanes.first;
    result[usize::from(imm & 1)] = lanes.second[0];
    result
}

fn extract_to_register(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    ready(cpu)?;
    let lane = ymm(cpu, op.src)[op.imm as usize & 1];
    set_ymm(cpu, op.dst, [lane, 0]);
    Ok(())
}

fn extract_to_memory(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    ready(cpu)?;
    let lane = ymm(cpu, op.src)[op.imm as usize & 1];
    let address = cpu.address(op);
    cpu.store_u128(address, lane)
}

fn translate_extract(t: &mut Translator<'_>) {
    let memory = t.is_memory(0);
    let mut op = t.op(if memory { exec!(extract_to_memory) } else { exec!(extract_to_register) });
    (op.src, op.imm) = (t.register(1), t.immediate(2));
    if memory {
        t.memory(&mut op);
    } else {
        op.dst = t.register(0);
    }
    t.push(op);
}

pub(super) fn translate(t: &mut Translator<'_>) -> bool {
    let exec = match t.insn.mnemonic() {
        Mnemonic::Vpermq | Mnemonic::Vpermpd => whole!(permute_quadwords),
        Mnemonic::Vpermd | Mnemonic::Vpermps => whole!(permute_doublewords),
        Mnemonic::Vperm2f128 | Mnemonic::Vperm2i128 => whole!(permute_lanes),
        Mnemonic::Vinsertf128 | Mnemonic::Vinserti128 => whole!(insert_lane),
        Mnemonic::Vpbroadcastb => broadcast!(u8),
        Mnemonic::Vpbroadcastw => broadcast!(u16),
        Mnemonic::Vpbroadcastd | Mnemonic::Vbroadcastss => broadcast!(u32),
        Mnemonic::Vpbroadcastq | Mnemonic::Vbroadcastsd => broadcast!(u64),
        Mnemonic::Vbroadcastf128 | Mnemonic::Vbroadcasti128 => whole!(|lanes, _| [lanes.second[0]; 2]),
        Mnemonic::Vextractf128 | Mnemonic::Vextracti128 => {
            translate_extract(t);
            return true;
        }
        _ => return false,
    };
    // Two sources where operand 2 is none of the immediates.
    let two = t.is_memory(2) || t.insn.op_kind(2) == iced_x86::OpKind::Register && t.insn.op_count() > 2;
    let lanes = if is_wide(t, 0) { 2 } else { 1 };
    let imm = t.immediate(t.insn.op_count().saturating_sub(1));
    if two {
        push_read(t, 2, Some(1), None);
    } else {
        push_read(t, 1, None, None);
    }
    push_operation(t, exec, lanes, imm, 0);
    push_write(t, lanes);
    true
}
