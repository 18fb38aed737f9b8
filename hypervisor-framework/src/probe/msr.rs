//! Which MSRs may be passed to the guest.

use std::fmt::Write as _;

use super::machine::Machine;
use super::{Answer, code};
use crate::x86_64::{Hypervisor, MsrFlags};

const HALT: [u8; 1] = [0xf4];

/// MSRs that some VMM passes, or would like to.
const CANDIDATES: [(u32, &str); 30] = [
    (0x10, "TSC"),
    (0x1b, "APIC_BASE"),
    (0x3b, "TSC_ADJUST"),
    (0x48, "SPEC_CTRL"),
    (0x49, "PRED_CMD"),
    (0xc1, "PMC0"),
    (0x10a, "ARCH_CAPABILITIES"),
    (0x10b, "FLUSH_CMD"),
    (0x122, "TSX_CTRL"),
    (0x174, "SYSENTER_CS"),
    (0x175, "SYSENTER_ESP"),
    (0x176, "SYSENTER_EIP"),
    (0x186, "PERFEVTSEL0"),
    (0x1a0, "MISC_ENABLE"),
    (0x1d9, "DEBUGCTL"),
    (0x277, "PAT"),
    (0x309, "FIXED_CTR0"),
    (0x38f, "PERF_GLOBAL_CTRL"),
    (0x6e0, "TSC_DEADLINE"),
    (0xda0, "XSS"),
    (0xc000_0080, "EFER"),
    (0xc000_0081, "STAR"),
    (0xc000_0082, "LSTAR"),
    (0xc000_0083, "CSTAR"),
    (0xc000_0084, "FMASK"),
    (0xc000_0100, "FS_BASE"),
    (0xc000_0101, "GS_BASE"),
    (0xc000_0102, "KERNEL_GS_BASE"),
    (0xc000_0103, "TSC_AUX"),
    (0x4b56_4d00, "a paravirtual MSR"),
];

pub(super) fn native(hypervisor: &dyn Hypervisor) -> Answer {
    let mut answer = String::new();
    for (msr, name) in CANDIDATES {
        let mut machine = Machine::real(hypervisor, &HALT)?;
        let enabled = machine.vcpu.enable_native_msr(msr, true);
        let read = machine.vcpu.read_msr(msr);
        let _ = writeln!(answer, "{msr:#x} {name}: enable {}, read {}", code(&enabled), code(&read));
    }
    Ok(answer)
}

pub(super) fn managed(hypervisor: &dyn Hypervisor) -> Answer {
    let mut answer = String::new();
    for (msr, name) in CANDIDATES {
        let mut machine = Machine::real(hypervisor, &HALT)?;
        let enabled = machine.vcpu.enable_managed_msr(msr, true);
        let access = machine.vcpu.set_msr_access(msr, MsrFlags::READ | MsrFlags::WRITE);
        let _ =
            writeln!(answer, "{msr:#x} {name}: enable {}, read and write {}", code(&enabled), code(&access));
    }
    Ok(answer)
}

pub(super) fn before_enabling(hypervisor: &dyn Hypervisor) -> Answer {
    let mut answer = String::new();
    for (msr, name) in CANDIDATES {
        let mut machine = Machine::real(hypervisor, &HALT)?;
        let read = machine.vcpu.read_msr(msr);
        let write = match read {
            Ok(value) => code(&machine.vcpu.write_msr(msr, value)),
            Err(_) => "not tried".to_owned(),
        };
        let _ = writeln!(answer, "{msr:#x} {name}: read {}, write {write}", code(&read));
    }
    Ok(answer)
}
