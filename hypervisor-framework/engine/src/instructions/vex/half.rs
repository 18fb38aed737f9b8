//! F16C: conversions between half and single precision.

use iced_x86::Mnemonic;

use super::lanes::compute;
use super::steps::{Shape, is_wide, push, push_operation, push_read};
use crate::block::{Op, Translator, exec};
use crate::cpu::{Cpu, Trap};
use crate::instructions::sse::float::{Context, halves_to_singles, singles_to_halves};

/// Stores the low half of the result's one lane, or of both.
fn store(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    let context = cpu.lanes.context;
    let [low, high] = cpu.lanes.first;
    let address = cpu.address(op);
    let wide = op.imm != 0;
    // Whether the exception or the fault comes first, nothing is stored.
    cpu.probe_write(address, if wide { 16 } else { 8 })?;
    context.finish(cpu)?;
    if wide { cpu.store_u128(address, low | high << 64) } else { cpu.store(address, low as u64) }
}

pub(super) fn translate(t: &mut Translator<'_>) -> bool {
    match t.insn.mnemonic() {
        Mnemonic::Vcvtph2ps => {
            let exec = exec!(|cpu: &mut Cpu, op: &Op| {
                compute(cpu, op, |c: &mut Context, _, b, _| halves_to_singles(c, b))
            });
            push(t, exec, Shape::Spread(64));
        }
        Mnemonic::Vcvtps2ph => {
            let exec = exec!(|cpu: &mut Cpu, op: &Op| {
                compute(cpu, op, |c: &mut Context, _, b, imm| singles_to_halves(c, b, imm))
            });
            if !t.is_memory(0) {
                push(t, exec, Shape::Join);
                return true;
            }
            let wide = is_wide(t, 1);
            push_read(t, 1, None, None);
            push_operation(t, exec, if wide { 2 } else { 1 }, t.immediate(2), 0);
            let mut op = t.op(exec!(store));
            op.imm = wide.into();
            t.memory(&mut op);
            t.push(op);
        }
        _ => return false,
    }
    true
}
