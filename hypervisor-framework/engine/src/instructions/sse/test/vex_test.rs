//! When VEX-encoded instructions exist, and what they do that no comparison with a process on the host shows.

use super::engine::{DATA, END, Machine};
use super::{State, fault};
use crate::Level;
use crate::cpu::control::{cr0, cr4};
use crate::cpu::{TrapCause, trap_vector as vector};

const UD: TrapCause = TrapCause::Fault { vector: vector::UD, error_code: None };
const NM: TrapCause = TrapCause::Fault { vector: vector::NM, error_code: None };

/// vaddps ymm0, ymm1, ymm2
const VADDPS: [u8; 4] = [0xc5, 0xf4, 0x58, 0xc2];
/// blsr eax, ecx
const BLSR: [u8; 5] = [0xc4, 0xe2, 0x78, 0xf3, 0xc9];
/// movbe eax, [rsi]
const MOVBE: [u8; 4] = [0x0f, 0x38, 0xf0, 0x06];

fn machine() -> Machine {
    let mut machine = Machine::new();
    machine.cpu.level = Level::V3;
    machine.cpu.set_cr(4, machine.cpu.cr4 | cr4::OSXSAVE);
    machine.cpu.set_xcr0(7);
    machine
}

#[test]
fn v2_has_none_of_it() {
    let mut machine = machine();
    machine.cpu.level = Level::V2;
    for code in [&VADDPS[..], &BLSR, &MOVBE, &[0xc5, 0xf8, 0x77], &[0xc5, 0xf8, 0xae, 0x16]] {
        assert_eq!(fault(&mut machine, code, &State::default()), UD, "{code:02x?}");
    }
    // The prefixes of TZCNT and LZCNT mean nothing: BSF and BSR.
    for (code, result) in [([0xf3, 0x0f, 0xbc, 0xc1], 4), ([0xf3, 0x0f, 0xbd, 0xc1], 5)] {
        let mut state = State { rcx: 0x30, ..State::default() };
        assert_eq!(machine.run(&code, &mut state), Ok(()));
        assert_eq!(state.rax, result);
    }
}

#[test]
fn v3_has_it_where_the_kernel_allows() {
    let mut machine = machine();
    assert_eq!(machine.run(&VADDPS, &mut State::default()), Ok(()));
    machine.cpu.set_xcr0(3);
    assert_eq!(fault(&mut machine, &VADDPS, &State::default()), UD);
    machine.cpu.set_xcr0(5);
    assert_eq!(fault(&mut machine, &VADDPS, &State::default()), UD);
    machine.cpu.set_xcr0(7);
    machine.cpu.set_cr(4, machine.cpu.cr4 & !cr4::OSXSAVE);
    assert_eq!(fault(&mut machine, &VADDPS, &State::default()), UD);
    // General registers need none of that.
    assert_eq!(machine.run(&BLSR, &mut State { rcx: 6, ..State::default() }), Ok(()));
    machine.cpu.set_cr(4, machine.cpu.cr4 | cr4::OSXSAVE);
    machine.cpu.set_cr(0, machine.cpu.cr0 | cr0::TS);
    assert_eq!(fault(&mut machine, &VADDPS, &State::default()), NM);
    assert_eq!(machine.run(&BLSR, &mut State { rcx: 6, ..State::default() }), Ok(()));
    // CR0.EM and CR4.OSFXSR are SSE's.
    machine.cpu.set_cr(0, machine.cpu.cr0 & !cr0::TS | cr0::EM);
    machine.cpu.set_cr(4, machine.cpu.cr4 & !cr4::OSFXSR);
    assert_eq!(machine.run(&VADDPS, &mut State::default()), Ok(()));
}

