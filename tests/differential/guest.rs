//! The same cases in the engine: 64-bit mode at privilege level 3.

use std::sync::Arc;

use engine::{
    Engine, EngineOptions, EventKind, Exit, HostRegion, Level, PhysicalMemory, Reason, Rights, Segment,
    SegmentRegister, TimeSource,
};
use vm_memory::VolatileMemory;

use crate::state::{
    CODE, CODE_SIZE, End, Fault, GS_BASE, Image, Mode, Outcome, Program, State, USER_DATA, WINDOW,
    WINDOW_SIZE, WRITABLE,
};

/// Physical addresses: page tables, window, code.
const TABLES: usize = 0x1000;
const WINDOW_AT: usize = 0x8000;
const CODE_AT: usize = 0xc000;
const SIZE: usize = 0x1_0000;

/// Page-table entry bits: present, writable, user, accessed, dirty, no execution.
const TABLE: u64 = 0x27;
const READ: u64 = 0x65;
const WRITE: u64 = 0x67;
const NO_EXECUTE: u64 = 1 << 63;

/// Bytes of an XSAVE image with x87, SSE and AVX.
const XSAVE_IMAGE: usize = 832;
/// Where the upper halves of YMM registers are in it.
const UPPER: usize = 576;

struct NoTime;

impl TimeSource for NoTime {
    fn tsc(&self) -> u64 {
        0
    }
}

/// What executes guest code.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tier {
    Interpreter,
    /// Host code from the first execution on, where the host has a translator.
    Translator,
    /// Code that the portable tier compiled before the first execution.
    Portable,
}

/// The engine with a machine around it.
pub(crate) struct Guest {
    engine: Engine,
    ram: Arc<HostRegion>,
}

impl Guest {
    pub(crate) fn new(tier: Tier) -> Self {
        let ram = Arc::new(HostRegion::new(SIZE).unwrap());
        let memory = PhysicalMemory::new();
        memory.map(&ram, 0, 0, SIZE, Rights { read: true, write: true, execute: true }).unwrap();
        let options = EngineOptions {
            jit: tier != Tier::Interpreter,
            portable: tier == Tier::Portable,
            threshold: 0,
            cache_bytes: 1 << 20,
            level: Level::V3,
            ..EngineOptions::default()
        };
        let engine = Engine::with_options(&memory, Arc::new(NoTime), options);
        let mut guest = Self { engine, ram };
        guest.make_tables();
        guest.set_up();
        guest
    }

    fn make_tables(&mut self) {
        let index = |address: u64, level: u32| (address >> (12 + 9 * level)) as usize & 511;
        let entry = |table: usize, index: usize| TABLES + 0x1000 * table + 8 * index;
        for level in 1..4 {
            let table = (3 - level) as usize;
            let next = (TABLES + 0x1000 * (table + 1)) as u64;
            self.store(entry(table, index(WINDOW, level)), &(next | TABLE).to_le_bytes());
        }
        for page in 0..WINDOW_SIZE / 0x1000 {
            let bits = if page * 0x1000 < WRITABLE { WRITE } else { READ } | NO_EXECUTE;
            let value = (WINDOW_AT + 0x1000 * page) as u64 | bits;
            self.store(entry(3, index(WINDOW, 0) + page), &value.to_le_bytes());
        }
        for page in 0..CODE_SIZE / 0x1000 {
            let value = (CODE_AT + 0x1000 * page) as u64 | READ;
            self.store(entry(3, index(CODE, 0) + page), &value.to_le_bytes());
        }
    }

