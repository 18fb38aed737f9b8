use std::sync::Arc;

use engine::{Access, HostRegion, MemoryViolation};

use super::{Memory, Touch};
use crate::ReturnCode;
use crate::soft::Quirks;
use crate::x86_64::MemoryFlags;

const PAGE: usize = 4096;

fn memory(block: u64) -> Memory {
    Memory::new(&Quirks { lazy_fill: Some(block), ..Quirks::default() })
}

fn region(pages: usize) -> Arc<HostRegion> {
    Arc::new(HostRegion::new(pages * PAGE).unwrap())
}

fn violation(gpa: u64, access: Access) -> MemoryViolation {
    MemoryViolation { gpa, linear: None, access, allowed: (false, false, false), is_final: true }
}

/// (gpa, size, cold), sorted.
fn ranges(memory: &Memory) -> Vec<(u64, u64, bool)> {
    let mut all: Vec<_> = memory.ranges().iter().map(|r| (r.gpa, r.size, r.cold)).collect();
    all.sort_unstable();
    all
}

#[test]
fn a_touch_warms_one_block_and_leaves_both_sides_cold() {
    let memory = memory(0x2000);
    memory.map(&region(8), 0, 0x10000, 8 * PAGE, MemoryFlags::RWX).unwrap();

    let first = memory.touch(&violation(0x13_123, Access::Read));
    let again = memory.touch(&violation(0x12_000, Access::Read));

    assert_eq!((first, again), (Touch::Filled, Touch::Allowed));
    assert_eq!(ranges(&memory), [(0x10000, 0x2000, true), (0x12000, 0x2000, false), (0x14000, 0x4000, true)]);
}

#[test]
fn a_block_does_not_reach_past_its_range() {
    let memory = memory(2 << 20);
    memory.map(&region(2), 0, 0x10000, 2 * PAGE, MemoryFlags::RWX).unwrap();

    memory.touch(&violation(0x10000, Access::Fetch));

    assert_eq!(ranges(&memory), [(0x10000, 0x2000, false)]);
}

#[test]
fn warm_memory_refuses_what_its_flags_do_not_allow() {
    let memory = memory(2 << 20);
    memory.map(&region(1), 0, 0x10000, PAGE, MemoryFlags::RX).unwrap();
    memory.warm_all();

    assert_eq!(memory.touch(&violation(0x10000, Access::Write)), Touch::Refused);
    assert_eq!(memory.touch(&violation(0x10000, Access::Read)), Touch::Allowed);
    assert_eq!(memory.touch(&violation(0x11000, Access::Read)), Touch::Refused, "nothing there");
}

#[test]
fn unmapping_across_cold_and_warm_removes_both() {
    let memory = memory(0x1000);
    memory.map(&region(4), 0, 0x10000, 4 * PAGE, MemoryFlags::RWX).unwrap();
    memory.touch(&violation(0x11000, Access::Read));

    memory.unmap(0x11000, 2 * PAGE).unwrap();

    assert_eq!(ranges(&memory), [(0x10000, 0x1000, true), (0x13000, 0x1000, true)]);
    assert_eq!(memory.unmap(0x11000, PAGE), Err(ReturnCode::BAD_ARGUMENT));
}

#[test]
fn protecting_part_of_a_cold_range_is_remembered() {
    let memory = memory(0x1000);
    memory.map(&region(3), 0, 0x10000, 3 * PAGE, MemoryFlags::RWX).unwrap();

    memory.protect(0x11000, PAGE, MemoryFlags::READ).unwrap();
    memory.warm_all();

    assert_eq!(memory.touch(&violation(0x11000, Access::Write)), Touch::Refused);
    assert_eq!(memory.touch(&violation(0x12000, Access::Write)), Touch::Allowed);
}

#[test]
fn a_part_keeps_its_place_in_the_backing() {
    let memory = memory(0x1000);
    memory.map(&region(4), PAGE, 0x10000, 3 * PAGE, MemoryFlags::RWX).unwrap();

    memory.unmap(0x10000, PAGE).unwrap();

    assert_eq!(memory.ranges()[0].offset, 2 * PAGE);
}
