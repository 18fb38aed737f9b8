//! Lock-step: the same random programs in two machines, interpreted and translated, compared after each block.

use std::sync::Arc;

use vm_memory::VolatileMemory;

use super::{Engine, EngineOptions, act};
use crate::block::{Block, Flow, MAX_INSTRUCTIONS, build};
use crate::cpu::Trap;
use crate::os::{Left, Translator};
use crate::{HostRegion, Level, PhysicalMemory, Rights, Segment, SegmentRegister, Sequence, TimeSource};

const RAM: usize = 1 << 20;
/// Page tables; 2 MiB pages map the first 2 MiB onto themselves.
const TABLES: usize = 0x1000;
const CODE: usize = 0x1_0000;
pub(super) const CODE_SIZE: usize = 0x3000;
const DATA: usize = 0x2_0000;
const DATA_SIZE: usize = 0x4000;
const STEPS: usize = 400;
const PROGRAMS: u64 = 1500;

struct Stopped;

impl TimeSource for Stopped {
    fn tsc(&self) -> u64 {
        0
    }
}

/// What programs are made of.
pub(super) struct Random(Sequence);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(Sequence::new(seed))
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0.next_u64()
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn register(&mut self) -> u8 {
        self.below(16) as u8
    }
}

/// One random instruction.
pub(super) fn instruction(random: &mut Random, code: &mut Vec<u8>) {
    let before = code.len();
    any_instruction(random, code);
    // Shifts and multiplications leave flags undefined: TEST defines them.
    let bytes = &code[before..];
    if bytes.len() > 1 && matches!(bytes[1], 0xc1 | 0xd3 | 0xf7) {
        code.extend_from_slice(&[0x48, 0x85, 0xc0]);
    }
}