    fn set_up(&mut self) {
        let cpu = &mut self.engine.cpu;
        // PG AM WP NE ET MP PE; OSXSAVE FSGSBASE OSXMMEXCPT OSFXSR PGE MCE PAE DE; NXE LMA LME SCE.
        cpu.set_cr(0, 0x8005_0033);
        cpu.set_cr(3, TABLES as u64);
        cpu.set_cr(4, 0x5_06e8);
        cpu.set_efer(0xd01);
        cpu.set_xcr0(7);
        let data = Segment { selector: USER_DATA, base: 0, limit: u32::MAX, access_rights: 0xc0f3 };
        for register in [SegmentRegister::Ss, SegmentRegister::Ds, SegmentRegister::Es] {
            cpu.set_segment(register, data);
        }
        cpu.set_segment(SegmentRegister::Fs, Segment::null(0));
        // Too short for a map of I/O permissions.
        let task = Segment { selector: 0x40, base: 0, limit: 0x40, access_rights: 0x8b };
        cpu.set_segment(SegmentRegister::Tr, task);
        cpu.set_segment(SegmentRegister::Gs, Segment { base: GS_BASE, ..Segment::null(0) });
        cpu.intercepts.exceptions = !0;
        cpu.flush_tlb();
    }

    /// Writes to the window.
    pub(crate) fn set_window(&mut self, offset: usize, bytes: &[u8]) {
        self.store(WINDOW_AT + offset, bytes);
    }

    /// Reads the window from its start.
    pub(crate) fn window(&self, bytes: &mut [u8]) {
        self.ram.get_slice(WINDOW_AT, bytes.len()).unwrap().copy_to(bytes);
    }

    /// Writes as a device does, so that the engine hears of it.
    fn store(&mut self, at: usize, bytes: &[u8]) {
        self.ram.get_slice(at, bytes.len()).unwrap().copy_from(bytes);
    }

    /// Runs a case.
    pub(crate) fn run(&mut self, program: &Program, state: &State) -> Outcome {
        let code = |at: u64| CODE_AT + (at - CODE) as usize;
        self.store(code(program.start), &program.bytes);
        for &landing in [program.end()].iter().chain(&program.landings) {
            // CPUID, which exits.
            self.store(code(landing), &[0x0f, 0xa2]);
        }
        let cpu = &mut self.engine.cpu;
        let access_rights = match program.mode {
            Mode::Long => 0xa0fb,
            Mode::Compatibility => 0xc0fb,
        };
        let selector = program.mode.code_segment();
        let segment = Segment { selector, base: 0, limit: u32::MAX, access_rights };
        cpu.set_segment(SegmentRegister::Cs, segment);
        for number in 0..16 {
            cpu.set_gpr(number, state.gpr[number as usize]);
        }
        cpu.set_rflags(state.rflags);
        cpu.set_rip(state.rip);
        let mut image = [0; XSAVE_IMAGE];
        image[..512].copy_from_slice(&state.image.0);
        image[512] = 7;
        for (place, value) in image[UPPER..].chunks_exact_mut(16).zip(state.upper) {
            place.copy_from_slice(&value.to_le_bytes());
        }
        cpu.write_xsave_image(&image).unwrap();

        let exit = self.engine.run(None);

        let cpu = &self.engine.cpu;
        cpu.read_xsave_image(&mut image).unwrap();
        let mut after = State::new();
        after.image = Image(*image.first_chunk().unwrap());
        after.upper = std::array::from_fn(|number| cpu.ymm_upper(number as u8));
        after.gpr = std::array::from_fn(|number| cpu.gpr(number as u8));
        after.rflags = cpu.rflags();
        after.rip = cpu.rip();
        let end = end(&exit, program, &mut after);
        Outcome { state: after, end }
    }
}

fn end(exit: &Exit, program: &Program, state: &mut State) -> End {
    match &exit.reason {
        Reason::Cpuid if state.rip == program.end() || program.landings.contains(&state.rip) => End::Landed,
        Reason::Exception { event, qualification } => {
            if event.kind == EventKind::SoftwareException {
                state.rip = state.rip.wrapping_add(u64::from(exit.instruction_length));
            }
            End::Fault(Fault {
                vector: event.vector,
                error: event.error_code.unwrap_or(0),
                address: if event.vector == 14 { *qualification } else { 0 },
            })
        }
        other => End::Other(format!("{other:x?}")),
    }
}
