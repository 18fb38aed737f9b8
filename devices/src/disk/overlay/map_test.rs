use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn any_range() -> impl Strategy<Value = Range<u64>> {
    // Within and across words and pages.
    let start = prop_oneof![0..200u64, 4000..4200u64, 20_000..20_100u64];
    (start, prop_oneof![0..10u64, 50..200u64, 4000..9000u64]).prop_map(|(start, len)| start..start + len)
}

proptest! {
    #[test]
    fn runs_are_those_of_a_set(inserted in prop::collection::vec(any_range(), 0..6), asked in prop::collection::vec(any_range(), 1..6)) {
        let mut map = BlockMap::default();
        let mut set = BTreeSet::new();
        for range in inserted {
            map.insert(range.clone());
            set.extend(range);
        }
        for range in asked.into_iter().filter(|range| !range.is_empty()) {
            let first = set.contains(&range.start);
            let end = range.clone().find(|block| set.contains(block) != first).unwrap_or(range.end);
            prop_assert_eq!(map.run(range), (first, end));
        }
    }
}

#[test]
fn the_last_block_there_is_can_be_asked_for() {
    let mut map = BlockMap::default();
    map.insert(u64::MAX - 1..u64::MAX);

    assert_eq!(map.run(u64::MAX - 3..u64::MAX), (false, u64::MAX - 1));
    assert_eq!(map.run(u64::MAX - 1..u64::MAX), (true, u64::MAX));
    assert_eq!(map.run(5..5), (false, 5));
}