fn any_instruction(random: &mut Random, code: &mut Vec<u8>) {
    let (reg, rm) = (random.register(), random.register());
    let rex = 0x48 | reg >> 3 << 2 | rm >> 3;
    let registers = 0xc0 | (reg & 7) << 3 | rm & 7;
    // [rbx + disp32] lies in the data, or sometimes at the end of it, or on the code.
    let place = match random.below(24) {
        0 => CODE as i32 - DATA as i32 + random.below(CODE_SIZE as u64) as i32,
        1 => DATA_SIZE as i32 - 4,
        _ => random.below(DATA_SIZE as u64 - 16) as i32,
    };
    let memory = |code: &mut Vec<u8>, op: &[u8]| {
        code.push(0x48 | reg >> 3 << 2);
        code.extend_from_slice(op);
        code.push(0x83 | (reg & 7) << 3);
        code.extend_from_slice(&place.to_le_bytes());
    };
    let arithmetic = [0x01, 0x09, 0x11, 0x19, 0x21, 0x29, 0x31, 0x39, 0x85, 0x89];
    match random.below(28) {
        0..=4 => {
            let op = arithmetic[random.below(10) as usize];
            // RBX points at the data and RSP at the stack: most programs leave them.
            if matches!(rm, 3 | 4) && op != 0x39 && op != 0x85 {
                return;
            }
            code.extend_from_slice(&[rex, op - random.below(2) as u8, registers]);
        }
        5 => memory(code, &[arithmetic[random.below(10) as usize]]),
        6 if !matches!(reg, 3 | 4) => memory(code, &[0x8b]),
        7 if !matches!(reg, 3 | 4) => memory(code, &[0x03]),
        8 => memory(code, &[0x0f, 0xb1]),
        9 => {
            code.push(0xf0);
            memory(code, &[0x01]);
        }
        10 if !matches!(rm, 3 | 4) => {
            code.extend_from_slice(&[0x48 | rm >> 3, 0xc1, 0xe0 | rm & 7, random.next() as u8])
        }
        11 if !matches!(rm, 3 | 4) => code.extend_from_slice(&[0x48 | rm >> 3, 0xd3, 0xe8 | rm & 7]),
        12 => code.extend_from_slice(&[0x50 | reg & 7]),
        13 if !matches!(reg & 7, 3 | 4) => code.extend_from_slice(&[0x58 | reg & 7]),
        14 | 15 => code.extend_from_slice(&[0x70 | reg, (random.below(160) as i64 - 90) as u8]),
        16 => {
            code.push(if random.below(3) == 0 { 0xe8 } else { 0xe9 });
            code.extend_from_slice(&(random.below(0x2000) as i32 - 0x1000).to_le_bytes());
        }
        17 => code.push(0xc3),
        18 => {
            // movdqu xmm, [mem]; paddq; movdqu [mem], xmm
            let xmm = reg & 7;
            for op in [&[0xf3, 0x0f, 0x6f], &[0x66, 0x0f, 0xd4], &[0xf3, 0x0f, 0x7f]] {
                code.extend_from_slice(op);
                code.push(0x83 | xmm << 3);
                code.extend_from_slice(&(place & !15).to_le_bytes());
            }
            if random.below(2) == 0 {
                // pcmpistri xmm, [mem], imm, of any alignment
                code.extend_from_slice(&[0x66, 0x0f, 0x3a, 0x63, 0x83 | xmm << 3]);
                code.extend_from_slice(&place.to_le_bytes());
                code.push(random.next() as u8 & 0x7f);
            }
        }
        19 => code.extend_from_slice(&[rex, 0x0f, 0x40 | reg, 0xc0 | rm & 7]),
        20 => code.extend_from_slice(&[0x48 | rm >> 3, 0xf7, 0xe0 | rm & 7]),
        21 => code.extend_from_slice(&[0x9c, 0x59]),
        // A register with itself: XOR, MOV, ADD, SBB, IMUL of 32 bits.
        22 if !matches!(rm, 3 | 4) => {
            let same = 0xc0 | (rm & 7) << 3 | rm & 7;
            let op = [0x31, 0x89, 0x03, 0x1b][random.below(4) as usize];
            code.extend_from_slice(&[0x40 | rm >> 3 << 2 | rm >> 3, op, same]);
        }
        // TEST AH, OR AH, MOVZX EAX, AH, MOV CL, AH, MOV AH, DL, ADD [rbx+disp], AH.
        23 => match random.below(6) {
            0 => code.extend_from_slice(&[0xf6, 0xc4, random.next() as u8]),
            1 => code.extend_from_slice(&[0x80, 0xcc, random.next() as u8]),
            2 => code.extend_from_slice(&[0x0f, 0xb6, 0xc4]),
            3 => code.extend_from_slice(&[0x88, 0xe1]),
            4 => code.extend_from_slice(&[0x88, 0xd4]),
            _ => {
                code.extend_from_slice(&[0x00, 0xa3]);
                code.extend_from_slice(&place.to_le_bytes());
            }
        },
        24 => division(random, code, place),
        // CLI, STI, CLD, PUSHFQ and POPFQ.
        25 => code.extend_from_slice(
            [&[0xfa_u8] as &[u8], &[0xfb], &[0xfc], &[0x9c, 0x9d]][random.below(4) as usize],
        ),
        26 | 27 => match random.below(8) {
            0 | 1 => structure(random, code, place),
            2 | 3 => neighbours(random, code, place),
            4 | 5 => stack(random, code),
            6 => strings(random, code, place),
            _ => bits(random, code, place),
        },
        _ => code.push(0xf5),
    }
}

