//! Comparison.

use std::cmp::Ordering;

use super::flag;
use super::value::{Class, F80};

/// How two values compare; `None` is unordered. `quiet` comparisons do not mind quiet NaNs. `extra` as in arithmetic.
pub(crate) fn compare(a: F80, b: F80, extra: u16, quiet: bool) -> (Option<Ordering>, u16) {
    let (ca, cb) = (a.class(), b.class());
    let is = |class: Class| ca == class || cb == class;
    if is(Class::Unsupported) || is(Class::Signaling) {
        return (None, flag::IE);
    }
    if is(Class::Quiet) {
        return (None, if quiet { 0 } else { flag::IE });
    }
    let flags = extra | if is(Class::Denormal) { flag::DE } else { 0 };
    // Exponents of denormals count as 1, so that pseudo-denormals compare as the normals they equal.
    let key = |value: F80, class: Class| match class {
        Class::Zero => 0,
        _ => {
            let magnitude = i128::from(value.exponent().max(1)) << 64 | i128::from(value.significand);
            if value.negative() { -magnitude } else { magnitude }
        }
    };
    (Some(key(a, ca).cmp(&key(b, cb))), flags)
}
