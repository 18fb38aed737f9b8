//! Model-specific registers as the guest sees them: a policy per register, in a table.
//!
//! An MSR the table does not name is #GP(0) and one log line: Linux reads what it is not sure of with accessors that
//! survive #GP, while a made-up zero makes it detect features that are not there.

mod table;

use std::collections::BTreeMap;

use super::cpuid::CpuidPolicy;
use table::{Policy, ROWS, Row};

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
    /// IA32_TSC: the VM's time, one for all vCPUs, so a write is ignored.
    Tsc,
    /// `hv_vcpu_read_msr` and `hv_vcpu_write_msr`: registers that are enabled as native and exit all the same.
    Vcpu,
}

/// The MSRs of one vCPU that the VMM itself keeps.
#[derive(Debug, Clone)]
pub struct MsrFile {
    /// The rows that exist on this CPU, ascending.
    rows: Vec<&'static Row>,
    /// Values of [`Policy::Stored`] registers that have been written.
    written: BTreeMap<u32, u64>,
    arch_capabilities: u64,
    native: Vec<NativeMsr>,
    physical_bits: u8,
}

impl MsrFile {
    /// As firmware leaves a processor, for the CPU that `cpuid` describes.
    pub fn new(cpuid: &CpuidPolicy) -> Self {
        let rows: Vec<_> = ROWS.iter().filter(|row| row.present.on(cpuid)).collect();
        let native = rows.iter().flat_map(|row| row.native_msrs()).collect();
        Self {
            rows,
            written: BTreeMap::new(),
            arch_capabilities: cpuid.arch_capabilities().unwrap_or(0),
            native,
            physical_bits: cpuid.physical_bits(),
        }
    }

    /// Back to the state of [`Self::new`], for a reset of the machine. (INIT leaves these registers alone, SDM vol. 3A
    /// table 11-1.)
    pub fn reset(&mut self) {
        self.written.clear();
    }

    /// RDMSR.
    /// # Errors
    /// [`GeneralProtection`] for a register that is not there.
    pub fn read(&self, msr: u32) -> Result<Read, GeneralProtection> {
        let row = self.row(msr).ok_or(GeneralProtection { msr })?;
        Ok(match row.policy {
            Policy::Constant(value) | Policy::WritesIgnored(value) => Read::Value(value),
            Policy::ArchCapabilities => Read::Value(self.arch_capabilities),
            Policy::Stored { reset, .. } => Read::Value(self.written.get(&msr).copied().unwrap_or(reset)),
            Policy::WriteOnly { .. } => return Err(GeneralProtection { msr }),
            Policy::Owned { owner, .. } => Read::Owner(owner),
        })
    }

    /// WRMSR.
    /// # Errors
    /// [`GeneralProtection`] for a register that is not there or read-only, and for values it does not take.
    pub fn write(&mut self, msr: u32, value: u64) -> Result<Write, GeneralProtection> {
        let refused = GeneralProtection { msr };
        let row = self.row(msr).ok_or(refused)?;
        match row.policy {
            Policy::Constant(_) | Policy::ArchCapabilities => Err(refused),
            Policy::WritesIgnored(_) => Ok(Write::Done),
            Policy::Stored { takes, .. } => {
                if !takes(value, self.physical_bits) {
                    return Err(refused);
                }
                self.written.insert(msr, value);
                Ok(Write::Done)
            }
            Policy::WriteOnly { owner, takes } | Policy::Owned { owner, takes } => {
                if takes(value, self.physical_bits) { Ok(Write::Owner(owner, value)) } else { Err(refused) }
            }
        }
    }

    /// The MSRs to give to `hv_vcpu_enable_native_msr` when the vCPU is made. A provider that refuses one is fine
    /// unless [`NativeMsr::required`]: the access exits and is answered through [`Self::read`] and [`Self::write`].
    pub fn native(&self) -> &[NativeMsr] {
        &self.native
    }

    fn row(&self, msr: u32) -> Option<&'static Row> {
        let after = self.rows.partition_point(|row| row.first <= msr);
        let row = self.rows.get(after.checked_sub(1)?)?;
        (msr <= row.last).then_some(*row)
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

#[cfg(test)]
#[path = "msr_test.rs"]
mod msr_test;
