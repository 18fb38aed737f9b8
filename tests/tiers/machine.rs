//! A CPU with a handler for each vector, around a random program.

use std::sync::Arc;

use engine::{
    Controls, DescriptorTable, Engine, EngineOptions, Event, EventKind, Exit, HostRegion, Interruptibility,
    Level, PhysicalMemory, Reason, Rights, Segment, SegmentRegister, Sequence, TimeSource,
};
use vm_memory::VolatileMemory;

use crate::below;

const RAM: usize = 0x6_0000;
/// Page tables; not mapped, so that programs do not reach them: when an entry is noticed is not compared.
const TABLES: usize = 0x1000;
const DESCRIPTORS: usize = 0x8000;
const TASK: usize = 0x8800;
const VECTORS: usize = 0x9000;
const HANDLERS: usize = 0xa000;
const HANDLER_SIZE: usize = 16;
/// Where SYSCALL leads.
const SYSTEM_CALL: usize = HANDLERS + 0x1000;
const END_OF_HANDLERS: usize = SYSTEM_CALL + 0x100;
/// Stack of interrupts out of user mode.
const KERNEL_STACK: usize = 0x1_0000;
/// The program: code that may be written to.
pub(crate) const CODE: usize = 0x2_0000;
pub(crate) const CODE_SIZE: usize = 0x3000;
/// Data, with a read-only page behind it, and none behind that.
pub(crate) const DATA: usize = 0x3_0000;
pub(crate) const DATA_SIZE: usize = 0x4000;

const PRESENT: u64 = 0x67;
const READ_ONLY: u64 = 0x65;
const SUPERVISOR: u64 = 0x63;
const IF: u64 = 1 << 9;

struct Stopped;

impl TimeSource for Stopped {
    fn tsc(&self) -> u64 {
        0
    }
}

/// One tier's machine.
pub(crate) struct Machine {
    pub(crate) engine: Engine,
    ram: Arc<HostRegion>,
}

/// What the page at an address may be used for.
fn rights(page: usize) -> u64 {
    match page {
        0x8000..0x1_1000 => SUPERVISOR,
        _ if page == DATA + DATA_SIZE => READ_ONLY,
        _ if (CODE..CODE + CODE_SIZE).contains(&page) || (DATA..DATA + DATA_SIZE).contains(&page) => PRESENT,
        _ => 0,
    }
}

/// What the handler of a vector does: a fault's instruction is left byte by byte, the rest goes on.
fn handler(vector: usize) -> &'static [u8] {
    match vector {
        // add rsp, 8; inc qword [rsp]; iretq
        8 | 10..=14 | 17 => &[0x48, 0x83, 0xc4, 0x08, 0x48, 0xff, 0x04, 0x24, 0x48, 0xcf],
        // inc qword [rsp]; iretq
        0 | 5..=7 | 16 | 19 => &[0x48, 0xff, 0x04, 0x24, 0x48, 0xcf],
        // push rax; push rcx; xor eax, ecx; pop rcx; pop rax; iretq
        32.. => &[0x50, 0x51, 0x31, 0xc8, 0x59, 0x58, 0x48, 0xcf],
        _ => &[0x48, 0xcf],
    }
}

