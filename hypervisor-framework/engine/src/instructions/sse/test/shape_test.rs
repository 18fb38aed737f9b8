//! Memory operands have exactly their size, and the alignment they must have.

use iced_x86::{Code, Decoder, DecoderOptions, Mnemonic, OpKind};

use super::State;
use super::engine::{END, Machine};
use crate::cpu::TrapCause;
use crate::cpu::trap_vector as vector;

/// Every opcode of the three SSE maps with every mandatory prefix, in its memory form.
fn candidates() -> Vec<Vec<u8>> {
    let prefixes: [&[u8]; 5] = [&[], &[0x66], &[0xf2], &[0xf3], &[0x66, 0xf2]];
    let maps: [&[u8]; 3] = [&[0x0f], &[0x0f, 0x38], &[0x0f, 0x3a]];
    let mut all = Vec::new();
    for prefix in prefixes {
        for rex in [&[][..], &[0x48]] {
            for map in maps {
                // In the first map, two opcodes lead to the others.
                for opcode in (0..=255).filter(|opcode| map.len() > 1 || !matches!(opcode, 0x38 | 0x3a)) {
                    all.push([prefix, rex, map, &[opcode, 0x06, 0x00]].concat());
                }
            }
        }
    }
    all
}

/// Does the instruction have an XMM operand and a memory operand, and belong to SSE4.2 or before?
fn is_ours(code: Code, insn: &iced_x86::Instruction) -> bool {
    use iced_x86::CpuidFeature as F;
    let known = [F::SSE, F::SSE2, F::SSE3, F::SSSE3, F::SSE4_1, F::SSE4_2];
    let has_memory = (0..insn.op_count()).any(|i| insn.op_kind(i) == OpKind::Memory);
    let has_mmx = (0..insn.op_count()).any(|i| insn.op_register(i).is_mm());
    let mmx_conversion = matches!(code, Code::Cvtpi2ps_xmm_mmm64 | Code::Cvtpi2pd_xmm_mmm64);
    let features = insn.cpuid_features();
    !features.is_empty()
        && features.iter().all(|feature| known.contains(feature))
        && has_memory
        && !has_mmx
        && !mmx_conversion
}

/// Instructions under test and the size of their memory operand, in bytes.
fn instructions() -> Vec<(Code, Vec<u8>, u64)> {
    let mut all = Vec::new();
    for mut bytes in candidates() {
        let insn = Decoder::new(64, &bytes, DecoderOptions::NONE).decode();
        if !insn.is_invalid() && is_ours(insn.code(), &insn) {
            bytes.truncate(insn.len());
            all.push((insn.code(), bytes, insn.memory_size().size().max(1) as u64));
        }
    }
    assert!(all.len() > 250, "{} instructions", all.len());
    all
}

#[test]
fn operands_may_end_where_memory_ends() {
    let mut machine = Machine::new();
    for (name, code, size) in instructions() {
        machine.address = END - size;
        let outcome = machine.run(&code, &mut State::default());
        assert_eq!(outcome, Ok(()), "{name:?} {code:02x?}");
    }
}

#[test]
fn whole_registers_in_memory_are_aligned_but_for_a_few_moves() {
    let mut machine = Machine::new();
    for (name, code, size) in instructions() {
        let mnemonic = name.mnemonic();
        let any = matches!(
            mnemonic,
            Mnemonic::Movups
                | Mnemonic::Movupd
                | Mnemonic::Movdqu
                | Mnemonic::Lddqu
                | Mnemonic::Pcmpestri
                | Mnemonic::Pcmpestrm
                | Mnemonic::Pcmpistri
                | Mnemonic::Pcmpistrm
                | Mnemonic::Pcmpestri64
                | Mnemonic::Pcmpestrm64
        );
        machine.address = END - 16 - size + 1;
        let outcome = machine.run(&code, &mut State::default());
        let expected = if size == 16 && !any {
            Err(TrapCause::Fault { vector: vector::GP, error_code: Some(0) })
        } else {
            Ok(())
        };
        assert_eq!(outcome, expected, "{name:?} {code:02x?}");
    }
}
