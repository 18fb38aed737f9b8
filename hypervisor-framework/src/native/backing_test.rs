use super::Backings;

fn ranges(backings: &Backings<char>) -> Vec<(u64, u64, char)> {
    backings.ranges.iter().map(|(start, (end, backing))| (*start, *end, *backing)).collect()
}

#[test]
fn a_hole_in_the_middle_keeps_both_sides() {
    let mut backings = Backings::default();
    backings.insert(0x1000, 0x5000, 'a');
    backings.remove(0x3000, 0x1000);
    assert_eq!(ranges(&backings), [(0x1000, 0x3000, 'a'), (0x4000, 0x6000, 'a')]);
}

#[test]
fn removal_across_ranges_trims_the_first_and_the_last() {
    let mut backings = Backings::default();
    backings.insert(0x1000, 0x2000, 'a');
    backings.insert(0x3000, 0x1000, 'b');
    backings.insert(0x8000, 0x2000, 'c');
    backings.remove(0x2000, 0x7000);
    assert_eq!(ranges(&backings), [(0x1000, 0x2000, 'a'), (0x9000, 0xa000, 'c')]);
}

#[test]
fn removal_of_nothing_changes_nothing() {
    let mut backings = Backings::default();
    backings.insert(0x1000, 0x1000, 'a');
    backings.remove(0x2000, 0x1000);
    backings.remove(0, 0x1000);
    assert_eq!(ranges(&backings), [(0x1000, 0x2000, 'a')]);
}

#[test]
fn a_new_range_replaces_what_it_covers() {
    let mut backings = Backings::default();
    backings.insert(0, 0x4000, 'a');
    backings.insert(0x1000, 0x1000, 'b');
    assert_eq!(ranges(&backings), [(0, 0x1000, 'a'), (0x1000, 0x2000, 'b'), (0x2000, 0x4000, 'a')]);
}
