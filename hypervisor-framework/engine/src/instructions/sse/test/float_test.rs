//! Floating-point instructions against the host: results and MXCSR.

use super::engine::Machine;
use super::operands::{Noise, doubles, integers, singles};
use super::{AT_RSI, REGISTERS, State, compare, compare_unmasked};

/// How often each instruction is compared, per form, with a random mode each.
const ROUNDS: usize = 1000;

/// Opcodes with their prefix; operands are singles.
const SINGLES: &[(&str, &[u8])] = &[
    ("addps", &[0x0f, 0x58]),
    ("addss", &[0xf3, 0x0f, 0x58]),
    ("subps", &[0x0f, 0x5c]),
    ("subss", &[0xf3, 0x0f, 0x5c]),
    ("mulps", &[0x0f, 0x59]),
    ("mulss", &[0xf3, 0x0f, 0x59]),
    ("divps", &[0x0f, 0x5e]),
    ("divss", &[0xf3, 0x0f, 0x5e]),
    ("sqrtps", &[0x0f, 0x51]),
    ("sqrtss", &[0xf3, 0x0f, 0x51]),
    ("minps", &[0x0f, 0x5d]),
    ("minss", &[0xf3, 0x0f, 0x5d]),
    ("maxps", &[0x0f, 0x5f]),
    ("maxss", &[0xf3, 0x0f, 0x5f]),
    ("addsubps", &[0xf2, 0x0f, 0xd0]),
    ("haddps", &[0xf2, 0x0f, 0x7c]),
    ("hsubps", &[0xf2, 0x0f, 0x7d]),
    ("ucomiss", &[0x0f, 0x2e]),
    ("comiss", &[0x0f, 0x2f]),
    ("cvtss2sd", &[0xf3, 0x0f, 0x5a]),
    ("cvtps2pd", &[0x0f, 0x5a]),
    ("cvtps2dq", &[0x66, 0x0f, 0x5b]),
    ("cvttps2dq", &[0xf3, 0x0f, 0x5b]),
    ("cvtss2si eax", &[0xf3, 0x0f, 0x2d]),
    ("cvtss2si rax", &[0xf3, 0x48, 0x0f, 0x2d]),
    ("cvttss2si eax", &[0xf3, 0x0f, 0x2c]),
    ("cvttss2si rax", &[0xf3, 0x48, 0x0f, 0x2c]),
];

/// Operands are doubles.
const DOUBLES: &[(&str, &[u8])] = &[
    ("addpd", &[0x66, 0x0f, 0x58]),
    ("addsd", &[0xf2, 0x0f, 0x58]),
    ("subpd", &[0x66, 0x0f, 0x5c]),
    ("subsd", &[0xf2, 0x0f, 0x5c]),
    ("mulpd", &[0x66, 0x0f, 0x59]),
    ("mulsd", &[0xf2, 0x0f, 0x59]),
    ("divpd", &[0x66, 0x0f, 0x5e]),
    ("divsd", &[0xf2, 0x0f, 0x5e]),
    ("sqrtpd", &[0x66, 0x0f, 0x51]),
    ("sqrtsd", &[0xf2, 0x0f, 0x51]),
    ("minpd", &[0x66, 0x0f, 0x5d]),
    ("minsd", &[0xf2, 0x0f, 0x5d]),
    ("maxpd", &[0x66, 0x0f, 0x5f]),
    ("maxsd", &[0xf2, 0x0f, 0x5f]),
    ("addsubpd", &[0x66, 0x0f, 0xd0]),
    ("haddpd", &[0x66, 0x0f, 0x7c]),
    ("hsubpd", &[0x66, 0x0f, 0x7d]),
    ("ucomisd", &[0x66, 0x0f, 0x2e]),
    ("comisd", &[0x66, 0x0f, 0x2f]),
    ("cvtsd2ss", &[0xf2, 0x0f, 0x5a]),
    ("cvtpd2ps", &[0x66, 0x0f, 0x5a]),
    ("cvtpd2dq", &[0xf2, 0x0f, 0xe6]),
    ("cvttpd2dq", &[0x66, 0x0f, 0xe6]),
    ("cvtsd2si eax", &[0xf2, 0x0f, 0x2d]),
    ("cvtsd2si rax", &[0xf2, 0x48, 0x0f, 0x2d]),
    ("cvttsd2si eax", &[0xf2, 0x0f, 0x2c]),
    ("cvttsd2si rax", &[0xf2, 0x48, 0x0f, 0x2c]),
];

