use super::*;

#[test]
fn counts_by_number_and_direction() {
    let log = UnknownMsrs::default();
    log.note(0x10, false);
    log.note(0x10, false);
    log.note(0x10, true);
    assert_eq!(log.list(), [(0x10, false, 2), (0x10, true, 1)]);
}

#[test]
fn a_sweep_is_bounded() {
    let log = UnknownMsrs::default();
    (0..100_000).for_each(|msr| log.note(msr, false));
    assert_eq!(log.list().len(), MAX_MSRS);
}
