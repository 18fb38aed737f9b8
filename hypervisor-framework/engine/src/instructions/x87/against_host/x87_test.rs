//! Every x87 instruction that has one right answer.

use super::samples::Random;
use super::{Pair, State};

/// What the memory operand of an instruction is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Single,
    Double,
    Extended,
    Other,
}

/// (escape byte, reg field of ModRM, operand) of the memory forms; control forms are tested elsewhere.
fn memory_forms() -> Vec<(u8, u8, Kind)> {
    let mut forms = Vec::new();
    for reg in 0..8 {
        forms.push((0xd8, reg, Kind::Single));
        forms.push((0xda, reg, Kind::Other));
        forms.push((0xdc, reg, Kind::Double));
        forms.push((0xde, reg, Kind::Other));
        forms.push((0xdf, reg, Kind::Other));
    }
    forms.extend([(0xd9, 0, Kind::Single), (0xd9, 2, Kind::Single), (0xd9, 3, Kind::Single)]);
    forms.extend([0, 1, 2, 3].map(|reg| (0xdb, reg, Kind::Other)));
    forms.extend([5, 7].map(|reg| (0xdb, reg, Kind::Extended)));
    forms.extend([0, 1, 2, 3].map(|reg| (0xdd, reg, Kind::Double)));
    forms.extend([(0xd9, 7, Kind::Other), (0xdd, 7, Kind::Other)]);
    forms
}

/// The register forms, transcendental functions left out.
fn register_forms() -> Vec<[u8; 2]> {
    let mut forms = Vec::new();
    for modrm in 0xc0..=0xff_u8 {
        forms.push([0xd8, modrm]);
        if modrm < 0xd0 {
            forms.push([0xd9, modrm]);
        }
        if modrm < 0xe0 {
            forms.push([0xda, modrm]);
            forms.push([0xdb, modrm]);
        }
        if !(0xd0..0xe0).contains(&modrm) {
            forms.push([0xdc, modrm]);
        }
        if (0xc0..0xc8).contains(&modrm) || (0xd0..0xf0).contains(&modrm) {
            forms.push([0xdd, modrm]);
        }
        if !(0xd0..0xe0).contains(&modrm) {
            forms.push([0xde, modrm]);
        }
        if (0xe8..0xf8).contains(&modrm) {
            forms.push([0xdb, modrm]);
            forms.push([0xdf, modrm]);
        }
    }
    // FNOP, FCHS, FABS, FTST, FXAM, constants, FXTRACT, FPREM1, FDECSTP, FINCSTP, FPREM, FSQRT, FRNDINT, FSCALE.
    let singles = [
        0xd0, 0xe0, 0xe1, 0xe4, 0xe5, 0xe8, 0xe9, 0xea, 0xeb, 0xec, 0xed, 0xee, 0xf4, 0xf5, 0xf6, 0xf7, 0xf8,
        0xfa, 0xfc, 0xfd,
    ];
    forms.extend(singles.map(|modrm| [0xd9, modrm]));
    // FUCOMPP, FNCLEX, FNINIT, FNSTSW AX.
    forms.extend([[0xda, 0xe9], [0xdb, 0xe2], [0xdb, 0xe3], [0xdf, 0xe0]]);
    forms
}

fn fill_operand(state: &mut State, kind: Kind, random: &mut Random) {
    let operand = &mut state.operand.0;
    match kind {
        Kind::Single => operand[..4].copy_from_slice(&random.single().to_le_bytes()),
        Kind::Double => operand[..8].copy_from_slice(&random.double().to_le_bytes()),
        Kind::Extended => {
            let (se, sig) = random.extended();
            operand[..8].copy_from_slice(&sig.to_le_bytes());
            operand[8..10].copy_from_slice(&se.to_le_bytes());
        }
        Kind::Other => {}
    }
}

#[test]
fn memory_forms_equal_the_host() {
    let mut random = Random::new(1);
    let mut pair = Pair::new();
    for (escape, reg, kind) in memory_forms() {
        let code = [escape, reg << 3 | 6];
        for _ in 0..6000 {
            let mut state = random.x87_state();
            fill_operand(&mut state, kind, &mut random);
            if escape == 0xdf && reg == 4 {
                // FBLD of digits above nine is undefined.
                for byte in &mut state.operand.0[..9] {
                    *byte = (*byte % 10) | (random.below(10) as u8) << 4;
                }
            }
            pair.compare(&code, &state);
        }
    }
    pair.finish();
}

#[test]
fn register_forms_equal_the_host() {
    let mut random = Random::new(2);
    let mut pair = Pair::new();
    for code in register_forms() {
        let to_flags = matches!(code, [0xdb | 0xdf, 0xe8..=0xf7]);
        for _ in 0..6000 {
            let mut state = random.x87_state();
            if to_flags {
                // The SDM clears C1, other vendors leave it.
                state.set_status(state.status() & !0x200);
            }
            pair.compare(&code, &state);
        }
    }
    pair.finish();
}

/// Encodings that no manual lists since the 387's, which every processor has.
#[test]
fn aliases_equal_the_host() {
    let mut random = Random::new(14);
    let mut pair = Pair::new();
    let ranges = [(0xd9, 0xd8), (0xdc, 0xd0), (0xdc, 0xd8), (0xdd, 0xc8), (0xde, 0xd0), (0xdf, 0xc0)];
    let more = [(0xdf, 0xc8), (0xdf, 0xd0), (0xdf, 0xd8)];
    for (escape, first) in ranges.into_iter().chain(more) {
        for i in 0..8 {
            for _ in 0..1000 {
                let state = random.x87_state();
                pair.compare(&[escape, first + i], &state);
            }
        }
    }
    pair.finish();
}
