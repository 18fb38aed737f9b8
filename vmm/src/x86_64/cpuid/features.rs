//! Feature bits: which the guest may see, on which provider, and why.

use super::Register::{Eax, Ebx, Ecx, Edx};
use super::{Feature, Register};

/// What else has to hold before a bit is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    /// Nothing.
    Always,
    /// It is never shown.
    Never,
    /// The configuration names it in `extra`.
    Extra,
    /// The level is x86-64-v3 at least.
    V3,
    /// There are several CPUs.
    Smp,
    /// `CpuidConfig::x2apic`
    X2Apic,
    /// `CpuidConfig::tsc_deadline`
    TscDeadline,
    /// `ProviderFeatures::rdtscp`
    Rdtscp,
    /// `ProviderFeatures::invpcid`
    Invpcid,
    /// `ProviderFeatures::xsaves`
    Xsaves,
    /// `ProviderFeatures::spec_ctrl`
    SpecCtrl,
    /// `ProviderFeatures::arch_capabilities`
    ArchCapabilities,
    /// All these bits of XCR0 can be set.
    Xcr0(u64),
}

/// Where the native provider gets a bit from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Native {
    /// The host must have it too.
    Host(When),
    /// It is the VMM's own doing, whatever the host has.
    Own(When),
}

/// One feature bit.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) feature: Feature,
    pub(super) soft: When,
    pub(super) native: Native,
    /// Shown to people who read the table; says why the bit is treated so.
    #[cfg_attr(not(test), expect(dead_code, reason = "the table's documentation"))]
    pub(super) why: &'static str,
}

const fn bit(leaf: u32, register: Register, bit: u8) -> Feature {
    Feature { leaf, subleaf: 0, register, bit }
}

