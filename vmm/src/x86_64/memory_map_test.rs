use super::*;
use crate::config::{MAX_MEMORY_BYTES, MIN_MEMORY_BYTES};

#[test]
fn every_size_gives_all_its_memory_and_no_overlap() {
    for bytes in
        [MIN_MEMORY_BYTES, 512 * MIB, LOW_RAM_END - MIB, LOW_RAM_END, LOW_RAM_END + MIB, MAX_MEMORY_BYTES]
    {
        let map = memory_map(bytes).unwrap();
        assert_eq!(map.ram().map(|range| range.size).sum::<u64>(), bytes);
    }
}

#[test]
fn devices_are_no_ram() {
    let map = memory_map(8 * GIB).unwrap();
    for gpa in [0xc000_0000, 0xe000_0000, 0xfec0_0000, 0xfee0_0000, 0xffff_fff0] {
        assert!(!map.is_ram(gpa), "{gpa:#x}");
    }
    for gpa in [0, 0xf_ffff, LOW_RAM_END - 1, 4 * GIB, 9 * GIB - 1] {
        assert!(map.is_ram(gpa), "{gpa:#x}");
    }
}