/// Operands are integers.
const INTEGERS: &[(&str, &[u8])] = &[
    ("cvtdq2ps", &[0x0f, 0x5b]),
    ("cvtdq2pd", &[0xf3, 0x0f, 0xe6]),
    ("cvtsi2ss ecx", &[0xf3, 0x0f, 0x2a]),
    ("cvtsi2ss rcx", &[0xf3, 0x48, 0x0f, 0x2a]),
    ("cvtsi2sd ecx", &[0xf2, 0x0f, 0x2a]),
    ("cvtsi2sd rcx", &[0xf2, 0x48, 0x0f, 0x2a]),
];

/// Singles with an immediate.
const SINGLES_WITH_IMMEDIATE: &[(&str, &[u8])] = &[
    ("cmpps", &[0x0f, 0xc2]),
    ("cmpss", &[0xf3, 0x0f, 0xc2]),
    ("roundps", &[0x66, 0x0f, 0x3a, 0x08]),
    ("roundss", &[0x66, 0x0f, 0x3a, 0x0a]),
    ("dpps", &[0x66, 0x0f, 0x3a, 0x40]),
];

/// Doubles with an immediate.
const DOUBLES_WITH_IMMEDIATE: &[(&str, &[u8])] = &[
    ("cmppd", &[0x66, 0x0f, 0xc2]),
    ("cmpsd", &[0xf2, 0x0f, 0xc2]),
    ("roundpd", &[0x66, 0x0f, 0x3a, 0x09]),
    ("roundsd", &[0x66, 0x0f, 0x3a, 0x0b]),
    ("dppd", &[0x66, 0x0f, 0x3a, 0x41]),
];

/// All exceptions masked; rounding, DAZ, FTZ and the flags at random.
fn mode(noise: &mut Noise) -> u32 {
    let random = noise.next() as u32;
    let flags = noise.pick(&[0, 0, 0x20, random & 0x3f]);
    let rounding = noise.pick(&[0, 0, random & 0x6000]);
    0x1f80 | flags | rounding | random & noise.pick(&[0, 0, 0x8040])
}

fn state(noise: &mut Noise, vector: fn(&mut Noise) -> u128) -> State {
    let mut state = State {
        xmm: std::array::from_fn(|_| vector(noise)),
        rax: noise.next(),
        rcx: integers(noise) as u64,
        mxcsr: mode(noise),
        ..State::default()
    };
    if noise.next().is_multiple_of(8) {
        state.xmm[1] = state.xmm[0];
    }
    for part in state.memory.chunks_exact_mut(16) {
        part.copy_from_slice(&vector(noise).to_le_bytes());
    }
    state
}

fn check(seed: u64, opcodes: &[(&str, &[u8])], vector: fn(&mut Noise) -> u128) {
    let mut machine = Machine::new();
    let mut noise = Noise::new(seed);
    for (_, opcode) in opcodes {
        for modrm in [REGISTERS, AT_RSI] {
            let code = [opcode, &[modrm][..]].concat();
            for _ in 0..ROUNDS {
                compare(&mut machine, &code, &state(&mut noise, vector));
            }
        }
    }
}

fn check_with_immediate(seed: u64, opcodes: &[(&str, &[u8])], vector: fn(&mut Noise) -> u128) {
    let mut machine = Machine::new();
    let mut noise = Noise::new(seed);
    for (_, opcode) in opcodes {
        for modrm in [REGISTERS, AT_RSI] {
            for imm in 0..=255 {
                let code = [opcode, &[modrm, imm][..]].concat();
                for _ in 0..ROUNDS / 64 {
                    compare(&mut machine, &code, &state(&mut noise, vector));
                }
            }
        }
    }
}

#[test]
fn singles_match_the_host() {
    check(10, SINGLES, singles);
}

#[test]
fn doubles_match_the_host() {
    check(11, DOUBLES, doubles);
}

