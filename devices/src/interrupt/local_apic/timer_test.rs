use proptest::prelude::*;

use super::timer::{ApicTimer, TimerMode};
use crate::time::{Clock, ManualClock};

/// A timer at 1 GHz, so that ticks are nanoseconds, on a 2 GHz TSC.
fn timer(divide: u32) -> (ApicTimer, ManualClock) {
    let mut timer = ApicTimer::new(1_000_000_000);
    timer.set_divide(divide, 0);
    (timer, ManualClock::new(2_000_000_000))
}

const BY_1: u32 = 0b1011;

#[test]
fn every_divide_value_divides() {
    for (bits, by) in [(0, 2), (1, 4), (2, 8), (3, 16), (8, 32), (9, 64), (10, 128), (11, 1)] {
        let (mut timer, clock) = timer(bits);
        timer.set_initial(1000, 0);
        assert_eq!(timer.deadline_ns(&clock), Some(1000 * by), "{bits:#b}");
        assert_eq!(timer.current(10 * by), 990, "{bits:#b}");
        assert_eq!(timer.divide(), bits);
    }
}

#[test]
fn one_shot_fires_once_and_stays_at_zero() {
    let (mut timer, clock) = timer(BY_1);
    timer.set_initial(500, 100);

    assert!(!timer.settle(&clock, 599));
    assert_eq!(timer.current(599), 1);
    assert!(timer.settle(&clock, 600));
    assert!(!timer.settle(&clock, 10_000));
    assert_eq!(timer.current(10_000), 0);
    assert_eq!(timer.deadline_ns(&clock), None);
    assert_eq!(timer.initial(), 500);
}

#[test]
fn periodic_keeps_its_phase_however_late_it_is_served() {
    let (mut timer, clock) = timer(BY_1);
    timer.set_mode(TimerMode::Periodic, 0);
    timer.set_initial(1_000_000, 0);

    assert_eq!(timer.deadline_ns(&clock), Some(1_000_000));
    assert!(timer.settle(&clock, 1_300_000));
    assert_eq!(timer.current(1_300_000), 700_000);
    assert_eq!(timer.deadline_ns(&clock), Some(2_000_000));
    // Three periods late: one interrupt, and the phase stays.
    assert!(timer.settle(&clock, 5_100_000));
    assert!(!timer.settle(&clock, 5_100_001));
    assert_eq!(timer.deadline_ns(&clock), Some(6_000_000));
}

#[test]
fn a_tiny_period_does_not_flood() {
    let (mut timer, clock) = timer(BY_1);
    timer.set_mode(TimerMode::Periodic, 0);
    timer.set_initial(1, 0);
    let mut fired = 0;
    let mut now = 0;

    while now < 1_000_000 {
        fired += u32::from(timer.settle(&clock, now));
        now = timer.deadline_ns(&clock).unwrap().max(now + 1);
    }

    assert!((10..=50).contains(&fired), "{fired}");
}

#[test]
fn tsc_deadline_fires_at_the_value_and_disarms() {
    let (mut timer, clock) = timer(BY_1);
    timer.set_mode(TimerMode::TscDeadline, 0);
    timer.set_initial(5, 0);
    assert_eq!(timer.initial(), 0, "the counter is not used in this mode");

    timer.set_tsc_deadline(2_000);

    assert_eq!(timer.deadline_ns(&clock), Some(1_000));
    assert!(!timer.settle(&clock, 999));
    assert!(timer.settle(&clock, 1_000));
    assert_eq!(timer.tsc_deadline(), 0);
    assert_eq!(timer.deadline_ns(&clock), None);
}

#[test]
fn tsc_deadline_follows_the_vcpus_offset() {
    let (mut timer, clock) = timer(BY_1);
    clock.advance_to(1_000);
    timer.set_mode(TimerMode::TscDeadline, 0);
    timer.set_tsc_offset(-2_000);
    timer.set_tsc_deadline(500);

    // The machine's TSC is 2,000 now, this vCPU's 0.
    assert_eq!(timer.deadline_ns(&clock), Some(1_250));
    assert!(!timer.settle(&clock, 1_249));
    assert!(timer.settle(&clock, 1_250));
}

#[test]
fn changing_to_and_from_tsc_deadline_disarms() {
    let (mut timer, clock) = timer(BY_1);
    timer.set_initial(100, 0);
    timer.set_mode(TimerMode::TscDeadline, 10);
    assert_eq!(timer.deadline_ns(&clock), None);
    timer.set_tsc_deadline(1_000_000);
    timer.set_mode(TimerMode::OneShot, 20);
    assert_eq!(timer.deadline_ns(&clock), None);
    timer.set_tsc_deadline(1_000_000);
    assert_eq!(timer.tsc_deadline(), 0, "ignored outside its mode");
}

#[test]
fn a_divide_change_keeps_the_count() {
    let (mut timer, clock) = timer(BY_1);
    timer.set_initial(1_000, 0);
    timer.set_divide(0, 400);

    assert_eq!(timer.current(400), 600);
    assert_eq!(timer.deadline_ns(&clock), Some(400 + 1_200));
}

#[test]
fn a_count_that_becomes_periodic_goes_on() {
    let (mut timer, clock) = timer(BY_1);
    timer.set_initial(100_000, 0);
    timer.set_mode(TimerMode::Periodic, 40_000);

    assert!(timer.settle(&clock, 100_000));
    assert_eq!(timer.deadline_ns(&clock), Some(200_000));
    assert_eq!(timer.current(150_000), 50_000);
}

#[test]
fn reset_stops_and_keeps_the_offset() {
    let (mut timer, clock) = timer(BY_1);
    timer.set_initial(100, 0);
    timer.reset();
    assert_eq!((timer.initial(), timer.divide(), timer.deadline_ns(&clock)), (0, 0, None));
}

proptest! {
    #[test]
    fn after_settling_the_deadline_is_ahead(
        divide in 0_u32..16, mode in 0_usize..3, initial in any::<u32>(), deadline in any::<u64>(),
        times in prop::collection::vec(0_u64..1 << 50, 1..20), hz in 1_u64..5_000_000_000,
    ) {
        let mut timer = ApicTimer::new(hz);
        let clock = ManualClock::new(2_100_000_000);
        timer.set_mode([TimerMode::OneShot, TimerMode::Periodic, TimerMode::TscDeadline][mode], 0);
        timer.set_divide(divide, 0);
        timer.set_initial(initial, 0);
        timer.set_tsc_deadline(deadline);
        for time in times {
            let now = clock.advance_to(time);
            timer.settle(&clock, now);
            prop_assert!(timer.current(now) <= initial);
            if let Some(next) = timer.deadline_ns(&clock) {
                prop_assert!(next > now, "{next} is not after {now}");
                prop_assert!(!timer.settle(&clock, now));
            }
        }
        prop_assert!(clock.now_ns() < 1 << 50);
    }
}
