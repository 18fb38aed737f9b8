//! The software provider: the framework's API over the CPU engine, with the framework's rules.
//!
//! It is no mock. Guest code runs, and what the real framework and the processor below it refuse is refused here: VMCS
//! fields have their write rights, control fields their capabilities, a VM entry its checks; kicks of a vCPU outside
//! the guest are lost; plain `run` shows lazy fills and host interrupts; calls from a foreign thread fail. Where the
//! truth is not known, [`Quirks`] chooses.
//!
//! ```text
//! vcpu ─┬─ rights      may this field have this value?
//!       ├─ entry       the processor's checks before the guest runs
//!       ├─ intercepts  VMX controls → what the engine lets out
//!       ├─ lockstep    an interpreter beside the engine, compared
//!       ├─ run         enter, leave, wait in HLT, hide or show what the framework handles
//!       └─ exit        engine exits → exit reason, qualification and the other read-only fields
//! ```

mod capability;
mod clock;
mod entry;
mod exit;
mod intercepts;
mod kick;
mod lockstep;
mod memory;
mod msr;
mod quirks;
mod registers;
mod rights;
mod run;
mod state;
mod store;
mod vcpu;
mod vm;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use engine::TimeSource;

pub use engine::{EngineOptions, Level, Sequence};

pub use quirks::Quirks;

use crate::x86_64::{Capability, Hypervisor, MsrInfo, Vm, VmOptions, VmxCapability};
use crate::{Error, Result, ReturnCode};

/// The software provider of x86_64 virtual machines.
pub struct Soft {
    quirks: Quirks,
    options: EngineOptions,
    clock: Arc<dyn TimeSource>,
    tsc_frequency_hz: u64,
    /// VMs alive; counted for [`Quirks::one_vm`].
    vms: Arc<AtomicUsize>,
}

impl Soft {
    /// On the host's clock, with a time-stamp counter of 1 GHz.
    pub fn new(quirks: Quirks) -> Self {
        Self::with_clock(quirks, Arc::new(clock::HostClock::new()), clock::HostClock::FREQUENCY_HZ)
    }

    /// On another clock, which counts at `tsc_frequency_hz`.
    pub fn with_clock(quirks: Quirks, clock: Arc<dyn TimeSource>, tsc_frequency_hz: u64) -> Self {
        Self { quirks, options: EngineOptions::default(), clock, tsc_frequency_hz, vms: Arc::default() }
    }

    /// The same with another way of executing guest code.
    #[must_use]
    pub fn with_engine(self, options: EngineOptions) -> Self {
        Self { options, ..self }
    }
}

impl Default for Soft {
    fn default() -> Self {
        Self::new(Quirks::default())
    }
}

impl std::fmt::Debug for Soft {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Soft").field("quirks", &self.quirks).finish_non_exhaustive()
    }
}

impl Hypervisor for Soft {
    fn name(&self) -> &'static str {
        "soft"
    }

    fn create_vm(&self, options: VmOptions) -> Result<Arc<dyn Vm>> {
        const CALL: &str = "hv_vm_create";
        if options.contains(VmOptions::ACCEL_APIC) {
            return Err(Error { call: CALL, code: ReturnCode::UNSUPPORTED });
        }
        let count = Arc::clone(&self.vms);
        if count.fetch_add(1, Ordering::SeqCst) != 0 && self.quirks.one_vm {
            count.fetch_sub(1, Ordering::SeqCst);
            return Err(Error { call: CALL, code: ReturnCode::BUSY });
        }
        Ok(Arc::new(vm::SoftVm::new(
            self.quirks.clone(),
            self.options,
            Arc::clone(&self.clock),
            self.tsc_frequency_hz,
            count,
        )))
    }

    fn vmx_capability(&self, capability: VmxCapability) -> Result<u64> {
        let code = ReturnCode::BAD_ARGUMENT;
        capability::read(capability).ok_or(Error { call: "hv_vmx_read_capability", code })
    }

    fn tsc_frequency_hz(&self) -> Result<u64> {
        Ok(self.tsc_frequency_hz)
    }

    fn capability(&self, capability: Capability) -> Result<u64> {
        match capability {
            Capability::VCPU_MAX => Ok(capability::VCPU_MAX),
            Capability::ADDRESS_SPACE_MAX => Ok(1),
            _ => Err(Error { call: "hv_capability", code: ReturnCode::BAD_ARGUMENT }),
        }
    }

    /// The engine's processor has neither performance counters nor speculation controls that need telling.
    fn msr_info(&self, info: MsrInfo) -> Result<u64> {
        if info.0 <= MsrInfo::NEED_SPEC_CTRL.0 {
            Ok(0)
        } else {
            Err(Error { call: "hv_vmx_get_msr_info", code: ReturnCode::BAD_ARGUMENT })
        }
    }
}
