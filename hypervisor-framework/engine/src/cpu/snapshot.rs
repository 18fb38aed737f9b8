//! A CPU's state as a value: to compare two CPUs, and to make one like the other.

use std::fmt::{self, Write as _};

use super::flags::bit;
use super::{Cpu, Interruptibility, Msrs, slot};
use crate::instructions::x87::Fpu;
use crate::{DescriptorTable, Event, Segment, Sequence};

/// All that instructions read or change of a CPU, but for translations it remembers.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    regs: [u64; 16],
    rip: u64,
    rflags: u64,
    cr: [u64; 5],
    pdptes: [u64; 4],
    efer: u64,
    xcr0: u64,
    segments: [Segment; 8],
    /// Of FS and GS.
    bases: [u64; 2],
    gdtr: DescriptorTable,
    idtr: DescriptorTable,
    cpl: u8,
    dr: [u64; 8],
    msrs: Msrs,
    interruptibility: Interruptibility,
    pending_debug: u64,
    injected: Option<Event>,
    xmm: [u128; 16],
    ymm_upper: [u128; 16],
    mxcsr: u32,
    fpu: Fpu,
    instructions: u64,
    entropy: Option<Sequence>,
}

/// Whether both may be images of RFLAGS that differ in arithmetic flags only. Some instructions leave such flags
/// undefined, and the host's and the interpreter's are then not the same.
pub fn same_but_flags(one: u64, other: u64) -> bool {
    let image = |value: u64| value & !(bit::ALL | bit::FIXED) == 0 && value & bit::FIXED != 0;
    one == other || image(one) && image(other) && (one ^ other) & !bit::ARITHMETIC == 0
}

impl Snapshot {
    /// The count of instructions.
    pub fn instructions(&self) -> u64 {
        self.instructions
    }

    /// Is it the same state, but for flags that may be undefined?
    pub fn matches(&self, other: &Self) -> bool {
        if self == other {
            return true;
        }
        let alike = |(one, other): (&u64, &u64)| same_but_flags(*one, *other);
        self.regs.iter().zip(&other.regs).all(alike)
            && same_but_flags(self.rflags, other.rflags)
            && Self { regs: other.regs, rflags: other.rflags, ..self.clone() } == *other
    }

    /// What differs, `this` before `that` in each line.
    pub fn differences(&self, other: &Self) -> String {
        let mut text = String::new();
        let mut differs = |name: &str, this: &dyn fmt::Debug, that: &dyn fmt::Debug| {
            let (this, that) = (format!("{this:x?}"), format!("{that:x?}"));
            if this != that {
                // A String takes everything.
                let _ = write!(text, "; {name} {this} and {that}");
            }
        };
        let names = ["rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi"];
        for (at, (this, that)) in self.regs.iter().zip(&other.regs).enumerate() {
            let name = names.get(at).map_or_else(|| format!("r{at}"), |name| (*name).to_owned());
            differs(&name, this, that);
        }
        for (at, (this, that)) in self.xmm.iter().zip(&other.xmm).enumerate() {
            differs(&format!("xmm{at}"), this, that);
        }
        for (at, (this, that)) in self.ymm_upper.iter().zip(&other.ymm_upper).enumerate() {
            differs(&format!("upper half of ymm{at}"), this, that);
        }
        differs("rip", &self.rip, &other.rip);
        differs("rflags", &self.rflags, &other.rflags);
        differs("instructions", &self.instructions, &other.instructions);
        differs("cr", &(self.cr, self.pdptes), &(other.cr, other.pdptes));
        differs("efer, xcr0, cpl", &(self.efer, self.xcr0, self.cpl), &(other.efer, other.xcr0, other.cpl));
        differs("segments", &(self.segments, self.bases), &(other.segments, other.bases));
        differs("gdtr, idtr", &(self.gdtr, self.idtr), &(other.gdtr, other.idtr));
        differs("dr", &(self.dr, self.pending_debug), &(other.dr, other.pending_debug));
        differs("msrs", &self.msrs, &other.msrs);
        differs("events", &(self.interruptibility, self.injected), &(other.interruptibility, other.injected));
        differs("mxcsr", &self.mxcsr, &other.mxcsr);
        differs("fpu", &self.fpu, &other.fpu);
        differs("entropy", &self.entropy, &other.entropy);
        text
    }
}

impl Cpu {
    /// The state as it is now.
    pub fn snapshot(&self) -> Snapshot {
        let mut regs = [0; 16];
        regs.copy_from_slice(&self.regs[..16]);
        Snapshot {
            regs,
            rip: self.rip,
            rflags: self.flags.get(),
            cr: [self.cr0, self.cr2, self.cr3, self.cr4, self.cr8],
            pdptes: self.pdptes(),
            efer: self.efer,
            xcr0: self.xcr0,
            segments: self.segments,
            bases: [self.regs[slot::FS_BASE as usize], self.regs[slot::GS_BASE as usize]],
            gdtr: self.gdtr,
            idtr: self.idtr,
            cpl: self.cpl,
            dr: self.dr,
            msrs: self.msrs,
            interruptibility: self.interruptibility,
            pending_debug: self.pending_debug,
            injected: self.injected,
            xmm: self.xmm,
            ymm_upper: self.ymm_upper,
            mxcsr: self.mxcsr,
            fpu: self.fpu.clone(),
            instructions: self.instructions,
            entropy: self.entropy,
        }
    }

    /// Takes over a state. Translations are forgotten where control registers differ.
    pub fn restore(&mut self, from: &Snapshot) {
        let control = |cpu: &Self| [cpu.cr0, cpu.cr3, cpu.cr4, cpu.efer];
        let before = control(self);
        self.regs[..16].copy_from_slice(&from.regs);
        self.rip = from.rip;
        self.flags.load(from.rflags);
        [self.cr0, self.cr2, self.cr3, self.cr4, self.cr8] = from.cr;
        (self.efer, self.xcr0, self.cpl) = (from.efer, from.xcr0, from.cpl);
        self.segments = from.segments;
        [self.regs[slot::FS_BASE as usize], self.regs[slot::GS_BASE as usize]] = from.bases;
        (self.gdtr, self.idtr) = (from.gdtr, from.idtr);
        (self.dr, self.pending_debug) = (from.dr, from.pending_debug);
        self.msrs = from.msrs;
        (self.interruptibility, self.injected) = (from.interruptibility, from.injected);
        (self.xmm, self.ymm_upper) = (from.xmm, from.ymm_upper);
        self.mxcsr = from.mxcsr;
        self.set_pdptes(from.pdptes);
        self.fpu = from.fpu.clone();
        (self.instructions, self.entropy) = (from.instructions, from.entropy);
        if control(self) != before {
            self.mmu.flush_all();
        }
        self.update_mode();
    }
}
