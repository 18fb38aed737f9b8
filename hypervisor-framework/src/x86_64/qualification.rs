//! Exit qualifications (SDM vol. 3, 28.2.1), one type per exit reason that has one.
//!
//! Each wraps the raw field; accessors decode on demand, and `new` composes what hardware would report.

use super::Reg;

/// Reason 30: tables 28-5.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IoQualification(pub u64);

impl IoQualification {
    /// Access width in bytes: 1, 2 or 4.
    pub const fn width(self) -> u8 {
        match self.0 & 7 {
            0 => 1,
            1 => 2,
            _ => 4,
        }
    }

    /// IN or INS.
    pub const fn is_in(self) -> bool {
        self.0 & 1 << 3 != 0
    }

    /// INS or OUTS.
    pub const fn is_string(self) -> bool {
        self.0 & 1 << 4 != 0
    }

    /// With a REP prefix.
    pub const fn is_rep(self) -> bool {
        self.0 & 1 << 5 != 0
    }

    /// The port is an immediate, else DX.
    pub const fn is_immediate(self) -> bool {
        self.0 & 1 << 6 != 0
    }

    /// The port.
    pub const fn port(self) -> u16 {
        (self.0 >> 16) as u16
    }
}

/// The VM-exit instruction information of INS and OUTS, table 28-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StringIoInfo(pub u32);

impl StringIoInfo {
    /// Address size in bytes: 2, 4 or 8.
    pub const fn address_size(self) -> u8 {
        match self.0 >> 7 & 7 {
            0 => 2,
            1 => 4,
            _ => 8,
        }
    }

    /// The segment of OUTS: 0 ES, 1 CS, 2 SS, 3 DS, 4 FS, 5 GS. INS always uses ES and leaves this undefined.
    pub const fn segment(self) -> u8 {
        (self.0 >> 15 & 7) as u8
    }
}

/// What a control register access does: bits 5:4 of [`CrQualification`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CrAccess {
    /// MOV to CR.
    Write,
    /// MOV from CR.
    Read,
    /// CLTS.
    Clts,
    /// LMSW.
    Lmsw,
}

/// Reason 28: table 28-3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CrQualification(pub u64);

impl CrQualification {
    /// 0, 3, 4 or 8; 0 for CLTS and LMSW.
    pub const fn cr(self) -> u8 {
        (self.0 & 15) as u8
    }

    /// Which instruction.
    pub const fn access(self) -> CrAccess {
        match self.0 >> 4 & 3 {
            0 => CrAccess::Write,
            1 => CrAccess::Read,
            2 => CrAccess::Clts,
            _ => CrAccess::Lmsw,
        }
    }

    /// LMSW had a memory operand.
    pub const fn lmsw_from_memory(self) -> bool {
        self.0 & 1 << 6 != 0
    }

    /// The general register of a MOV.
    pub const fn gpr(self) -> Reg {
        Reg::gpr((self.0 >> 8) as u8)
    }

    /// LMSW's source operand.
    pub const fn lmsw_source(self) -> u16 {
        (self.0 >> 16) as u16
    }
}

/// Reason 29: table 28-4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DrQualification(pub u64);

impl DrQualification {
    /// 0–7.
    pub const fn dr(self) -> u8 {
        (self.0 & 7) as u8
    }

    /// MOV from DR.
    pub const fn is_read(self) -> bool {
        self.0 & 1 << 4 != 0
    }

    /// The general register.
    pub const fn gpr(self) -> Reg {
        Reg::gpr((self.0 >> 8) as u8)
    }
}

/// Reason 48: table 28-7.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EptQualification(pub u64);

impl EptQualification {
    /// The access was a data read.
    pub const READ: u64 = 1 << 0;
    /// The access was a data write.
    pub const WRITE: u64 = 1 << 1;
    /// The access was an instruction fetch.
    pub const FETCH: u64 = 1 << 2;
    /// The mapping allows reads.
    pub const READABLE: u64 = 1 << 3;
    /// The mapping allows writes.
    pub const WRITABLE: u64 = 1 << 4;
    /// The mapping allows fetches.
    pub const EXECUTABLE: u64 = 1 << 5;
    /// The guest linear address field is valid.
    pub const LINEAR_VALID: u64 = 1 << 7;
    /// The access itself, not a page-table walk on its way (counts with [`Self::LINEAR_VALID`]).
    pub const FINAL: u64 = 1 << 8;
    /// An IRET had unblocked NMIs.
    pub const NMI_UNBLOCKED: u64 = 1 << 12;

    /// Are all of these bits set?
    pub const fn has(self, bits: u64) -> bool {
        self.0 & bits == bits
    }

    /// A data read.
    pub const fn is_read(self) -> bool {
        self.has(Self::READ)
    }

    /// A data write.
    pub const fn is_write(self) -> bool {
        self.has(Self::WRITE)
    }

    /// An instruction fetch.
    pub const fn is_fetch(self) -> bool {
        self.has(Self::FETCH)
    }

    /// Something is mapped there: reads or writes or fetches are allowed.
    pub const fn is_mapped(self) -> bool {
        self.0 & (Self::READABLE | Self::WRITABLE | Self::EXECUTABLE) != 0
    }

    /// The access itself at a known linear address, so that the instruction can be decoded and completed.
    pub const fn is_final_access(self) -> bool {
        self.has(Self::LINEAR_VALID | Self::FINAL)
    }

    /// An IRET had unblocked NMIs: restore NMI blocking.
    pub const fn nmi_unblocked(self) -> bool {
        self.has(Self::NMI_UNBLOCKED)
    }
}

/// Reason 9: table 28-2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaskSwitchQualification(pub u64);

impl TaskSwitchQualification {
    /// Selector of the TSS.
    pub const fn selector(self) -> u16 {
        self.0 as u16
    }

    /// 0 CALL, 1 IRET, 2 JMP, 3 task gate in the IDT.
    pub const fn source(self) -> u8 {
        (self.0 >> 30 & 3) as u8
    }
}

/// Reason 44: table 28-6.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ApicAccessQualification(pub u64);

impl ApicAccessQualification {
    /// Offset within the APIC-access page.
    pub const fn offset(self) -> u16 {
        (self.0 & 0xfff) as u16
    }

    /// 0 linear read, 1 linear write, 2 fetch, 3 during event delivery.
    pub const fn access(self) -> u8 {
        (self.0 >> 12 & 15) as u8
    }
}
