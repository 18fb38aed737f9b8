//! What is compiled as one: blocks of a page that follow each other.

use crate::block::{Block, Op};

/// A region has at most this many blocks.
pub(super) const MAX_BLOCKS: usize = 24;
/// It takes in no more blocks once it has this many instructions.
pub(super) const MAX_INSTRUCTIONS: u32 = 320;

/// The micro-ops of one instruction.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step {
    /// Address of the first.
    pub(super) ops: u64,
    pub(super) count: u16,
    /// Offset of the instruction in its block.
    pub(super) start: u8,
    pub(super) len: u8,
    /// Its memory operand is in the stack segment.
    pub(super) stack: bool,
}

/// A block of a region.
#[derive(Debug)]
pub(super) struct Part {
    /// Offset of its first byte in its page.
    pub(super) offset: u16,
    pub(super) bytes: Box<[u8]>,
    pub(super) steps: Box<[Step]>,
    /// Its last instruction leaves RIP at what follows.
    pub(super) ends: bool,
    /// The parts that follow by falling through and by its branch.
    pub(super) next: [Option<usize>; 2],
}

/// A region: the first part is where it is entered.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) parts: Vec<Part>,
}

impl Part {
    /// A copy of a block; `None` if its micro-ops are not one run per instruction.
    pub(super) fn new(block: &Block) -> Option<Self> {
        let mut ends = true;
        let mut steps: Vec<Step> = Vec::with_capacity(block.instructions as usize);
        for op in &block.ops {
            // The end of a block that no branch ends has no length.
            if op.len == 0 {
                ends = false;
                continue;
            }
            match steps.last_mut() {
                Some(step) if step.start == op.start => {
                    step.count += 1;
                    step.stack |= op.flags & Op::STACK_SEGMENT != 0;
                }
                _ => steps.push(Step {
                    ops: std::ptr::from_ref(op) as u64,
                    count: 1,
                    start: op.start,
                    len: op.len,
                    stack: op.flags & Op::STACK_SEGMENT != 0,
                }),
            }
        }
        let all = steps.len() == block.instructions as usize;
        let (offset, bytes) = (block.offset, block.bytes.clone());
        all.then(|| Self { offset, bytes, steps: steps.into(), ends, next: [None; 2] })
    }
}
