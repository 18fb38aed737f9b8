use super::*;

#[test]
fn counted_time_stands_until_it_is_told_and_never_names_an_instant_of_the_host() {
    let clock = Arc::new(MachineClock::Counted(ManualClock::new(NANOS_PER_SECOND)));
    clock.resume();
    assert_eq!((clock.now_ns(), clock.instant_at(5)), (0, None));
    clock.counted().unwrap().advance_by(3 * NANOS_PER_SECOND);
    clock.pause();
    assert_eq!(clock.tsc_now(), 3 * NANOS_PER_SECOND);
    assert_eq!(calendar(&clock).unix_seconds(), COUNTED_START + 3);
}
