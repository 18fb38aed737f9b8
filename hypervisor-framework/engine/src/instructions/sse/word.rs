//! Lanes computed a 64-bit word at a time: what string routines and hashes spend their time in.
//!
//! `T` is an unsigned lane type. The top bit of each lane is kept apart, so that carries stay within their lanes.

use super::lane::LOW;

/// An unsigned lane narrower than 64 bits.
pub(super) trait Narrow {
    const BITS: u32;
    /// Bit 0 of each lane.
    const UNITS: u64;
    /// The top bit of each lane.
    const TOPS: u64 = Self::UNITS << (Self::BITS - 1);
    /// The lowest lane.
    const LANE: u64 = u64::MAX >> (64 - Self::BITS);
}

impl Narrow for u8 {
    const BITS: u32 = 8;
    const UNITS: u64 = 0x0101_0101_0101_0101;
}

impl Narrow for u16 {
    const BITS: u32 = 16;
    const UNITS: u64 = 0x0001_0001_0001_0001;
}

impl Narrow for u32 {
    const BITS: u32 = 32;
    const UNITS: u64 = 0x0000_0001_0000_0001;
}

/// Applies `f` to both halves.
#[inline(always)]
pub(super) fn halves(a: u128, b: u128, f: impl Fn(u64, u64) -> u64) -> u128 {
    let low = f((a & LOW) as u64, (b & LOW) as u64);
    let high = f((a >> 64) as u64, (b >> 64) as u64);
    u128::from(low) | u128::from(high) << 64
}

#[inline(always)]
pub(super) fn add<T: Narrow>(a: u64, b: u64) -> u64 {
    (a & !T::TOPS).wrapping_add(b & !T::TOPS) ^ (a ^ b) & T::TOPS
}

#[inline(always)]
pub(super) fn sub<T: Narrow>(a: u64, b: u64) -> u64 {
    (a | T::TOPS).wrapping_sub(b & !T::TOPS) ^ (a ^ !b) & T::TOPS
}

/// Fills each lane with its top bit.
#[inline(always)]
fn spread<T: Narrow>(value: u64) -> u64 {
    let tops = value & T::TOPS;
    tops | tops.wrapping_sub(tops >> (T::BITS - 1))
}

/// All ones where the lanes are equal.
#[inline(always)]
pub(super) fn equal<T: Narrow>(a: u64, b: u64) -> u64 {
    let different = a ^ b;
    spread::<T>(!((different & !T::TOPS).wrapping_add(!T::TOPS) | different))
}

/// All ones where the unsigned lane of `a` is less: where subtracting borrows.
#[inline(always)]
fn less<T: Narrow>(a: u64, b: u64) -> u64 {
    spread::<T>(!a & b | (!a | b) & sub::<T>(a, b))
}

/// All ones where the signed lane of `a` is greater.
#[inline(always)]
pub(super) fn greater_signed<T: Narrow>(a: u64, b: u64) -> u64 {
    less::<T>(b ^ T::TOPS, a ^ T::TOPS)
}

#[inline(always)]
pub(super) fn min<T: Narrow>(a: u64, b: u64) -> u64 {
    b ^ (a ^ b) & less::<T>(a, b)
}

#[inline(always)]
pub(super) fn max<T: Narrow>(a: u64, b: u64) -> u64 {
    a ^ (a ^ b) & less::<T>(a, b)
}

/// The difference, or 0 if it is negative.
#[inline(always)]
pub(super) fn sub_saturating<T: Narrow>(a: u64, b: u64) -> u64 {
    sub::<T>(a, b) & !less::<T>(a, b)
}

/// `count` is less than the lane's width.
#[inline(always)]
pub(super) fn shift_left<T: Narrow>(value: u64, count: u32) -> u64 {
    let kept = (T::LANE << (count & 63) & T::LANE).wrapping_mul(T::UNITS);
    value << (count & 63) & kept
}

/// `count` is less than the lane's width.
#[inline(always)]
pub(super) fn shift_right<T: Narrow>(value: u64, count: u32) -> u64 {
    let kept = (T::LANE >> (count & 63)).wrapping_mul(T::UNITS);
    value >> (count & 63) & kept
}
