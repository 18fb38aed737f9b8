//! Packed integer arithmetic.

use iced_x86::Mnemonic;

use super::lane::{Lane, build, map, zip};
use super::operand::{Aligned, Forms, binary, binary_imm, forms};
use super::word;

/// Lane by lane.
macro_rules! lanes {
    ($t:ty, $f:expr) => {
        forms!(binary, Aligned, |a, b| zip::<$t>(a, b, $f))
    };
}

/// Lane by lane, a word at a time.
macro_rules! words {
    ($f:expr) => {
        forms!(binary, Aligned, |a, b| word::halves(a, b, $f))
    };
}

/// Each lane of the source alone.
macro_rules! source {
    ($t:ty, $f:expr) => {
        forms!(binary, Aligned, |_, b| map::<$t>(b, $f))
    };
}

/// Neighbours of the first operand, then of the second.
macro_rules! horizontal {
    ($t:ty, $f:expr) => {
        forms!(binary, Aligned, |a, b| neighbours::<$t>(a, b, $f))
    };
}

pub(in crate::instructions) fn forms(mnemonic: Mnemonic) -> Option<Forms> {
    sums(mnemonic).or_else(|| products(mnemonic)).or_else(|| reductions(mnemonic))
}

fn sums(mnemonic: Mnemonic) -> Option<Forms> {
    Some(match mnemonic {
        Mnemonic::Paddb => words!(word::add::<u8>),
        Mnemonic::Paddw => words!(word::add::<u16>),
        Mnemonic::Paddd => words!(word::add::<u32>),
        Mnemonic::Paddq => words!(u64::wrapping_add),
        Mnemonic::Paddsb => lanes!(i8, i8::saturating_add),
        Mnemonic::Paddsw => lanes!(i16, i16::saturating_add),
        Mnemonic::Paddusb => lanes!(u8, u8::saturating_add),
        Mnemonic::Paddusw => lanes!(u16, u16::saturating_add),
        Mnemonic::Psubb => words!(word::sub::<u8>),
        Mnemonic::Psubw => words!(word::sub::<u16>),
        Mnemonic::Psubd => words!(word::sub::<u32>),
        Mnemonic::Psubq => words!(u64::wrapping_sub),
        Mnemonic::Psubsb => lanes!(i8, i8::saturating_sub),
        Mnemonic::Psubsw => lanes!(i16, i16::saturating_sub),
        Mnemonic::Psubusb => words!(word::sub_saturating::<u8>),
        Mnemonic::Psubusw => words!(word::sub_saturating::<u16>),
        Mnemonic::Pminub => words!(word::min::<u8>),
        Mnemonic::Pminuw => words!(word::min::<u16>),
        Mnemonic::Pminud => words!(word::min::<u32>),
        Mnemonic::Pminsb => lanes!(i8, i8::min),
        Mnemonic::Pminsw => lanes!(i16, i16::min),
        Mnemonic::Pminsd => lanes!(i32, i32::min),
        Mnemonic::Pmaxub => words!(word::max::<u8>),
        Mnemonic::Pmaxuw => words!(word::max::<u16>),
        Mnemonic::Pmaxud => words!(word::max::<u32>),
        Mnemonic::Pmaxsb => lanes!(i8, i8::max),
        Mnemonic::Pmaxsw => lanes!(i16, i16::max),
        Mnemonic::Pmaxsd => lanes!(i32, i32::max),
        Mnemonic::Pavgb => lanes!(u8, |a, b| ((u16::from(a) + u16::from(b) + 1) >> 1) as u8),
        Mnemonic::Pavgw => lanes!(u16, |a, b| ((u32::from(a) + u32::from(b) + 1) >> 1) as u16),
        Mnemonic::Pabsb => source!(i8, i8::wrapping_abs),
        Mnemonic::Pabsw => source!(i16, i16::wrapping_abs),
        Mnemonic::Pabsd => source!(i32, i32::wrapping_abs),
        Mnemonic::Psignb => lanes!(i8, |a, b| a.wrapping_mul(b.signum())),
        Mnemonic::Psignw => lanes!(i16, |a, b| a.wrapping_mul(b.signum())),
        Mnemonic::Psignd => lanes!(i32, |a, b| a.wrapping_mul(b.signum())),
        Mnemonic::Phaddw => horizontal!(i16, i16::wrapping_add),
        Mnemonic::Phaddd => horizontal!(i32, i32::wrapping_add),
        Mnemonic::Phaddsw => horizontal!(i16, i16::saturating_add),
        Mnemonic::Phsubw => horizontal!(i16, i16::wrapping_sub),
        Mnemonic::Phsubd => horizontal!(i32, i32::wrapping_sub),
        Mnemonic::Phsubsw => horizontal!(i16, i16::saturating_sub),
        _ => return None,
    })
}