#[test]
fn encodings_beyond_v3_do_not_exist() {
    let mut machine = machine();
    for code in [
        // vaesenc, vpclmulqdq, vpdpbusd, vgf2p8mulb, kandw; vfmaddps of four operands; vpaddd of AVX-512
        &[0xc4, 0xe2, 0x71, 0xdc, 0xc2][..],
        &[0xc4, 0xe3, 0x71, 0x44, 0xc2, 0x00],
        &[0xc4, 0xe2, 0x71, 0x50, 0xc2],
        &[0xc4, 0xe2, 0x71, 0xcf, 0xc2],
        &[0xc5, 0xf4, 0x41, 0xc2],
        &[0xc4, 0xe3, 0x71, 0x68, 0xc2, 0x30],
        &[0x62, 0xf1, 0x75, 0x48, 0xfe, 0xc2],
        // VEX.L of BMI, vvvv where there is no such operand, gathers that name a register twice
        &[0xc4, 0xe2, 0x7c, 0xf3, 0xc9],
        &[0xc5, 0xf5, 0x6f, 0xc2],
        &[0xc4, 0xe2, 0x69, 0x92, 0x04, 0x06],
        &[0xc4, 0xe2, 0x79, 0x92, 0x04, 0x0e],
        &[0xc4, 0xe2, 0x71, 0x92, 0x04, 0x0e],
    ] {
        assert_eq!(fault(&mut machine, code, &State::default()), UD, "{code:02x?}");
    }
}

#[test]
fn legacy_instructions_keep_upper_halves_and_vex_ones_clear_them() {
    let mut machine = machine();
    machine.cpu.set_ymm_upper(0, 7);
    // paddd xmm0, xmm1
    assert_eq!(machine.run(&[0x66, 0x0f, 0xfe, 0xc1], &mut State::default()), Ok(()));
    assert_eq!(machine.cpu.ymm_upper(0), 7);
    // vpaddd xmm0, xmm1, xmm2
    assert_eq!(machine.run(&[0xc5, 0xf1, 0xfe, 0xc2], &mut State::default()), Ok(()));
    assert_eq!(machine.cpu.ymm_upper(0), 0);
}

#[test]
fn what_a_mask_leaves_out_does_not_fault() {
    let mut machine = machine();
    machine.address = END - 16;
    let sign = |lanes: &[usize]| lanes.iter().fold(0_u128, |all, lane| all | 1 << (32 * lane + 31));
    // vmaskmovps ymm0, ymm1, [rsi], and the store
    let (load, store) = ([0xc4, 0xe2, 0x75, 0x2c, 0x06], [0xc4, 0xe2, 0x75, 0x2e, 0x06]);
    let mut state = State { xmm: [1, sign(&[0, 3]), 0], ..State::default() };
    state.memory[..16].fill(9);
    assert_eq!(machine.run(&load, &mut state), Ok(()));
    assert_eq!(state.xmm[0], 0x0909_0909_0000_0000_0000_0000_0909_0909);
    assert_eq!(machine.run(&store, &mut state), Ok(()));
    machine.cpu.set_ymm_upper(1, sign(&[0]));
    for code in [load, store] {
        let cause = fault(&mut machine, &code, &state);
        assert!(matches!(cause, TrapCause::Exit(_)), "{cause:?}: behind the page there is no memory");
    }
}

#[test]
fn a_gather_goes_on_where_a_fault_stopped_it() {
    let mut machine = machine();
    machine.address = DATA;
    let far = (END - DATA) as u128;
    let indices = 4 | far << 32 | 8 << 64;
    let mut state = State { xmm: [u128::MAX, indices, u128::MAX], ..State::default() };
    for (i, byte) in state.memory.iter_mut().enumerate() {
        *byte = i as u8;
    }
    // vpgatherdd xmm0, [rsi + xmm1], xmm2
    let code = [0xc4, 0xe2, 0x69, 0x90, 0x04, 0x0e];
    let outcome = machine.try_run(&code, &mut state);
    assert!(matches!(outcome, Err(TrapCause::Exit(_))), "{outcome:?}");
    assert_eq!(machine.cpu.xmm(0), u128::MAX << 32 | 0x0706_0504);
    assert_eq!(machine.cpu.xmm(2), u128::MAX << 32);
    // The index that led nowhere is mended: what was gathered is not gathered again.
    state.xmm = [machine.cpu.xmm(0), 4 | 12 << 32 | 8 << 64, machine.cpu.xmm(2)];
    state.memory[4..8].fill(0xee);
    assert_eq!(machine.try_run(&code, &mut state), Ok(()));
    assert_eq!(state.xmm, [0x0302_0100_0b0a_0908_0f0e_0d0c_0706_0504, state.xmm[1], 0]);
}