impl Machine {
    /// A machine about to execute `code`; the state follows from `seed`.
    pub(crate) fn new(jit: bool, user: bool, seed: u64, threshold: u32, code: &[u8]) -> Self {
        let memory = PhysicalMemory::new();
        let ram = Arc::new(HostRegion::new(RAM).unwrap());
        memory.map(&ram, 0, 0, RAM, Rights { read: true, write: true, execute: true }).unwrap();
        let options = EngineOptions {
            jit,
            portable: false,
            threshold,
            cache_bytes: 1 << 20,
            seed: Some(seed),
            check: None,
            level: Level::V3,
        };
        let mut machine = Self { engine: Engine::with_options(&memory, Arc::new(Stopped), options), ram };
        machine.write_tables();
        machine.write(CODE, code);
        let mut random = Sequence::new(seed);
        machine.write_system_call(&mut random);
        let cpu = &mut machine.engine.cpu;
        cpu.set_cr(0, 0x8005_0033);
        cpu.set_cr(3, TABLES as u64);
        cpu.set_cr(4, 0x4_06a0);
        cpu.set_xcr0(7);
        cpu.set_efer(if below(&mut random, 8) == 0 { 0xd00 } else { 0xd01 });
        // Mostly the segments that there are.
        let user_base = if below(&mut random, 8) == 0 { 0x13 } else { 0x10 };
        let msrs = cpu.msrs_mut();
        msrs.star = user_base << 48 | 8 << 32;
        msrs.lstar = SYSTEM_CALL as u64;
        msrs.fmask = random.next_u64() & 0x4_7fd5 | if below(&mut random, 4) == 0 { 0 } else { 0x4_0100 };
        let (data, code) = if user { (0x1b, 0x23) } else { (0x10, 0x8) };
        let level = if user { 0x60 } else { 0 };
        let data = Segment { selector: data, base: 0, limit: u32::MAX, access_rights: 0xc093 | level };
        cpu.set_segment(
            SegmentRegister::Cs,
            Segment { selector: code, access_rights: 0xa09b | level, ..data },
        );
        for register in [SegmentRegister::Ss, SegmentRegister::Ds, SegmentRegister::Es] {
            cpu.set_segment(register, data);
        }
        let task = Segment { selector: 0x28, base: TASK as u64, limit: 0x67, access_rights: 0x8b };
        cpu.set_segment(SegmentRegister::Tr, task);
        cpu.set_gdtr(DescriptorTable { base: DESCRIPTORS as u64, limit: 0x37 });
        cpu.set_idtr(DescriptorTable { base: VECTORS as u64, limit: 0xfff });
        for number in 0..16 {
            cpu.set_gpr(number, random.next_u64() >> (random.next_u64() & 63));
        }
        cpu.set_rip(CODE as u64 + random.next_u64() % CODE_SIZE as u64);
        cpu.set_rflags(random.next_u64() & 0x8d5 | IF);
        cpu.intercepts.controls = Controls::RDTSC | Controls::HLT;
        machine.point_registers();
        machine.engine.cpu.flush_tlb();
        machine
    }

    fn write_tables(&mut self) {
        let word = |machine: &mut Self, at: usize, value: u64| machine.write(at, &value.to_le_bytes());
        for level in 0..3 {
            let table = TABLES + 0x1000 * level;
            word(self, table, (table + 0x1000) as u64 | PRESENT);
        }
        for page in (0..RAM).step_by(0x1000) {
            word(
                self,
                TABLES + 0x3000 + page / 0x1000 * 8,
                if rights(page) == 0 { 0 } else { page as u64 | rights(page) },
            );
        }
        // Code and data of the supervisor, data and code of the user, the task.
        let segments =
            [0, 0x00af_9b00_0000_ffff, 0x00cf_9300_0000_ffff, 0x00cf_f300_0000_ffff, 0x00af_fb00_0000_ffff];
        for (at, segment) in segments.into_iter().enumerate() {
            word(self, DESCRIPTORS + 8 * at, segment);
        }
        word(self, DESCRIPTORS + 0x28, 0x0000_8b00_0000_0067 | (TASK as u64) << 16);
        word(self, TASK + 4, KERNEL_STACK as u64 + 0xff0);
        for vector in 0..256 {
            let at = (HANDLERS + vector * HANDLER_SIZE) as u64;
            // Interrupt gates that user code may call.
            word(self, VECTORS + 16 * vector, at & 0xffff | 0x8 << 16 | 0xee00 << 32 | at >> 16 << 48);
            self.write(at as usize, handler(vector));
        }
    }

    /// Points RBX at the data and RSP at a stack in it.
    fn point_registers(&mut self) {
        let stack = if self.engine.cpu.cpl() == 3 { DATA + DATA_SIZE / 2 } else { KERNEL_STACK + 0x800 };
        self.engine.cpu.set_gpr(3, DATA as u64);
        self.engine.cpu.set_gpr(4, stack as u64);
    }

