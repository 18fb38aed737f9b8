//! Conversions between half and single precision (SDM vol. 2, VCVTPH2PS and VCVTPS2PH).

use super::context::{Context, Rounding};
use super::convert::reformat;
use super::exact::{Finite, round};
use super::format::Format;
use crate::instructions::sse::lane::{Lane, build};

/// The four halves in the low quadword as singles: exact, so that only signaling NaNs are told of. Denormal halves are
/// normal singles.
pub(in crate::instructions) fn halves_to_singles(c: &mut Context, halves: u128) -> u128 {
    let halves = u16::split(halves);
    build::<u32>(|i| {
        let half = halves[i];
        if half.is_denormal() { round(c, Finite::new(half)) } else { reformat(c, half) }
    })
}

/// Four singles as halves in the low quadword. Bit 2 of the immediate chooses MXCSR's rounding over its own; denormal
/// halves are not flushed.
pub(in crate::instructions) fn singles_to_halves(c: &mut Context, singles: u128, imm: u8) -> u128 {
    let rounding = if imm & 4 != 0 { c.rounding() } else { Rounding::from_bits(u32::from(imm)) };
    let singles = u32::split(singles);
    build::<u16>(|i| {
        let Some(single) = singles.get(i).map(|single| c.operand(*single)) else { return 0 };
        let mut half = 0;
        c.unflushed(rounding, |c| half = reformat(c, single));
        half
    })
}
