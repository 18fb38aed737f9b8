//! Which blocks mostly follow each other: host code goes on past their branches.

use super::{Block, MAX_INSTRUCTIONS};

/// Most blocks of a path.
pub(crate) const MAX_PARTS: usize = 16;
/// Most rounds of a loop that a path goes.
const MAX_ROUNDS: usize = 4;
/// A path ends where it is gone by fewer than one in so many.
const RARE: u64 = 4;

/// The block that has followed another one more often than not, in its page, and the odds that it does: so many in so
/// many.
fn follower<'a>(blocks: &'a [Block], block: &Block) -> Option<(&'a Block, u64, u64)> {
    let all = u64::from(block.heat.get().max(block.taken.get()).max(1));
    let taken = u64::from(block.taken.get());
    let (flow, times) = if 2 * taken > all { (1, taken) } else { (0, all - taken) };
    let next = blocks.get(block.chain.get(flow)?.get() as usize)?;
    (!next.dead.get() && times != 0).then_some((next, times, all))
}

/// The path from a block on, and its length: no more than a block's instructions altogether. A loop back to its start is
/// gone for whole rounds.
pub(super) fn likely<'a>(blocks: &'a [Block], first: &'a Block) -> ([&'a Block; MAX_PARTS], usize) {
    let mut parts = [first; MAX_PARTS];
    let (mut count, mut rounds) = (1, 1);
    let mut instructions = first.instructions;
    // Instructions of a round.
    let mut round = 0;
    let (mut share, mut of) = (1_u64, 1_u64);
    while let Some(last) = parts.get(count - 1)
        && let Some((next, times, all)) = follower(blocks, last)
    {
        let back = std::ptr::eq(next, first);
        let gone = parts.iter().take(count).filter(|part| std::ptr::eq(**part, next)).count();
        if back && rounds == 1 {
            round = instructions;
        }
        (share, of) = (share.saturating_mul(times), of.saturating_mul(all));
        // The shares of a few branches fit.
        while of > 1 << 16 {
            (share, of) = (share >> 1, of >> 1);
        }
        let length = if back { round } else { next.instructions };
        if gone >= if back { MAX_ROUNDS } else { rounds }
            || instructions + length > MAX_INSTRUCTIONS as u32
            || share * RARE < of
            || count == MAX_PARTS
        {
            break;
        }
        if let Some(place) = parts.get_mut(count) {
            *place = next;
        }
        rounds += usize::from(back);
        instructions += next.instructions;
        count += 1;
    }
    (parts, count)
}

#[cfg(test)]
#[path = "path_test.rs"]
mod path_test;
