//! Random programs: instructions that fit the machine, instructions of any kind, and bytes.

use engine::Sequence;
use iced_x86::{Decoder, DecoderOptions};

use crate::below;
use crate::machine::{CODE, CODE_SIZE, DATA, DATA_SIZE};

/// A program of `len` bytes.
pub(crate) fn program(random: &mut Sequence, len: usize) -> Vec<u8> {
    let mut code = Vec::with_capacity(len + 64);
    while code.len() < len {
        let before = code.len();
        instruction(random, &mut code);
        let made = code.get(before..).unwrap_or_default().to_vec();
        let mut decoder = Decoder::new(64, &made, DecoderOptions::NONE);
        let undefined = decoder.iter().fold(0, |flags, insn| flags | insn.rflags_undefined());
        if undefined != 0 {
            // test rax, rax: defines them.
            code.extend_from_slice(&[0x48, 0x85, 0xc0]);
        }
    }
    code.truncate(len);
    code
}

/// A register that programs may lose: not RBX, which points at the data, nor RSP.
fn register(random: &mut Sequence) -> u8 {
    loop {
        let register = below(random, 16) as u8;
        if !matches!(register, 3 | 4) || below(random, 50) == 0 {
            return register;
        }
    }
}

/// A displacement from RBX.
fn place(random: &mut Sequence) -> i32 {
    let place = match below(random, 32) {
        // On the code; across the end of the writable data, of all data; across a page.
        0 => CODE as i64 - DATA as i64 + below(random, CODE_SIZE as u64) as i64,
        1 => DATA_SIZE as i64 - below(random, 9) as i64,
        2 => DATA_SIZE as i64 + 0x1000 - below(random, 9) as i64,
        3 => 0x1000 - below(random, 9) as i64,
        _ => below(random, DATA_SIZE as u64 - 32) as i64,
    };
    place as i32
}

/// ModRM and the rest for a memory operand, with the prefixes and the opcode before it.
fn memory(random: &mut Sequence, code: &mut Vec<u8>, prefixes: &[u8], opcode: &[u8], reg: u8) {
    let wide = (below(random, 2) as u8) << 3;
    let at = place(random);
    code.extend_from_slice(prefixes);
    code.push(0x40 | wide | reg >> 3 << 2);
    code.extend_from_slice(opcode);
    if below(random, 4) == 0 {
        // [rbx + rcx * 1]: anywhere.
        code.extend_from_slice(&[0x04 | (reg & 7) << 3, 0x0b]);
        return;
    }
    code.push(0x83 | (reg & 7) << 3);
    code.extend_from_slice(&at.to_le_bytes());
}

const ARITHMETIC: [u8; 10] = [0x01, 0x09, 0x11, 0x19, 0x21, 0x29, 0x31, 0x39, 0x85, 0x89];
/// MOV, ADD, MOVSXD, XOR, CMP from memory; byte forms are one below.
const LOADS: [u8; 5] = [0x8b, 0x03, 0x63, 0x33, 0x3b];
/// Two-byte opcodes with a register and r/m: CMOVcc, SETcc, MOVZX, MOVSX, IMUL, BT, BTS, BSWAP-free.
const TWO_BYTE: [u8; 12] = [0x44, 0x4f, 0x94, 0xb6, 0xb7, 0xbe, 0xbf, 0xaf, 0xa3, 0xab, 0xb1, 0xc1];
/// MOVDQU and MOVUPS loads and stores, PADDQ, PXOR, PCMPEQB, PSHUFB-free.
const VECTOR: [(u8, u8); 7] =
    [(0xf3, 0x6f), (0xf3, 0x7f), (0x66, 0xd4), (0x66, 0xef), (0x66, 0x74), (0xf3, 0x7e), (0x66, 0xd6)];