/// Accesses to neighbouring words, and what makes and uses flags between them. Some reach into the missing page.
fn neighbours(random: &mut Random, code: &mut Vec<u8>, place: i32) {
    let place = if random.below(64) == 0 { DATA_SIZE as i32 - random.below(48) as i32 } else { place };
    for _ in 0..2 + random.below(5) {
        let reg = [0, 1, 2, 5, 6, 7, 8, 9, 10, 11, 15][random.below(11) as usize];
        let rex = 0x40 | (random.below(2) as u8) << 3 | reg >> 3 << 2;
        let operand = 0x83 | (reg & 7) << 3;
        let at = (place + random.below(40) as i32).to_le_bytes();
        match random.below(8) {
            // MOV both ways, MOVZX, ADD, CMP, AND with memory.
            0..=3 => {
                let ops: [&[u8]; 6] = [&[0x8b], &[0x89], &[0x0f, 0xb6], &[0x03], &[0x39], &[0x21]];
                code.push(rex);
                code.extend_from_slice(ops[random.below(6) as usize]);
                code.push(operand);
                code.extend_from_slice(&at);
            }
            // MOV and CMP of an immediate byte.
            4 => {
                code.extend_from_slice(if random.below(2) == 0 { &[0xc6, 0x83] } else { &[0x80, 0xbb] });
                code.extend_from_slice(&at);
                code.push(random.next() as u8);
            }
            // ADD, SUB, AND, CMP of an immediate; INC; DEC.
            5 => {
                let op = [0xc0, 0xe8, 0xe0, 0xf8][random.below(4) as usize] | reg & 7;
                code.extend_from_slice(&[rex & 0x48 | reg >> 3, 0x83, op, random.next() as u8]);
            }
            6 => {
                let op = [0xc0, 0xc8][random.below(2) as usize] | reg & 7;
                code.extend_from_slice(&[rex & 0x48 | reg >> 3, 0xff, op]);
            }
            // LEA of another register; SETcc; CMOVcc from memory.
            _ => match random.below(3) {
                0 => code.extend_from_slice(&[0x48 | reg >> 3 << 2, 0x8d, 0x40 | (reg & 7) << 3, 9]),
                1 => code.extend_from_slice(&[0x0f, 0x90 | random.register(), 0xc1]),
                _ => {
                    code.extend_from_slice(&[0x48 | reg >> 3 << 2, 0x0f, 0x40 | random.register(), operand]);
                    code.extend_from_slice(&at);
                }
            },
        }
    }
}

/// Accesses near a register that may change between them, with branches and other accesses there.
fn structure(random: &mut Random, code: &mut Vec<u8>, place: i32) {
    // Some reach into the page behind the data, which is missing.
    let place = if random.below(16) == 0 { DATA_SIZE as i32 - random.below(64) as i32 } else { place };
    let base = [1, 5, 6, 7, 12, 13, 14, 9, 10][random.below(9) as usize];
    // LEA base, [RBX + place]
    code.extend_from_slice(&[0x48 | base >> 3 << 2, 0x8d, 0x83 | (base & 7) << 3]);
    code.extend_from_slice(&place.to_le_bytes());
    for _ in 0..3 + random.below(8) {
        let reg = random.register();
        let rex = 0x40 | (random.below(2) as u8) << 3 | reg >> 3 << 2 | base >> 3;
        let near = random.below(60) as u8;
        let operand = |code: &mut Vec<u8>, reg: u8| {
            code.push(0x40 | (reg & 7) << 3 | base & 7);
            if base & 7 == 4 {
                code.push(0x24);
            }
            code.push(near);
        };
        match random.below(12) {
            // MOV both ways, ADD, CMP, MOVZX, ADC to memory; not to RBX or RSP.
            0..=5 => {
                let ops: [&[u8]; 6] = [&[0x89], &[0x39], &[0x01], &[0x11], &[0x8b], &[0x0f, 0xb6]];
                let op = ops[random.below(if matches!(reg, 3 | 4) { 4 } else { 6 }) as usize];
                code.push(rex);
                code.extend_from_slice(op);
                operand(code, reg);
            }
            // MOVDQU from memory; a locked ADD.
            6 => {
                code.extend_from_slice(&[0xf3, rex & 0x41, 0x0f, 0x6f]);
                operand(code, reg & 7);
            }
            7 => {
                code.extend_from_slice(&[0xf0, rex, 0x01]);
                operand(code, reg);
            }
            // A branch over the next three bytes, most often to what stands there.
            8 => code.extend_from_slice(&[0x70 | reg, 3, 0x0f, 0x1f, 0x00]),
            // LEA base, [base + near]; ADD base, near; MOV base, RBX
            9 => {
                code.extend_from_slice(&[0x48 | base >> 3 << 2 | base >> 3, 0x8d]);
                operand(code, base);
            }
            10 => code.extend_from_slice(&[0x48 | base >> 3, 0x83, 0xc0 | base & 7, near]),
            _ => code.extend_from_slice(&[0x48 | base >> 3, 0x89, 0xd8 | base & 7]),
        }
    }
}

