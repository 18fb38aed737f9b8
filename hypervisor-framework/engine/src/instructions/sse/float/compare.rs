//! Comparisons, minimum and maximum.

use std::cmp::Ordering;

use super::context::{Context, bit};
use super::fast::is_ordinary;
use super::format::Format;
use crate::cpu::flags::Flags;
use crate::instructions::sse::lane::truth;

/// How two values compare, `None` if not at all. Quiet NaNs are invalid to those who `signal` them.
#[inline(always)]
pub(super) fn order<T: Format>(c: &mut Context, a: T, b: T, signal: bool) -> Option<Ordering> {
    if is_ordinary(a) && is_ordinary(b) {
        return a.host().partial_cmp(&b.host());
    }
    order_special(c, a, b, signal)
}

#[cold]
#[inline(never)]
fn order_special<T: Format>(c: &mut Context, a: T, b: T, signal: bool) -> Option<Ordering> {
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
pub(super) fn min<T: Format>(c: &mut Context, a: T, b: T) -> T {
    choose(c, a, b, Ordering::Less)
}

/// The larger operand; likewise.
#[inline(always)]
pub(super) fn max<T: Format>(c: &mut Context, a: T, b: T) -> T {
    choose(c, a, b, Ordering::Greater)
}

#[inline(always)]
fn choose<T: Format>(c: &mut Context, a: T, b: T, first: Ordering) -> T {
    match order(c, a, b, true) {
        None => c.operand(b),
        Some(ordering) if ordering == first => c.operand(a),
        Some(_) => c.operand(b),
    }
}

/// CMPPS and its kin: all ones where the predicate holds (SDM vol. 2, table 3-1).
#[inline(always)]
pub(super) fn predicate<T: Format>(c: &mut Context, a: T, b: T, imm: u8) -> T {
    let signal = matches!(imm & 3, 1 | 2);
    let ordering = order(c, a, b, signal);
    let holds = match imm & 3 {
        0 => ordering == Some(Ordering::Equal),
        1 => ordering == Some(Ordering::Less),
        2 => matches!(ordering, Some(Ordering::Less | Ordering::Equal)),
        _ => ordering.is_none(),
    };
    truth(holds ^ (imm & 4 != 0))
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
