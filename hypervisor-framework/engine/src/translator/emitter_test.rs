//! What the emitter writes, read back by the decoder.

use iced_x86::{Decoder, DecoderOptions, Mnemonic, Register};

use super::{At, Emitter, condition, group, opcode};

const ALL: [Register; 16] = [
    Register::RAX,
    Register::RCX,
    Register::RDX,
    Register::RBX,
    Register::RSP,
    Register::RBP,
    Register::RSI,
    Register::RDI,
    Register::R8,
    Register::R9,
    Register::R10,
    Register::R11,
    Register::R12,
    Register::R13,
    Register::R14,
    Register::R15,
];

fn decoded(emit: impl FnOnce(&mut Emitter)) -> iced_x86::Instruction {
    let mut emitter = Emitter::new(0x10_0000);
    emit(&mut emitter);
    let mut decoder = Decoder::with_ip(64, &emitter.bytes, emitter.address, DecoderOptions::NONE);
    let insn = decoder.decode();
    assert_eq!(insn.len(), emitter.bytes.len());
    insn
}

#[test]
fn memory_operands_of_every_base_and_displacement() {
    for base in 0..16 {
        for disp in [0, 1, -128, 127, 128, -129, i32::MAX, i32::MIN] {
            for reg in [0, 7, 8, 15] {
                let insn = decoded(|e| e.load(reg, At::Base(base, disp)));
                assert_eq!(insn.mnemonic(), Mnemonic::Mov);
                assert_eq!(insn.op0_register(), ALL[reg as usize]);
                assert_eq!(insn.memory_base(), ALL[base as usize]);
                assert_eq!(insn.memory_displacement64() as i64, i64::from(disp));
            }
        }
    }
}

#[test]
fn indexed_operands() {
    for index in (0..16).filter(|i| *i != 4) {
        for base in [None, Some(0), Some(4), Some(5), Some(12), Some(13)] {
            let insn = decoded(|e| e.lea(9, At::Indexed { base, index, scale: 2, disp: -8 }));
            assert_eq!(insn.memory_index(), ALL[index as usize]);
            assert_eq!(insn.memory_base(), base.map_or(Register::None, |b: u8| ALL[b as usize]));
            assert_eq!(insn.memory_index_scale(), 4);
            assert_eq!(insn.memory_displacement64() as i64, -8);
        }
    }
}

#[test]
fn near_operands_and_branches_reach_their_target() {
    let insn = decoded(|e| e.memory_immediate(false, group::CMP, At::Near(0x10_1234), 1));
    assert_eq!(insn.memory_displacement64(), 0x10_1234);
    let insn = decoded(|e| e.store_immediate(true, At::Near(0x10_1234), 1));
    assert_eq!(insn.memory_displacement64(), 0x10_1234);
    let insn = decoded(|e| e.jump_if(condition::SIGN, 0x20_0000));
    assert_eq!(insn.near_branch_target(), 0x20_0000);
}

#[test]
fn constants_and_immediates() {
    for value in [0, 1, 0x8000_0000, u64::MAX, 0xffff_ffff_8000_0000, 0x1234_5678_9abc_def0] {
        for reg in [0, 5, 8] {
            let insn = decoded(|e| e.constant(reg, value));
            assert_eq!(insn.immediate(1), value);
        }
    }
    let insn = decoded(|e| e.immediate(true, group::AND, 13, -4096));
    assert_eq!((insn.mnemonic(), insn.op0_register()), (Mnemonic::And, Register::R13));
    assert_eq!(insn.immediate(1) as i64, -4096);
    let insn = decoded(|e| e.registers(true, opcode::XOR, 8, 1));
    assert_eq!((insn.op0_register(), insn.op1_register()), (Register::R8, Register::RCX));
}
