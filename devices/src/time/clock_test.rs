use proptest::prelude::*;

use super::*;

#[test]
fn a_host_clock_stands_until_resumed_and_while_paused() {
    let clock = HostClock::new(NANOS_PER_SECOND);
    assert_eq!(clock.now_ns(), 0);
    assert_eq!(clock.instant_at(5), None);

    clock.resume();
    let deadline = clock.instant_at(1_000).unwrap();
    while Instant::now() < deadline {}
    assert!(clock.now_ns() >= 1_000);

    clock.pause();
    let stopped = clock.now_ns();
    std::thread::sleep(std::time::Duration::from_millis(2));
    assert_eq!(clock.now_ns(), stopped);

    clock.resume();
    clock.resume();
    assert!(clock.now_ns() >= stopped);
}

#[test]
fn a_manual_clock_never_goes_back() {
    let clock = ManualClock::new(3);
    assert_eq!(clock.advance_to(10), 10);
    assert_eq!(clock.advance_to(5), 10);
    assert_eq!(clock.advance_by(u64::MAX), u64::MAX);
}

#[test]
fn a_counter_without_frequency_never_gets_there() {
    assert_eq!(ticks_to_nanos(1, 0), u64::MAX);
    assert_eq!(nanos_to_ticks(u64::MAX, 0), 0);
}

proptest! {
    #[test]
    fn at_the_time_of_a_tick_the_counter_has_made_it(ticks in 0_u64..1 << 40, hz in 1_u64..10_000_000_000) {
        let at = ticks_to_nanos(ticks, hz);
        prop_assert!(nanos_to_ticks(at, hz) >= ticks);
        if at > 0 {
            prop_assert!(nanos_to_ticks(at - 1, hz) < ticks || hz > NANOS_PER_SECOND);
        }
    }

    #[test]
    fn conversions_never_panic(a in any::<u64>(), b in any::<u64>()) {
        let _ = (nanos_to_ticks(a, b), ticks_to_nanos(a, b));
    }
}
