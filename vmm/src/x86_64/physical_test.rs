use super::paging::GuestRam;
use super::*;

const PAGE: u64 = 0x1000;

fn memory() -> GuestMemory {
    GuestMemory::from_ranges(&[(GuestAddress(0), 16 * PAGE as usize)]).unwrap()
}

#[test]
fn ranges_that_leave_ram_are_refused_whole() {
    let memory = memory();
    let mut buffer = [0; 8];
    assert!(GuestRam::write(&memory, 16 * PAGE - 8, &[1; 8]));
    assert!(GuestRam::read(&memory, 16 * PAGE - 8, &mut buffer));
    assert_eq!(buffer, [1; 8]);
    assert!(!GuestRam::write(&memory, 16 * PAGE - 4, &[2; 8]));
    assert!(!GuestRam::read(&memory, u64::MAX - 3, &mut buffer));
    assert!(GuestRam::read(&memory, 16 * PAGE - 8, &mut buffer));
    assert_eq!(buffer, [1; 8], "nothing was written");
}

#[test]
fn entries_are_replaced_only_while_they_are_as_read() {
    let memory = memory();
    assert_eq!(memory.replace_entry(PAGE, 8, 0, 0x1234_5678_9abc_def0), Replaced::Done);
    assert_eq!(memory.replace_entry(PAGE, 8, 0, 1), Replaced::Changed);
    assert_eq!(memory.replace_entry(PAGE, 4, 0x9abc_def0, 7), Replaced::Done);
    let mut buffer = [0; 8];
    assert!(GuestRam::read(&memory, PAGE, &mut buffer));
    assert_eq!(u64::from_le_bytes(buffer), 0x1234_5678_0000_0007);
    assert_eq!(memory.replace_entry(16 * PAGE, 8, 0, 1), Replaced::NotRam);
}
