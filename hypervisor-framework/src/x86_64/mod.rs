//! The framework's API for x86_64 guests (VMX).
//!
//! Order is in the types: a [`Hypervisor`] makes a [`Vm`]; memory is mapped on the VM; a [`VcpuTicket`] may cross
//! threads and is claimed by the thread that will run the vCPU; the [`Vcpu`] it becomes stays on that thread.

use std::sync::Arc;

use crate::{HostRegion, Result};

mod capability;
mod controls;
mod exit_reason;
mod flags;
mod interruption;
mod qualification;
mod reg;
mod segment;
pub mod vmcs;

pub use capability::{Capability, MsrInfo, VmxCapability, canonical_control};
pub use controls::{
    ActivityState, EntryControls, ExitControls, Interruptibility, PinBased, ProcBased, ProcBased2,
};
pub use exit_reason::ExitReason;
pub use flags::{MemoryFlags, MsrFlags, VcpuOptions, VmOptions};
pub use interruption::{InterruptionInfo, InterruptionKind};
pub use qualification::{
    ApicAccessQualification, CrAccess, CrQualification, DrQualification, EptQualification, IoQualification,
    StringIoInfo, TaskSwitchQualification,
};
pub use reg::Reg;
pub use segment::{AccessRights, Segment};

/// `hv_vcpuid_t`: small integers counting up within a VM.
pub type VcpuId = u32;

/// A point on the host's monotonic clock (`mach_absolute_time` on a Mac) at which [`Vcpu::run_until`] returns.
///
/// Providers convert; [`Deadline::Forever`] is the framework's `HV_DEADLINE_FOREVER`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Deadline {
    /// Run until something exits.
    Forever,
    /// Return with exit reason 52 (VMX timer expired) at this time.
    At(std::time::Instant),
}

/// A provider of virtual machines: the real framework or the software engine.
pub trait Hypervisor: Send + Sync {
    /// A short name for people: `hvf` or `soft`.
    fn name(&self) -> &'static str;

    /// `hv_vm_create`. One VM per process with the native provider ([`crate::ReturnCode::BUSY`] for a second one).
    fn create_vm(&self, options: VmOptions) -> Result<Arc<dyn Vm>>;

    /// `hv_vmx_read_capability`: low half bits that must be 1, high half bits that may be 1 (ids 0–4).
    fn vmx_capability(&self, capability: VmxCapability) -> Result<u64>;

    /// Ticks per second of the guest's time-stamp counter (sysctl `machdep.tsc.frequency` on a Mac).
    fn tsc_frequency_hz(&self) -> Result<u64>;

    /// `hv_capability`.
    fn capability(&self, capability: Capability) -> Result<u64>;

    /// `hv_vmx_get_msr_info` (macOS 11).
    fn msr_info(&self, info: MsrInfo) -> Result<u64>;
}

/// A virtual machine. Dropping the last reference destroys it (`hv_vm_destroy`).
pub trait Vm: Send + Sync {
    /// `hv_vm_map`: `size` bytes at `offset` of `backing` appear at guest physical address `gpa`.
    ///
    /// `offset`, `gpa` and `size` are multiples of 4 KiB; the provider keeps `backing` alive until it is unmapped.
    /// # Errors
    /// [`crate::ReturnCode::BAD_ARGUMENT`] for misaligned, empty, overlapping or out-of-range arguments.
    fn map(
        &self,
        backing: &Arc<HostRegion>,
        offset: usize,
        gpa: u64,
        size: usize,
        flags: MemoryFlags,
    ) -> Result<()>;

    /// `hv_vm_unmap`.
    fn unmap(&self, gpa: u64, size: usize) -> Result<()>;

    /// `hv_vm_protect`.
    fn protect(&self, gpa: u64, size: usize, flags: MemoryFlags) -> Result<()>;

    /// `hv_vm_sync_tsc`: the guest's TSC reads `tsc` now, on all vCPUs.
    fn sync_tsc(&self, tsc: u64) -> Result<()>;

    /// `hv_tsc_clock` (macOS 11): the clock that [`Vcpu::set_tsc_relative`] refers to, in TSC ticks.
    fn tsc_clock(&self) -> Result<u64>;

    /// A ticket for one more vCPU; `hv_vcpu_create` happens on the thread that claims it.
    fn vcpu_ticket(&self, options: VcpuOptions) -> Result<Box<dyn VcpuTicket>>;

    /// `hv_vcpu_interrupt`, from any thread: a vCPU in the guest exits with reason 1 (external interrupt).
    /// A vCPU that is outside the guest does not notice: the kick is lost.
    fn interrupt(&self, vcpus: &[VcpuId]) -> Result<()>;
}

