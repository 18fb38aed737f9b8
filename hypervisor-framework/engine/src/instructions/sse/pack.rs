//! Packing to narrower lanes, and interleaving.

use iced_x86::Mnemonic;

use super::lane::{Lane, build};
use super::operand::{Aligned, Forms, binary, forms};

/// Saturates the lanes of the first operand, then of the second.
macro_rules! saturate {
    ($from:ty => $to:ty) => {
        forms!(binary, Aligned, |a, b| {
            let (a, b) = (<$from>::split(a), <$from>::split(b));
            let count = a.len();
            build::<$to>(|i| {
                let value = if i < count { a[i] } else { b[i - count] };
                value.clamp(<$to>::MIN as $from, <$to>::MAX as $from) as $to
            })
        })
    };
}

/// Lanes of both operands in turn, from lane `first` on.
macro_rules! interleave {
    ($t:ty, $first:expr) => {
        forms!(binary, Aligned, |a, b| {
            let (a, b) = (<$t>::split(a), <$t>::split(b));
            build::<$t>(|i| if i & 1 == 0 { a[$first + i / 2] } else { b[$first + i / 2] })
        })
    };
}

pub(in crate::instructions) fn forms(mnemonic: Mnemonic) -> Option<Forms> {
    Some(match mnemonic {
        Mnemonic::Packsswb => saturate!(i16 => i8),
        Mnemonic::Packuswb => saturate!(i16 => u8),
        Mnemonic::Packssdw => saturate!(i32 => i16),
        Mnemonic::Packusdw => saturate!(i32 => u16),
        Mnemonic::Punpcklbw => interleave!(u8, 0),
        Mnemonic::Punpcklwd => interleave!(u16, 0),
        Mnemonic::Punpckldq | Mnemonic::Unpcklps => interleave!(u32, 0),
        Mnemonic::Punpcklqdq | Mnemonic::Unpcklpd => interleave!(u64, 0),
        Mnemonic::Punpckhbw => interleave!(u8, 8),
        Mnemonic::Punpckhwd => interleave!(u16, 4),
        Mnemonic::Punpckhdq | Mnemonic::Unpckhps => interleave!(u32, 2),
        Mnemonic::Punpckhqdq | Mnemonic::Unpckhpd => interleave!(u64, 1),
        _ => return None,
    })
}
