use super::*;

const MIB: u64 = 1 << 20;

fn layout(ram: &[(u64, u64)], reserved: &[(u64, u64)]) -> MemoryLayout {
    let ranges =
        |list: &[(u64, u64)]| list.iter().map(|(start, end)| GpaRange::between(*start, *end)).collect();
    MemoryLayout { ram: ranges(ram), reserved: ranges(reserved) }
}

fn map(layout: &MemoryLayout, acpi: Option<GpaRange>) -> Vec<(u64, u64, E820Kind)> {
    layout.e820(acpi).unwrap().iter().map(|e| (e.range.start, e.range.end(), e.kind)).collect()
}

#[test]
fn ranges_know_what_they_share() {
    let range = GpaRange::new(10, 10);
    for (other, overlaps) in [
        ((0, 10), false),
        ((0, 11), true),
        ((19, 30), true),
        ((20, 30), false),
        ((12, 13), true),
        ((15, 15), false),
    ] {
        let other = GpaRange::between(other.0, other.1);
        assert_eq!((range.overlaps(&other), other.overlaps(&range)), (overlaps, overlaps), "{other}");
    }
    assert!(range.contains(&GpaRange::new(10, 10)));
    assert!(!range.contains(&GpaRange::new(9, 10)));
    assert!(!range.contains(&GpaRange::new(11, 10)));
    assert_eq!(GpaRange::new(u64::MAX, 2).end(), u64::MAX);
    assert_eq!(GpaRange::between(5, 4).size, 0);
}

#[test]
fn the_map_has_the_legacy_hole_and_the_acpi_tables() {
    let acpi = GpaRange::new(0xe_0000, 0x1000);
    let map = map(&layout(&[(0, 64 * MIB)], &[]), Some(acpi));
    assert_eq!(
        map,
        [
            (0, 0x9_fc00, E820Kind::Ram),
            (0x9_fc00, 0xa_0000, E820Kind::Reserved),
            (0xe_0000, 0xe_1000, E820Kind::Acpi),
            (0xe_1000, 0x10_0000, E820Kind::Reserved),
            (0x10_0000, 64 * MIB, E820Kind::Ram),
        ]
    );
}

#[test]
fn reserved_ranges_are_cut_out_of_ram() {
    let gib = 1024 * MIB;
    let layout = layout(
        &[(4 * gib, 5 * gib), (0, 32 * MIB), (32 * MIB, 3 * gib)],
        &[(64 * MIB, 65 * MIB), (0xe000_0000, 0xf000_0000), (64 * MIB, 66 * MIB)],
    );
    let map = map(&layout, None);
    assert_eq!(
        map[3..],
        [
            (0x10_0000, 64 * MIB, E820Kind::Ram),
            (64 * MIB, 66 * MIB, E820Kind::Reserved),
            (66 * MIB, 3 * gib, E820Kind::Ram),
            (0xe000_0000, 0xf000_0000, E820Kind::Reserved),
            (4 * gib, 5 * gib, E820Kind::Ram),
        ]
    );
    assert_eq!(layout.ram_end(), 5 * gib);
    assert_eq!(layout.ram_size(), 4 * gib);
}

#[test]
fn no_two_entries_of_a_map_overlap() {
    let layout = layout(&[(0, 512 * MIB)], &[(0, 0x1000), (0x9_0000, 0x11_0000), (511 * MIB, 600 * MIB)]);
    let map = layout.e820(Some(GpaRange::new(0xe_0000, 0x2000))).unwrap();
    for pair in map.windows(2) {
        assert!(pair[0].range.end() <= pair[1].range.start, "{pair:?}");
    }
}

#[test]
fn unusable_layouts_are_refused() {
    let error = |layout: MemoryLayout| layout.e820(None).unwrap_err();
    let range = GpaRange::between;
    assert_eq!(
        error(layout(&[(0, 2 * MIB), (MIB, 3 * MIB)], &[])),
        LayoutError::RamOverlap(range(0, 2 * MIB), range(MIB, 3 * MIB))
    );
    let needed = 0x10_0000;
    assert_eq!(error(layout(&[], &[])), LayoutError::NoLowMemory { needed, found: 0 });
    assert_eq!(error(layout(&[(MIB, 9 * MIB)], &[])), LayoutError::NoLowMemory { needed, found: 0 });
    assert_eq!(
        error(layout(&[(0, 0x9_0000), (MIB, 9 * MIB)], &[])),
        LayoutError::NoLowMemory { needed, found: 0x9_0000 }
    );
    let wraps = MemoryLayout { ram: vec![GpaRange::new(u64::MAX - 1, 3)], reserved: vec![] };
    assert_eq!(error(wraps), LayoutError::Wraps { start: u64::MAX - 1, size: 3 });
    let many: Vec<(u64, u64)> = (1..100).map(|i| (i * 2 * MIB, i * 2 * MIB + 4096)).collect();
    assert!(matches!(error(layout(&[(0, 512 * MIB)], &many)), LayoutError::TooManyEntries(_)));
}