/// Pushes, pops and the stack between them.
fn stack(random: &mut Random, code: &mut Vec<u8>) {
    let pieces: [&[u8]; 10] = [
        &[0x51],                               // PUSH RCX
        &[0x41, 0x51],                         // PUSH R9
        &[0x6a, 0x85],                         // PUSH -123
        &[0x5a],                               // POP RDX
        &[0x41, 0x5a],                         // POP R10
        &[0x48, 0x83, 0xec, 0x18],             // SUB RSP, 24
        &[0x48, 0x83, 0xc4, 0x10],             // ADD RSP, 16
        &[0x4c, 0x89, 0x5c, 0x24, 0x08],       // MOV [RSP + 8], R11
        &[0x48, 0x89, 0xe7],                   // MOV RDI, RSP
        &[0xff, 0xb3, 0x20, 0x00, 0x00, 0x00], // PUSH [RBX + 32]
    ];
    for _ in 0..2 + random.below(8) {
        code.extend_from_slice(pieces[random.below(10) as usize]);
    }
}

/// REP MOVS and REP STOS of all sizes, overlapping, downwards, over page borders and into the missing page.
fn strings(random: &mut Random, code: &mut Vec<u8>, place: i32) {
    let near = place + random.below(64) as i32 - 32;
    // LEA RSI; LEA RDI; MOV ECX
    for (operand, at) in [(0xb3, place), (0xbb, if random.below(2) == 0 { near } else { 0x1ff0 })] {
        code.extend_from_slice(&[0x48, 0x8d, operand]);
        code.extend_from_slice(&at.to_le_bytes());
    }
    code.push(0xb9);
    code.extend_from_slice(&(random.below(64) as u32).to_le_bytes());
    let down = random.below(8) == 0;
    if down {
        code.push(0xfd);
    }
    let operation = [0xa4, 0xa5, 0xaa, 0xab][random.below(4) as usize];
    match random.below(3) {
        0 => code.extend_from_slice(&[0xf3, 0x48, operation]),
        1 if operation & 1 != 0 => code.extend_from_slice(&[0x66, 0xf3, operation]),
        _ => code.extend_from_slice(&[0xf3, operation]),
    }
    if down {
        code.push(0xfc);
    }
}

/// Bit strings, CMPXCHG16B and a selector.
fn bits(random: &mut Random, code: &mut Vec<u8>, place: i32) {
    if random.below(4) == 0 {
        code.extend_from_slice(&[0x8c, 0xd8]);
        // It wants 16 bytes aligned.
        let place = if random.below(16) == 0 { place } else { place & !15 };
        code.extend_from_slice(&[0x48, 0x0f, 0xc7, 0x8b]);
        code.extend_from_slice(&place.to_le_bytes());
        return;
    }
    // AND ECX, 0xffff; perhaps NEG RCX; BT, BTS, BTR or BTC [RBX + place], RCX
    code.extend_from_slice(&[0x81, 0xe1, 0xff, 0xff, 0, 0]);
    if random.below(3) == 0 {
        code.extend_from_slice(&[0x48, 0xf7, 0xd9]);
    }
    let operation = 0xa3 | (random.below(4) as u8) << 3;
    if operation != 0xa3 && random.below(2) == 0 {
        code.push(0xf0);
    }
    code.extend_from_slice(&[0x40 | (random.below(2) as u8) << 3, 0x0f, operation, 0x8b]);
    code.extend_from_slice(&place.to_le_bytes());
}

/// DIV or IDIV of 32 or 64 bits by a register or memory; most do not overflow.
fn division(random: &mut Random, code: &mut Vec<u8>, place: i32) {
    let wide = random.below(2) == 0;
    let signed = random.below(2) == 0;
    if random.below(16) != 0 {
        match (signed, wide) {
            (true, true) => code.extend_from_slice(&[0x48, 0x99]),
            (true, false) => code.push(0x99),
            (false, _) => code.extend_from_slice(&[0x31, 0xd2]),
        }
    }
    let kind = if signed { 7 } else { 6 };
    let rm = random.register();
    let rex = 0x40 | u8::from(wide) << 3;
    if random.below(2) == 0 {
        code.extend_from_slice(&[rex | rm >> 3, 0xf7, 0xc0 | kind << 3 | rm & 7]);
    } else {
        code.extend_from_slice(&[rex, 0xf7, 0x83 | kind << 3]);
        code.extend_from_slice(&place.to_le_bytes());
    }
}