/// The right to create one vCPU, given to the thread that will own it.
pub trait VcpuTicket: Send {
    /// `hv_vcpu_create` on the calling thread.
    fn claim(self: Box<Self>) -> Result<Box<dyn Vcpu>>;
}

/// A virtual CPU, used by the thread that created it and no other. Dropping it is `hv_vcpu_destroy`.
pub trait Vcpu {
    /// Its number, for [`Vm::interrupt`].
    fn id(&self) -> VcpuId;

    /// `hv_vcpu_read_register`.
    fn read_register(&self, reg: Reg) -> Result<u64>;

    /// `hv_vcpu_write_register`.
    fn write_register(&mut self, reg: Reg, value: u64) -> Result<()>;

    /// `hv_vmx_vcpu_read_vmcs`.
    fn read_vmcs(&self, field: vmcs::Field) -> Result<u64>;

    /// `hv_vmx_vcpu_write_vmcs`. Fields have write rights (see [`vmcs::Field::write_right`]).
    fn write_vmcs(&mut self, field: vmcs::Field, value: u64) -> Result<()>;

    /// `hv_vmx_vcpu_get_cap_write_vmcs`: (allowed-0, allowed-1) for a control field.
    fn vmcs_write_capability(&self, field: vmcs::Field) -> Result<(u64, u64)>;

    /// `hv_vcpu_enable_native_msr`: the guest reads and writes `msr` without an exit.
    fn enable_native_msr(&mut self, msr: u32, enable: bool) -> Result<()>;

    /// `hv_vcpu_enable_managed_msr` (macOS 11).
    fn enable_managed_msr(&mut self, msr: u32, enable: bool) -> Result<()>;

    /// `hv_vcpu_set_msr_access` (macOS 11).
    fn set_msr_access(&mut self, msr: u32, flags: MsrFlags) -> Result<()>;

    /// `hv_vcpu_read_msr`.
    fn read_msr(&self, msr: u32) -> Result<u64>;

    /// `hv_vcpu_write_msr`.
    fn write_msr(&mut self, msr: u32, value: u64) -> Result<()>;

    /// `hv_vcpu_read_fpstate`: a standard-format XSAVE image.
    fn read_fpstate(&self, buffer: &mut [u8]) -> Result<()>;

    /// `hv_vcpu_write_fpstate`.
    fn write_fpstate(&mut self, buffer: &[u8]) -> Result<()>;

    /// `hv_vcpu_invalidate_tlb`.
    fn invalidate_tlb(&mut self) -> Result<()>;

    /// `hv_vmx_vcpu_set_apic_address`: the guest physical page whose accesses exit with reason 44 when
    /// [`ProcBased2::VIRTUAL_APIC`] is set.
    fn set_apic_address(&mut self, gpa: u64) -> Result<()>;

    /// `hv_vcpu_set_tsc_relative` (macOS 11): guest TSC = `hv_tsc_clock()` + offset.
    fn set_tsc_relative(&mut self, offset: i64) -> Result<()>;

    /// `hv_vcpu_get_exec_time`, in nanoseconds of time spent in the guest.
    fn exec_time_ns(&self) -> Result<u64>;

    /// `hv_vcpu_get_idle_time` (macOS 12), in nanoseconds; [`crate::ReturnCode::UNSUPPORTED`] on older systems.
    fn idle_time_ns(&self) -> Result<u64>;

    /// `hv_vcpu_vmx_status` (macOS 12): the host's flags after the last failed VM entry, for reports;
    /// [`crate::ReturnCode::UNSUPPORTED`] on older systems.
    fn vmx_status(&self) -> Result<u32>;

    /// `hv_vcpu_run`: also returns for exits the framework has already handled (lazy EPT fills, host interrupts).
    /// Answers the raw exit reason field (VMCS 4402).
    fn run(&mut self) -> Result<u32>;

    /// `hv_vcpu_run_until`: returns for exits the caller must handle, a kick, or the deadline (reason 52).
    fn run_until(&mut self, deadline: Deadline) -> Result<u32>;

    /// As [`Vcpu::run_until`], with a bound that is no time: reason 52 when the guest has executed this many
    /// instructions more, exactly. For providers that count ([`Vcpu::instructions_retired`]).
    ///
    /// # Errors
    /// [`crate::ReturnCode::UNSUPPORTED`] where the provider does not count.
    fn run_for(&mut self, _instructions: u64) -> Result<u32> {
        Err(crate::Error { call: "run_for", code: crate::ReturnCode::UNSUPPORTED })
    }

    /// Guest instructions executed since creation, where the provider counts them (the software engine does).
    fn instructions_retired(&self) -> Option<u64>;

    /// Bytes of host memory that translations of guest code and addresses take, where the provider makes such (the
    /// software engine does).
    fn cache_bytes(&self) -> Option<u64>;
}
