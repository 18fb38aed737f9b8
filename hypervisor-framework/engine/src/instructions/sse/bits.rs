//! Bitwise logic and packed integer comparisons.

use iced_x86::Mnemonic;

use super::lane::{truth, zip};
use super::operand::{Aligned, Forms, binary, forms};
use super::word;

macro_rules! compare {
    ($t:ty, $operator:tt) => {
        forms!(binary, Aligned, |a, b| zip::<$t>(a, b, |a, b| truth(a $operator b)))
    };
}

/// A comparison a word at a time.
macro_rules! narrow {
    ($f:expr) => {
        forms!(binary, Aligned, |a, b| word::halves(a, b, $f))
    };
}

pub(in crate::instructions) fn forms(mnemonic: Mnemonic) -> Option<Forms> {
    Some(match mnemonic {
        Mnemonic::Pand | Mnemonic::Andps | Mnemonic::Andpd => forms!(binary, Aligned, |a, b| a & b),
        Mnemonic::Pandn | Mnemonic::Andnps | Mnemonic::Andnpd => forms!(binary, Aligned, |a, b| !a & b),
        Mnemonic::Por | Mnemonic::Orps | Mnemonic::Orpd => forms!(binary, Aligned, |a, b| a | b),
        Mnemonic::Pxor | Mnemonic::Xorps | Mnemonic::Xorpd => forms!(binary, Aligned, |a, b| a ^ b),
        Mnemonic::Pcmpeqb => narrow!(word::equal::<u8>),
        Mnemonic::Pcmpeqw => narrow!(word::equal::<u16>),
        Mnemonic::Pcmpeqd => narrow!(word::equal::<u32>),
        Mnemonic::Pcmpeqq => compare!(u64, ==),
        Mnemonic::Pcmpgtb => narrow!(word::greater_signed::<u8>),
        Mnemonic::Pcmpgtw => narrow!(word::greater_signed::<u16>),
        Mnemonic::Pcmpgtd => narrow!(word::greater_signed::<u32>),
        Mnemonic::Pcmpgtq => compare!(i64, >),
        _ => return None,
    })
}