fn products(mnemonic: Mnemonic) -> Option<Forms> {
    Some(match mnemonic {
        Mnemonic::Pmullw => lanes!(i16, i16::wrapping_mul),
        Mnemonic::Pmulld => lanes!(i32, i32::wrapping_mul),
        Mnemonic::Pmulhw => lanes!(i16, |a, b| ((i32::from(a) * i32::from(b)) >> 16) as i16),
        Mnemonic::Pmulhuw => lanes!(u16, |a, b| ((u32::from(a) * u32::from(b)) >> 16) as u16),
        Mnemonic::Pmulhrsw => {
            lanes!(i16, |a, b| ((((i32::from(a) * i32::from(b)) >> 14) + 1) >> 1) as i16)
        }
        Mnemonic::Pmuludq => lanes!(u64, |a, b| u64::from(a as u32) * u64::from(b as u32)),
        Mnemonic::Pmuldq => lanes!(i64, |a, b| i64::from(a as i32) * i64::from(b as i32)),
        Mnemonic::Pmaddwd => forms!(binary, Aligned, multiply_add_words),
        Mnemonic::Pmaddubsw => forms!(binary, Aligned, multiply_add_bytes),
        _ => return None,
    })
}

fn reductions(mnemonic: Mnemonic) -> Option<Forms> {
    Some(match mnemonic {
        Mnemonic::Psadbw => forms!(binary, Aligned, absolute_differences),
        Mnemonic::Mpsadbw => forms!(binary_imm, Aligned, sliding_differences),
        Mnemonic::Phminposuw => forms!(binary, Aligned, |_, b| minimum_position(b)),
        _ => return None,
    })
}

fn neighbours<T: Lane>(a: u128, b: u128, mut f: impl FnMut(T, T) -> T) -> u128 {
    let (a, b) = (T::split(a), T::split(b));
    let mut pairs = a.as_ref().chunks_exact(2).chain(b.as_ref().chunks_exact(2));
    build(|_| match pairs.next() {
        Some(&[low, high]) => f(low, high),
        _ => T::ZERO,
    })
}

fn multiply_add_words(a: u128, b: u128) -> u128 {
    let (a, b) = (i16::split(a), i16::split(b));
    let product = |i: usize| i32::from(a[i]) * i32::from(b[i]);
    build::<i32>(|i| product(2 * i).wrapping_add(product(2 * i + 1)))
}

/// Unsigned bytes of `a` by signed ones of `b`.
fn multiply_add_bytes(a: u128, b: u128) -> u128 {
    let (a, b) = (u8::split(a), i8::split(b));
    let product = |i: usize| i32::from(a[i]) * i32::from(b[i]);
    build::<i16>(|i| {
        let sum = product(2 * i) + product(2 * i + 1);
        sum.clamp(i32::from(i16::MIN), i32::from(i16::MAX)) as i16
    })
}

fn absolute_differences(a: u128, b: u128) -> u128 {
    let (a, b) = (u8::split(a), u8::split(b));
    build::<u64>(|half| (8 * half..8 * half + 8).map(|i| u64::from(a[i].abs_diff(b[i]))).sum())
}

/// MPSADBW: four bytes of `b` against each of eight windows of `a`.
fn sliding_differences(a: u128, b: u128, imm: u8) -> u128 {
    let (a, b) = (u8::split(a), u8::split(b));
    let first = usize::from(imm >> 2 & 1) * 4;
    let block = usize::from(imm & 3) * 4;
    build::<u16>(|i| (0..4).map(|j| u16::from(a[first + i + j].abs_diff(b[block + j]))).sum())
}

/// The smallest word in bits 15:0, its index in bits 18:16.
fn minimum_position(value: u128) -> u128 {
    let words = u16::split(value);
    let smallest = words.iter().zip(0_u128..).min_by_key(|(word, _)| **word);
    smallest.map_or(0, |(word, index)| u128::from(*word) | index << 16)
}