/// The translator's, or on other hosts none.
fn options(threshold: u32) -> EngineOptions {
    EngineOptions { portable: false, threshold, cache_bytes: 1 << 20, ..EngineOptions::default() }
}

pub(super) struct Machine {
    pub(super) engine: Engine,
    pub(super) ram: Arc<HostRegion>,
}

impl Machine {
    pub(super) fn new(random: &mut Random, code: &[u8], options: EngineOptions) -> Self {
        let memory = PhysicalMemory::new();
        let ram = Arc::new(HostRegion::new(RAM).unwrap());
        memory.map(&ram, 0, 0, RAM, Rights { read: true, write: true, execute: true }).unwrap();
        let mut engine = Engine::with_options(&memory, Arc::new(Stopped), options);
        let store = |at: usize, value: u64| {
            ram.get_slice(at, 8).unwrap().copy_from(&value.to_le_bytes());
        };
        store(TABLES, TABLES as u64 + 0x1003);
        store(TABLES + 0x1000, TABLES as u64 + 0x2003);
        store(TABLES + 0x2000, TABLES as u64 + 0x3003);
        for page in (0..RAM).step_by(0x1000) {
            // The page behind the data is missing.
            let present = u64::from(page != DATA + DATA_SIZE) * 3;
            store(TABLES + 0x3000 + page / 0x1000 * 8, page as u64 | present);
        }
        // The code segment, for IRET.
        store(8, 0x00af_9b00_0000_ffff);
        ram.get_slice(CODE, code.len()).unwrap().copy_from(code);
        let cpu = &mut engine.cpu;
        cpu.set_cr(0, 0x8005_0033);
        cpu.set_cr(3, TABLES as u64);
        cpu.set_cr(4, 0x6a0);
        cpu.set_efer(0xd01);
        let data = Segment { selector: 16, base: 0, limit: u32::MAX, access_rights: 0xc093 };
        cpu.set_segment(SegmentRegister::Cs, Segment { selector: 8, access_rights: 0xa09b, ..data });
        for register in [SegmentRegister::Ss, SegmentRegister::Ds, SegmentRegister::Es] {
            cpu.set_segment(register, data);
        }
        for number in 0..16 {
            cpu.set_gpr(number, random.next() >> random.below(64));
        }
        cpu.set_gpr(3, DATA as u64);
        cpu.set_gpr(4, (DATA + DATA_SIZE / 2) as u64);
        cpu.set_rip((CODE + 0x800) as u64);
        cpu.set_rflags(random.next() & 0x8d5);
        cpu.intercepts.exceptions = !0;
        cpu.flush_tlb();
        Self { engine, ram }
    }

    /// Executes one block; `None` when it ended by a trap.
    fn step(&mut self, translated: bool) -> Option<()> {
        let engine = &mut self.engine;
        if engine.boundary().is_some() {
            return None;
        }
        let id = match engine.find() {
            Ok(Some(id)) => id,
            Ok(None) => return Some(()),
            Err(Trap) => return None,
        };
        let mode = engine.cpu.mode;
        if mode.has(crate::cpu::control::Mode::SINGLE) {
            let step = engine.cpu.begin_step();
            let flow = engine.execute(id);
            let trapped = engine.after_step(flow, step) == Flow::Trap;
            return if trapped && engine.cpu.take_trap().is_some() { None } else { Some(()) };
        }
        let trapped = if translated {
            let code = engine.cache.translate(id, mode).expect("64-bit code is translated");
            let budget = u64::from(engine.cache.get(id).unwrap().instructions);
            let translator = engine.cache.translator.as_mut().unwrap();
            let (left, executed) = translator.run(&mut engine.cpu, code, budget);
            engine.cpu.instructions += executed;
            left == Left::Trap
        } else {
            engine.execute(id) == Flow::Trap
        };
        if trapped && engine.cpu.take_trap().is_some() { None } else { Some(()) }
    }

