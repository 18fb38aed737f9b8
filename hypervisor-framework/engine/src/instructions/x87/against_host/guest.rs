//! Runs instructions in the engine, a block at a time, without its run loop.

use std::collections::HashMap;
use std::sync::Arc;

use vm_memory::{Bytes, MmapRegion, VolatileMemory};

use super::super::legacy::{self, Pointers};
use super::{OPERAND, State};
use crate::block::{Block, Flow, build};
use crate::cpu::{Cpu, TrapCause, gpr, slot};
use crate::exit::Reason;
use crate::memory::HostRegion;
use crate::{Controls, Level, PhysicalMemory, Rights, Segment, SegmentRegister, TimeSource};

const MEMORY: usize = 2 << 20;
/// Where the operand is.
pub(super) const DATA: u64 = 0x8000;
const CODE: u64 = 0x1_0000;

struct NoTime;
impl TimeSource for NoTime {
    fn tsc(&self) -> u64 {
        0
    }
}

pub(super) struct Guest {
    pub(super) cpu: Cpu,
    region: Arc<HostRegion>,
    blocks: HashMap<Vec<u8>, (u64, Block)>,
    next: u64,
}

impl Guest {
    /// A CPU in 64-bit mode with memory mapped one to one.
    pub(super) fn new() -> Self {
        let region: Arc<HostRegion> = Arc::new(MmapRegion::new(MEMORY).unwrap());
        for (at, entry) in [(0x1000, 0x2003_u64), (0x2000, 0x3003), (0x3000, 0x83)] {
            region.get_slice(at, 8).unwrap().write_obj(entry, 0).unwrap();
        }
        let memory = PhysicalMemory::new();
        memory.map(&region, 0, 0, MEMORY, Rights { read: true, write: true, execute: true }).unwrap();
        let mut cpu = Cpu::new(memory, Arc::new(NoTime));
        cpu.set_cr(3, 0x1000);
        cpu.set_cr(4, 0x4_0620);
        cpu.set_efer(0x500);
        cpu.set_cr(0, 0x8000_0033);
        cpu.set_xcr0(3);
        let segment = Segment { selector: 8, base: 0, limit: u32::MAX, access_rights: 0xa09b };
        cpu.set_segment(SegmentRegister::Cs, segment);
        let data = Segment { access_rights: 0xc093, selector: 16, ..segment };
        for register in [SegmentRegister::Ss, SegmentRegister::Ds, SegmentRegister::Es] {
            cpu.set_segment(register, data);
        }
        cpu.intercepts.controls = Controls::ENABLE_XSAVES;
        Self { cpu, region, blocks: HashMap::new(), next: CODE }
    }

    /// The same CPU with AVX state enabled.
    pub(super) fn with_avx() -> Self {
        let mut guest = Self::new();
        guest.cpu.level = Level::V3;
        guest.cpu.set_xcr0(7);
        guest
    }

    /// The same CPU in 16-bit code without paging, in real-address or protected mode, with segments that have bases.
    pub(super) fn legacy(real: bool) -> Self {
        let mut guest = Self::new();
        let cpu = &mut guest.cpu;
        cpu.set_efer(0);
        cpu.set_cr(0, if real { 0x32 } else { 0x33 });
        let code = Segment { selector: 0x100, base: 0x1000, limit: 0xffff, access_rights: 0x9b };
        cpu.set_segment(SegmentRegister::Cs, code);
        let data = Segment { selector: 0x800, base: DATA, limit: 0xfff, access_rights: 0x93 };
        for register in [SegmentRegister::Ss, SegmentRegister::Ds, SegmentRegister::Es] {
            cpu.set_segment(register, data);
        }
        guest
    }

    pub(super) fn load(&mut self, state: &State) {
        let cpu = &mut self.cpu;
        legacy::get_x87(&state.image.0, &mut cpu.fpu, Pointers::Near);
        cpu.mxcsr = legacy::get_mxcsr(&state.image.0).unwrap();
        legacy::get_xmm(&state.image.0, cpu, 16);
        for (i, chunk) in state.operand.0.chunks_exact(8).enumerate() {
            let value = u64::from_le_bytes(chunk.try_into().unwrap());
            cpu.store(DATA + 8 * i as u64, value).unwrap();
        }
        cpu.flags.load(state.flags);
        cpu.set_gpr(gpr::RAX, state.rax);
        cpu.set_gpr(gpr::RDX, state.rdx);
        cpu.set_gpr(gpr::RSI, DATA);
        cpu.set_gpr(gpr::RDI, DATA);
    }

    pub(super) fn save(&mut self) -> State {
        let mut state = State::initial();
        let cpu = &mut self.cpu;
        legacy::put_x87(&mut state.image.0, &cpu.fpu, Pointers::Near);
        legacy::put_mxcsr(&mut state.image.0, cpu.mxcsr);
        legacy::put_xmm(&mut state.image.0, cpu, 16);
        for i in 0..OPERAND / 8 {
            let value: u64 = cpu.load(DATA + 8 * i as u64).unwrap();
            state.operand.0[8 * i..8 * i + 8].copy_from_slice(&value.to_le_bytes());
        }
        state.flags = cpu.flags.get();
        state.rax = cpu.gpr(gpr::RAX);
        state.rdx = cpu.gpr(gpr::RDX);
        state
    }

    /// Runs `code`, which falls through to its end, and answers what it trapped with if it did.
    pub(super) fn execute(&mut self, code: &[u8]) -> Option<TrapCause> {
        self.cpu.update_mode();
        let base = self.cpu.segment(SegmentRegister::Cs).base;
        if !self.blocks.contains_key(code) {
            // An XSETBV ends the block.
            let mut bytes = code.to_vec();
            bytes.extend([0x0f, 0x01, 0xd1]);
            let at = self.next;
            self.next += bytes.len().next_multiple_of(16) as u64;
            self.region.get_slice(at as usize, bytes.len()).unwrap().copy_from(&bytes);
            self.cpu.rip = at - base;
            let built = build(&mut self.cpu, &mut |_, _| {}).unwrap();
            self.blocks.insert(code.to_vec(), (at, built.block));
        }
        let (at, block) = &self.blocks[code];
        self.cpu.rip = *at - base;
        self.cpu.regs[slot::BLOCK_RIP as usize] = *at - base;
        let (op, rest) = block.ops.split_first().unwrap();
        let flow = (op.exec)(&mut self.cpu, op, rest);
        assert_eq!(flow, Flow::Trap);
        match &self.cpu.cause {
            TrapCause::Exit(Reason::Xsetbv) => None,
            other => Some(other.clone()),
        }
    }

    pub(super) fn run(&mut self, code: &[u8], state: &State) -> State {
        self.load(state);
        if let Some(cause) = self.execute(code) {
            panic!("{code:02x?} in {}: {cause:?}", state.describe());
        }
        self.save()
    }
}