macro_rules! features {
    ($($(#[$doc:meta])* $name:ident = ($leaf:expr, $register:expr, $bit:expr) soft $soft:expr, native $native:expr, $why:expr;)*) => {
        impl Feature {
            $($(#[$doc])* pub const $name: Self = bit($leaf, $register, $bit);)*
        }
        /// Every feature bit that can be shown or has a reason not to be; bits that are not here stay clear.
        pub(super) static ROWS: &[Row] = &[
            $(Row { feature: Feature::$name, soft: $soft, native: $native, why: $why },)*
        ];
    };
}

use Native::{Host, Own};
use When::{
    Always, ArchCapabilities, Extra, Invpcid, Never, Rdtscp, Smp, SpecCtrl, TscDeadline, V3, X2Apic, Xcr0,
    Xsaves,
};

/// XCR0: YMM state.
const AVX: u64 = 1 << 2;
/// XCR0: opmask, upper halves of ZMM0–15, ZMM16–31; with YMM.
const AVX512: u64 = 7 << 5 | AVX;

const F1: u32 = 1;
const F6: u32 = 6;
const F7: u32 = 7;
const E1: u32 = 0x8000_0001;
const E7: u32 = 0x8000_0007;

features! {
    /// x87 FPU.
    FPU = (F1, Edx, 0) soft Always, native Host(Always), "verify_cpu";
    /// Virtual-8086 mode enhancements.
    VME = (F1, Edx, 1) soft Never, native Host(Always), "the engine has no interrupt redirection bitmap";
    /// Debugging extensions.
    DE = (F1, Edx, 2) soft Always, native Host(Always), "CR4.DE";
    /// 4 MiB pages.
    PSE = (F1, Edx, 3) soft Always, native Host(Always), "verify_cpu";
    /// RDTSC.
    TSC = (F1, Edx, 4) soft Always, native Host(Always), "x86-64";
    /// RDMSR, WRMSR.
    MSR = (F1, Edx, 5) soft Always, native Host(Always), "verify_cpu";
    /// Physical address extension.
    PAE = (F1, Edx, 6) soft Always, native Host(Always), "verify_cpu";
    /// Machine check exception.
    MCE = (F1, Edx, 7) soft Always, native Own(Always), "Linux complains aloud without; no machine check ever comes";
    /// CMPXCHG8B.
    CX8 = (F1, Edx, 8) soft Always, native Host(Always), "verify_cpu";
    /// On-chip APIC.
    APIC = (F1, Edx, 9) soft Always, native Own(Always), "the VMM's device; follows IA32_APIC_BASE";
    /// SYSENTER, SYSEXIT.
    SEP = (F1, Edx, 11) soft Always, native Host(Always), "32-bit system calls";
    /// Memory type range registers.
    MTRR = (F1, Edx, 12) soft Always, native Own(Always), "stored by the VMM, without effect; firmware and PAT set-up want them";
    /// Global pages.
    PGE = (F1, Edx, 13) soft Always, native Host(Always), "verify_cpu";
    /// Machine check architecture.
    MCA = (F1, Edx, 14) soft Always, native Own(Always), "with no banks: the VMM has the registers that say so";
    /// CMOVcc.
    CMOV = (F1, Edx, 15) soft Always, native Host(Always), "verify_cpu";
    /// Page attribute table.
    PAT = (F1, Edx, 16) soft Always, native Host(Always), "stored by the VMM, without effect";
    /// 36-bit addresses for 4 MiB pages.
    PSE36 = (F1, Edx, 17) soft Always, native Host(Always), "page walk";
    /// CLFLUSH.
    CLFSH = (F1, Edx, 19) soft Always, native Host(Always), "x86-64";
    /// Debug store.
    DS = (F1, Edx, 21) soft Never, native Host(Never), "needs IA32_DS_AREA and the PMU";
    /// Thermal control MSRs.
    ACPI = (F1, Edx, 22) soft Never, native Host(Never), "no clock modulation MSRs";
    /// MMX.
    MMX = (F1, Edx, 23) soft Always, native Host(Always), "x86-64";
    /// FXSAVE, FXRSTOR.
    FXSR = (F1, Edx, 24) soft Always, native Host(Always), "verify_cpu";
    /// SSE.
    SSE = (F1, Edx, 25) soft Always, native Host(Always), "verify_cpu";
    /// SSE2.
    SSE2 = (F1, Edx, 26) soft Always, native Host(Always), "verify_cpu";
    /// Self snoop.
    SS = (F1, Edx, 27) soft Always, native Host(Always), "spares the guest WBINVD when it changes memory types";
    /// Several logical processors in the package.
    HTT = (F1, Edx, 28) soft Smp, native Own(Smp), "the machine's topology";
    /// Thermal monitor.
    TM = (F1, Edx, 29) soft Never, native Host(Never), "no thermal MSRs";
    /// Pending break enable.
    PBE = (F1, Edx, 31) soft Never, native Host(Never), "no FERR# pin";

    /// SSE3.
    SSE3 = (F1, Ecx, 0) soft Always, native Host(Always), "x86-64-v2";
    /// PCLMULQDQ.
    PCLMULQDQ = (F1, Ecx, 1) soft Extra, native Host(Always), "beyond x86-64-v2";
    /// MONITOR, MWAIT.
    MONITOR = (F1, Ecx, 3) soft Never, native Host(Never), "always exits; idle is HLT";
    /// VMX.
    VMX = (F1, Ecx, 5) soft Never, native Host(Never), "no nesting";
    /// Enhanced SpeedStep.
    EST = (F1, Ecx, 7) soft Never, native Host(Never), "no frequency MSRs";
    /// SSSE3.
    SSSE3 = (F1, Ecx, 9) soft Always, native Host(Always), "x86-64-v2";
    /// FMA.
    FMA = (F1, Ecx, 12) soft V3, native Host(Xcr0(AVX)), "AVX state";
    /// CMPXCHG16B.
    CX16 = (F1, Ecx, 13) soft Always, native Host(Always), "x86-64-v2";
    /// Performance capabilities MSR.
    PDCM = (F1, Ecx, 15) soft Never, native Host(Never), "no PMU";
    /// Process-context identifiers.
    PCID = (F1, Ecx, 17) soft Invpcid, native Host(Invpcid), "Linux uses both or neither well";
    /// SSE4.1.
    SSE41 = (F1, Ecx, 19) soft Always, native Host(Always), "x86-64-v2";
    /// SSE4.2.
    SSE42 = (F1, Ecx, 20) soft Always, native Host(Always), "x86-64-v2";
    /// x2APIC mode.
    X2APIC = (F1, Ecx, 21) soft X2Apic, native Own(X2Apic), "the VMM's device";
    /// MOVBE.
    MOVBE = (F1, Ecx, 22) soft V3, native Host(Always), "x86-64-v3";
    /// POPCNT.
    POPCNT = (F1, Ecx, 23) soft Always, native Host(Always), "x86-64-v2";
    /// TSC deadline mode of the local APIC timer.
    TSC_DEADLINE = (F1, Ecx, 24) soft TscDeadline, native Own(TscDeadline), "the VMM's device";
    /// AES instructions.
    AES = (F1, Ecx, 25) soft Extra, native Host(Always), "beyond x86-64-v2";
    /// XSAVE, XRSTOR, XGETBV, XSETBV.
    XSAVE = (F1, Ecx, 26) soft Always, native Host(Always), "x87 and SSE state on the engine, and AVX state with x86-64-v3";
    /// AVX.
    AVX = (F1, Ecx, 28) soft V3, native Host(Xcr0(AVX)), "AVX state";
    /// Half-precision conversions.
    F16C = (F1, Ecx, 29) soft V3, native Host(Xcr0(AVX)), "AVX state";
    /// RDRAND.
    RDRAND = (F1, Ecx, 30) soft Always, native Host(Always), "boot-time randomness";
    /// Running under a hypervisor.
    HYPERVISOR = (F1, Ecx, 31) soft Always, native Own(Always), "stops guests from trusting microcode and frequency MSRs";

    /// APIC timer runs in all idle states.
    ARAT = (F6, Eax, 2) soft Always, native Own(Always), "without it Linux distrusts the APIC timer in idle";

    /// RDFSBASE and its like.
    FSGSBASE = (F7, Ebx, 0) soft Always, native Host(Always), "CR4.FSGSBASE";
    /// IA32_TSC_ADJUST.
    TSC_ADJUST = (F7, Ebx, 1) soft Never, native Host(Never), "the framework's TSC offset is read-only";
    /// SGX.
    SGX = (F7, Ebx, 2) soft Never, native Host(Never), "no enclaves";
    /// BMI1.
    BMI1 = (F7, Ebx, 3) soft V3, native Host(Always), "x86-64-v3";
    /// Hardware lock elision.
    HLE = (F7, Ebx, 4) soft Never, native Host(Never), "TSX MSRs are not handled";
    /// AVX2.
    AVX2 = (F7, Ebx, 5) soft V3, native Host(Xcr0(AVX)), "AVX state";
    /// x87 data pointer updated by exceptions only.
    FDP_EXCPTN_ONLY = (F7, Ebx, 6) soft Never, native Host(Always), "a property of the FPU";
    /// Supervisor-mode execution prevention.
    SMEP = (F7, Ebx, 7) soft Always, native Host(Always), "CR4.SMEP";
    /// BMI2.
    BMI2 = (F7, Ebx, 8) soft V3, native Host(Always), "x86-64-v3";
    /// Enhanced REP MOVSB/STOSB.
    ERMS = (F7, Ebx, 9) soft Always, native Host(Always), "the engine copies strings in bulk";
    /// INVPCID.
    INVPCID = (F7, Ebx, 10) soft Invpcid, native Host(Invpcid), "#UD without secondary control bit 12";
    /// Restricted transactional memory.
    RTM = (F7, Ebx, 11) soft Never, native Host(Never), "TSX MSRs are not handled";
    /// FPU CS and DS are zero.
    ZERO_FCS_FDS = (F7, Ebx, 13) soft Never, native Host(Always), "a property of the FPU";
    /// Memory protection extensions.
    MPX = (F7, Ebx, 14) soft Never, native Host(Never), "macOS ignores XCR0 bits 3 and 4, which breaks AVX";
    /// AVX-512 foundation.
    AVX512F = (F7, Ebx, 16) soft Never, native Host(Xcr0(AVX512)), "AVX-512 state";
    /// AVX-512 doubleword and quadword.
    AVX512DQ = (F7, Ebx, 17) soft Never, native Host(Xcr0(AVX512)), "AVX-512 state";
    /// RDSEED.
    RDSEED = (F7, Ebx, 18) soft Always, native Host(Always), "boot-time randomness";
    /// ADCX, ADOX.
    ADX = (F7, Ebx, 19) soft Extra, native Host(Always), "beyond x86-64-v2";
    /// Supervisor-mode access prevention.
    SMAP = (F7, Ebx, 20) soft Always, native Host(Always), "CR4.SMAP";
    /// AVX-512 integer FMA.
    AVX512_IFMA = (F7, Ebx, 21) soft Never, native Host(Xcr0(AVX512)), "AVX-512 state";
    /// CLFLUSHOPT.
    CLFLUSHOPT = (F7, Ebx, 23) soft Extra, native Host(Always), "beyond x86-64-v2";
    /// CLWB.
    CLWB = (F7, Ebx, 24) soft Extra, native Host(Always), "beyond x86-64-v2";
    /// Processor trace.
    INTEL_PT = (F7, Ebx, 25) soft Never, native Host(Never), "no trace MSRs";
    /// AVX-512 conflict detection.
    AVX512CD = (F7, Ebx, 28) soft Never, native Host(Xcr0(AVX512)), "AVX-512 state";
    /// SHA instructions.
    SHA = (F7, Ebx, 29) soft Extra, native Host(Always), "beyond x86-64-v2";
    /// AVX-512 byte and word.
    AVX512BW = (F7, Ebx, 30) soft Never, native Host(Xcr0(AVX512)), "AVX-512 state";
    /// AVX-512 vector length.
    AVX512VL = (F7, Ebx, 31) soft Never, native Host(Xcr0(AVX512)), "AVX-512 state";

    /// AVX-512 VBMI.
    AVX512_VBMI = (F7, Ecx, 1) soft Never, native Host(Xcr0(AVX512)), "AVX-512 state";
    /// User-mode instruction prevention.
    UMIP = (F7, Ecx, 2) soft Extra, native Host(Always), "CR4.UMIP";
    /// Protection keys.
    PKU = (F7, Ecx, 3) soft Never, native Host(Never), "XCR0 bit 9 is not offered";
    /// TPAUSE, UMWAIT.
    WAITPKG = (F7, Ecx, 5) soft Never, native Host(Never), "secondary control bit 26 is not set";
    /// AVX-512 VBMI2.
    AVX512_VBMI2 = (F7, Ecx, 6) soft Never, native Host(Xcr0(AVX512)), "AVX-512 state";
    /// Galois field instructions.
    GFNI = (F7, Ecx, 8) soft Never, native Host(Always), "no state of its own";
    /// Vector AES.
    VAES = (F7, Ecx, 9) soft Never, native Host(Xcr0(AVX)), "AVX state";
    /// Vector PCLMULQDQ.
    VPCLMULQDQ = (F7, Ecx, 10) soft Never, native Host(Xcr0(AVX)), "AVX state";
    /// AVX-512 VNNI.
    AVX512_VNNI = (F7, Ecx, 11) soft Never, native Host(Xcr0(AVX512)), "AVX-512 state";
    /// AVX-512 bit algorithms.
    AVX512_BITALG = (F7, Ecx, 12) soft Never, native Host(Xcr0(AVX512)), "AVX-512 state";
    /// AVX-512 VPOPCNTDQ.
    AVX512_VPOPCNTDQ = (F7, Ecx, 14) soft Never, native Host(Xcr0(AVX512)), "AVX-512 state";
    /// Five-level paging.
    LA57 = (F7, Ecx, 16) soft Never, native Host(Never), "57-bit addresses are hidden";
    /// RDPID.
    RDPID = (F7, Ecx, 22) soft Never, native Host(Rdtscp), "needs IA32_TSC_AUX";
    /// MOVDIRI.
    MOVDIRI = (F7, Ecx, 27) soft Never, native Host(Never), "a store to devices that the MMIO decoder need not know then";
    /// MOVDIR64B.
    MOVDIR64B = (F7, Ecx, 28) soft Never, native Host(Never), "a store to devices that the MMIO decoder need not know then";

    /// Fast short REP MOV.
    FSRM = (F7, Edx, 4) soft Extra, native Host(Always), "only if short strings are cheap";
    /// VERW clears buffers.
    MD_CLEAR = (F7, Edx, 10) soft Never, native Host(Always), "a property of the microcode";
    /// SERIALIZE.
    SERIALIZE = (F7, Edx, 14) soft Never, native Host(Always), "no state of its own";
    /// Hybrid part.
    HYBRID = (F7, Edx, 15) soft Never, native Host(Never), "the guest's CPUs are alike";
    /// IBRS and IBPB.
    SPEC_CTRL = (F7, Edx, 26) soft Never, native Host(SpecCtrl), "MSRs 48h and 49h must be native";
    /// STIBP.
    STIBP = (F7, Edx, 27) soft Never, native Host(SpecCtrl), "MSR 48h must be native";
    /// IA32_FLUSH_CMD.
    L1D_FLUSH = (F7, Edx, 28) soft Never, native Host(Never), "MSR 10Bh cannot be made native";
    /// IA32_ARCH_CAPABILITIES.
    ARCH_CAPABILITIES = (F7, Edx, 29) soft Always, native Host(ArchCapabilities), "tells which mitigations are needless";
    /// IA32_CORE_CAPABILITIES.
    CORE_CAPABILITIES = (F7, Edx, 30) soft Never, native Host(Never), "split-lock MSRs are not handled";
    /// SSBD.
    SSBD = (F7, Edx, 31) soft Never, native Host(SpecCtrl), "MSR 48h must be native";

    /// LAHF and SAHF in 64-bit mode.
    LAHF = (E1, Ecx, 0) soft Always, native Host(Always), "x86-64-v2";
    /// LZCNT.
    LZCNT = (E1, Ecx, 5) soft V3, native Host(Always), "x86-64-v3";
    /// PREFETCHW.
    PREFETCHW = (E1, Ecx, 8) soft Extra, native Host(Always), "beyond x86-64-v2";
    /// SYSCALL, SYSRET.
    SYSCALL = (E1, Edx, 11) soft Always, native Host(Always), "x86-64";
    /// Execute disable.
    NX = (E1, Edx, 20) soft Always, native Host(Always), "EFER.NXE";
    /// 1 GiB pages.
    PAGE_1G = (E1, Edx, 26) soft Always, native Host(Always), "page walk";
    /// RDTSCP and IA32_TSC_AUX.
    RDTSCP = (E1, Edx, 27) soft Rdtscp, native Host(Rdtscp), "#UD without secondary control bit 3";
    /// Long mode.
    LM = (E1, Edx, 29) soft Always, native Host(Always), "verify_cpu";

    /// The TSC runs at one rate in all states.
    INVARIANT_TSC = (E7, Edx, 8) soft Always, native Host(Always), "the TSC is the guest's clock source";
}

impl Feature {
    /// XSAVEOPT.
    pub const XSAVEOPT: Self = xsave(0);
    /// XSAVEC and the compacted format.
    pub const XSAVEC: Self = xsave(1);
    /// XGETBV with ECX = 1.
    pub const XGETBV1: Self = xsave(2);
    /// XSAVES, XRSTORS, IA32_XSS.
    pub const XSAVES: Self = xsave(3);
}

const fn xsave(bit: u8) -> Feature {
    Feature { leaf: 0xd, subleaf: 1, register: Eax, bit }
}

/// The bits of leaf 0Dh, subleaf 1, on their own because the macro's rows are subleaf 0.
pub(super) static XSAVE_ROWS: &[Row] = &[
    Row { feature: Feature::XSAVEOPT, soft: V3, native: Host(Always), why: "user instruction" },
    Row { feature: Feature::XSAVEC, soft: V3, native: Host(Always), why: "user instruction" },
    Row { feature: Feature::XGETBV1, soft: V3, native: Host(Always), why: "user instruction" },
    Row {
        feature: Feature::XSAVES,
        soft: Never,
        native: Host(Xsaves),
        why: "#UD without secondary control bit 20",
    },
];

/// What x86-64-v3 has beyond v2 (x86-64 psABI, table 3.1), but for OSXSAVE.
pub(super) const V3_FEATURES: [Feature; 8] = [
    Feature::AVX,
    Feature::AVX2,
    Feature::BMI1,
    Feature::BMI2,
    Feature::F16C,
    Feature::FMA,
    Feature::LZCNT,
    Feature::MOVBE,
];
