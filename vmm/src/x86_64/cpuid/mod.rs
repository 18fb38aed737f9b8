//! CPUID as the guest sees it: a function of tables, configuration and the vCPU's state.
//!
//! Every CPUID instruction exits, so what the guest believes of its CPU is decided here alone. With the software
//! engine the answers start from the floor x86-64-v2, no more and no less than the engine executes; with the real
//! framework they start from the host's and pass an allow-list, so that what is unknown stays hidden.

mod timing;

pub use timing::Timing;

/// The four registers CPUID answers in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CpuidResult {
    /// EAX
    pub eax: u32,
    /// EBX
    pub ebx: u32,
    /// ECX
    pub ecx: u32,
    /// EDX
    pub edx: u32,
}

/// The host processor's CPUID instruction, for [`CpuidPolicy::native`].
pub trait HostCpuid {
    /// Executes CPUID with EAX = `leaf`, ECX = `subleaf`.
    fn query(&self, leaf: u32, subleaf: u32) -> CpuidResult;
}

/// What the machine's configuration says of its CPUs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CpuidConfig {
    /// Number of CPUs: one package of so many cores with one thread each. At least 1.
    pub cpus: u32,
    /// Guest TSC and local APIC timer frequencies. The APIC timer's input clock must be `timing.crystal_hz`.
    pub timing: Timing,
    /// The local APIC has x2APIC mode.
    pub x2apic: bool,
    /// The local APIC's timer has TSC-deadline mode.
    pub tsc_deadline: bool,
    /// MAXPHYADDR shown, 36 to 52; capped by the host's with the native provider.
    pub physical_bits: u8,
    /// Brand string, at most 47 bytes of ASCII; `None` is the host's, or rvmm's own with the software engine.
    pub brand: Option<String>,
    /// Features to hide although they could be shown.
    pub hide: Vec<Feature>,
}

/// What the provider can do that CPUID alone does not tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ProviderFeatures {
    /// RDTSCP does not raise #UD: secondary control bit 3 is set (native), and TSC_AUX is native.
    pub rdtscp: bool,
    /// INVPCID does not raise #UD: secondary control bit 12 is set (native), or the engine has PCIDs.
    pub invpcid: bool,
    /// XSAVES and XRSTORS do not raise #UD: secondary control bit 20 is set, and IA32_XSS is native.
    pub xsaves: bool,
    /// IA32_SPEC_CTRL (48h) and IA32_PRED_CMD (49h) are native.
    pub spec_ctrl: bool,
    /// IA32_ARCH_CAPABILITIES of the host (`hv_vmx_get_msr_info` id 0), when it can be told.
    pub arch_capabilities: Option<u64>,
}

/// The vCPU's state that CPUID reflects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DynamicState {
    /// The vCPU's APIC id.
    pub apic_id: u32,
    /// CR4 as the guest sees it (OSXSAVE, PKE).
    pub cr4: u64,
    /// XCR0.
    pub xcr0: u64,
    /// IA32_XSS; 0 where XSAVES is not shown.
    pub xss: u64,
    /// IA32_APIC_BASE bit 11: CPUID.1:EDX\[9\] is clear while the local APIC is disabled.
    pub apic_enabled: bool,
}

/// A feature bit of CPUID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Feature {
    /// EAX of the query.
    pub leaf: u32,
    /// ECX of the query.
    pub subleaf: u32,
    /// The register that holds the bit.
    pub register: Register,
    /// 0 to 31.
    pub bit: u8,
}

/// A register of [`CpuidResult`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Register {
    /// EAX
    Eax,
    /// EBX
    Ebx,
    /// ECX
    Ecx,
    /// EDX
    Edx,
}

/// The vendor shown in leaf 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vendor {
    /// `GenuineIntel`
    Intel,
    /// `AuthenticAMD`
    Amd,
}

/// The machine's CPUID, the same for all its vCPUs but for [`DynamicState`].
#[derive(Debug, Clone)]
pub struct CpuidPolicy {
    config: CpuidConfig,
}

impl CpuidPolicy {
    /// For the software engine: x86-64-v2 and what else the engine executes. Needs no host CPUID.
    pub fn soft(config: CpuidConfig, provider: ProviderFeatures) -> Self {
        let _ = provider;
        Self { config }
    }

    /// For the real framework: the host's CPUID through the allow-list.
    pub fn native(config: CpuidConfig, provider: ProviderFeatures, host: &dyn HostCpuid) -> Self {
        let _ = (provider, host);
        Self { config }
    }

    /// What CPUID answers on a vCPU. Leaves that are not offered answer zeros.
    pub fn query(&self, leaf: u32, subleaf: u32, state: &DynamicState) -> CpuidResult {
        let _ = (leaf, subleaf, state, &self.config);
        CpuidResult::default()
    }

    /// Does the guest see this feature?
    pub fn has(&self, feature: Feature) -> bool {
        let _ = feature;
        false
    }

    /// The vendor in leaf 0.
    pub fn vendor(&self) -> Vendor {
        Vendor::Intel
    }

    /// XCR0 bits the guest may set; bit 0 must be set.
    pub fn xcr0_mask(&self) -> u64 {
        3
    }

    /// Would XSETBV accept this value for XCR0 (SDM vol. 1 §13.3)? Else it is #GP(0).
    pub fn xcr0_valid(&self, value: u64) -> bool {
        value & 1 != 0 && value & !self.xcr0_mask() == 0
    }

    /// CR4 bits the guest may set; others are #GP(0).
    pub fn cr4_mask(&self) -> u64 {
        0
    }

    /// IA32_EFER bits the guest may set; others are #GP(0).
    pub fn efer_mask(&self) -> u64 {
        0
    }

    /// MAXPHYADDR shown to the guest.
    pub fn physical_bits(&self) -> u8 {
        self.config.physical_bits
    }
}
