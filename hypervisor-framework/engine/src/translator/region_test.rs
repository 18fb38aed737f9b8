//! Code memory: what is written runs; nothing is written outside of it.

use super::Region;

#[test]
fn written_code_runs_and_can_be_written_again() {
    let mut region = Region::new(1 << 20).unwrap();
    let at = region.code_address();
    for value in [7_u8, 9] {
        // mov eax, value; ret
        region.write_code(at, &[0xb8, value, 0, 0, 0, 0xc3]).unwrap();
        // SAFETY: the bytes are a function of that type.
        let run: extern "sysv64" fn() -> u32 = unsafe { std::mem::transmute(at as *const ()) };
        assert_eq!(run(), u32::from(value));
    }
}

#[test]
fn pages_given_back_are_the_ones_behind() {
    let mut region = Region::new(1 << 20).unwrap();
    let at = region.code_address();
    let read = |address: u64| {
        // SAFETY: within the region, which can be read where it runs.
        unsafe { (address as *const u8).read_volatile() }
    };
    // More than the writable mapping holds on to.
    for page in 0..256 {
        region.write_code(at + page * 4096, &[0x90; 4096]).unwrap();
    }
    region.write_code(at + 0x2000, &[0xc3]).unwrap();
    assert_eq!((read(at), read(at + 0x2000), read(at + 0xf_f000)), (0x90, 0xc3, 0x90));
    region.forget(at + 0x1001);
    assert_eq!((read(at), read(at + 0x1fff), read(at + 0x2000), read(at + 0xf_f000)), (0x90, 0x90, 0, 0));
    region.write_code(at + 0x2000, &[0xcc]).unwrap();
    assert_eq!(read(at + 0x2000), 0xcc);
}

#[test]
fn what_lies_outside_is_refused() {
    let mut region = Region::new(1 << 20).unwrap();
    let (at, size) = (region.code_address(), region.code_size() as u64);
    assert!(region.write_code(at + size - 1, &[0, 0]).is_none());
    assert!(region.write_code(at - 1, &[0]).is_none());
    let slots = region.slots();
    assert!(region.write_slot(slots.start, 1).is_some());
    assert!(region.write_slot(slots.start + 4, 1).is_none());
    assert!(region.write_slot(slots.end, 1).is_none());
    assert!(region.write_slot(at, 1).is_none());
}
