//! RCPPS and RSQRTPS: estimates with a relative error of at most 1.5 * 2^-12 (SDM vol. 2, RCPPS).
//!
//! They raise no exceptions and obey no mode. Ours are the exact values rounded to 12 bits, on every host.

use super::format::{Format, Hosted};

/// Bits of a single's significand below the 12 that are kept.
const DROPPED: u32 = 23 - 12;

fn to_12_bits(value: f64) -> u32 {
    let single = (value as f32).to_bits();
    (single + (1 << (DROPPED - 1))) & !((1 << DROPPED) - 1)
}

/// About `1 / value`.
pub(super) fn reciprocal(value: u32) -> u32 {
    let sign = value & 1 << 31;
    if value.is_nan() {
        return value.quiet();
    }
    if value.is_infinite() {
        return sign;
    }
    if value.is_zero() || value.is_denormal() {
        return sign | u32::INFINITY as u32;
    }
    let estimate = (1.0 / f64::from(value.host())) as f32;
    // Denormal results are flushed.
    if estimate.to_bits().exponent() == 0 { sign } else { to_12_bits(f64::from(estimate)) }
}

/// About `1 / sqrt(value)`.
pub(super) fn reciprocal_root(value: u32) -> u32 {
    let sign = value & 1 << 31;
    if value.is_nan() {
        return value.quiet();
    }
    if value.is_zero() || value.is_denormal() {
        return sign | u32::INFINITY as u32;
    }
    if sign != 0 {
        return u32::indefinite();
    }
    if value.is_infinite() {
        return 0;
    }
    to_12_bits(1.0 / f64::from(value.host()).sqrt())
}
