use std::cell::Cell;

use super::*;
use crate::block::{NO_BLOCK, block_test};

/// A block of so many instructions that was run 16 times and whose branch was taken `taken` times; its followers.
fn block(instructions: u32, taken: u32, chain: [u32; 2]) -> Block {
    Block {
        chain: chain.map(Cell::new),
        heat: Cell::new(16),
        taken: Cell::new(taken),
        ..block_test::block(instructions)
    }
}

/// The path from block 0 on, by numbers.
fn path(blocks: &[Block]) -> Vec<usize> {
    let (parts, count) = likely(blocks, &blocks[0]);
    let number = |part: &&Block| blocks.iter().position(|block| std::ptr::eq(block, *part));
    parts[..count].iter().filter_map(number).collect()
}

#[test]
fn the_way_that_is_gone_more_often_is_followed() {
    let blocks = [
        block(5, 3, [1, 2]),
        block(5, 16, [NO_BLOCK, 2]),
        block(5, 9, [NO_BLOCK, 3]),
        block(5, 16, [NO_BLOCK, NO_BLOCK]),
    ];
    assert_eq!(path(&blocks), [0, 1, 2, 3]);
}

#[test]
fn a_path_ends_where_few_go() {
    let branches: Vec<_> = (0..10).map(|number| block(2, 9, [NO_BLOCK, number + 1])).collect();
    // (9 / 16)³ is below a quarter.
    assert_eq!(path(&branches), [0, 1, 2]);
}

#[test]
fn a_path_is_as_long_as_a_block_may_be() {
    let limit = MAX_INSTRUCTIONS as u32;
    let fits = [block(limit - 4, 0, [1, NO_BLOCK]), block(4, 0, [NO_BLOCK, NO_BLOCK])];
    assert_eq!(path(&fits), [0, 1]);
    let long = [block(limit - 4, 0, [1, NO_BLOCK]), block(5, 0, [NO_BLOCK, NO_BLOCK])];
    assert_eq!(path(&long), [0]);
    let many: Vec<_> = (1..30).map(|number| block(1, 0, [number, NO_BLOCK])).collect();
    assert_eq!(path(&many).len(), MAX_PARTS);
}

#[test]
fn a_loop_is_gone_for_whole_rounds() {
    let short = [block(3, 16, [NO_BLOCK, 1]), block(4, 15, [NO_BLOCK, 0])];
    assert_eq!(path(&short), [0, 1, 0, 1, 0, 1, 0, 1]);
    // Three rounds of 21 instructions, not a part of a fourth.
    let long = [block(20, 16, [NO_BLOCK, 1]), block(1, 16, [NO_BLOCK, 0])];
    assert_eq!(path(&long), [0, 1, 0, 1, 0, 1]);
    // A loop within is left to a path of its own.
    let within = [block(3, 0, [1, NO_BLOCK]), block(4, 15, [NO_BLOCK, 1])];
    assert_eq!(path(&within), [0, 1]);
}

#[test]
fn what_was_overwritten_is_not_followed() {
    let blocks = [block(3, 0, [1, NO_BLOCK]), block(3, 0, [NO_BLOCK, NO_BLOCK])];
    blocks[1].dead.set(true);
    assert_eq!(path(&blocks), [0]);
}
