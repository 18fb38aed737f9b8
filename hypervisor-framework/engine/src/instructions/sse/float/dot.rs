//! Dot products (SDM vol. 2, DPPS and DPPD). An exception that is not masked ends them at the step that raises it;
//! the result is then not used.

use super::context::Context;
use super::{add, mul};
use crate::instructions::sse::lane::{Lane, build};

/// DPPS on each of `N` lanes: bits 7:4 of the immediate choose the products, bits 3:0 where the sum goes.
pub(in crate::instructions) fn singles<const N: usize>(
    c: &mut Context,
    a: [u128; N],
    b: [u128; N],
    imm: u8,
) -> [u128; N] {
    let (a, b) = (a.map(u32::split), b.map(u32::split));
    let products: [[u32; 4]; N] = std::array::from_fn(|lane| {
        std::array::from_fn(|i| if imm >> (4 + i) & 1 != 0 { mul(c, a[lane][i], b[lane][i]) } else { 0 })
    });
    if c.step() {
        return [0; N];
    }
    let halves = products.map(|[p, q, r, s]| [add(c, p, q), add(c, r, s)]);
    if c.step() {
        return [0; N];
    }
    halves.map(|[low, high]| {
        let sum = add(c, low, high);
        build::<u32>(|i| if imm >> i & 1 != 0 { sum } else { 0 })
    })
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