/// VEX-encoded instructions: map, pp and opcode. Moves, VPADDQ, VPXOR, VPCMPEQB, VPMINUB, VPMOVMSKB, VPSHUFB, VPERMQ,
/// VPBROADCASTB, VINSERTI128, VPTEST, VADDPS, VFMADD213PD, ANDN, BZHI, SHLX, MULX, VPMASKMOVD, VZEROUPPER.
const VEX: [(u8, u8, u8); 22] = [
    (1, 2, 0x6f),
    (1, 2, 0x7f),
    (1, 1, 0x6f),
    (1, 1, 0xe7),
    (1, 1, 0xd4),
    (1, 1, 0xef),
    (1, 1, 0x74),
    (1, 1, 0xda),
    (1, 1, 0xd7),
    (2, 1, 0x00),
    (3, 1, 0x00),
    (2, 1, 0x78),
    (3, 1, 0x38),
    (2, 1, 0x17),
    (1, 0, 0x58),
    (2, 1, 0xa8),
    (2, 0, 0xf2),
    (2, 0, 0xf5),
    (2, 1, 0xf7),
    (2, 3, 0xf6),
    (2, 1, 0x8c),
    (1, 0, 0x77),
];

fn vex(random: &mut Sequence, code: &mut Vec<u8>) {
    let (map, pp, opcode) = VEX[below(random, VEX.len() as u64) as usize];
    let reg = register(random);
    let rm = register(random);
    // Few have no operand in vvvv, and are undefined with one.
    let second = if below(random, 2) == 0 { 0 } else { below(random, 16) as u8 };
    let (w, l) = (below(random, 2) as u8, below(random, 2) as u8);
    let in_memory = below(random, 2) == 0 && opcode != 0x77;
    let b = if in_memory { 0 } else { rm >> 3 };
    code.extend_from_slice(&[
        0xc4,
        (!(reg >> 3 << 2 | b) & 7) << 5 | map,
        w << 7 | (!second & 15) << 3 | l << 2 | pp,
        opcode,
    ]);
    if opcode == 0x77 {
        return;
    }
    if in_memory {
        code.push(0x83 | (reg & 7) << 3);
        code.extend_from_slice(&place(random).to_le_bytes());
    } else {
        code.push(0xc0 | (reg & 7) << 3 | rm & 7);
    }
    if map == 3 {
        code.push(random.next_u64() as u8);
    }
}

