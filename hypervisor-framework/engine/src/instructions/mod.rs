//! Instruction semantics, by family.
//!
//! A family has a `translate` that adds the micro-ops of the instructions it knows to a block.

pub(crate) mod sse;
pub(crate) mod x87;

use crate::block::{Op, Translator, exec};
use crate::cpu::{Cpu, Trap};

/// Translates one instruction. What no family knows raises #UD when executed.
pub(crate) fn translate(t: &mut Translator<'_>) {
    let known = sse::translate(t) || x87::translate(t);
    if !known {
        let op = t.op(exec!(undefined));
        t.push_end(op);
    }
}

fn undefined(cpu: &mut Cpu, _op: &Op) -> Result<(), Trap> {
    Err(cpu.undefined())
}

/// Rewrites a finished block: fuses and simplifies micro-ops.
pub(crate) fn optimise(_ops: &mut Vec<Op>) {}
