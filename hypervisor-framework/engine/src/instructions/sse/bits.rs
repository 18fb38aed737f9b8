//! Bitwise logic and packed integer comparisons.

use iced_x86::Mnemonic;

use super::lane::{truth, zip};
use super::operand::{Aligned, Forms, binary, forms};

macro_rules! compare {
    ($t:ty, $operator:tt) => {
        forms!(binary, Aligned, |a, b| zip::<$t>(a, b, |a, b| truth(a $operator b)))
    };
}

pub(super) fn forms(mnemonic: Mnemonic) -> Option<Forms> {
    Some(match mnemonic {
        Mnemonic::Pand | Mnemonic::Andps | Mnemonic::Andpd => forms!(binary, Aligned, |a, b| a & b),
        Mnemonic::Pandn | Mnemonic::Andnps | Mnemonic::Andnpd => forms!(binary, Aligned, |a, b| !a & b),
        Mnemonic::Por | Mnemonic::Orps | Mnemonic::Orpd => forms!(binary, Aligned, |a, b| a | b),
        Mnemonic::Pxor | Mnemonic::Xorps | Mnemonic::Xorpd => forms!(binary, Aligned, |a, b| a ^ b),
        Mnemonic::Pcmpeqb => compare!(u8, ==),
        Mnemonic::Pcmpeqw => compare!(u16, ==),
        Mnemonic::Pcmpeqd => compare!(u32, ==),
        Mnemonic::Pcmpeqq => compare!(u64, ==),
        Mnemonic::Pcmpgtb => compare!(i8, >),
        Mnemonic::Pcmpgtw => compare!(i16, >),
        Mnemonic::Pcmpgtd => compare!(i32, >),
        Mnemonic::Pcmpgtq => compare!(i64, >),
        _ => return None,
    })
}
