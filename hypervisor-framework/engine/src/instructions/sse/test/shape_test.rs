//! Memory operands have exactly their size: each instruction works on the last bytes of memory.

use iced_x86::{Code, Decoder, DecoderOptions, OpKind};

use super::State;
use super::engine::{END, Machine};

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

#[test]
fn operands_may_end_where_memory_ends() {
    let mut machine = Machine::new();
    let mut tried = 0;
    for bytes in candidates() {
        let mut decoder = Decoder::new(64, &bytes, DecoderOptions::NONE);
        let insn = decoder.decode();
        if insn.is_invalid() || !is_ours(insn.code(), &insn) {
            continue;
        }
        let size = insn.memory_size().size().max(1) as u64;
        machine.address = END - size;
        let code = &bytes[..insn.len()];
        let outcome = machine.run(code, &mut State::default());
        assert_eq!(outcome, Ok(()), "{:?} {code:02x?}", insn.code());
        tried += 1;
    }
    assert!(tried > 250, "{tried} instructions");
}