    /// The blocks of a path that begins here: wherever branches may lead within the page.
    fn path(&mut self, random: &mut Random) -> Vec<Block> {
        let Engine { cpu, cache, .. } = &mut self.engine;
        let start = cpu.rip;
        let (mut blocks, mut left) = (Vec::new(), MAX_INSTRUCTIONS as u32);
        while blocks.len() < 12 && cpu.rip >> 12 == start >> 12 {
            let Ok(built) = build(cpu, &mut |cpu, messages| act(cpu, cache, messages)) else { break };
            if !built.cacheable || built.block.instructions > left {
                break;
            }
            left -= built.block.instructions;
            let bytes = &built.block.bytes;
            let mut decoder = iced_x86::Decoder::with_ip(64, bytes, cpu.rip, iced_x86::DecoderOptions::NONE);
            let last = decoder.iter().last().expect("a block has instructions");
            let target = last.near_branch_target();
            cpu.rip = if target != 0 && random.below(2) == 0 { target } else { last.next_ip() };
            blocks.push(built.block);
        }
        cpu.rip = start;
        blocks
    }

    /// As [`Self::step`], for host code of a path from here.
    fn step_path(&mut self, random: &mut Random, parts: &mut usize) -> Option<()> {
        if self.engine.boundary().is_some() {
            return None;
        }
        let mode = self.engine.cpu.mode;
        let blocks = if mode.has(crate::cpu::control::Mode::SINGLE) { Vec::new() } else { self.path(random) };
        if blocks.is_empty() {
            return self.step(false);
        }
        *parts += blocks.len() - 1;
        let path: Vec<_> = blocks.iter().collect();
        let engine = &mut self.engine;
        let translator = engine.cache.translator.as_mut().unwrap();
        let code = translator.translate(&path, mode).or_else(|| {
            translator.clear();
            translator.translate(&path, mode)
        });
        let budget = blocks.iter().map(|block| u64::from(block.instructions)).sum();
        let (left, executed) = translator.run(&mut engine.cpu, code.unwrap(), budget);
        engine.cpu.instructions += executed;
        // Nobody may come back to it: its blocks are not the cache's.
        translator.drop_block(code.unwrap());
        if left == Left::Trap && engine.cpu.take_trap().is_some() { None } else { Some(()) }
    }

    pub(super) fn state(&self) -> (Vec<u64>, [u128; 16]) {
        let cpu = &self.engine.cpu;
        let mut words: Vec<u64> = (0..16).map(|number| cpu.gpr(number)).collect();
        words.extend([cpu.rip(), cpu.rflags()]);
        (words, cpu.xmm)
    }

    pub(super) fn memory(&self) -> Vec<u8> {
        let mut bytes = vec![0; DATA + DATA_SIZE - CODE];
        self.ram.get_slice(CODE, bytes.len()).unwrap().copy_to(&mut bytes);
        bytes
    }
}

/// How a step ended.
type End = Option<()>;

/// Lets the one behind go on until both have executed as much: host code may be left within a block.
fn meet(interpreted: &mut Machine, translated: &mut Machine, mut ends: (End, End)) -> (End, End) {
    loop {
        let (one, other) = (interpreted.engine.cpu.instructions, translated.engine.cpu.instructions);
        let alike = one == other && ends.0 == ends.1;
        if !alike && one <= other && ends.0.is_some() {
            ends.0 = interpreted.step(false);
        } else if !alike && other <= one && ends.1.is_some() {
            ends.1 = translated.step(true);
        } else {
            return ends;
        }
    }
}

/// A program of random instructions.
fn any_program(random: &mut Random) -> Vec<u8> {
    let mut code = Vec::new();
    while code.len() < CODE_SIZE - 64 {
        instruction(random, &mut code);
    }
    code
}

/// Two machines alike, for whoever steps them to interpret or translate.
fn twins(random: &mut Random) -> [Machine; 2] {
    let code = any_program(random);
    let seed = random.next();
    [(); 2].map(|()| Machine::new(&mut Random::new(seed), &code, options(u32::MAX)))
}

