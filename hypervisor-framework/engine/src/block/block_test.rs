//! A block for tests of what only keeps and joins blocks.

use std::cell::Cell;

use super::*;

/// A block of so many instructions, at the beginning of its page and never run, that cannot be executed.
pub(super) fn block(instructions: u32) -> Block {
    Block {
        ops: Box::default(),
        offset: 0,
        instructions,
        chain: [const { Cell::new(NO_BLOCK) }; 2],
        bytes: Box::default(),
        heat: Cell::new(0),
        taken: Cell::new(0),
        code: Cell::new(None),
        plain: Cell::new(false),
        compiled: Cell::new(None),
        dead: Cell::new(false),
    }
}
