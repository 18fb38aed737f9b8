//! Sign and zero extension of lanes.

use iced_x86::Mnemonic;

use super::lane::{Lane, build};
use super::operand::{Forms, binary, forms};

/// The low lanes of the source, each as a wider one; the memory operand has just those lanes.
macro_rules! widen {
    ($from:ty => $to:ty, $memory:ty) => {
        forms!(binary, $memory, |_, b| {
            let lanes = <$from>::split(b);
            build::<$to>(|i| <$to>::from(lanes[i]))
        })
    };
}

pub(in crate::instructions) fn forms(mnemonic: Mnemonic) -> Option<Forms> {
    Some(match mnemonic {
        Mnemonic::Pmovsxbw => widen!(i8 => i16, u64),
        Mnemonic::Pmovsxbd => widen!(i8 => i32, u32),
        Mnemonic::Pmovsxbq => widen!(i8 => i64, u16),
        Mnemonic::Pmovsxwd => widen!(i16 => i32, u64),
        Mnemonic::Pmovsxwq => widen!(i16 => i64, u32),
        Mnemonic::Pmovsxdq => widen!(i32 => i64, u64),
        Mnemonic::Pmovzxbw => widen!(u8 => u16, u64),
        Mnemonic::Pmovzxbd => widen!(u8 => u32, u32),
        Mnemonic::Pmovzxbq => widen!(u8 => u64, u16),
        Mnemonic::Pmovzxwd => widen!(u16 => u32, u64),
        Mnemonic::Pmovzxwq => widen!(u16 => u64, u32),
        Mnemonic::Pmovzxdq => widen!(u32 => u64, u64),
        _ => return None,
    })
}
