//! Shuffles.

use iced_x86::Mnemonic;

use super::lane::{LOW, Lane, build};
use super::operand::{Aligned, Forms, binary, binary_imm, forms};

pub(in crate::instructions) fn forms(mnemonic: Mnemonic) -> Option<Forms> {
    Some(match mnemonic {
        Mnemonic::Pshufd => forms!(binary_imm, Aligned, |_, b, imm| doublewords(b, b, imm)),
        Mnemonic::Shufps => forms!(binary_imm, Aligned, doublewords),
        Mnemonic::Shufpd => forms!(binary_imm, Aligned, quadwords),
        Mnemonic::Pshuflw => {
            forms!(binary_imm, Aligned, |_, b, imm| b & !LOW | u128::from(words(b as u64, imm)))
        }
        Mnemonic::Pshufhw => {
            forms!(binary_imm, Aligned, |_, b, imm| b & LOW | u128::from(words((b >> 64) as u64, imm)) << 64)
        }
        Mnemonic::Pshufb => forms!(binary, Aligned, bytes),
        Mnemonic::Palignr => forms!(binary_imm, Aligned, align),
        Mnemonic::Movshdup => forms!(binary, Aligned, |_, b| doublewords(b, b, 0b11_11_01_01)),
        Mnemonic::Movsldup => forms!(binary, Aligned, |_, b| doublewords(b, b, 0b10_10_00_00)),
        Mnemonic::Movddup => forms!(binary, u64, |_, b| b & LOW | b << 64),
        _ => return None,
    })
}

/// Lanes 0 and 1 from `a`, 2 and 3 from `b`; two bits of `imm` choose each.
fn doublewords(a: u128, b: u128, imm: u8) -> u128 {
    let (a, b) = (u32::split(a), u32::split(b));
    build::<u32>(|i| {
        let chosen = usize::from(imm >> (2 * i) & 3);
        if i < 2 { a[chosen] } else { b[chosen] }
    })
}

/// Lane 0 from `a`, 1 from `b`; one bit of `imm` chooses each.
fn quadwords(a: u128, b: u128, imm: u8) -> u128 {
    let a = if imm & 1 == 0 { a & LOW } else { a >> 64 };
    let b = if imm & 2 == 0 { b << 64 } else { b & !LOW };
    a | b
}

/// Four words; two bits of `imm` choose each.
fn words(value: u64, imm: u8) -> u64 {
    (0..4).fold(0, |result, i| {
        let chosen = imm >> (2 * i) & 3;
        result | (value >> (16 * chosen) & 0xffff) << (16 * i)
    })
}

/// PSHUFB: bytes of `a` chosen by those of `b`; negative ones give 0.
fn bytes(a: u128, b: u128) -> u128 {
    let (a, b) = (u8::split(a), u8::split(b));
    build::<u8>(|i| if b[i] & 0x80 == 0 { a[usize::from(b[i] & 15)] } else { 0 })
}

/// PALIGNR: 16 bytes of `a:b` from byte `imm` on.
fn align(a: u128, b: u128, imm: u8) -> u128 {
    let bits = u32::from(imm) * 8;
    let low = b.checked_shr(bits).unwrap_or(0);
    let high = match bits {
        0 => 0,
        1..128 => a << (128 - bits),
        _ => a.checked_shr(bits - 128).unwrap_or(0),
    };
    low | high
}
