//! What the software engine's virtual processor offers: the answers of `hv_vmx_read_capability`.
//!
//! Bits that the real framework owns (nested paging, unrestricted guest, MSR and I/O exits) must be 1 here too.

use crate::x86_64::vmcs::Rule;
use crate::x86_64::{EntryControls, ExitControls, PinBased, ProcBased, ProcBased2, VmxCapability};

/// VM-entry and VM-exit controls, and pin-based and primary ones, have bits that are 1 by default (SDM vol. 3, A.2).
mod default_1 {
    pub(super) const PIN: u32 = 0x16;
    pub(super) const PRIMARY: u32 = 0x0400_6172;
    pub(super) const EXIT: u32 = 0x0003_6dfb;
    pub(super) const ENTRY: u32 = 0x0000_11fb;
}

const fn pair(must: u32, may: u32) -> u64 {
    must as u64 | ((must | may) as u64) << 32
}

const PIN: u64 = pair(
    default_1::PIN | PinBased::INTR.bits() | PinBased::NMI.bits(),
    PinBased::VIRTUAL_NMI.bits() | PinBased::PREEMPTION_TIMER.bits(),
);

const PRIMARY: u64 = pair(
    default_1::PRIMARY
        | ProcBased::UNCONDITIONAL_IO.bits()
        | ProcBased::MSR_BITMAPS.bits()
        | ProcBased::SECONDARY.bits(),
    ProcBased::IRQ_WINDOW
        .union(ProcBased::TSC_OFFSET)
        .union(ProcBased::HLT)
        .union(ProcBased::INVLPG)
        .union(ProcBased::MWAIT)
        .union(ProcBased::RDPMC)
        .union(ProcBased::RDTSC)
        .union(ProcBased::CR3_LOAD)
        .union(ProcBased::CR3_STORE)
        .union(ProcBased::CR8_LOAD)
        .union(ProcBased::CR8_STORE)
        .union(ProcBased::TPR_SHADOW)
        .union(ProcBased::NMI_WINDOW)
        .union(ProcBased::MOV_DR)
        .union(ProcBased::MONITOR_TRAP)
        .union(ProcBased::MONITOR)
        .union(ProcBased::PAUSE)
        .bits(),
);

const SECONDARY: u64 = pair(
    ProcBased2::EPT.union(ProcBased2::VPID).union(ProcBased2::UNRESTRICTED).bits(),
    ProcBased2::VIRTUAL_APIC
        .union(ProcBased2::DESCRIPTOR_TABLE)
        .union(ProcBased2::RDTSCP)
        .union(ProcBased2::WBINVD)
        .union(ProcBased2::RDRAND)
        .union(ProcBased2::RDSEED)
        .union(ProcBased2::INVPCID)
        .union(ProcBased2::XSAVES)
        .bits(),
);

const EXIT: u64 = pair(
    default_1::EXIT | ExitControls::HOST_IA32E.bits(),
    ExitControls::SAVE_DEBUG
        .union(ExitControls::ACK_INTERRUPT)
        .union(ExitControls::SAVE_PAT)
        .union(ExitControls::LOAD_PAT)
        .union(ExitControls::SAVE_EFER)
        .union(ExitControls::LOAD_EFER)
        .union(ExitControls::SAVE_TIMER)
        .bits(),
);

const ENTRY: u64 = pair(
    default_1::ENTRY,
    EntryControls::LOAD_DEBUG
        .union(EntryControls::GUEST_IA32E)
        .union(EntryControls::LOAD_PAT)
        .union(EntryControls::LOAD_EFER)
        .bits(),
);

/// CR0 bits that must be 1: NE, and PE and PG where the guest is not unrestricted (it always is here).
pub(super) const CR0_FIXED0: u64 = 0x8000_0021;
/// CR4 bits that must be 1: VMXE.
pub(super) const CR4_FIXED0: u64 = 1 << 13;
/// CR4 bits that may be 1: VME to PCE, OSFXSR, OSXMMEXCPT, UMIP, VMXE, FSGSBASE, PCIDE, OSXSAVE, SMEP, SMAP.
pub(super) const CR4_FIXED1: u64 = 0x7ff | 1 << 11 | 1 << 13 | 7 << 16 | 3 << 20;

/// vCPUs in a VM.
pub(super) const VCPU_MAX: u64 = 64;

/// `hv_vmx_read_capability`; `None` for an id that does not exist.
pub(super) fn read(capability: VmxCapability) -> Option<u64> {
    Some(match capability {
        VmxCapability::PINBASED | VmxCapability::TRUE_PINBASED => PIN,
        VmxCapability::PROCBASED | VmxCapability::TRUE_PROCBASED => PRIMARY,
        VmxCapability::PROCBASED2 => SECONDARY,
        VmxCapability::ENTRY | VmxCapability::TRUE_ENTRY => ENTRY,
        VmxCapability::EXIT | VmxCapability::TRUE_EXIT => EXIT,
        // Revision 1, 4 KiB regions, write-back, instruction information for INS and OUTS, true controls.
        VmxCapability::BASIC => 1 | 4096 << 32 | 6 << 50 | 1 << 54 | 1 << 55,
        // Timer at TSC / 32, LMA saved in the entry controls, HLT state, no CR3 targets.
        VmxCapability::MISC => 5 | 1 << 5 | 1 << 6,
        VmxCapability::CR0_FIXED0 => CR0_FIXED0,
        VmxCapability::CR0_FIXED1 => 0xffff_ffff,
        VmxCapability::CR4_FIXED0 => CR4_FIXED0,
        VmxCapability::CR4_FIXED1 => CR4_FIXED1,
        VmxCapability::VMCS_ENUM => 0x34,
        // 4-level walks, write-back, 2 MiB and 1 GiB pages, INVEPT, accessed and dirty bits, INVVPID.
        VmxCapability::EPT_VPID_CAP => {
            1 << 6 | 1 << 14 | 3 << 16 | 1 << 20 | 1 << 21 | 3 << 25 | 1 << 32 | 0xf << 40
        }
        VmxCapability::PREEMPTION_TIMER => 1,
        _ => return None,
    })
}

/// (bits that must be 1, bits that may be 1) of a checked field.
pub(super) fn allowed(rule: Rule) -> (u64, u64) {
    let split = |pair: u64| (pair & 0xffff_ffff, pair >> 32);
    const CD_NW: u64 = 3 << 29;
    match rule {
        Rule::Cr0 => (0, !CD_NW),
        Rule::Cr0Mask => (CD_NW, u64::MAX),
        Rule::Activity => (0, 1),
        Rule::PinControls => split(PIN),
        Rule::PrimaryControls => split(PRIMARY),
        Rule::SecondaryControls => split(SECONDARY),
        Rule::ExitControls => split(EXIT),
        Rule::EntryControls => split(ENTRY),
    }
}
