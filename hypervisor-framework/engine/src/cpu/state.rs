//! Reading and writing a CPU's state from outside, and what is derived from it.

use std::sync::Arc;

use super::control::{Mode, cr0, cr4, efer};
use super::flags::{Flags, bit};
use super::{Cpu, DescriptorTable, Interruptibility, Level, Msrs, TimeSource, TrapCause, Trapped, slot};
use crate::instructions::vex::Lanes;
use crate::instructions::x87::Fpu;
use crate::intercept::{Intercepts, MsrRight};
use crate::memory::{Mailbox, PhysicalMemory};
use crate::mmu::{Mmu, Space};
use crate::{Event, Segment, SegmentRegister};

/// XCR0 bits that AVX instructions want: SSE and AVX state.
const AVX_STATE: u64 = 6;

impl Cpu {
    /// A CPU in the state after reset (SDM vol. 3, table 10-1).
    pub(crate) fn new(memory: Arc<PhysicalMemory>, time: Arc<dyn TimeSource>) -> Self {
        let mailbox = Arc::new(Mailbox::default());
        memory.attach(&mailbox);
        let mut cpu = Self {
            regs: [0; slot::COUNT],
            rip: 0,
            flags: Flags::default(),
            mmu: Mmu::new(memory.snapshot()),
            xmm: [0; 16],
            ymm_upper: [0; 16],
            lanes: Lanes::default(),
            mxcsr: 0x1f80,
            fpu: Fpu::default(),
            fpu_blocked: 0,
            mode: Mode::default(),
            cpl: 0,
            segments: [Segment::null(0); 8],
            gdtr: DescriptorTable::default(),
            idtr: DescriptorTable::default(),
            cr0: 0,
            cr2: 0,
            cr3: 0,
            cr4: 0,
            cr8: 0,
            efer: 0,
            xcr0: 1,
            dr: [0; 8],
            msrs: Msrs::default(),
            interruptibility: Interruptibility::empty(),
            pending_debug: 0,
            left: None,
            injected: None,
            delivering: None,
            nmi_unblocked_by_iret: false,
            step_next: false,
            trap_flag_due: false,
            cause: TrapCause::BadAddress,
            trapped: Trapped::default(),
            instructions: 0,
            entropy: None,
            level: Level::V2,
            intercepts: Intercepts::default(),
            time,
            mailbox,
            memory,
        };
        cpu.reset();
        cpu
    }

    /// The state after reset; policy stays.
    pub fn reset(&mut self) {
        self.regs = [0; slot::COUNT];
        self.regs[super::gpr::RDX as usize] = 0x600;
        self.rip = 0xfff0;
        self.flags = Flags::default();
        self.flags.load(0);
        self.xmm = [0; 16];
        self.ymm_upper = [0; 16];
        self.mxcsr = 0x1f80;
        self.fpu = Fpu::default();
        let data = Segment { selector: 0, base: 0, limit: 0xffff, access_rights: 0x93 };
        self.segments = [data; 8];
        self.segments[1] =
            Segment { selector: 0xf000, base: 0xffff_0000, limit: 0xffff, access_rights: 0x9b };
        self.segments[6] = Segment { access_rights: 0x82, ..data };
        self.segments[7] = Segment { access_rights: 0x8b, ..data };
        self.gdtr = DescriptorTable { base: 0, limit: 0xffff };
        self.idtr = self.gdtr;
        self.cr0 = cr0::CD | cr0::NW | cr0::ET;
        (self.cr2, self.cr3, self.cr4, self.cr8, self.efer) = (0, 0, 0, 0, 0);
        self.xcr0 = 1;
        self.dr = [0, 0, 0, 0, 0, 0, 0xffff_0ff0, 0x400];
        self.msrs = Msrs::default();
        self.interruptibility = Interruptibility::empty();
        self.pending_debug = 0;
        self.injected = None;
        self.delivering = None;
        self.cpl = 0;
        self.mmu.flush_all();
        self.update_mode();
    }

    /// A random number; `None` if the host has none now.
    pub(crate) fn random(&mut self) -> Option<u64> {
        match &mut self.entropy {
            Some(sequence) => Some(sequence.next_u64()),
            None => crate::os::random_u64(),
        }
    }

    /// A general register by ModRM number (0 RAX, 1 RCX, 2 RDX, 3 RBX, 4 RSP, 5 RBP, 6 RSI, 7 RDI, 8–15).
    pub fn gpr(&self, number: u8) -> u64 {
        self.regs[number as usize & 15]
    }

    /// Writes a general register.
    pub fn set_gpr(&mut self, number: u8, value: u64) {
        self.regs[number as usize & 15] = value;
    }

    /// RIP.
    pub fn rip(&self) -> u64 {
        self.rip
    }

    /// Writes RIP.
    pub fn set_rip(&mut self, value: u64) {
        self.rip = value;
    }