/// Compares both machines where both have met; false if overwritten code left flags undefined at the end of a block.
fn agree(
    interpreted: &Machine,
    translated: &Machine,
    ends: (End, End),
    place: std::fmt::Arguments<'_>,
) -> bool {
    assert_eq!(ends.0, ends.1, "{place}");
    let counts = (interpreted.engine.cpu.instructions, translated.engine.cpu.instructions);
    assert_eq!(counts.0, counts.1, "{place}");
    let (one, other) = (interpreted.state(), translated.state());
    if one.0[17] != other.0[17] && one.0[..17] == other.0[..17] {
        return false;
    }
    assert_eq!(one, other, "{place}");
    true
}

/// Lets `step` take two machines through random programs, the first interpreted, and compares them after each step; answers
/// how many steps that were.
fn in_lock_step(seed: u64, mut step: impl FnMut(&mut [Machine; 2], &mut Random) -> (End, End)) -> u64 {
    let (mut steps, mut undefined) = (0, 0);
    for program in 0..PROGRAMS {
        let mut random = Random::new(program ^ seed);
        let mut machines = twins(&mut random);
        for number in 0..STEPS {
            let at = machines[0].engine.cpu.rip();
            let ends = step(&mut machines, &mut random);
            let [interpreted, translated] = &mut machines;
            let ends = meet(interpreted, translated, ends);
            let place = format_args!("program {program} step {number} from {at:#x}");
            if !agree(interpreted, translated, ends, place) {
                undefined += 1;
                break;
            }
            steps += 1;
            if ends.0.is_none() {
                break;
            }
        }
        assert!(machines[0].memory() == machines[1].memory(), "memory of program {program}");
    }
    assert!(undefined < PROGRAMS / 50, "{undefined} programs end with other flags");
    steps
}

#[test]
fn translated_blocks_do_what_interpreted_ones_do() {
    if Translator::new(1 << 20, Level::V2).is_none() {
        return;
    }
    let blocks =
        in_lock_step(0, |[interpreted, translated], _| (interpreted.step(false), translated.step(true)));
    assert!(blocks > 10 * PROGRAMS, "programs end too soon: {blocks} blocks");
}

#[test]
fn code_of_paths_does_what_interpreted_blocks_do() {
    if Translator::new(1 << 20, Level::V2).is_none() {
        return;
    }
    let mut parts = 0;
    let steps = in_lock_step(0x1357_9bdf, |[_, translated], random| {
        (Some(()), translated.step_path(random, &mut parts))
    });
    assert!(steps > 8 * PROGRAMS && parts as u64 > steps, "paths are short: {parts} parts in {steps} steps");
}

/// One instruction that leaves generated code, or could: privileged, and with a shadow.
fn privileged(random: &mut Random, code: &mut Vec<u8>) {
    let pieces: [&[u8]; 9] = [
        &[0xfb],                               // STI
        &[0xfa],                               // CLI
        &[0x9c, 0x9d],                         // PUSHFQ, POPFQ
        &[0x0f, 0x20, 0xd8, 0x0f, 0x22, 0xd8], // MOV RAX, CR3; MOV CR3, RAX
        &[0x0f, 0x01, 0x3b],                   // INVLPG [RBX]
        &[0x0f, 0x01, 0xf8],                   // SWAPGS
        &[0xfb, 0xeb, 0x00],                   // STI and a jump
        // IRETQ to what follows: SS, RSP, RFLAGS, CS and RIP, on the stack as it is.
        &[
            0x48, 0x89, 0xe0, 0x6a, 0x00, 0x50, 0x9c, 0x6a, 0x08, 0x48, 0x8d, 0x05, 0x03, 0x00, 0x00, 0x00,
            0x50, 0x48, 0xcf,
        ],
        &[0x90],
    ];
    code.extend_from_slice(pieces[random.below(9) as usize]);
}

