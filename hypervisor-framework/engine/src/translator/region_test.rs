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
