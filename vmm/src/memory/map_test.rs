use super::*;

const MIB: u64 = 1 << 20;

fn row(name: &'static str, start: u64, size: u64, kind: RegionKind) -> Region {
    Region { name, range: GpaRange::new(start, size), kind }
}

fn ram() -> Region {
    row("ram", 0, 64 * MIB, RegionKind::Ram)
}

#[test]
fn rows_are_sorted() {
    let device = row("device", 128 * MIB, 4096, RegionKind::Device);
    let map = MemoryMap::new(vec![device, ram()]).unwrap();
    assert_eq!(map.regions(), &[ram(), device]);
}

#[test]
fn overlaps_are_named() {
    let device = row("device", 64 * MIB - 4096, 8192, RegionKind::Device);
    let error = MemoryMap::new(vec![device, ram()]).unwrap_err();
    assert_eq!(error, MapError::Overlap("ram", ram().range, "device", device.range));
}

#[test]
fn neighbours_do_not_overlap() {
    let device = row("device", 64 * MIB, 4096, RegionKind::Device);
    assert!(MemoryMap::new(vec![ram(), device]).is_ok());
}

#[test]
fn reserved_parts_lie_in_ram() {
    let inside = row("tables", MIB, 4096, RegionKind::ReservedRam);
    let outside = row("tables", 64 * MIB - 4096, 8192, RegionKind::ReservedRam);
    assert!(MemoryMap::new(vec![ram(), inside]).is_ok());
    assert_eq!(MemoryMap::new(vec![ram(), outside]), Err(MapError::NotInRam("tables", outside.range)));
}

#[test]
fn reserved_parts_at_the_start_of_ram_are_fine() {
    let first = row("first page", 0, 4096, RegionKind::ReservedRam);
    assert!(MemoryMap::new(vec![first, ram()]).is_ok());
}

#[test]
fn ram_is_page_aligned() {
    let odd = row("ram", 0, 64 * MIB + 4096, RegionKind::Ram);
    assert_eq!(MemoryMap::new(vec![odd]), Err(MapError::Misaligned("ram", odd.range)));
}

#[test]
fn nothing_is_empty_or_wraps() {
    for (start, size) in [(0, 0), (u64::MAX, 2), (4096, u64::MAX)] {
        let bad = row("bad", start, size, RegionKind::Device);
        assert_eq!(MemoryMap::new(vec![bad]), Err(MapError::BadRange("bad", start, size)));
    }
}

#[test]
fn is_ram_knows_the_borders() {
    let map = MemoryMap::new(vec![ram()]).unwrap();
    assert!(map.is_ram(0) && map.is_ram(64 * MIB - 1));
    assert!(!map.is_ram(64 * MIB) && !map.is_ram(u64::MAX));
}

#[test]
fn the_layout_names_ram_and_reserved_ranges() {
    let tables = row("tables", MIB, 4096, RegionKind::ReservedRam);
    let device = row("device", 128 * MIB, 4096, RegionKind::Device);
    let window = row("window", 256 * MIB, MIB, RegionKind::Window);
    let layout = MemoryMap::new(vec![ram(), tables, device, window]).unwrap().layout();
    assert_eq!(layout.ram, vec![ram().range]);
    assert_eq!(layout.reserved, vec![tables.range, device.range]);
}