/// Whole programs with forward branches only, left to the engine: with generated code and without.
#[test]
fn programs_end_alike_however_they_are_run() {
    if Translator::new(1 << 20, Level::V2).is_none() {
        return;
    }
    let mut ends = std::collections::HashMap::new();
    for program in 0..PROGRAMS {
        let mut random = Random::new(program ^ 0xabcd_ef01);
        let mut code = vec![0x90; 0x800];
        let end = code.len() + random.below(0x1800) as usize;
        while code.len() < end {
            match random.below(8) {
                0 => privileged(&mut random, &mut code),
                1 => {
                    // A branch over ADD RCX, RAX, perhaps into the next page.
                    code.extend_from_slice(&[0x70 | random.register(), 3, 0x48, 0x01, 0xc1]);
                }
                _ => {
                    let before = code.len();
                    instruction(&mut random, &mut code);
                    // No branches but those above, no return, and no stores to the program.
                    let own = CODE as i32 - DATA as i32..CODE as i32 - DATA as i32 + CODE_SIZE as i32;
                    let stores = code[before..]
                        .windows(4)
                        .any(|bytes| own.contains(&i32::from_le_bytes(bytes.try_into().unwrap())));
                    if stores || matches!(code.get(before), Some(0x70..=0x7f | 0xe8 | 0xe9 | 0xc3)) {
                        code.truncate(before);
                    }
                }
            }
        }
        code.push(0xf4);
        let seed = random.next();
        let mut machines = [
            Machine::new(&mut Random::new(seed), &code, options(u32::MAX)),
            Machine::new(&mut Random::new(seed), &code, options(0)),
            Machine::new(&mut Random::new(seed), &code, options(1)),
        ];
        let outcomes = machines.each_mut().map(|machine| {
            let exit = machine.engine.run(None);
            let shadow = machine.engine.cpu.interruptibility;
            *ends.entry(std::mem::discriminant(&exit.reason)).or_insert(0) += 1;
            (format!("{exit:?}"), machine.state(), shadow, machine.engine.cpu.instructions, machine.memory())
        });
        for other in &outcomes[1..] {
            assert_eq!(outcomes[0].0, other.0, "exit of program {program}");
            assert_eq!(outcomes[0].1, other.1, "state of program {program}");
            assert_eq!(outcomes[0].2, other.2, "shadow of program {program}");
            assert_eq!(outcomes[0].3, other.3, "instructions of program {program}");
            assert!(outcomes[0].4 == other.4, "memory of program {program}");
        }
    }
    assert!(ends.len() > 1, "programs end in one way only: {ends:?}");
}

/// A loop that reads two neighbouring words a thousand times, from `place` on: what it holds is of no use at a page border.
#[test]
fn a_path_that_holds_look_ups_in_vain_is_made_anew() {
    if Translator::new(1 << 20, Level::V2).is_none() {
        return;
    }
    for (place, in_vain) in [(0x1008, false), (0x1ff8, true), (0x1ffc, true)] {
        let mut code = vec![0x90; 0x800];
        // mov esi, place; mov ecx, 1000
        code.push(0xbe);
        code.extend_from_slice(&(DATA as u32 + place).to_le_bytes());
        code.extend_from_slice(&[0xb9, 0xe8, 3, 0, 0]);
        let start = code.len();
        // mov rax, [rsi]; add rdx, rax; mov rax, [rsi + 8]; add [rsi], rax; dec ecx; jnz; hlt
        code.extend_from_slice(&[
            0x48, 0x8b, 0x06, 0x48, 0x01, 0xc2, 0x48, 0x8b, 0x46, 0x08, 0x48, 0x01, 0x06,
        ]);
        code.extend_from_slice(&[0xff, 0xc9, 0x75, 0xef, 0xf4]);
        let machines = [u32::MAX, 4].map(|threshold| {
            let mut machine = Machine::new(&mut Random::new(1), &code, options(threshold));
            for word in 0..2 {
                let at = DATA + place as usize + 8 * word;
                machine.ram.get_slice(at, 8).unwrap().copy_from(&[word as u8 + 1; 8]);
            }
            machine.engine.run(None);
            machine
        });
        let [one, other] = &machines;
        assert_eq!(one.state(), other.state(), "{place:#x}");
        assert_eq!(one.engine.cpu.instructions, other.engine.cpu.instructions, "{place:#x}");
        assert!(one.memory() == other.memory(), "{place:#x}");
        let cache = &other.engine.cache;
        let host = other.ram.get_slice(CODE + start, 1).unwrap().ptr_guard().as_ptr() as usize;
        let block = cache.find(host, other.engine.cpu.mode.0).and_then(|id| cache.get(id)).unwrap();
        assert_eq!(block.plain.get(), in_vain, "{place:#x}");
        assert!(block.code.get().is_some(), "{place:#x}");
    }
}
