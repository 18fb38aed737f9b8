//! Bytes for an encoding: prefixes, ModRM and displacement at random, whatever decodes to it.

use iced_x86::{
    Code, CodeSize, ConstantOffsets, Decoder, DecoderOptions, EncodingKind, FlowControl, Instruction,
    MandatoryPrefix, OpCodeTableKind, OpKind, Register,
};

use crate::known;
use crate::random::Random;
use crate::state::Mode;

/// The longest instruction, bytes.
pub(crate) const LONGEST: usize = 15;
/// Attempts per encoding. Some ask for one in 64 ModRM bytes.
const ATTEMPTS: usize = 400;

/// An instruction's bytes and what they mean at an address.
#[derive(Debug, Clone)]
pub(crate) struct Encoded {
    pub(crate) bytes: Vec<u8>,
    pub(crate) insn: Instruction,
    pub(crate) offsets: ConstantOffsets,
}

impl Encoded {
    /// Decodes again after the bytes were changed.
    pub(crate) fn refresh(&mut self) {
        let at = self.insn.ip();
        let mode = if self.insn.code_size() == CodeSize::Code32 { Mode::Compatibility } else { Mode::Long };
        if let Some(fresh) = decode(mode, &self.bytes, at) {
            *self = fresh;
        }
    }
}

fn decode(mode: Mode, bytes: &[u8], at: u64) -> Option<Encoded> {
    let mut decoder = Decoder::with_ip(mode.bits(), bytes, at, DecoderOptions::NONE);
    let insn = decoder.decode();
    if insn.is_invalid() {
        return None;
    }
    let offsets = decoder.get_constant_offsets(&insn);
    Some(Encoded { bytes: bytes[..insn.len()].to_vec(), insn, offsets })
}

/// Bytes at random that decode to `code` at address `at`.
pub(crate) fn encode(mode: Mode, code: Code, at: u64, random: &mut Random) -> Option<Encoded> {
    (0..ATTEMPTS).find_map(|_| {
        let encoded = decode(mode, &attempt(mode, code, random), at)?;
        let right = encoded.insn.code() == code
            && !uses_fs(&encoded.insn)
            && !known::decoded_otherwise(&encoded.insn, &encoded.bytes);
        right.then_some(encoded)
    })
}

fn uses_fs(insn: &Instruction) -> bool {
    let memory = (0..insn.op_count()).any(|i| {
        matches!(
            insn.op_kind(i),
            OpKind::Memory
                | OpKind::MemorySegSI
                | OpKind::MemorySegESI
                | OpKind::MemorySegRSI
                | OpKind::MemorySegDI
                | OpKind::MemorySegEDI
                | OpKind::MemorySegRDI
        )
    });
    memory && insn.memory_segment() == Register::FS
}

/// A VEX prefix with all that the encoding leaves open at random.
fn vex_attempt(mode: Mode, code: Code, random: &mut Random) -> Vec<u8> {
    let op = code.op_code();
    let mut bytes = Vec::with_capacity(32);
    match random.below(32) {
        0..=1 => bytes.push(0x65),
        2 => bytes.push(random.pick(&[0x2e, 0x36, 0x3e, 0x26])),
        3..=4 => bytes.push(0x67),
        _ => {}
    }
    let pp = match op.mandatory_prefix() {
        MandatoryPrefix::P66 => 1,
        MandatoryPrefix::PF3 => 2,
        MandatoryPrefix::PF2 => 3,
        _ => 0,
    };
    let map = match op.table() {
        OpCodeTableKind::T0F => 1,
        OpCodeTableKind::T0F38 => 2,
        _ => 3,
    };
    let l = if op.is_lig() { random.next() as u8 & 1 } else { op.l() as u8 };
    let w = if op.is_wig() || op.is_wig32() { random.next() as u8 & 1 } else { op.w() as u8 };
    let unused = random.one_in(2);
    let (rxb, vvvv) = match (mode, unused) {
        (Mode::Long, true) => (random.next() as u8 & 7, 15),
        (Mode::Long, false) => (random.next() as u8 & 7, random.next() as u8 & 15),
        (Mode::Compatibility, true) => (7, 15),
        (Mode::Compatibility, false) => (7, 8 | random.next() as u8 & 7),
    };
    let last = vvvv << 3 | l << 2 | pp;
    if map == 1 && w == 0 && rxb & 3 == 3 && random.one_in(2) {
        bytes.extend([0xc5, (rxb & 4) << 5 | last]);
    } else {
        bytes.extend([0xc4, rxb << 5 | map, w << 7 | last]);
    }
    bytes.push(op.op_code() as u8);
    let mut modrm = random.next() as u8;
    if op.is_group() {
        modrm = modrm & 0xc7 | (op.group_index() as u8) << 3;
    }
    bytes.push(modrm);
    let tail = random.next() as u128 | u128::from(random.next()) << 64;
    bytes.extend(tail.to_le_bytes());
    bytes.truncate(LONGEST);
    bytes
}

