//! A CPU of ours that executes one instruction at a time.

use std::sync::Arc;

use vm_memory::{Bytes, VolatileMemory};

use super::{MEMORY, State};
use crate::block::{Flow, build};
use crate::cpu::control::{Mode, cr0, cr4, efer};
use crate::cpu::{Cpu, TrapCause, gpr, slot};
use crate::memory::{HostRegion, PhysicalMemory};
use crate::{Rights, SegmentRegister, TimeSource};

const CODE: u64 = 0x10_0000;
/// The page of data; what is behind it is not mapped.
pub(super) const DATA: u64 = 0x10_1000;
/// End of what is mapped.
pub(super) const END: u64 = 0x10_2000;

struct NoTime;

impl TimeSource for NoTime {
    fn tsc(&self) -> u64 {
        0
    }
}

/// A CPU with a page of code and a page of data.
pub(crate) struct Machine {
    pub(super) cpu: Cpu,
    region: Arc<HostRegion>,
    /// Where RSI points.
    pub(super) address: u64,
    /// Added to what RSI has to make RDI.
    pub(super) rdi_offset: u64,
}

impl Machine {
    pub(super) fn new() -> Self {
        let region = Arc::new(HostRegion::new((END - CODE) as usize).expect("memory"));
        let memory = PhysicalMemory::new();
        let rights = Rights { read: true, write: true, execute: true };
        memory.map(&region, 0, CODE, region.size(), rights).expect("mapping");
        let mut cpu = Cpu::new(memory, Arc::new(NoTime));
        cpu.set_cr(0, cr0::PE | cr0::NE);
        cpu.set_cr(4, cr4::OSFXSR | cr4::OSXMMEXCPT | cr4::PAE);
        cpu.set_efer(efer::LME | efer::LMA);
        let mut code = cpu.segment(SegmentRegister::Cs);
        (code.base, code.limit, code.access_rights) = (0, u32::MAX, 0xa09b);
        cpu.set_segment(SegmentRegister::Cs, code);
        cpu.mmu.map = cpu.memory.snapshot();
        Self { cpu, region, address: DATA + 0x100, rdi_offset: 0 }
    }

    fn write(&self, address: u64, bytes: &[u8]) {
        let mapped = bytes.len().min((END - address) as usize);
        self.region
            .as_volatile_slice()
            .write_slice(&bytes[..mapped], (address - CODE) as usize)
            .expect("mapped");
    }

    pub(super) fn read(&self, address: u64, bytes: &mut [u8]) {
        let mapped = bytes.len().min((END - address) as usize);
        self.region
            .as_volatile_slice()
            .read_slice(&mut bytes[..mapped], (address - CODE) as usize)
            .expect("mapped");
    }

    /// Executes one instruction. After a fault the state is as before.
    pub(super) fn run(&mut self, code: &[u8], state: &mut State) -> Result<(), TrapCause> {
        let before = state.clone();
        let outcome = self.try_run(code, state);
        if outcome.is_err() {
            assert_eq!(self.cpu.xmm[..3], before.xmm, "a fault changes nothing");
            assert_eq!(self.cpu.flags.get(), before.flags, "a fault changes nothing");
        }
        outcome
    }

    /// Executes one instruction that may have done a part when it faults.
    pub(super) fn try_run(&mut self, code: &[u8], state: &mut State) -> Result<(), TrapCause> {
        self.write(CODE, code);
        self.write(self.address, &state.memory);
        let address = self.address;
        let cpu = &mut self.cpu;
        cpu.xmm[..3].copy_from_slice(&state.xmm);
        cpu.mxcsr = state.mxcsr;
        cpu.regs[usize::from(gpr::RAX)] = state.rax;
        cpu.regs[usize::from(gpr::RCX)] = state.rcx;
        cpu.regs[usize::from(gpr::RDX)] = state.rdx;
        cpu.regs[usize::from(gpr::RSI)] = address;
        cpu.regs[usize::from(gpr::RDI)] = address.wrapping_add(self.rdi_offset);
        cpu.flags.load(state.flags);
        cpu.rip = CODE;
        cpu.update_mode();
        cpu.mode.0 |= Mode::SINGLE;
        let block = build(cpu, &mut |_, _| {}).map_err(|_| cpu.cause.clone())?.block;
        cpu.regs[usize::from(slot::BLOCK_RIP)] = cpu.rip;
        let (first, rest) = block.ops.split_first().expect("not empty");
        let flow = (first.exec)(cpu, first, rest);
        let mut memory = [0; MEMORY];
        self.read(address, &mut memory);
        let cpu = &mut self.cpu;
        if flow == Flow::Trap {
            return Err(cpu.cause.clone());
        }
        assert_eq!(cpu.rip, CODE + code.len() as u64);
        state.xmm.copy_from_slice(&cpu.xmm[..3]);
        state.memory = memory;
        state.mxcsr = cpu.mxcsr;
        state.rax = cpu.gpr(gpr::RAX);
        state.rcx = cpu.gpr(gpr::RCX);
        state.rdx = cpu.gpr(gpr::RDX);
        state.flags = cpu.rflags();
        Ok(())
    }
}
