//! VPTEST and VTEST: flags from the bits, or the signs, of two registers.

use iced_x86::Mnemonic;

use super::steps::{is_wide, push_operation, push_read};
use crate::block::{Exec, Op, Translator, exec};
use crate::cpu::flags::bit;
use crate::cpu::{Cpu, Trap};

/// The bits that count in a lane.
const ALL: u128 = u128::MAX;
const SINGLE_SIGNS: u128 = 0x8000_0000_8000_0000_8000_0000_8000_0000;
const DOUBLE_SIGNS: u128 = 0x8000_0000_0000_0000_8000_0000_0000_0000;

/// ZF: no bit is set in both; CF: none in the second alone.
#[inline(always)]
fn test(cpu: &mut Cpu, op: &Op, bits: u128) -> Result<(), Trap> {
    let lanes = &cpu.lanes;
    let over = if op.src > 1 { bits } else { 0 };
    let any = |f: fn(u128, u128) -> u128| {
        f(lanes.first[0], lanes.second[0]) & bits | f(lanes.first[1], lanes.second[1]) & over
    };
    let zero = if any(|a, b| a & b) == 0 { bit::ZF } else { 0 };
    let carry = if any(|a, b| !a & b) == 0 { bit::CF } else { 0 };
    cpu.flags.set_arithmetic(zero | carry);
    Ok(())
}

pub(super) fn translate(t: &mut Translator<'_>) -> bool {
    let exec: Exec = match t.insn.mnemonic() {
        Mnemonic::Vptest => exec!(|cpu: &mut Cpu, op: &Op| test(cpu, op, ALL)),
        Mnemonic::Vtestps => exec!(|cpu: &mut Cpu, op: &Op| test(cpu, op, SINGLE_SIGNS)),
        Mnemonic::Vtestpd => exec!(|cpu: &mut Cpu, op: &Op| test(cpu, op, DOUBLE_SIGNS)),
        _ => return false,
    };
    let lanes = if is_wide(t, 0) { 2 } else { 1 };
    push_read(t, 1, Some(0), None);
    push_operation(t, exec, lanes, 0, 0);
    true
}
