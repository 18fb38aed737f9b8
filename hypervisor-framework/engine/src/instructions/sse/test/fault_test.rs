//! Faults of SSE instructions.

use super::engine::{END, Machine};
use super::{State, fault};
use crate::SegmentRegister;
use crate::cpu::TrapCause;
use crate::cpu::control::{cr0, cr4};
use crate::cpu::trap_vector as vector;
use crate::exit::Reason;

const fn exception(vector: u8) -> TrapCause {
    TrapCause::Fault { vector, error_code: None }
}

const GENERAL_PROTECTION: TrapCause = TrapCause::Fault { vector: vector::GP, error_code: Some(0) };

#[test]
fn blocked_units_raise_ud_or_nm() {
    // paddb xmm0, xmm1; movaps [rsi], xmm0; movd eax, xmm0; pinsrw; ldmxcsr [rsi]; pmovmskb; psllw imm; ptest
    let codes: [&[u8]; 8] = [
        &[0x66, 0x0f, 0xfc, 0xc1],
        &[0x0f, 0x29, 0x06],
        &[0x66, 0x0f, 0x7e, 0xc0],
        &[0x66, 0x0f, 0xc4, 0xc1, 0],
        &[0x0f, 0xae, 0x16],
        &[0x66, 0x0f, 0xd7, 0xc1],
        &[0x66, 0x0f, 0x71, 0xf0, 1],
        &[0x66, 0x0f, 0x38, 0x17, 0xc1],
    ];
    let (pe, fx) = (cr0::PE, cr4::OSFXSR);
    let cases = [
        (pe | cr0::TS, fx, vector::NM),
        (pe | cr0::EM, fx, vector::UD),
        (pe | cr0::EM | cr0::TS, fx, vector::UD),
        (pe, 0, vector::UD),
        (pe | cr0::TS, 0, vector::UD),
    ];
    let mut machine = Machine::new();
    for code in codes {
        for (cr0, cr4, expected) in cases {
            machine.cpu.set_cr(0, cr0);
            machine.cpu.set_cr(4, cr4 | cr4::PAE);
            assert_eq!(fault(&mut machine, code, &State::default()), exception(expected), "{code:02x?}");
        }
    }
}

#[test]
fn fences_movnti_and_crc32_do_not_need_the_unit() {
    let mut machine = Machine::new();
    machine.cpu.set_cr(0, cr0::PE | cr0::TS | cr0::EM);
    let codes: [&[u8]; 6] = [
        &[0x0f, 0xae, 0xe8],
        &[0x0f, 0xae, 0xf0],
        &[0x0f, 0xc3, 0x0e],
        &[0xf2, 0x0f, 0x38, 0xf1, 0xc1],
        &[0x0f, 0x18, 0x0e],
        &[0x0f, 0xae, 0x3e],
    ];
    for code in codes {
        assert_eq!(machine.run(code, &mut State::default()), Ok(()), "{code:02x?}");
    }
}

#[test]
fn misaligned_operands_raise_gp() {
    let codes: [&[u8]; 9] = [
        &[0x0f, 0x28, 0x46, 1],
        &[0x0f, 0x29, 0x46, 8],
        &[0x66, 0x0f, 0x6f, 0x46, 4],
        &[0x66, 0x0f, 0x7f, 0x46, 15],
        &[0x66, 0x0f, 0xfc, 0x46, 1],
        &[0x66, 0x0f, 0xe7, 0x46, 1],
        &[0x66, 0x0f, 0x38, 0x2a, 0x46, 1],
        &[0x66, 0x0f, 0x71, 0x46, 1],
        &[0x66, 0x0f, 0x70, 0x46, 1, 0],
    ];
    let mut machine = Machine::new();
    for code in codes {
        // 0x71 has no memory form.
        let expected = if code[2] == 0x71 { exception(vector::UD) } else { GENERAL_PROTECTION };
        assert_eq!(fault(&mut machine, code, &State::default()), expected, "{code:02x?}");
    }
}

#[test]
fn reserved_mxcsr_bits_raise_gp() {
    let mut machine = Machine::new();
    let mut state = State::default();
    state.memory[..4].copy_from_slice(&0x1_1f80_u32.to_le_bytes());
    assert_eq!(fault(&mut machine, &[0x0f, 0xae, 0x16], &state), GENERAL_PROTECTION);
}

#[test]
fn a_store_that_ends_past_memory_changes_nothing() {
    let mut machine = Machine::new();
    machine.address = END - 8;
    let mut state = State { xmm: [u128::MAX; 3], ..State::default() };
    for code in [&[0x0f, 0x11, 0x06][..], &[0x66, 0x0f, 0xf7, 0xc1]] {
        let cause = machine.run(code, &mut state).expect_err("a fault");
        assert!(matches!(cause, TrapCause::Exit(Reason::Memory(_))), "{cause:?}");
        let mut low = [1; 8];
        machine.read(END - 8, &mut low);
        assert_eq!(low, [0; 8]);
    }
    // Bytes that are not chosen are not touched.
    state.xmm[1] = u128::from(u64::MAX);
    assert_eq!(machine.run(&[0x66, 0x0f, 0xf7, 0xc1], &mut state), Ok(()));
    assert_eq!(state.memory[..8], [0xff; 8]);
}

#[test]
fn aes_and_carryless_products_are_undefined() {
    let mut machine = Machine::new();
    for code in [&[0x66, 0x0f, 0x38, 0xdc, 0xc1][..], &[0x66, 0x0f, 0x3a, 0x44, 0xc1, 0]] {
        assert_eq!(fault(&mut machine, code, &State::default()), exception(vector::UD));
    }
}

#[test]
fn maskmovdqu_obeys_address_size_and_segment() {
    let mut machine = Machine::new();
    let start = State { xmm: [0x0123, 0x8080, 0], ..State::default() };
    let mut expected = start.clone();
    expected.memory[..2].copy_from_slice(&[0x23, 0x01]);
    // With a 32-bit address.
    machine.rdi_offset = 1 << 32;
    let mut state = start.clone();
    assert_eq!(machine.run(&[0x67, 0x66, 0x0f, 0xf7, 0xc1], &mut state), Ok(()));
    assert_eq!(state, expected);
    // Relative to FS.
    machine.rdi_offset = 0x40_u64.wrapping_neg();
    let mut segment = machine.cpu.segment(SegmentRegister::Fs);
    segment.base = 0x40;
    machine.cpu.set_segment(SegmentRegister::Fs, segment);
    let mut state = start.clone();
    assert_eq!(machine.run(&[0x64, 0x66, 0x0f, 0xf7, 0xc1], &mut state), Ok(()));
    assert_eq!(state, expected);
    // In the non-canonical half.
    machine.rdi_offset = 1 << 47;
    assert_eq!(fault(&mut machine, &[0x66, 0x0f, 0xf7, 0xc1], &start), TrapCause::BadAddress);
}
