//! Comparisons, minimum and maximum.

use std::cmp::Ordering;

use super::context::{Context, bit};
use super::fast::is_ordinary;
use super::format::Hosted;
use crate::cpu::flags::Flags;
use crate::instructions::sse::lane::truth;

/// How two values compare, `None` if not at all. Quiet NaNs are invalid to those who `signal` them.
#[inline(always)]
pub(super) fn order<T: Hosted>(c: &mut Context, a: T, b: T, signal: bool) -> Option<Ordering> {
    if is_ordinary(a) && is_ordinary(b) {
        return a.host().partial_cmp(&b.host());
    }
    order_special(c, a, b, signal)
}

#[cold]
#[inline(never)]
fn order_special<T: Hosted>(c: &mut Context, a: T, b: T, signal: bool) -> Option<Ordering> {
    if a.is_nan() || b.is_nan() {
        if signal || a.is_signaling() || b.is_signaling() {
            c.raise(bit::IE);
        }
        return None;
    }
    let (a, b) = (c.operand(a), c.operand(b));
    c.note_denormal(a);
    c.note_denormal(b);
    a.host().partial_cmp(&b.host())
}

/// The smaller operand; the second if they are equal or unordered.
#[inline(always)]
pub(super) fn min<T: Hosted>(c: &mut Context, a: T, b: T) -> T {
    choose(c, a, b, Ordering::Less)
}

/// The larger operand; likewise.
#[inline(always)]
pub(super) fn max<T: Hosted>(c: &mut Context, a: T, b: T) -> T {
    choose(c, a, b, Ordering::Greater)
}

#[inline(always)]
fn choose<T: Hosted>(c: &mut Context, a: T, b: T, first: Ordering) -> T {
    match order(c, a, b, true) {
        None => c.operand(b),
        Some(ordering) if ordering == first => c.operand(a),
        Some(_) => c.operand(b),
    }
}

/// When each predicate holds, by bits 3:0: bit 0 less, 1 equal, 2 greater, 3 unordered.
const HOLDS: [u8; 16] = [2, 1, 3, 8, 13, 14, 12, 7, 10, 9, 11, 0, 5, 6, 4, 15];

/// CMPPS and its kin: all ones where the predicate holds (SDM vol. 2, tables 3-1 and 3-8). Without VEX there are eight.
#[inline(always)]
pub(super) fn predicate<T: Hosted>(c: &mut Context, a: T, b: T, imm: u8) -> T {
    let signal = matches!(imm & 3, 1 | 2) ^ (imm & 16 != 0);
    let outcome = match order(c, a, b, signal) {
        Some(Ordering::Less) => 0,
        Some(Ordering::Equal) => 1,
        Some(Ordering::Greater) => 2,
        None => 3,
    };
    truth(HOLDS[usize::from(imm & 15)] >> outcome & 1 != 0)
}

/// Sets the flags as COMIS and UCOMIS do (SDM vol. 2, UCOMISD): ZF, PF and CF; the others are 0.
#[inline(always)]
pub(super) fn set_flags(flags: &mut Flags, ordering: Option<Ordering>) {
    let zero = matches!(ordering, None | Some(Ordering::Equal));
    let carry = matches!(ordering, None | Some(Ordering::Less));
    // 1 is positive and of odd parity, 0 of even parity.
    let result = u64::from(!zero);
    flags.set(result, result, carry, false);
    flags.invert_parity = ordering == Some(Ordering::Equal);
}
