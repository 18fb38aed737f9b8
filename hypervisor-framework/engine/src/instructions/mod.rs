//! Instruction semantics, by family.
//!
//! A family has a `translate` that adds the micro-ops of the instructions it knows to a block.

pub(crate) mod arithmetic;
mod bits;
mod bmi;
mod branches;
mod control;
mod decimal;
mod far;
mod flags;
mod moves;
mod multiply;
mod ports;
mod segments;
mod selectors;
mod shifts;
pub(crate) mod sse;
mod stack;
mod strings;
mod system;
pub(crate) mod system_calls;
pub(crate) mod vex;
pub(crate) mod x87;

use iced_x86::{Instruction, OpKind};

use crate::block::{Op, Translator, exec};
use crate::cpu::{Cpu, Trap};

/// Translates one instruction. What no family knows raises #UD when executed.
pub(crate) fn translate(t: &mut Translator<'_>) {
    let families: [fn(&mut Translator<'_>) -> bool; 21] = [
        moves::translate,
        arithmetic::translate,
        branches::translate,
        stack::translate,
        shifts::translate,
        bmi::translate,
        bits::translate,
        flags::translate,
        strings::translate,
        ports::translate,
        multiply::translate,
        sse::translate,
        vex::translate,
        segments::translate,
        control::translate,
        system::translate,
        system_calls::translate,
        far::translate,
        selectors::translate,
        x87::translate,
        decimal::translate,
    ];
    if !families.iter().any(|family| family(t)) {
        let op = t.op(exec!(undefined));
        t.push_end(op);
    }
}

fn undefined(cpu: &mut Cpu, _op: &Op) -> Result<(), Trap> {
    Err(cpu.undefined())
}

/// The condition of a conditional instruction, 0–15 as in its opcode (SDM vol. 1, appendix B).
pub(crate) fn condition_code(insn: &Instruction) -> Option<u8> {
    // The decoder numbers them likewise, from 1 on.
    (insn.condition_code() as u8).checked_sub(1)
}

/// Bytes of an operand.
fn operand_size(insn: &Instruction, operand: u32) -> usize {
    match insn.op_kind(operand) {
        OpKind::Register => insn.op_register(operand).size(),
        OpKind::Memory => insn.memory_size().size(),
        OpKind::Immediate8 => 1,
        OpKind::Immediate16 | OpKind::Immediate8to16 => 2,
        OpKind::Immediate32 | OpKind::Immediate8to32 => 4,
        _ => 8,
    }
}