fn instruction(random: &mut Sequence, code: &mut Vec<u8>) {
    let (reg, rm) = (register(random), register(random));
    let wide = (below(random, 2) as u8) << 3;
    let rex = 0x40 | wide | reg >> 3 << 2 | rm >> 3;
    let registers = 0xc0 | (reg & 7) << 3 | rm & 7;
    let pick = |random: &mut Sequence, from: &[u8]| from[below(random, from.len() as u64) as usize];
    match below(random, 49) {
        0..=5 => {
            let opcode = pick(random, &ARITHMETIC) - below(random, 2) as u8;
            code.extend_from_slice(&[rex, opcode, registers]);
        }
        6..=8 => {
            let opcode = pick(random, &ARITHMETIC) - below(random, 2) as u8;
            memory(random, code, &[], &[opcode], reg);
        }
        9..=11 => {
            let opcode = pick(random, &LOADS);
            memory(random, code, &[], &[opcode], reg);
        }
        12 => {
            let prefixes: &[u8] = if below(random, 2) == 0 { &[0xf0] } else { &[] };
            let opcode = [0x01, 0x09, 0x11, 0x87][below(random, 4) as usize];
            memory(random, code, prefixes, &[opcode], reg);
        }
        13 | 14 => {
            let opcode = pick(random, &TWO_BYTE);
            code.extend_from_slice(&[rex, 0x0f, opcode, registers]);
        }
        15 => {
            let opcode = pick(random, &TWO_BYTE);
            memory(random, code, &[], &[0x0f, opcode], reg);
        }
        16 => code.extend_from_slice(&[rex & !4, 0xc1, 0xc0 | registers & 0x3f, random.next_u64() as u8]),
        17 => code.extend_from_slice(&[rex & !4, 0xd3, 0xc0 | registers & 0x3f]),
        18 => code.extend_from_slice(&[rex & !4, 0xf7, 0xd0 | registers & 0x2f]),
        19 => code.extend_from_slice(&[0x50 | reg & 7]),
        20 => code.extend_from_slice(&[0x58 | if matches!(reg & 7, 3 | 4) { 0 } else { reg & 7 }]),
        21..=23 => {
            code.extend_from_slice(&[0x70 | below(random, 16) as u8, (below(random, 160) as i64 - 90) as u8])
        }
        24 => {
            code.push(if below(random, 3) == 0 { 0xe8 } else { 0xe9 });
            code.extend_from_slice(&(below(random, 0x2000) as i32 - 0x1000).to_le_bytes());
        }
        25 => code.push(0xc3),
        // Through memory, a register
        26 => {
            let kind = pick(random, &[2, 4, 6]);
            memory(random, code, &[], &[0xff], kind);
        }
        27 => {
            let (prefix, opcode) = VECTOR[below(random, VECTOR.len() as u64) as usize];
            memory(random, code, &[prefix], &[0x0f, opcode], reg);
        }
        28 => {
            let (prefix, opcode) = VECTOR[below(random, VECTOR.len() as u64) as usize];
            code.extend_from_slice(&[prefix, rex, 0x0f, opcode, registers]);
        }
        29 => {
            // mov ecx, n; lea rdi, [rbx + n]; mov rsi, rbx; rep movs or stos; std or cld before
            code.extend_from_slice(&[0xb9, random.next_u64() as u8, 0, 0, 0, 0x48, 0x8d, 0xbb]);
            code.extend_from_slice(&place(random).to_le_bytes());
            code.extend_from_slice(&[0x48, 0x89, 0xde, if below(random, 4) == 0 { 0xfd } else { 0xfc }]);
            let prefix = 0xf2 + below(random, 2) as u8;
            let opcode = [0xa4, 0xa5, 0xaa, 0xab, 0xa6, 0xae, 0xac][below(random, 7) as usize];
            code.extend_from_slice(&[prefix, opcode]);
        }
        30 => code.extend_from_slice(&[0x9c, 0x58 | [0, 1, 2, 6][below(random, 4) as usize]]),
        // push imm; popfq: trap flag, direction, alignment and the rest
        31 => {
            let flags = random.next_u64() as u32 & 0x0004_0fd5 | 0x200;
            let flags = if below(random, 8) == 0 { flags } else { flags & !0x100 };
            code.push(0x68);
            code.extend_from_slice(&flags.to_le_bytes());
            code.push(0x9d);
        }
        32 => code.push([0xfa, 0xfb, 0xf5, 0xf8, 0xf9, 0xfc, 0x90, 0x9e][below(random, 8) as usize]),
        33 => match below(random, 6) {
            0 => code.extend_from_slice(&[0xcd, below(random, 256) as u8]),
            1 => code.push(0xcc),
            2 => code.extend_from_slice(&[0x0f, 0xa2]),
            3 => code.extend_from_slice(&[0x0f, 0x0b]),
            4 => code.extend_from_slice(&[0x48, 0x0f, 0xc7, 0xf0 | rm & 7 & !3]),
            _ => code.extend_from_slice(&[0x0f, 0x31]),
        },
        34 => code.extend_from_slice(&[rex & !4, 0xb8 | if matches!(rm & 7, 3 | 4) { 0 } else { rm & 7 }]),
        35 => {
            // lea; leave; enter-free; xchg
            let opcode = [0x8d, 0x87][below(random, 2) as usize];
            memory(random, code, &[], &[opcode], reg);
        }
        36..=40 => vex(random, code),
        41 | 42 => match below(random, 8) {
            // mov rcx, code; mov r11d, flags; sysretq
            0 => {
                code.extend_from_slice(&[0x48, 0xc7, 0xc1]);
                code.extend_from_slice(&(CODE as u32 + below(random, CODE_SIZE as u64) as u32).to_le_bytes());
                code.extend_from_slice(&[0x41, 0xbb]);
                code.extend_from_slice(&(random.next_u64() as u32 & 0xed5 | 0x200).to_le_bytes());
                code.extend_from_slice(&[0x48, 0x0f, 0x07]);
            }
            _ => code.extend_from_slice(&[0x0f, 0x05]),
        },
        _ => {
            let count = 1 + below(random, 8);
            code.extend((0..count).map(|_| random.next_u64() as u8));
        }
    }
}
