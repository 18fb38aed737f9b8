//! What the host offers.

use super::{Answer, code};
use crate::x86_64::{Capability, Hypervisor, MsrInfo, VmOptions, VmxCapability};

fn value(result: crate::Result<u64>) -> String {
    match result {
        Ok(value) => format!("{value:#018x}"),
        Err(error) => error.code.to_string(),
    }
}

pub(super) fn all(hypervisor: &dyn Hypervisor) -> Answer {
    let line =
        |id: &VmxCapability| format!("{:2} {id:?} = {}\n", id.0, value(hypervisor.vmx_capability(*id)));
    Ok(VmxCapability::ALL.iter().map(line).collect())
}

pub(super) fn msr_info(hypervisor: &dyn Hypervisor) -> Answer {
    let line = |id| format!("{id} = {}\n", value(hypervisor.msr_info(MsrInfo(id))));
    Ok((0..=MsrInfo::NEED_SPEC_CTRL.0).map(line).collect())
}

pub(super) fn limits(hypervisor: &dyn Hypervisor) -> Answer {
    Ok(format!(
        "vCPUs {}\naddress spaces {}\nTSC {}",
        value(hypervisor.capability(Capability::VCPU_MAX)),
        value(hypervisor.capability(Capability::ADDRESS_SPACE_MAX)),
        value(hypervisor.tsc_frequency_hz())
    ))
}

pub(super) fn second_vm(hypervisor: &dyn Hypervisor) -> Answer {
    let _first = hypervisor.create_vm(VmOptions::empty())?;
    Ok(code(&hypervisor.create_vm(VmOptions::empty())))
}
