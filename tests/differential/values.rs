//! Operand values that find mistakes.

use iced_x86::{Code, MemorySize};

use crate::random::Random;

/// What kind of values an instruction works on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Integer,
    Single,
    Double,
    Extended,
    Decimal,
}

impl Kind {
    /// Of an encoding's memory operand, which tells of its registers as well.
    pub(crate) fn of(code: Code) -> Self {
        let size = code.op_code().memory_size();
        match size.element_type() {
            MemorySize::Float32 => Self::Single,
            MemorySize::Float64 => Self::Double,
            MemorySize::Float80 => Self::Extended,
            MemorySize::Bcd => Self::Decimal,
            _ => Self::Integer,
        }
    }
}

/// Bits in runs, edges of widths, small numbers, or anything.
pub(crate) fn integer(random: &mut Random) -> u64 {
    match random.below(16) {
        0 => 0,
        1 => 1,
        2 => u64::MAX,
        3 => random.pick(&[0x7f, 0x80, 0xff, 0x100, 0x7fff, 0x8000, 0xffff, 0x1_0000]),
        4 => random.pick(&[0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 0x1_0000_0000, i64::MAX as u64, 1 << 63]),
        5 => (random.below(256) as i8) as u64,
        6 => random.below(65),
        7 => 1 << random.below(64),
        8 => u64::MAX << random.below(64),
        9 => u64::MAX >> random.below(64),
        10 => random.next() & random.next() & random.next(),
        11 => random.next() >> random.below(64),
        12 => random.pick(&[0x8080_8080_8080_8080, 0x7f7f_7f7f_7f7f_7f7f, 0x8000_8000_8000_8000]),
        _ => random.next(),
    }
}

/// A single-precision encoding, all classes often.
pub(crate) fn single(random: &mut Random) -> u32 {
    let sign = (random.next() as u32 & 1) << 31;
    let fraction = (integer(random) as u32) & 0x7f_ffff;
    let exponent = match random.below(16) {
        0 => 0,
        1 => return sign,
        2 => return sign | 0x7f80_0000,
        3 => return sign | 0x7f80_0000 | fraction,
        4 => return (random.within(-300, 300) as f32).to_bits(),
        5 => return sign | 0x3f80_0000,
        6 => return (random.pick(&[0.5_f32, 1.5, 2.5, -0.5, 32768.0, 2147483648.0, 9.223372e18])).to_bits(),
        7 => 1 + random.below(24) as u32,
        8 => 254 - random.below(24) as u32,
        9 => random.below(255) as u32,
        _ => 127 - 32 + random.below(64) as u32,
    };
    sign | exponent << 23 | fraction
}

/// A double-precision encoding, all classes often.
pub(crate) fn double(random: &mut Random) -> u64 {
    let sign = (random.next() & 1) << 63;
    let fraction = integer(random) & ((1 << 52) - 1);
    let exponent = match random.below(16) {
        0 => 0,
        1 => return sign,
        2 => return sign | 0x7ff0 << 48,
        3 => return sign | 0x7ff0 << 48 | fraction,
        4 => return (random.within(-70000, 70000) as f64).to_bits(),
        5 => return sign | 0x3ff0 << 48,
        6 => return random.pick(&[0.5_f64, 1.5, 2.5, -0.5, 2147483647.5, -2147483648.5, 9.3e18]).to_bits(),
        7 => 1 + random.below(54),
        8 => 2046 - random.below(54),
        9 => 1023 - 126 - 24 + random.below(28),
        10 => 1023 + 126 + random.below(4),
        11 => random.below(2047),
        _ => 1023 - 64 + random.below(128),
    };
    sign | exponent << 52 | fraction
}

/// An 80-bit encoding, all classes often: sign and exponent, significand.
pub(crate) fn extended(random: &mut Random) -> (u16, u64) {
    let sign = (random.next() as u16 & 1) << 15;
    let top = 1 << 63;
    let bits = integer(random);
    let (exponent, significand) = match random.below(20) {
        0 => (0, 0),
        1 => (0, bits & !top),
        2 => (0x7fff, top),
        3 => (0x7fff, bits | 3 << 62),
        4 => (0x7fff, (bits | top) & !(1 << 62)),
        5 => (random.next() as u16 & 0x7fff, bits),
        6 => (1 + random.below(66) as u16, bits | top),
        7 => (0x7ffe - random.below(66) as u16, bits | top),
        8 | 9 => (0x3fff, top),
        10 | 11 => {
            let value = random.next() >> random.below(64) | 1;
            let shift = value.leading_zeros() as u16;
            (0x3fff + 63 - shift, value << shift)
        }
        12 => (0x3f81 - random.below(26) as u16, bits | top),
        13 => (0x3c01 - random.below(56) as u16, bits | top),
        14 => (0x407c + random.below(4) as u16, bits | top),
        15 => (0x43fc + random.below(4) as u16, bits | top),
        _ => (0x3fff - 70 + random.below(140) as u16, bits | top),
    };
    (sign | exponent, significand)
}

/// 16 bytes of operands of a kind.
pub(crate) fn vector(kind: Kind, random: &mut Random) -> u128 {
    let mut bytes = [0; 16];
    match kind {
        Kind::Integer => {
            for part in bytes.chunks_exact_mut(8) {
                part.copy_from_slice(&integer(random).to_le_bytes());
            }
        }
        Kind::Single => {
            for part in bytes.chunks_exact_mut(4) {
                part.copy_from_slice(&single(random).to_le_bytes());
            }
        }
        Kind::Double => {
            for part in bytes.chunks_exact_mut(8) {
                part.copy_from_slice(&double(random).to_le_bytes());
            }
        }
        Kind::Extended => {
            let (sign_exponent, significand) = extended(random);
            bytes[..8].copy_from_slice(&significand.to_le_bytes());
            bytes[8..10].copy_from_slice(&sign_exponent.to_le_bytes());
        }
        Kind::Decimal => {
            for digit in &mut bytes[..9] {
                *digit = (random.below(10) | random.below(10) << 4) as u8;
            }
            bytes[9] = (random.next() as u8 & 1) << 7;
        }
    }
    u128::from_le_bytes(bytes)
}
