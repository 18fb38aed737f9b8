//! How a vCPU ends.

use hypervisor_framework::x86_64::ExitReason;

use crate::stop::RegisterDump;

/// The VMM or the provider failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VcpuError {
    /// A call of the framework failed.
    #[error(transparent)]
    Framework(#[from] hypervisor_framework::Error),
    /// The provider cannot give a control the vCPU cannot be without.
    #[error("the processor or the framework lacks a virtualization control: {0}")]
    MissingControl(&'static str),
    /// An MSR that must be the guest's own.
    #[error("MSR {msr:#x} cannot be given to the guest: {source}")]
    NativeMsr {
        /// Its number.
        msr: u32,
        /// What the provider said.
        source: hypervisor_framework::Error,
    },
    /// The run call failed.
    #[error("the vCPU cannot run: {source}; {registers}")]
    Run {
        /// What the provider said.
        source: hypervisor_framework::Error,
        /// State at that time.
        registers: Box<RegisterDump>,
    },
    /// The processor refused the guest's state.
    #[error("VM entry failed, {reason}; {registers}")]
    EntryFailed {
        /// The exit reason.
        reason: ExitReason,
        /// State at that time.
        registers: Box<RegisterDump>,
    },
}

/// The guest brought itself to an end.
#[derive(Debug)]
pub(crate) enum GuestStop {
    /// Shutdown state.
    TripleFault(Box<RegisterDump>),
    /// Shutdown state, reached with an interrupt descriptor table that has no room for a gate: what kernels do to reset
    /// the machine (Linux's `reboot=triple`), and nothing that runs normally has.
    ResetByShutdown,
    /// It did what cannot be carried out.
    Impossible {
        /// One line.
        what: String,
        /// State at that time.
        registers: Box<RegisterDump>,
    },
}
