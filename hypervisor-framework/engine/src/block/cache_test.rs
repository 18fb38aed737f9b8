use super::*;
use crate::block::block_test;

fn block(offset: u16) -> Block {
    Block { offset, bytes: Box::new([0x90; 8]), ..block_test::block(1) }
}

#[test]
fn code_written_for_ever_takes_no_more_memory() {
    let mut cache = BlockCache::new();
    for round in 0..MAX_BLOCKS + 1000 {
        let id = cache.insert(0x1000, 0, block(0));
        assert_eq!(cache.find(0x1000, 0), Some(id));
        cache.drop_page(0x1000);
        assert!(cache.get(id).unwrap().dead.get(), "round {round}");
    }
    assert!(cache.blocks.len() <= 1000);
    assert!(cache.footprint() < 2 * size_of::<Block>() * MAX_BLOCKS);
}

#[test]
fn what_was_dropped_at_once_still_counts_and_is_not_counted_twice() {
    let mut cache = BlockCache::new();
    let fill = |cache: &mut BlockCache| {
        for offset in 0..1000 {
            cache.insert(0x1000, 0, block(offset));
        }
    };
    let empty = cache.footprint();
    fill(&mut cache);
    let full = cache.footprint();
    cache.clear();
    assert_eq!(cache.footprint(), full - 1000 * size_of::<Block>());
    assert!(cache.footprint() > empty);
    fill(&mut cache);
    assert_eq!(cache.footprint(), full);
}
