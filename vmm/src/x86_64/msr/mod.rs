//! Model-specific registers as the guest sees them: a policy per register, in a table.
//!
//! An MSR the table does not name is #GP(0) and one log line: Linux reads what it is not sure of with accessors that
//! survive #GP, while a made-up zero makes it detect features that are not there.

use super::cpuid::CpuidPolicy;

/// An RDMSR or WRMSR raises #GP(0).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("#GP(0) for MSR {msr:#x}")]
pub struct GeneralProtection {
    /// The register asked for.
    pub msr: u32,
}

/// What RDMSR does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Read {
    /// EDX:EAX become this.
    Value(u64),
    /// The value lives elsewhere; ask there.
    Owner(Owner),
}

/// What WRMSR does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Write {
    /// It is done.
    Done,
    /// Give this value, which has been validated except for [`Owner::LocalApic`], to its owner.
    Owner(Owner, u64),
}

/// Who holds an MSR that is not held here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// IA32_APIC_BASE, IA32_TSC_DEADLINE and the x2APIC range: the local APIC, which may raise #GP itself.
    LocalApic,
    /// IA32_EFER: VMCS 2806 and the LMA logic; a write goes through [`efer_after_write`] first.
    Efer,
    /// FS_BASE: VMCS 680e.
    FsBase,
    /// GS_BASE: VMCS 6810.
    GsBase,
    /// IA32_SYSENTER_CS: VMCS 482a.
    SysenterCs,
    /// IA32_SYSENTER_ESP: VMCS 6824.
    SysenterEsp,
    /// IA32_SYSENTER_EIP: VMCS 6826.
    SysenterEip,
    /// IA32_TSC: the VM's time; reading it does not exit, a write moves this vCPU's offset or is ignored.
    Tsc,
    /// `hv_vcpu_read_msr` and `hv_vcpu_write_msr`: registers that are enabled as native and exit all the same.
    Vcpu,
}

/// The MSRs of one vCPU that the VMM itself keeps.
#[derive(Debug, Clone)]
pub struct MsrFile {
    _policy: (),
}

impl MsrFile {
    /// In the state after power-on, for the CPU that `cpuid` describes.
    pub fn new(cpuid: &CpuidPolicy) -> Self {
        let _ = cpuid;
        Self { _policy: () }
    }

    /// Back to the state after power-on. (INIT leaves these registers alone, SDM vol. 3A table 11-1.)
    pub fn reset(&mut self) {}

    /// RDMSR.
    /// # Errors
    /// [`GeneralProtection`] for a register that is not there.
    pub fn read(&mut self, msr: u32) -> Result<Read, GeneralProtection> {
        Err(GeneralProtection { msr })
    }

    /// WRMSR.
    /// # Errors
    /// [`GeneralProtection`] for a register that is not there or read-only, and for reserved bits.
    pub fn write(&mut self, msr: u32, value: u64) -> Result<Write, GeneralProtection> {
        let _ = value;
        Err(GeneralProtection { msr })
    }

    /// The MSRs to give to `hv_vcpu_enable_native_msr` when the vCPU is made. A provider that refuses one is fine
    /// unless [`NativeMsr::required`]: the access exits and goes to [`Owner::Vcpu`].
    pub fn native(&self) -> &[NativeMsr] {
        &[]
    }
}

/// An MSR the guest is to use without exits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NativeMsr {
    /// Its number.
    pub msr: u32,
    /// The vCPU cannot work when this is refused.
    pub required: bool,
}

/// IA32_EFER after the guest wrote `value` to it, or `None` for #GP(0) (SDM vol. 3A §5.1.1, §2.2.1).
///
/// `allowed` is [`CpuidPolicy::efer_mask`]; `paging` is CR0.PG. LMA is kept from `current`: only CR0.PG changes it.
pub fn efer_after_write(current: u64, value: u64, allowed: u64, paging: bool) -> Option<u64> {
    const LME: u64 = 1 << 8;
    const LMA: u64 = 1 << 10;
    if value & !(allowed | LMA) != 0 || (paging && (current ^ value) & LME != 0) {
        return None;
    }
    Some(value & !LMA | current & LMA)
}
