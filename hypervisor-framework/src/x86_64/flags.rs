//! Option and permission words of the framework's calls.

bitflags::bitflags! {
    /// `hv_vm_options_t`, for `hv_vm_create`. Empty is `HV_VM_DEFAULT`.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct VmOptions: u64 {
        /// The mitigation bits below are meant; otherwise the system chooses.
        const SPECIFY_MITIGATIONS = 1 << 0;
        /// Side-channel mitigation A.
        const MITIGATION_A = 1 << 1;
        /// Side-channel mitigation B.
        const MITIGATION_B = 1 << 2;
        /// Side-channel mitigation C.
        const MITIGATION_C = 1 << 3;
        /// Side-channel mitigation D.
        const MITIGATION_D = 1 << 4;
        /// Side-channel mitigation E.
        const MITIGATION_E = 1 << 6;
        /// In-kernel interrupt controllers (macOS 12). Not used by this project.
        const ACCEL_APIC = 1 << 10;
    }

    /// `hv_vcpu_options_t`, for `hv_vcpu_create`. Empty is `HV_VCPU_DEFAULT`.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct VcpuOptions: u64 {
        /// RDPMC is accelerated.
        const ACCEL_RDPMC = 1 << 0;
        /// The TSC offset is relative to `hv_tsc_clock` (macOS 11); see [`super::Vcpu::set_tsc_relative`].
        const TSC_RELATIVE = 1 << 1;
    }

    /// `hv_memory_flags_t`: what a guest may do with a mapped range.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct MemoryFlags: u64 {
        /// Reads.
        const READ = 1 << 0;
        /// Writes.
        const WRITE = 1 << 1;
        /// Instruction fetches.
        const EXEC = 1 << 2;
        /// Instruction fetches in user mode (macOS 12, mode-based execution control).
        const USER_EXEC = 1 << 3;
        /// Read, write, execute: what RAM has.
        const RWX = Self::READ.bits() | Self::WRITE.bits() | Self::EXEC.bits();
        /// Read and execute: what ROM has.
        const RX = Self::READ.bits() | Self::EXEC.bits();
    }

    /// `hv_msr_flags_t`, for `hv_vcpu_set_msr_access`. Empty is `HV_MSR_NONE`.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct MsrFlags: u32 {
        /// RDMSR without an exit.
        const READ = 1 << 0;
        /// WRMSR without an exit.
        const WRITE = 1 << 1;
    }
}