    /// What SYSCALL leads to: R11 and RCX are changed a little, and SYSRET.
    fn write_system_call(&mut self, random: &mut Sequence) {
        let mut code = Vec::new();
        if below(random, 4) != 0 {
            // xor r11, flags
            let trap = if below(random, 16) == 0 { 0x100 } else { 0 };
            let alignment = if below(random, 16) == 0 { 0x4_0000 } else { 0 };
            code.extend_from_slice(&[0x49, 0x81, 0xf3]);
            code.extend_from_slice(&(random.next_u64() as u32 & 0xed5 | trap | alignment).to_le_bytes());
        }
        match below(random, 16) {
            // Not canonical: ror rcx, 20
            0 => code.extend_from_slice(&[0x48, 0xc1, 0xc9, 0x14]),
            // push rdx; pop rdx; cmp rdx, rdi
            1..=5 => code.extend_from_slice(&[0x52, 0x5a, 0x48, 0x39, 0xfa]),
            _ => {}
        }
        // SYSRET, of 32 bits if it has no REX.W
        code.extend_from_slice(if below(random, 32) == 0 { &[0x0f, 0x07] } else { &[0x48, 0x0f, 0x07] });
        self.write(SYSTEM_CALL, &code);
    }

    fn write(&mut self, at: usize, bytes: &[u8]) {
        self.ram.get_slice(at, bytes.len()).unwrap().copy_from(bytes);
    }

    /// Takes over registers and memory.
    pub(crate) fn become_like(&mut self, other: &Self) {
        self.write(DESCRIPTORS, &other.memory());
        self.engine.cpu.restore(&other.engine.cpu.snapshot());
    }

    /// All memory but the page tables.
    pub(crate) fn memory(&self) -> Vec<u8> {
        let mut bytes = vec![0; RAM - DESCRIPTORS];
        self.ram.get_slice(DESCRIPTORS, bytes.len()).unwrap().copy_to(&mut bytes);
        bytes
    }

    /// Bytes at a linear address that is mapped onto itself; few or none at the end of memory.
    pub(crate) fn bytes_at(&self, linear: u64) -> Vec<u8> {
        let at = usize::try_from(linear).unwrap_or(usize::MAX).min(RAM);
        let mut bytes = vec![0; (RAM - at).min(15)];
        self.ram.get_slice(at, bytes.len()).unwrap().copy_to(&mut bytes);
        bytes
    }

    /// Instructions executed.
    pub(crate) fn count(&self) -> u64 {
        self.engine.cpu.instructions()
    }

    /// Does about a stop what a VMM might; `act` chooses.
    pub(crate) fn go_on(&mut self, exit: &Exit, act: u64) {
        let cpu = &mut self.engine.cpu;
        let length = u64::from(exit.instruction_length);
        if exit.reason != Reason::Deadline {
            // As if the instruction had been done.
            cpu.set_rip(cpu.rip().wrapping_add(length.max(1)));
            cpu.set_interruptibility(Interruptibility::empty());
        }
        let program = CODE as u64..(CODE + CODE_SIZE) as u64;
        let handlers = HANDLERS as u64..END_OF_HANDLERS as u64;
        if !program.contains(&cpu.rip()) && !handlers.contains(&cpu.rip()) {
            cpu.set_rip(CODE as u64 + (act >> 8) % CODE_SIZE as u64);
        }
        let shadow = Interruptibility::STI | Interruptibility::MOV_SS;
        let open = cpu.rflags() & IF != 0 && !cpu.interruptibility().intersects(shadow);
        let vector = 32 + (act >> 32) as u8 % 200;
        let event = |kind, vector| Event { vector, kind, error_code: None, instruction_length: 0 };
        match act & 15 {
            0..=9 if open => cpu.inject(event(EventKind::External, vector)),
            10 => {
                let flags = cpu.rflags();
                cpu.set_rflags(flags ^ (act >> 40 & 0x8d5) | IF);
            }
            11 => self.point_registers(),
            12 => {
                // As a device writes: to data, or to code.
                let at = [DATA, CODE][(act >> 5 & 1) as usize] + (act >> 16 & 0x2ff8) as usize;
                self.write(at, &act.to_le_bytes());
            }
            13 => cpu.set_rip(CODE as u64 + (act >> 8) % CODE_SIZE as u64),
            14 if !cpu.interruptibility().contains(Interruptibility::NMI) => {
                cpu.inject(event(EventKind::Nmi, 2));
            }
            _ => {}
        }
    }
}
