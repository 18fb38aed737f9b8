//! CPUID as the guest sees it: a function of tables, configuration and the vCPU's state.
//!
//! Every CPUID instruction exits, so what the guest believes of its CPU is decided here alone. With the software
//! engine the answers start from the floor x86-64-v2, or are all of x86-64-v3, no more and no less than the engine executes; with the real
//! framework they start from the host's and pass an allow-list, so that what is unknown stays hidden.

mod features;
mod leaves;
mod native;
mod soft;
mod timing;
mod xsave;

pub use hypervisor_framework::soft::Level;
pub use timing::Timing;

use features::{Native, Row, When};
use xsave::XsaveLayout;

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
    /// Features to show beyond the level with the software engine, for those rows of the table that may be.
    pub extra: Vec<Feature>,
    /// The instructions shown; `None` is all that the host has, and the most that the software engine has.
    pub level: Option<Level>,
    /// What leaf 40000000h names.
    pub signature: Signature,
}

/// The hypervisor's signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Signature {
    /// `rvmmrvmmrvmm`: no guest has special code for it.
    #[default]
    Rvmm,
    /// `KVMKVMKVM` with no paravirtual features: Linux then uses x2APIC without interrupt remapping and skips the
    /// timer check of the I/O APIC.
    KvmCompatible,
}

/// What the provider can do that CPUID alone does not tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ProviderFeatures {
    /// RDTSCP does not raise #UD: secondary control bit 3 is set (native), and TSC_AUX is native.
    pub rdtscp: bool,
    /// INVPCID does not raise #UD: secondary control bit 12 is set (native), or the engine has PCIDs.
    pub invpcid: bool,
    /// XSAVES and XRSTORS do not raise #UD: secondary control bit 20 is set. IA32_XSS stays 0.
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
    /// `GenuineIntel`, shown by the software engine too: Linux reads leaf 15h of no other vendor.
    Intel,
    /// Anything else: the framework runs on Intel processors alone, so this is a curiosity.
    Other,
}

/// The machine's CPUID, the same for all its vCPUs but for [`DynamicState`].
#[derive(Debug, Clone)]
pub struct CpuidPolicy {
    config: CpuidConfig,
    /// Feature words, (query and register, bits).
    words: Vec<(Feature, u32)>,
    identity: Identity,
    xsave: XsaveLayout,
    /// Cache leaves, by subleaf, before topology is filled in.
    caches: Vec<CpuidResult>,
    arch_capabilities: Option<u64>,
}

/// Who the processor says it is.
#[derive(Debug, Clone)]
struct Identity {
    /// Leaf 0 EBX, EDX, ECX.
    vendor: [u8; 12],
    /// Leaf 1 EAX: family, model, stepping.
    version: u32,
    brand: [u8; 48],
    /// Leaf 2 as a whole: cache descriptors.
    descriptors: CpuidResult,
    /// Leaf 80000006h ECX: L2 line, associativity, size.
    l2: u32,
    physical_bits: u8,
}

impl CpuidPolicy {
    /// For the software engine: the level and what else the engine executes. Needs no host CPUID.
    pub fn soft(config: CpuidConfig, provider: ProviderFeatures) -> Self {
        let xsave = XsaveLayout::soft(config.level);
        let words = words(|row| holds(row, row.soft, &config, &provider, xsave.xcr0_mask()), &config);
        Self {
            words,
            identity: soft::identity(&config),
            xsave,
            caches: soft::CACHES.to_vec(),
            arch_capabilities: Some(soft::ARCH_CAPABILITIES),
            config,
        }
    }

    /// For the real framework: the host's CPUID through the allow-list.
    pub fn native(config: CpuidConfig, provider: ProviderFeatures, host: &dyn HostCpuid) -> Self {
        let xsave = XsaveLayout::of_host(host).within(config.level);
        let words = words(
            |row| match row.native {
                Native::Own(when) => holds(row, when, &config, &provider, xsave.xcr0_mask()),
                Native::Host(when) => {
                    within(row, config.level)
                        && native::has(host, row.feature)
                        && holds(row, when, &config, &provider, xsave.xcr0_mask())
                }
            },
            &config,
        );
        Self {
            words,
            identity: native::identity(&config, host),
            xsave,
            caches: native::caches(host),
            arch_capabilities: provider.arch_capabilities.map(|value| value & native::ARCH_CAPABILITIES),
            config,
        }
    }

    /// What CPUID answers on a vCPU. Leaves that are not offered answer zeros.
    pub fn query(&self, leaf: u32, subleaf: u32, state: &DynamicState) -> CpuidResult {
        leaves::answer(self, leaf, subleaf, state)
    }

    /// Does the guest see this feature? ([`Feature::APIC`] is as after reset, OSXSAVE has no row.)
    pub fn has(&self, feature: Feature) -> bool {
        self.word(feature.leaf, feature.subleaf, feature.register) >> (feature.bit & 31) & 1 != 0
    }

    /// The vendor in leaf 0.
    pub fn vendor(&self) -> Vendor {
        if &self.identity.vendor == b"GenuineIntel" { Vendor::Intel } else { Vendor::Other }
    }

