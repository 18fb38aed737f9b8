//! String comparisons against the host.

use super::engine::Machine;
use super::operands::Noise;
use super::{AT_RSI, REGISTERS, State, compare};

const OPCODES: &[(&str, &[u8])] = &[
    ("pcmpestrm", &[0x66, 0x0f, 0x3a, 0x60]),
    ("pcmpestri", &[0x66, 0x0f, 0x3a, 0x61]),
    ("pcmpistrm", &[0x66, 0x0f, 0x3a, 0x62]),
    ("pcmpistri", &[0x66, 0x0f, 0x3a, 0x63]),
    ("pcmpestrm64", &[0x66, 0x48, 0x0f, 0x3a, 0x60]),
    ("pcmpestri64", &[0x66, 0x48, 0x0f, 0x3a, 0x61]),
];

/// A string of few different characters, so that matches are frequent, and sometimes a null.
fn text(noise: &mut Noise) -> u128 {
    let alphabets: [&[u8]; 4] = [b"aab", b"abcdxyz\0", &[0, 1, 0x7f, 0x80, 0xff], b"aaaaaaaaaaaaaaaa\0"];
    let alphabet = noise.pick(&alphabets);
    let words = noise.next().is_multiple_of(3);
    u128::from_le_bytes(std::array::from_fn(|i| if words && i & 1 != 0 { 0 } else { noise.pick(alphabet) }))
}

fn length(noise: &mut Noise) -> u64 {
    let small = noise.next() % 40;
    match noise.next() % 8 {
        0 => noise.next(),
        1 => (small as i64 - 20) as u64,
        2 => u64::from((small as i32 - 20) as u32),
        3 => small << 32,
        4 => 0x8000_0000,
        5 => 1 << 63,
        _ => small % 17,
    }
}

#[test]
fn string_comparisons_match_the_host() {
    let mut machine = Machine::new();
    let mut noise = Noise::new(20);
    for (_, opcode) in OPCODES {
        for modrm in [REGISTERS, AT_RSI] {
            for imm in 0..=255 {
                let code = [opcode, &[modrm, imm][..]].concat();
                for _ in 0..12 {
                    let mut state = State {
                        xmm: std::array::from_fn(|_| text(&mut noise)),
                        rax: length(&mut noise),
                        rcx: noise.next(),
                        rdx: length(&mut noise),
                        ..State::default()
                    };
                    state.memory[..16].copy_from_slice(&text(&mut noise).to_le_bytes());
                    compare(&mut machine, &code, &state);
                }
            }
        }
    }
}