    /// RFLAGS.
    pub fn rflags(&self) -> u64 {
        self.flags.get()
    }

    /// Writes RFLAGS; bits that do not exist are dropped.
    pub fn set_rflags(&mut self, value: u64) {
        self.flags.load(value);
    }

    /// A segment register, LDTR or TR.
    pub fn segment(&self, register: SegmentRegister) -> Segment {
        let mut segment = self.segments[register as usize];
        match register {
            SegmentRegister::Fs => segment.base = self.slot(slot::FS_BASE),
            SegmentRegister::Gs => segment.base = self.slot(slot::GS_BASE),
            _ => {}
        }
        segment
    }

    /// Writes a segment register with its hidden part; CPL becomes the DPL of SS.
    pub fn set_segment(&mut self, register: SegmentRegister, segment: Segment) {
        self.segments[register as usize] = segment;
        match register {
            SegmentRegister::Fs => self.set_slot(slot::FS_BASE, segment.base),
            SegmentRegister::Gs => self.set_slot(slot::GS_BASE, segment.base),
            SegmentRegister::Ss => self.cpl = segment.dpl(),
            _ => {}
        }
    }

    /// GDTR.
    pub fn gdtr(&self) -> DescriptorTable {
        self.gdtr
    }

    /// Writes GDTR.
    pub fn set_gdtr(&mut self, table: DescriptorTable) {
        self.gdtr = table;
    }

    /// IDTR.
    pub fn idtr(&self) -> DescriptorTable {
        self.idtr
    }

    /// Writes IDTR.
    pub fn set_idtr(&mut self, table: DescriptorTable) {
        self.idtr = table;
    }

    /// Control register 0, 2, 3, 4 or 8; others read 0.
    pub fn cr(&self, number: u8) -> u64 {
        match number {
            0 => self.cr0,
            2 => self.cr2,
            3 => self.cr3,
            4 => self.cr4,
            8 => self.cr8,
            _ => 0,
        }
    }

    /// Writes a control register without the checks of MOV CR. Translations are forgotten where CR0, CR4 or EFER
    /// change what they mean; after CR3, call [`Self::flush_tlb`].
    pub fn set_cr(&mut self, number: u8, value: u64) {
        match number {
            0 if value != self.cr0 => {
                let changed = value ^ self.cr0;
                self.cr0 = value;
                if changed & (cr0::PG | cr0::WP | cr0::PE) != 0 {
                    self.mmu.flush_all();
                }
            }
            2 => self.cr2 = value,
            3 => self.cr3 = value,
            4 if value != self.cr4 => {
                let changed = value ^ self.cr4;
                self.cr4 = value;
                let meaning = cr4::PSE | cr4::PAE | cr4::PGE | cr4::SMEP | cr4::SMAP | cr4::PCIDE;
                if changed & meaning != 0 {
                    self.mmu.flush_all();
                }
            }
            8 => self.cr8 = value & 0xf,
            _ => {}
        }
    }

    /// IA32_EFER.
    pub fn efer(&self) -> u64 {
        self.efer
    }

    /// Writes IA32_EFER without checks.
    pub fn set_efer(&mut self, value: u64) {
        if (value ^ self.efer) & (efer::NXE | efer::LMA) != 0 {
            self.mmu.flush_all();
        }
        self.efer = value;
    }

    /// XCR0.
    pub fn xcr0(&self) -> u64 {
        self.xcr0
    }

    /// Writes XCR0 without checks.
    pub fn set_xcr0(&mut self, value: u64) {
        self.xcr0 = value;
        self.update_mode();
    }

    /// The instructions there are.
    pub fn level(&self) -> Level {
        self.level
    }

    /// Debug register 0–7.
    pub fn dr(&self, number: u8) -> u64 {
        self.dr[number as usize & 7]
    }

    /// Writes a debug register.
    pub fn set_dr(&mut self, number: u8, value: u64) {
        self.dr[number as usize & 7] = value;
        self.mmu.flush_all();
    }

    /// The PDPTEs of PAE paging.
    pub fn pdptes(&self) -> [u64; 4] {
        self.mmu.pdptes
    }

    /// Writes the PDPTEs.
    pub fn set_pdptes(&mut self, pdptes: [u64; 4]) {
        self.mmu.pdptes = pdptes;
    }

    /// Model-specific registers.
    pub fn msrs(&self) -> &Msrs {
        &self.msrs
    }

    /// Model-specific registers, to write.
    pub fn msrs_mut(&mut self) -> &mut Msrs {
        &mut self.msrs
    }

    /// XMM register 0–15.
    pub fn xmm(&self, number: u8) -> u128 {
        self.xmm[number as usize & 15]
    }

    /// Writes an XMM register.
    pub fn set_xmm(&mut self, number: u8, value: u128) {
        self.xmm[number as usize & 15] = value;
    }

