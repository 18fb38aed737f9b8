//! Status flags of integer arithmetic (SDM vol. 1 §3.4.3.1).

use super::operand::width_mask;

pub(super) const CF: u64 = 1 << 0;
pub(super) const PF: u64 = 1 << 2;
pub(super) const AF: u64 = 1 << 4;
pub(super) const ZF: u64 = 1 << 6;
pub(super) const SF: u64 = 1 << 7;
pub(super) const OF: u64 = 1 << 11;
/// All six.
pub(super) const STATUS: u64 = CF | PF | AF | ZF | SF | OF;
/// Direction of string instructions; not a status flag.
pub(super) const DF: u64 = 1 << 10;

/// A result and the flags it gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Computed {
    pub(super) value: u64,
    pub(super) flags: u64,
}

fn flag(mask: u64, set: bool) -> u64 {
    if set { mask } else { 0 }
}

fn sign_bit(width: u8) -> u64 {
    1 << (8 * u32::from(width.clamp(1, 8)) - 1)
}

/// PF, ZF and SF.
fn of_result(value: u64, width: u8) -> u64 {
    flag(PF, (value as u8).count_ones().is_multiple_of(2))
        | flag(ZF, value == 0)
        | flag(SF, value & sign_bit(width) != 0)
}

/// `a + b + carry`.
pub(super) fn add(a: u64, b: u64, carry: bool, width: u8) -> Computed {
    let mask = width_mask(width);
    let (a, b) = (a & mask, b & mask);
    let wide = u128::from(a) + u128::from(b) + u128::from(carry);
    let value = wide as u64 & mask;
    let flags = of_result(value, width)
        | flag(CF, wide > u128::from(mask))
        | flag(AF, (a ^ b ^ value) & 0x10 != 0)
        | flag(OF, (a ^ value) & (b ^ value) & sign_bit(width) != 0);
    Computed { value, flags }
}

/// `a - b - borrow`.
pub(super) fn subtract(a: u64, b: u64, borrow: bool, width: u8) -> Computed {
    let mask = width_mask(width);
    let (a, b) = (a & mask, b & mask);
    let value = a.wrapping_sub(b).wrapping_sub(u64::from(borrow)) & mask;
    let flags = of_result(value, width)
        | flag(CF, u128::from(a) < u128::from(b) + u128::from(borrow))
        | flag(AF, (a ^ b ^ value) & 0x10 != 0)
        | flag(OF, (a ^ b) & (a ^ value) & sign_bit(width) != 0);
    Computed { value, flags }
}

/// AND, OR, XOR and TEST: CF and OF are cleared; AF, undefined in the manual, too, as processors do.
pub(super) fn logic(value: u64, width: u8) -> Computed {
    let value = value & width_mask(width);
    Computed { value, flags: of_result(value, width) }
}