fn attempt(mode: Mode, code: Code, random: &mut Random) -> Vec<u8> {
    let op = code.op_code();
    if op.encoding() == EncodingKind::VEX {
        return vex_attempt(mode, code, random);
    }
    let mut bytes = Vec::with_capacity(32);
    match op.mandatory_prefix() {
        MandatoryPrefix::P66 => bytes.push(0x66),
        MandatoryPrefix::PF3 => bytes.push(0xf3),
        MandatoryPrefix::PF2 => bytes.push(0xf2),
        _ => {}
    }
    let wide = op.operand_size() == 64 && !op.default_op_size64() && !op.force_op_size64();
    if op.operand_size() == 16 {
        bytes.push(0x66);
    }
    let other_size = if mode == Mode::Long { 32 } else { 16 };
    if op.address_size() == other_size || random.one_in(8) {
        bytes.push(0x67);
    }
    if op.can_use_lock_prefix() && random.one_in(3) {
        bytes.push(0xf0);
    }
    let string = code.is_string_instruction();
    if op.can_use_rep_prefix() && string && random.one_in(2) {
        bytes.push(0xf3);
    } else if (op.can_use_repne_prefix() || op.can_use_rep_prefix()) && string && random.one_in(3) {
        bytes.push(0xf2);
    }
    match random.below(32) {
        0..=1 => bytes.push(0x65),
        2 => bytes.push(random.pick(&[0x2e, 0x36, 0x3e, 0x26])),
        _ => {}
    }
    let plain =
        op.mandatory_prefix() == MandatoryPrefix::None || op.mandatory_prefix() == MandatoryPrefix::PNP;
    if plain && !string {
        // Prefixes without a meaning for the instruction, if it is still the same with them.
        match random.below(64) {
            0 => bytes.push(0xf2),
            1 => bytes.push(0xf3),
            2 if code.flow_control() == FlowControl::Next => bytes.push(0x66),
            _ => {}
        }
    }
    for i in (1..bytes.len()).rev() {
        bytes.swap(i, random.below(i as u64 + 1) as usize);
    }
    let rex = mode == Mode::Long;
    if rex && !bytes.is_empty() && random.one_in(32) {
        // Ignored: only a REX prefix right before the opcode counts.
        bytes.insert(0, 0x40 | random.next() as u8 & 15);
    }
    let w = wide || op.w() == 1 || (op.is_wig() && random.one_in(8));
    if rex && (w || random.one_in(2)) {
        bytes.push(0x40 | u8::from(w) << 3 | random.next() as u8 & 7);
    }
    match op.table() {
        OpCodeTableKind::T0F => bytes.push(0x0f),
        OpCodeTableKind::T0F38 => bytes.extend([0x0f, 0x38]),
        OpCodeTableKind::T0F3A => bytes.extend([0x0f, 0x3a]),
        _ => {}
    }
    if op.op_code_len() == 2 {
        bytes.push((op.op_code() >> 8) as u8);
    }
    // Registers in the opcode's low bits.
    let low = op.op_kinds().iter().any(|kind| format!("{kind:?}").ends_with("_opcode"));
    bytes.push(op.op_code() as u8 | if low { random.next() as u8 & 7 } else { 0 });
    // ModRM, if there is one.
    let mut modrm = random.next() as u8;
    if op.is_group() {
        modrm = modrm & 0xc7 | (op.group_index() as u8) << 3;
    }
    if op.is_rm_group() {
        modrm = modrm & 0xf8 | op.rm_group_index() as u8;
    }
    bytes.push(modrm);
    let tail = random.next() as u128 | u128::from(random.next()) << 64;
    bytes.extend(tail.to_le_bytes());
    bytes.truncate(LONGEST);
    bytes
}
