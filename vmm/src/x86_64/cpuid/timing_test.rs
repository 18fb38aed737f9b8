use super::Timing;

/// Linux' `native_calibrate_tsc`, kHz, in its 32-bit arithmetic.
fn as_linux_computes(timing: Timing) -> u32 {
    (timing.crystal_hz / 1000).checked_mul(timing.numerator).expect("overflows in the guest")
        / timing.denominator
}

#[test]
fn usual_frequencies_are_exact() {
    for mhz in [1000, 1800, 2000, 2200, 2400, 2592, 2600, 2900, 3000, 3600, 3696, 4200, 5000_u64] {
        let timing = Timing::for_tsc(mhz * 1_000_000);
        assert_eq!(u64::from(as_linux_computes(timing)), mhz * 1000, "{timing:?}");
        assert_eq!(u64::from(timing.crystal_hz) * u64::from(timing.numerator), mhz * 1_000_000, "{timing:?}");
    }
    assert_eq!(Timing::for_tsc(3_000_000_000).crystal_hz, 25_000_000);
    assert_eq!(Timing::for_tsc(1_000_000_000).crystal_hz, 25_000_000);
}

#[test]
fn odd_frequencies_are_within_a_part_per_million() {
    for hz in [2_294_689_123, 1_000_003_000, 2_599_999_999, 3_141_592_653, 1_999_993_000_u64] {
        let timing = Timing::for_tsc(hz);
        let error = u64::from(as_linux_computes(timing)).abs_diff(hz / 1000);
        assert!(error * 1_000_000 <= hz / 1000, "{timing:?} is {error} kHz off");
        assert_eq!(timing.crystal_hz % 1000, 0);
    }
}

#[test]
fn absurd_frequencies_do_not_panic() {
    for hz in [0, 1, 999, 1000, 1_000_000, u64::from(u32::MAX) * 1000, u64::MAX] {
        let timing = Timing::for_tsc(hz);
        assert!(timing.crystal_hz > 0 && timing.numerator > 0 && timing.denominator > 0);
    }
}