#[test]
fn integers_match_the_host() {
    check(12, INTEGERS, integers);
}

#[test]
fn singles_with_an_immediate_match_the_host() {
    check_with_immediate(13, SINGLES_WITH_IMMEDIATE, singles);
}

#[test]
fn doubles_with_an_immediate_match_the_host() {
    check_with_immediate(14, DOUBLES_WITH_IMMEDIATE, doubles);
}

/// Any exceptions not masked.
fn check_unmasked(seed: u64, opcodes: &[(&str, &[u8])], imm: &[u8], vector: fn(&mut Noise) -> u128) {
    let mut machine = Machine::new();
    let mut noise = Noise::new(seed);
    for (_, opcode) in opcodes {
        let code = [opcode, &[REGISTERS][..], imm].concat();
        for _ in 0..ROUNDS {
            let mut state = state(&mut noise, vector);
            state.mxcsr &= !noise.pick(&[0x1f80, 0x80, 0x100, 0x200, 0x400, 0x800, 0x1000, 0xc00]);
            compare_unmasked(&mut machine, &code, &state);
        }
    }
}

#[test]
fn unmasked_exceptions_match_the_host() {
    check_unmasked(15, SINGLES, &[], singles);
    check_unmasked(16, DOUBLES, &[], doubles);
    check_unmasked(17, INTEGERS, &[], integers);
    for imm in [0, 1, 2, 3, 0x44, 0xf1, 0xf3, 0xff] {
        check_unmasked(18, SINGLES_WITH_IMMEDIATE, &[imm], singles);
        check_unmasked(19, DOUBLES_WITH_IMMEDIATE, &[imm], doubles);
    }
}

/// The host's estimates differ from ours, both within the documented error.
#[test]
fn estimates_are_close_enough() {
    const BOUND: f64 = 1.5 / 4096.0;
    let mut machine = Machine::new();
    let mut noise = Noise::new(30);
    for round in 0..20_000_u32 {
        let value = if round < 4096 { 0x3f80_0000 + (round << 13) } else { noise.next() as u32 >> 1 };
        let single = f32::from_bits(value);
        if !single.is_normal() {
            continue;
        }
        let single = f64::from(single);
        // rcpss xmm0, xmm1; rsqrtss xmm0, xmm1
        for (opcode, exact) in [(0x53, 1.0 / single), (0x52, 1.0 / single.sqrt())] {
            let mut state = State::default();
            state.xmm[1] = u128::from(value);
            assert_eq!(machine.run(&[0xf3, 0x0f, opcode, 0xc1], &mut state), Ok(()));
            assert_eq!(state.mxcsr, 0x1f80);
            let estimate = f64::from(f32::from_bits(state.xmm[0] as u32));
            if exact < f64::from(f32::MIN_POSITIVE) {
                assert_eq!(estimate, 0.0, "{value:#x}");
            } else {
                assert!((estimate / exact - 1.0).abs() <= BOUND, "{value:#x}: {estimate} for {exact}");
            }
        }
    }
}

/// Zeros, denormals, infinities and NaNs have exact answers.
#[test]
fn estimates_of_special_values_match_the_host() {
    let mut machine = Machine::new();
    let specials =
        [0_u32, 1, 0x7f_ffff, 0x7f80_0000, 0x7f80_0001, 0x7fc0_1234, 0x7fff_ffff, 0x7f7f_ffff, 0x7f00_0000];
    for value in specials {
        for value in [value, value | 1 << 31] {
            for opcode in [0x53, 0x52] {
                // The root of a large value is not special.
                if opcode == 0x52 && (0x80_0000..0x7f80_0000).contains(&value) {
                    continue;
                }
                for mxcsr in [0x1f80, 0x9fc0, 0] {
                    let xmm = u128::from(value);
                    let state = State { xmm: [1 << 100, xmm, xmm], mxcsr, ..State::default() };
                    compare(&mut machine, &[0xf3, 0x0f, opcode, 0xc1], &state);
                    let state = State { xmm: [0, xmm * 0x1_0000_0001, 0], mxcsr, ..State::default() };
                    compare(&mut machine, &[0x0f, opcode, 0xc1], &state);
                }
            }
        }
    }
}
