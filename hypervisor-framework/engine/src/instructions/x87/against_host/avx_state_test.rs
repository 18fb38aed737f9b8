//! AVX state in XSAVE areas.

use super::samples::Random;
use super::{Guest, Native, State};
use crate::cpu::{TrapCause, trap_vector};
use crate::{Cpu, Level, XsaveImageError};

/// Where in the operand YMM registers come from and go to; the area is in front.
const FROM: usize = 1024;
const TO: usize = 1536;

/// `vmovdqu ymm, [rsi + at]`, or the store, for every other register: a block is no longer.
fn moves(opcode: u8, at: usize) -> Vec<u8> {
    let one = |i: usize| {
        let prefix = if i < 8 { 0xfe } else { 0x7e };
        let mut code = vec![0xc5, prefix, opcode, 0x86 | (i as u8 & 7) << 3];
        code.extend(((at + 32 * i) as u32).to_le_bytes());
        code
    };
    (0..16).step_by(2).flat_map(one).collect()
}

/// Loads registers, does something, stores them and clears what was above.
fn around(instruction: &[u8]) -> Vec<u8> {
    [&[0xc5, 0xfc, 0x77], &*moves(0x6f, FROM), instruction, &moves(0x7f, TO), &[0xc5, 0xf8, 0x77]].concat()
}

fn fill(state: &mut State, random: &mut Random, from: usize, to: usize) {
    for chunk in state.operand.0[from..to].chunks_exact_mut(8) {
        chunk.copy_from_slice(&random.next().to_le_bytes());
    }
}

fn host_has_avx() -> bool {
    std::arch::is_x86_feature_detected!("avx")
}

fn same(native: &mut Native, guest: &mut Guest, code: &[u8], state: &State, skip: &[(usize, usize)]) {
    let mut host = native.run(code, state).cleaned();
    let mut engine = guest.run(code, state).cleaned();
    for &(from, to) in skip {
        host.operand.0[from..to].fill(0);
        engine.operand.0[from..to].fill(0);
    }
    assert!(host == engine, "{}\n{}", state.describe(), host.difference(&engine));
}

#[test]
fn saved_areas_equal_the_hosts() {
    if !host_has_avx() {
        return;
    }
    let (mut random, mut native, mut guest) = (Random::new(21), Native::new(), Guest::with_avx());
    for _ in 0..3000 {
        let mut state = random.x87_state();
        fill(&mut state, &mut random, 0, super::OPERAND);
        state.rax = random.below(8);
        // XSAVE, XSAVEOPT and XSAVEC with REX.W.
        for code in [[0x48, 0x0f, 0xae, 0x26], [0x48, 0x0f, 0xae, 0x36], [0x48, 0x0f, 0xc7, 0x26]] {
            same(&mut native, &mut guest, &around(&code), &state, &[(5, 24), (28, 32)]);
        }
    }
}

#[test]
fn restored_state_equals_the_hosts() {
    if !host_has_avx() {
        return;
    }
    let (mut random, mut native, mut guest) = (Random::new(22), Native::new(), Guest::with_avx());
    for _ in 0..5000 {
        let mut state = random.x87_state();
        fill(&mut state, &mut random, 0, super::OPERAND);
        let saved = random.x87_state();
        state.operand.0[..512].copy_from_slice(&saved.image.0);
        state.operand.0[512..576].fill(0);
        state.operand.0[512] = random.below(8) as u8;
        if random.one_in(2) {
            state.operand.0[520] = 7;
            state.operand.0[527] = 0x80;
        }
        state.rax = random.below(8);
        same(&mut native, &mut guest, &around(&[0x48, 0x0f, 0xae, 0x2e]), &state, &[]);
    }
}

#[test]
fn areas_that_name_more_than_xcr0_fault() {
    let mut guest = Guest::with_avx();
    let restore = |guest: &mut Guest, xcr0: u64, components: u8| {
        guest.cpu.set_xcr0(xcr0);
        let mut state = State::initial();
        state.operand.0[24..28].copy_from_slice(&0x1f80_u32.to_le_bytes());
        state.operand.0[512] = components;
        state.rax = 0xffff_ffff;
        guest.load(&state);
        guest.execute(&[0x48, 0x0f, 0xae, 0x2e])
    };
    let gp = Some(TrapCause::Fault { vector: trap_vector::GP, error_code: Some(0) });
    assert_eq!(restore(&mut guest, 7, 7), None);
    assert_eq!(restore(&mut guest, 3, 7), gp);
    assert_eq!(restore(&mut guest, 7, 15), gp);
}

#[test]
fn xgetbv_tells_what_is_in_use() {
    let mut guest = Guest::with_avx();
    // mov ecx, 1; xgetbv
    let code = [0xb9, 1, 0, 0, 0, 0x0f, 0x01, 0xd0];
    let used = |guest: &mut Guest| guest.run(&code, &State::initial()).rax;
    assert_eq!(used(&mut guest), 0);
    guest.cpu.set_ymm_upper(3, 1);
    assert_eq!(used(&mut guest), 4);
    guest.cpu.set_ymm_upper(3, 0);
    assert_eq!(used(&mut guest), 0);
}

#[test]
fn images_for_a_monitor_have_avx_state_where_the_cpu_has_it() {
    let mut guest = Guest::with_avx();
    guest.cpu.set_ymm_upper(15, 0x1234);
    let mut image = [0xff; 1024];
    guest.cpu.read_xsave_image(&mut image).unwrap();
    assert_eq!(image[512], 7);
    assert_eq!(image[576 + 240..576 + 242], [0x34, 0x12]);
    assert_eq!(image[832..], [0; 192]);
    let mut other = Guest::with_avx();
    other.cpu.set_ymm_upper(0, 5);
    other.cpu.write_xsave_image(&image).unwrap();
    assert_eq!((other.cpu.ymm_upper(15), other.cpu.ymm_upper(0)), (0x1234, 0));
    // A short image has legacy state alone, which leaves AVX state initial.
    assert_eq!(
        other.cpu.write_xsave_image(&image[..576]),
        Err(XsaveImageError::TooSmall { size: 576, needed: 832 })
    );
    guest.cpu.read_xsave_image(&mut image[..Cpu::XSAVE_IMAGE_SIZE]).unwrap();
    assert_eq!(image[512], 3);
    other.cpu.write_xsave_image(&image[..Cpu::XSAVE_IMAGE_SIZE]).unwrap();
    assert_eq!(other.cpu.ymm_upper(15), 0);
    // Without AVX there is no such component.
    let mut old = Guest::new();
    assert_eq!(old.cpu.level(), Level::V2);
    old.cpu.read_xsave_image(&mut image).unwrap();
    assert_eq!(image[512], 3);
    image[512] = 7;
    assert_eq!(old.cpu.write_xsave_image(&image), Err(XsaveImageError::UnknownComponents { state: 7 }));
}
