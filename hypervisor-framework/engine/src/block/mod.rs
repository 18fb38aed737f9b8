//! Predecoded blocks: straight runs of guest instructions as micro-ops.

mod build;
mod cache;
mod crossing;
mod decode;
mod operand;
mod path;

pub(crate) use build::{MAX_INSTRUCTIONS, build};
pub(crate) use cache::{BlockCache, BlockId, NO_BLOCK};
pub(crate) use decode::{Translator, segment_allows, segment_number};
pub(crate) use operand::{Dst, Imm, LockedMem, Mem, Place, Reg, Source};

use crate::cpu::{Cpu, Trap};

/// What executes a micro-op and all behind it in its block: it ends with a call of the next one's (a jump, once
/// optimised), so there is no dispatch loop within a block and no stack to grow without bound.
pub(crate) type Exec = fn(&mut Cpu, &Op, &[Op]) -> Flow;

/// How a block ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Flow {
    /// At its last instruction or at a branch not taken: `rip` is the next instruction.
    Fall = 0,
    /// By a direct branch: `rip` is its target.
    Taken = 1,
    /// By an indirect branch to `rip`.
    Indirect = 2,
    /// After an instruction behind which everything may be different (mode, interrupt flag, translations); `rip` is
    /// the next instruction.
    Stop = 3,
    /// In an instruction that did not complete; see [`Cpu::trapped`].
    Trap = 4,
}

/// A micro-op: an instruction, or a step of one.
#[derive(Clone, Copy)]
pub(crate) struct Op {
    pub(crate) exec: Exec,
    /// Immediate operand, sign-extended; or whatever the executor wants.
    pub(crate) imm: u64,
    /// Displacement of a memory operand, sign-extended.
    pub(crate) disp: i32,
    /// Destination register.
    pub(crate) dst: u8,
    /// Source register.
    pub(crate) src: u8,
    /// Base of a memory operand: a slot of the register file.
    pub(crate) base: u8,
    /// Index of a memory operand: a slot.
    pub(crate) index: u8,
    /// Shift of the index, 0–3.
    pub(crate) scale: u8,
    /// Offset of the instruction in its block.
    pub(crate) start: u8,
    /// Length of the instruction.
    pub(crate) len: u8,
    /// See the constants.
    pub(crate) flags: u8,
}

impl Op {
    /// The memory operand is relative to SS.
    pub(crate) const STACK_SEGMENT: u8 = 1;
    /// `dst` of an 8-bit register operand: AH, CH, DH or BH.
    pub(crate) const HIGH: u8 = 0x80;
}

/// A translated block.
pub(crate) struct Block {
    pub(crate) ops: Box<[Op]>,
    /// Offset of its first byte in its page.
    pub(crate) offset: u16,
    /// Guest instructions.
    pub(crate) instructions: u32,
    /// Blocks that follow by [`Flow::Fall`] and [`Flow::Taken`], in the same page.
    pub(crate) chain: [std::cell::Cell<BlockId>; 2],
    /// The instructions' bytes.
    pub(crate) bytes: Box<[u8]>,
    /// Times it was interpreted.
    pub(crate) heat: std::cell::Cell<u32>,
    /// Times its direct branch was taken then.
    pub(crate) taken: std::cell::Cell<u32>,
    /// Its translation.
    pub(crate) code: std::cell::Cell<Option<crate::os::Code>>,
    /// What its translation held for later was of no use: it does without.
    pub(crate) plain: std::cell::Cell<bool>,
    /// The region that starts with it, compiled.
    pub(crate) compiled: std::cell::Cell<Option<crate::os::Compiled>>,
    /// Dropped: its code was overwritten.
    pub(crate) dead: std::cell::Cell<bool>,
}

/// Instructions of a block before the one at offset `at`.
#[cold]
pub(crate) fn instructions_before(ops: &[Op], at: u8) -> u64 {
    let mut last = None;
    let mut count = 0;
    for op in ops.iter().take_while(|op| op.start != at) {
        if last != Some(op.start) {
            count += 1;
            last = Some(op.start);
        }
    }
    count
}

/// Executes the next micro-op of the block.
#[inline(always)]
pub(crate) fn next(cpu: &mut Cpu, rest: &[Op]) -> Flow {
    match rest.split_first() {
        Some((op, rest)) => (op.exec)(cpu, op, rest),
        None => Flow::Fall,
    }
}

/// Finishes a micro-op with its outcome.
#[inline(always)]
pub(crate) fn then(cpu: &mut Cpu, op: &Op, rest: &[Op], outcome: Result<(), Trap>) -> Flow {
    match outcome {
        Ok(()) => next(cpu, rest),
        Err(Trap) => cpu.trapped(op),
    }
}

/// Makes an [`Exec`] of a `fn(&mut Cpu, &Op) -> Result<(), Trap>`: the block goes on behind it.
macro_rules! exec {
    ($body:expr) => {
        |cpu: &mut $crate::cpu::Cpu, op: &$crate::block::Op, rest: &[$crate::block::Op]| {
            let outcome = $body(cpu, op);
            $crate::block::then(cpu, op, rest, outcome)
        }
    };
}

/// Makes an [`Exec`] of a `fn(&mut Cpu, &Op) -> Result<Flow, Trap>` that ends the block; `rip` is the next instruction
/// unless the body changes it.
macro_rules! ends {
    ($body:expr) => {
        |cpu: &mut $crate::cpu::Cpu, op: &$crate::block::Op, _rest: &[$crate::block::Op]| {
            let before = cpu.rip;
            cpu.rip = cpu.next_rip(op);
            match $body(cpu, op) {
                Ok(flow) => flow,
                Err($crate::cpu::Trap) => {
                    cpu.rip = before;
                    cpu.trapped(op)
                }
            }
        }
    };
}
pub(crate) use {ends, exec};

#[cfg(test)]
#[path = "block_test.rs"]
mod block_test;
