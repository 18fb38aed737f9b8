//! MMX registers' instructions.

use super::samples::Random;
use super::{Pair, State};

/// Opcodes of 0F xx with an MMX register and an MMX register or memory.
const USUAL: [u8; 62] = [
    0x60, 0x61, 0x62, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x6b, 0x6f, 0x74, 0x75, 0x76, 0xd1,
    0xd2, 0xd3, 0xd4, 0xd5, 0xd8, 0xd9, 0xda, 0xdb, 0xdc, 0xdd, 0xde, 0xdf, 0xe0, 0xe1, 0xe2, 0xe3, 0xe4,
    0xe5, 0xe8, 0xe9, 0xea, 0xeb, 0xec, 0xed, 0xee, 0xef, 0xf1, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf8, 0xf9,
    0xfa, 0xfb, 0xfc, 0xfd, 0xfe, 0x6e, 0x7e, 0x7f, 0x2a, 0x2c, 0x2d,
];

/// Random state: MMX lanes from few values, so that they meet.
fn state(random: &mut Random) -> State {
    let mut state = random.x87_state();
    state.set_control(state.control() | 0x3f);
    state.set_status(state.status() & 0x7f00);
    for i in 0..8 {
        let (exponent, _) = state.st(i);
        let value = random.bits() ^ random.bits();
        state.set_st(i, (exponent, value));
    }
    let shift = random.one_in(3);
    for i in 0..8 {
        if shift && i % 2 == 0 {
            // A count.
            let count = random.below(70);
            state.set_st(i, (0xffff, count));
        }
    }
    for i in 0..16 {
        let place = &mut state.image.0[160 + 16 * i..176 + 16 * i];
        if random.one_in(2) {
            for chunk in place.chunks_exact_mut(4) {
                chunk.copy_from_slice(&random.single().to_le_bytes());
            }
        } else {
            for chunk in place.chunks_exact_mut(8) {
                chunk.copy_from_slice(&random.double().to_le_bytes());
            }
        }
    }
    let mxcsr = 0x1f80 | random.next() as u32 & 0xe07f;
    state.image.0[24..28].copy_from_slice(&mxcsr.to_le_bytes());
    match random.below(4) {
        0 => state.operand.0[..8].copy_from_slice(&random.below(70).to_le_bytes()),
        1 => state.operand.0[..8].copy_from_slice(&random.double().to_le_bytes()),
        2 => state.operand.0[..4].copy_from_slice(&random.single().to_le_bytes()),
        _ => {}
    }
    state
}

/// Runs each encoding many times.
fn check(codes: impl IntoIterator<Item = Vec<u8>>, seed: u64, cases: usize) {
    let (mut random, mut pair) = (Random::new(seed), Pair::new());
    for code in codes {
        for _ in 0..cases {
            let state = state(&mut random);
            pair.compare(&code, &state);
        }
    }
    pair.finish();
}

/// ModRM of `reg`, and a register or [rsi].
fn modrm(reg: u8, rm: Option<u8>) -> u8 {
    match rm {
        Some(rm) => 0xc0 | reg << 3 | rm,
        None => reg << 3 | 6,
    }
}

#[test]
fn lanes_equal_the_host() {
    let forms = [(1, Some(2)), (3, Some(3)), (7, Some(0)), (5, None)];
    // 7E to a register is RAX; 6E from a register is RAX or RDX.
    let codes = USUAL.iter().flat_map(|&opcode| {
        forms.map(|(reg, rm)| {
            let rm = match opcode {
                0x6e | 0x7e => rm.map(|rm| rm & 2),
                _ => rm,
            };
            vec![0x0f, opcode, modrm(reg, rm)]
        })
    });
    check(codes, 20, 2500);
}

#[test]
fn supplemental_lanes_equal_the_host() {
    let opcodes = (0x00..=0x0b).chain(0x1c..=0x1e);
    let codes = opcodes.flat_map(|opcode| {
        [(1, Some(2)), (3, Some(3)), (5, None)].map(|(reg, rm)| vec![0x0f, 0x38, opcode, modrm(reg, rm)])
    });
    check(codes, 21, 2500);
}

#[test]
fn immediates_equal_the_host() {
    let mut codes = Vec::new();
    for imm in (0..=70).chain([127, 128, 255]) {
        for (opcode, reg) in
            [(0x71, 2), (0x71, 4), (0x71, 6), (0x72, 2), (0x72, 4), (0x72, 6), (0x73, 2), (0x73, 6)]
        {
            codes.push(vec![0x0f, opcode, modrm(reg, Some(3)), imm]);
        }
        // PSHUFW, PALIGNR, PINSRW from RAX and memory, PEXTRW to RAX.
        codes.push(vec![0x0f, 0x70, modrm(1, Some(2)), imm.wrapping_mul(29)]);
        codes.push(vec![0x0f, 0x70, modrm(1, None), imm.wrapping_mul(31)]);
        codes.push(vec![0x0f, 0x3a, 0x0f, modrm(1, Some(2)), imm]);
        codes.push(vec![0x0f, 0x3a, 0x0f, modrm(4, None), imm]);
        codes.push(vec![0x0f, 0xc4, modrm(1, Some(0)), imm]);
        codes.push(vec![0x0f, 0xc4, modrm(1, None), imm]);
        codes.push(vec![0x0f, 0xc5, modrm(0, Some(3)), imm]);
        codes.push(vec![0x48, 0x0f, 0xc5, modrm(0, Some(3)), imm]);
    }
    check(codes, 22, 300);
}

#[test]
fn other_moves_equal_the_host() {
    let codes: [&[u8]; 15] = [
        &[0x48, 0x0f, 0x6e, 0xc8],       // movq mm1, rax
        &[0x48, 0x0f, 0x6e, 0x0e],       // movq mm1, [rsi]
        &[0x48, 0x0f, 0x7e, 0xd8],       // movq rax, mm3
        &[0x48, 0x0f, 0x7e, 0x1e],       // movq [rsi], mm3
        &[0x0f, 0xe7, 0x1e],             // movntq [rsi], mm3
        &[0xf3, 0x0f, 0xd6, 0xca],       // movq2dq xmm1, mm2
        &[0xf3, 0x44, 0x0f, 0xd6, 0xca], // movq2dq xmm9, mm2
        &[0xf2, 0x0f, 0xd6, 0xca],       // movdq2q mm1, xmm2
        &[0xf2, 0x41, 0x0f, 0xd6, 0xca], // movdq2q mm1, xmm10
        &[0x0f, 0xd7, 0xc2],             // pmovmskb eax, mm2
        &[0x48, 0x0f, 0xd7, 0xc2],       // pmovmskb rax, mm2
        &[0x0f, 0xf7, 0xca],             // maskmovq mm1, mm2
        &[0x0f, 0x77],                   // emms
        &[0x66, 0x0f, 0x2a, 0xca],       // cvtpi2pd xmm1, mm2
        &[0x66, 0x0f, 0x2a, 0x0e],       // cvtpi2pd xmm1, [rsi]
    ];
    check(codes.map(<[u8]>::to_vec), 23, 6000);
    let conversions = [0x2c, 0x2d]
        .into_iter()
        .flat_map(|opcode| [vec![0x66, 0x0f, opcode, 0xca], vec![0x66, 0x0f, opcode, 0x0e]]);
    check(conversions, 24, 20_000);
}