    /// XCR0 bits the guest may set; bit 0 must be set.
    pub fn xcr0_mask(&self) -> u64 {
        if self.has(Feature::XSAVE) { self.xsave.xcr0_mask() } else { 0 }
    }

    /// Would XSETBV accept this value for XCR0 (SDM vol. 1 §13.3)? Else it is #GP(0).
    pub fn xcr0_valid(&self, value: u64) -> bool {
        xsave::xcr0_valid(value, self.xcr0_mask())
    }

    /// CR4 bits the guest may set; others are #GP(0).
    pub fn cr4_mask(&self) -> u64 {
        // Bits 8 (PCE), 9 (OSFXSR) and 10 (OSXMMEXCPT) come with every x86-64 processor.
        CR4_BITS
            .iter()
            .filter(|(_, feature)| self.has(*feature))
            .fold(7 << 8, |mask, (bit, _)| mask | 1 << bit)
    }

    /// IA32_EFER bits the guest may set; others are #GP(0).
    pub fn efer_mask(&self) -> u64 {
        EFER_BITS.iter().filter(|(_, feature)| self.has(*feature)).fold(0, |mask, (bit, _)| mask | 1 << bit)
    }

    /// MAXPHYADDR shown to the guest.
    pub fn physical_bits(&self) -> u8 {
        self.identity.physical_bits
    }

    /// IA32_ARCH_CAPABILITIES, where [`Feature::ARCH_CAPABILITIES`] is shown.
    pub fn arch_capabilities(&self) -> Option<u64> {
        self.arch_capabilities.filter(|_| self.has(Feature::ARCH_CAPABILITIES))
    }

    fn word(&self, leaf: u32, subleaf: u32, register: Register) -> u32 {
        let wanted = Feature { leaf, subleaf, register, bit: 0 };
        self.words.iter().find(|(word, _)| *word == wanted).map_or(0, |(_, bits)| *bits)
    }
}

/// CR4 bits and the feature each belongs to (SDM vol. 3A §2.5).
static CR4_BITS: &[(u8, Feature)] = &[
    (0, Feature::VME),
    (1, Feature::VME),
    (2, Feature::TSC),
    (3, Feature::DE),
    (4, Feature::PSE),
    (5, Feature::PAE),
    (6, Feature::MCE),
    (7, Feature::PGE),
    (11, Feature::UMIP),
    (12, Feature::LA57),
    (16, Feature::FSGSBASE),
    (17, Feature::PCID),
    (18, Feature::XSAVE),
    (20, Feature::SMEP),
    (21, Feature::SMAP),
    (22, Feature::PKU),
];

/// EFER bits and the feature each belongs to (SDM vol. 3A §2.2.1): SCE, LME, NXE.
static EFER_BITS: &[(u8, Feature)] = &[(0, Feature::SYSCALL), (8, Feature::LM), (11, Feature::NX)];

/// Does a level have the feature, or is it none that levels tell apart? What lives in vector registers beyond a level's
/// goes with the state.
fn within(row: &Row, level: Option<Level>) -> bool {
    level.is_none_or(|level| level >= Level::V3) || !features::V3_FEATURES.contains(&row.feature)
}

/// The highest level of which a processor has all instructions.
pub(crate) fn host_level(host: &dyn HostCpuid) -> Level {
    let mut wanted = features::V3_FEATURES.iter().chain([&Feature::XSAVE]);
    let state = XsaveLayout::of_host(host).xcr0_mask() & 4 != 0;
    if state && wanted.all(|feature| native::has(host, *feature)) { Level::V3 } else { Level::V2 }
}

/// Collects the rows that are shown into words.
fn words(shown: impl Fn(&Row) -> bool, config: &CpuidConfig) -> Vec<(Feature, u32)> {
    let mut words: Vec<(Feature, u32)> = Vec::new();
    for row in features::ROWS.iter().chain(features::XSAVE_ROWS) {
        if !shown(row) || config.hide.contains(&row.feature) {
            continue;
        }
        let word = Feature { bit: 0, ..row.feature };
        match words.iter_mut().find(|(seen, _)| *seen == word) {
            Some((_, bits)) => *bits |= 1 << row.feature.bit,
            None => words.push((word, 1 << row.feature.bit)),
        }
    }
    words
}

fn holds(row: &Row, when: When, config: &CpuidConfig, provider: &ProviderFeatures, xcr0: u64) -> bool {
    match when {
        When::Always => true,
        When::Never => false,
        When::V3 => config.level.is_none_or(|level| level >= Level::V3),
        When::Extra => config.extra.contains(&row.feature),
        When::Smp => config.cpus > 1,
        When::X2Apic => config.x2apic,
        When::TscDeadline => config.tsc_deadline,
        When::Rdtscp => provider.rdtscp,
        When::Invpcid => provider.invpcid,
        When::Xsaves => provider.xsaves,
        When::SpecCtrl => provider.spec_ctrl,
        When::ArchCapabilities => provider.arch_capabilities.is_some(),
        When::Xcr0(bits) => xcr0 & bits == bits,
    }
}

#[cfg(test)]
#[path = "cpuid_test.rs"]
mod cpuid_test;
