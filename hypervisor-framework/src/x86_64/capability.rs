//! What the host's hypervisor can do: `hv_capability` and `hv_vmx_read_capability`.

/// `hv_capability_t`: a system-wide limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Capability(pub u64);

impl Capability {
    /// `HV_CAP_VCPUMAX`: vCPUs in a VM.
    pub const VCPU_MAX: Self = Self(0);
    /// `HV_CAP_ADDRSPACEMAX`: guest address spaces in a VM.
    pub const ADDRESS_SPACE_MAX: Self = Self(1);
}

/// `hv_vmx_capability_t`: a VMX capability MSR, read through the framework.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(transparent)]
pub struct VmxCapability(pub u32);

macro_rules! vmx_capabilities {
    ($($(#[$doc:meta])* $name:ident = $id:literal;)*) => {
        impl VmxCapability {
            $($(#[$doc])* pub const $name: Self = Self($id);)*

            /// Every id named here, in ascending order.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The constant's name here, without the `HV_VMX_CAP_` prefix of the header.
            pub fn name(self) -> Option<&'static str> {
                Some(match self.0 {
                    $($id => stringify!($name),)*
                    _ => return None,
                })
            }
        }
    };
}

vmx_capabilities! {
    /// Pin-based controls. Low half: bits that must be 1; high half: bits that may be 1. So for ids 0–4 and 6–9.
    PINBASED = 0;
    /// Primary processor-based controls.
    PROCBASED = 1;
    /// Secondary processor-based controls.
    PROCBASED2 = 2;
    /// VM-entry controls.
    ENTRY = 3;
    /// VM-exit controls.
    EXIT = 4;
    /// IA32_VMX_BASIC (this id and the following up to 16: macOS 11).
    BASIC = 5;
    /// IA32_VMX_TRUE_PINBASED_CTLS.
    TRUE_PINBASED = 6;
    /// IA32_VMX_TRUE_PROCBASED_CTLS.
    TRUE_PROCBASED = 7;
    /// IA32_VMX_TRUE_ENTRY_CTLS.
    TRUE_ENTRY = 8;
    /// IA32_VMX_TRUE_EXIT_CTLS.
    TRUE_EXIT = 9;
    /// IA32_VMX_MISC.
    MISC = 10;
    /// CR0 bits that must be 1 in VMX operation.
    CR0_FIXED0 = 11;
    /// CR0 bits that may be 1 in VMX operation.
    CR0_FIXED1 = 12;
    /// CR4 bits that must be 1 in VMX operation.
    CR4_FIXED0 = 13;
    /// CR4 bits that may be 1 in VMX operation.
    CR4_FIXED1 = 14;
    /// IA32_VMX_VMCS_ENUM.
    VMCS_ENUM = 15;
    /// IA32_VMX_EPT_VPID_CAP.
    EPT_VPID_CAP = 16;
    /// Is the VMX-preemption timer usable?
    PREEMPTION_TIMER = 32;
}

impl std::fmt::Debug for VmxCapability {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "VmxCapability({})", self.0),
        }
    }
}

/// `hv_vmx_msr_info_t`: what the framework tells about MSRs it manages (macOS 11).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct MsrInfo(pub u32);

impl MsrInfo {
    /// The value of IA32_ARCH_CAPABILITIES.
    pub const ARCH_CAPABILITIES: Self = Self(0);
    /// The value of IA32_PERF_CAPABILITIES.
    pub const PERF_CAPABILITIES: Self = Self(1);
    /// Valid bits of IA32_PERFEVTSELx.
    pub const VALID_PERFEVNTSEL: Self = Self(2);
    /// Valid bits of IA32_FIXED_CTR_CTRL.
    pub const VALID_FIXED_CTR_CTRL: Self = Self(3);
    /// Valid bits of IA32_PERF_GLOBAL_CTRL.
    pub const VALID_GLOBAL_CTRL: Self = Self(4);
    /// Valid bits of IA32_PERF_GLOBAL_STATUS.
    pub const VALID_GLOBAL_STATUS: Self = Self(5);
    /// Valid bits of IA32_DEBUGCTL.
    pub const VALID_DEBUGCTL: Self = Self(6);
    /// Valid bits of IA32_SPEC_CTRL.
    pub const VALID_SPEC_CTRL: Self = Self(7);
    /// Must the guest have IA32_SPEC_CTRL?
    pub const NEED_SPEC_CTRL: Self = Self(8);
}

/// The control value nearest to `want` that `capability` (ids 0–4) allows: required bits set, others it lacks cleared.
pub fn canonical_control(want: u32, capability: u64) -> u32 {
    let must = capability as u32;
    let may = (capability >> 32) as u32;
    (want | must) & may
}