    /// The upper half of YMM register 0–15.
    pub fn ymm_upper(&self, number: u8) -> u128 {
        self.ymm_upper[number as usize & 15]
    }

    /// Writes the upper half of a YMM register.
    pub fn set_ymm_upper(&mut self, number: u8, value: u128) {
        self.ymm_upper[number as usize & 15] = value;
    }

    /// What blocks events.
    pub fn interruptibility(&self) -> Interruptibility {
        self.interruptibility
    }

    /// Writes what blocks events.
    pub fn set_interruptibility(&mut self, value: Interruptibility) {
        self.interruptibility = value;
    }

    /// DR6-format bits of debug exceptions that are due at the next instruction boundary.
    pub fn pending_debug(&self) -> u64 {
        self.pending_debug
    }

    /// Writes the pending debug exceptions.
    pub fn set_pending_debug(&mut self, bits: u64) {
        self.pending_debug = bits;
    }

    /// Delivers an event through the IDT at the start of the next run.
    pub fn inject(&mut self, event: Event) {
        self.injected = Some(event);
    }

    /// Is there an injected event that was not yet delivered?
    pub fn has_injected_event(&self) -> bool {
        self.injected.is_some()
    }

    /// Current privilege level.
    pub fn cpl(&self) -> u8 {
        self.cpl
    }

    /// Forgets all cached translations of linear addresses.
    pub fn flush_tlb(&mut self) {
        self.mmu.flush_all();
    }

    /// The guest's time-stamp counter.
    pub fn tsc(&self) -> u64 {
        self.time.tsc().wrapping_add(self.intercepts.tsc_offset as u64)
    }

    /// Guest instructions executed since creation.
    pub fn instructions(&self) -> u64 {
        self.instructions
    }

    /// The rights the guest has for an MSR.
    pub(crate) fn msr_right(&self, msr: u32) -> MsrRight {
        let found = self.intercepts.msrs.iter().find(|right| right.msr == msr);
        found.copied().unwrap_or(MsrRight { msr, read: false, write: false })
    }

    /// Real-address or virtual-8086 mode.
    pub(crate) fn real_mode(&self) -> bool {
        self.cr0 & cr0::PE == 0 || self.flags.has(bit::VM)
    }

    /// The linear address of an instruction pointer.
    pub(crate) fn code_address(&self, rip: u64) -> u64 {
        if self.mode.is64() { rip } else { rip.wrapping_add(self.segments[1].base) & 0xffff_ffff }
    }

    /// Derives mode, TLB space and what blocks the FPU from control registers, segments and flags.
    pub(crate) fn update_mode(&mut self) {
        let [es, cs, ss, ds, ..] = self.segments;
        let long = self.efer & efer::LMA != 0;
        let mut mode = if long && cs.long() {
            2
        } else if cs.big() {
            1
        } else {
            0
        };
        if mode != 2 {
            if ss.big() {
                mode |= Mode::STACK32;
            }
            if cs.flat() && ss.flat() && ds.flat() && es.flat() {
                mode |= Mode::FLAT;
            }
        }
        if long {
            mode |= Mode::LONG;
        }
        if self.real_mode() {
            mode |= Mode::REAL;
        }
        if self.cpl == 3 {
            mode |= Mode::USER;
        }
        self.mode = Mode(mode);
        self.update_space();
        let x87 = self.cr0 & (cr0::EM | cr0::TS) != 0;
        let sse = self.cr0 & (cr0::EM | cr0::TS) != 0 || self.cr4 & cr4::OSFXSR == 0;
        let avx = self.cr0 & cr0::TS != 0
            || self.cr4 & cr4::OSXSAVE == 0
            || self.xcr0 & AVX_STATE != AVX_STATE
            || self.level < Level::V3
            || self.real_mode();
        self.fpu_blocked = u8::from(x87) | u8::from(sse) << 1 | u8::from(avx) << 2;
    }

    /// As [`Self::update_mode`] where CPL and flags alone have changed, in 64-bit mode before and after.
    #[allow(dead_code)] // not every host has generated code
    pub(crate) fn update_level(&mut self) {
        let user = if self.cpl == 3 { Mode::USER } else { 0 };
        self.mode = Mode(self.mode.0 & !Mode::USER | user);
        self.update_space();
    }

    fn update_space(&mut self) {
        let space = if self.cpl == 3 {
            if self.cr0 & cr0::AM != 0 && self.flags.has(bit::AC) { Space::Checked } else { Space::User }
        } else if self.flags.has(bit::AC) && self.cr4 & cr4::SMAP != 0 {
            Space::SupervisorAc
        } else {
            Space::Supervisor
        };
        self.mmu.set_space(space);
    }
}

impl Drop for Cpu {
    fn drop(&mut self) {
        self.memory.detach(&self.mailbox);
    }
}
