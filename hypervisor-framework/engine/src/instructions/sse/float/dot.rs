//! Dot products (SDM vol. 2, DPPS and DPPD). An exception that is not masked ends them at the step that raises it;
//! the result is then not used.

use super::context::Context;
use super::{add, mul};
use crate::instructions::sse::lane::{Lane, build};

/// DPPS: bits 7:4 of the immediate choose the products, bits 3:0 where the sum goes.
pub(super) fn singles(c: &mut Context, a: u128, b: u128, imm: u8) -> u128 {
    let (a, b) = (u32::split(a), u32::split(b));
    let mut product = |i: usize| if imm >> (4 + i) & 1 != 0 { mul(c, a[i], b[i]) } else { 0 };
    let products = [product(0), product(1), product(2), product(3)];
    if c.step() {
        return 0;
    }
    let low = add(c, products[0], products[1]);
    let high = add(c, products[2], products[3]);
    if c.step() {
        return 0;
    }
    let sum = add(c, low, high);
    build::<u32>(|i| if imm >> i & 1 != 0 { sum } else { 0 })
}

/// DPPD: bits 5:4 and 1:0 likewise.
pub(super) fn doubles(c: &mut Context, a: u128, b: u128, imm: u8) -> u128 {
    let (a, b) = (u64::split(a), u64::split(b));
    let mut product = |i: usize| if imm >> (4 + i) & 1 != 0 { mul(c, a[i], b[i]) } else { 0 };
    let products = [product(0), product(1)];
    if c.step() {
        return 0;
    }
    let sum = add(c, products[0], products[1]);
    build::<u64>(|i| if imm >> i & 1 != 0 { sum } else { 0 })
}
