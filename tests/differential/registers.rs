//! Registers to start from.

use iced_x86::{Code, CpuidFeature};

use crate::known;
use crate::os::has_v3;
use crate::random::Random;
use crate::state::{Image, State, WINDOW, WRITABLE, flag};
use crate::values::{self, Kind};

/// Fills all of them, with an eye on the instruction that will use them.
pub(crate) fn fill(state: &mut State, code: Code, random: &mut Random) {
    for gpr in &mut state.gpr {
        *gpr = values::integer(random);
        if random.one_in(8) {
            *gpr = WINDOW + random.below(WRITABLE as u64);
        }
    }
    let all = flag::ARITHMETIC;
    state.rflags = flag::ALWAYS
        | match random.below(3) {
            0 => 0,
            1 => all | flag::DF,
            _ => random.next() & (all | flag::DF),
        };
    let features = code.cpuid_features();
    let has = |wanted: &[CpuidFeature]| features.iter().any(|feature| wanted.contains(feature));
    let mmx = has(&[CpuidFeature::MMX, CpuidFeature::SSE, CpuidFeature::SSE2, CpuidFeature::SSSE3]);
    let x87 = has(&[CpuidFeature::FPU, CpuidFeature::FPU287, CpuidFeature::FPU387]);
    let integer = !x87 && !mmx && !known::checks_alignment(code);
    if integer && random.one_in(32) {
        state.rflags |= flag::AC;
    }
    x87_state(&mut state.image, !x87, random);
    sse_state(&mut state.image, Kind::of(code), random);
    upper_halves(&mut state.upper, Kind::of(code), random);
}

/// Leaves no exception of the x87 unit pending.
pub(crate) fn settle_x87(image: &mut Image) {
    let status = image.u16(2) & !0x80ff;
    image.put(2, &status.to_le_bytes());
}

fn x87_state(image: &mut Image, integers: bool, random: &mut Random) {
    let mut control = 0x37f_u16;
    if random.one_in(2) {
        control = control & !0xf00 | random.pick(&[0, 2, 3]) << 8 | (random.below(4) as u16) << 10;
    }
    if random.one_in(6) {
        control = control & !0x3f | random.next() as u16 & 0x3f;
    }
    let mut status = random.next() as u16 & 0x7f00;
    if random.one_in(3) {
        status |= random.next() as u16 & 0x7f;
    }
    if status & !control & 0x3f != 0 {
        if random.one_in(8) {
            status |= 0x8080;
        } else {
            status &= !0x3f | control;
        }
    }
    image.put(0, &control.to_le_bytes());
    image.put(2, &status.to_le_bytes());
    image.put(4, &[if random.one_in(3) { random.next() as u8 } else { 0xff }]);
    for i in 0..8 {
        let value = if integers { (0xffff, values::integer(random)) } else { values::extended(random) };
        image.set_st(i, value);
    }
}

fn sse_state(image: &mut Image, kind: Kind, random: &mut Random) {
    let mut mxcsr = 0x1f80;
    if random.one_in(2) {
        mxcsr |= (random.below(4) as u32) << 13;
    }
    if random.one_in(4) {
        mxcsr |= random.next() as u32 & 0x807f;
    }
    if random.one_in(8) {
        mxcsr &= !(random.next() as u32 & 0x1f80);
    }
    image.put(24, &mxcsr.to_le_bytes());
    for i in 0..16 {
        let kind = match random.below(4) {
            0 => random.pick(&[Kind::Integer, Kind::Single, Kind::Double]),
            _ => kind,
        };
        image.set_xmm(i, values::vector(kind, random));
    }
}

fn upper_halves(upper: &mut [u128; 16], kind: Kind, random: &mut Random) {
    if random.one_in(8) || !has_v3() {
        return;
    }
    for value in upper {
        let kind = if random.one_in(4) { Kind::Integer } else { kind };
        *value = values::vector(kind, random);
    }
}
