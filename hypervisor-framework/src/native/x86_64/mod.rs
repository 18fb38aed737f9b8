//! Hypervisor.framework on Intel Macs.

mod clock;
mod late;
mod sys;
mod vcpu;
mod vm;

use std::sync::Arc;

use crate::x86_64::{Capability, Hypervisor, MsrInfo, Vm, VmOptions, VmxCapability};
use crate::{Error, Result, ReturnCode};

/// The framework of this Mac.
#[derive(Debug)]
pub(super) struct Framework(());

impl Framework {
    pub(super) fn new() -> Self {
        Self(())
    }
}

/// Turns a raw return code into a result that names the call.
fn check(call: &'static str, code: i32) -> Result<()> {
    ReturnCode(code).check(call)
}

impl Hypervisor for Framework {
    fn name(&self) -> &'static str {
        "hvf"
    }

    fn create_vm(&self, options: VmOptions) -> Result<Arc<dyn Vm>> {
        Ok(Arc::new(vm::NativeVm::create(options)?))
    }

    fn vmx_capability(&self, capability: VmxCapability) -> Result<u64> {
        sys::vmx_capability(capability.0)
    }

    fn tsc_frequency_hz(&self) -> Result<u64> {
        super::sysctl::integer(c"machdep.tsc.frequency")
            .and_then(|hz| u64::try_from(hz).ok())
            .filter(|hz| *hz != 0)
            .ok_or(Error { call: "sysctl machdep.tsc.frequency", code: ReturnCode::UNSUPPORTED })
    }

    fn capability(&self, capability: Capability) -> Result<u64> {
        sys::capability(capability.0)
    }

    fn msr_info(&self, info: MsrInfo) -> Result<u64> {
        sys::msr_info(info.0)
    }
}
