//! Mach absolute time, the unit of `hv_vcpu_run_until`.
#![allow(unsafe_code)] // calls into libSystem

use std::time::Instant;

/// `mach_timebase_info_data_t`.
#[repr(C)]
struct Timebase {
    numer: u32,
    denom: u32,
}

unsafe extern "C" {
    fn mach_absolute_time() -> u64;
    fn mach_timebase_info(info: *mut Timebase) -> i32;
}

/// The mach absolute time at which `deadline` is reached; now, if it has passed.
pub(super) fn mach_time(deadline: Instant) -> u64 {
    let left = deadline.saturating_duration_since(Instant::now());
    // SAFETY: no arguments, no preconditions.
    let now = unsafe { mach_absolute_time() };
    now.saturating_add(ticks(left.as_nanos(), timebase()))
}

/// Nanoseconds per tick as a fraction; 1/1 if the system will not tell.
fn timebase() -> (u32, u32) {
    let mut info = Timebase { numer: 1, denom: 1 };
    // SAFETY: `info` is a valid mach_timebase_info_data_t.
    let result = unsafe { mach_timebase_info(&raw mut info) };
    if result == 0 && info.numer != 0 && info.denom != 0 { (info.numer, info.denom) } else { (1, 1) }
}

/// One below the maximum at most: the maximum means "forever" to the framework.
fn ticks(nanoseconds: u128, (numer, denom): (u32, u32)) -> u64 {
    let ticks = nanoseconds.saturating_mul(u128::from(denom)) / u128::from(numer.max(1));
    u64::try_from(ticks).unwrap_or(u64::MAX).min(u64::MAX - 1)
}

#[cfg(test)]
mod tests {
    #[test]
    fn ticks_scale_by_the_time_base_and_saturate() {
        assert_eq!(super::ticks(1_000, (1, 1)), 1_000);
        assert_eq!(super::ticks(125, (125, 3)), 3);
        assert_eq!(super::ticks(u128::MAX, (1, 1)), u64::MAX - 1);
    }
}
