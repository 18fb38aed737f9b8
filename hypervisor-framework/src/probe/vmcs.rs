//! Fields of the VMCS and their write rights.

use std::fmt::Write as _;

use super::machine::Machine;
use super::{Answer, code};
use crate::x86_64::vmcs::{Area, Field, WriteRight};
use crate::x86_64::{Hypervisor, VcpuOptions, VmOptions};

/// HLT
const HALT: [u8; 1] = [0xf4];

pub(super) fn initial(hypervisor: &dyn Hypervisor) -> Answer {
    let vm = hypervisor.create_vm(VmOptions::empty())?;
    let vcpu = vm.vcpu_ticket(VcpuOptions::empty())?.claim()?;
    let mut answer = String::new();
    for field in Field::ALL {
        // Host state tells of the host's kernel: it stays out of reports.
        if field.area() == Area::Host {
            continue;
        }
        let _ = match vcpu.read_vmcs(*field) {
            Ok(value) => writeln!(answer, "{:04x} {field:?} = {value:#x}", field.0),
            Err(error) => writeln!(answer, "{:04x} {field:?}: {}", field.0, error.code),
        };
    }
    Ok(answer)
}

pub(super) fn write_rights(hypervisor: &dyn Hypervisor) -> Answer {
    let mut machine = Machine::real(hypervisor, &HALT)?;
    let mut answer = String::new();
    for &field in Field::ALL {
        let Ok(value) = machine.get(field) else {
            let _ = writeln!(answer, "{field:?}: cannot be read");
            continue;
        };
        let got = machine.vcpu.write_vmcs(field, value);
        let expected = matches!(field.write_right(), Some(WriteRight::Free | WriteRight::Checked(_)));
        if got.is_ok() != expected || got.is_err() {
            let mark = if got.is_ok() == expected { "" } else { " (not as expected)" };
            let _ = writeln!(answer, "{field:?}: {}{mark}", code(&got));
        }
    }
    for (field, value) in [
        (Field::GUEST_CR0, 1 << 30 | 0x30),
        (Field::CTRL_CR0_MASK, 0),
        (Field::GUEST_ACTIVITY_STATE, 2),
        (Field::CTRL_PIN_BASED, 0),
        (Field::CTRL_VMENTRY_CONTROLS, 0xffff_ffff),
        (Field(0x6cfe), 0),
    ] {
        let _ = writeln!(answer, "{field:?} = {value:#x}: {}", code(&machine.vcpu.write_vmcs(field, value)));
    }
    Ok(answer)
}

pub(super) fn write_capabilities(hypervisor: &dyn Hypervisor) -> Answer {
    let machine = Machine::real(hypervisor, &HALT)?;
    let mut answer = String::new();
    for field in [
        Field::CTRL_PIN_BASED,
        Field::CTRL_CPU_BASED,
        Field::CTRL_CPU_BASED2,
        Field::CTRL_VMEXIT_CONTROLS,
        Field::CTRL_VMENTRY_CONTROLS,
        Field::CTRL_CR0_MASK,
        Field::GUEST_CR0,
        Field::GUEST_CR4,
        Field::GUEST_IA32_PAT,
        Field::GUEST_IA32_DEBUGCTL,
    ] {
        let _ = match machine.vcpu.vmcs_write_capability(field) {
            Ok((zero, one)) => writeln!(answer, "{field:?}: allowed0 {zero:#x} allowed1 {one:#x}"),
            Err(error) => writeln!(answer, "{field:?}: {}", error.code),
        };
    }
    Ok(answer)
}
