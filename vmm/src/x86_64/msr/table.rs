//! Which MSRs there are, what each answers, and why (numbers and layouts: SDM vol. 4).

use super::{NativeMsr, Owner};
use crate::x86_64::cpuid::{CpuidPolicy, Feature, Vendor};

/// Is this a value the register takes? The second argument is MAXPHYADDR.
pub(super) type Takes = fn(u64, u8) -> bool;

/// What an MSR does.
#[derive(Debug, Clone, Copy)]
pub(super) enum Policy {
    /// Reads as this; a write is #GP.
    Constant(u64),
    /// Reads as this; writes do nothing.
    WritesIgnored(u64),
    /// The host's or the engine's IA32_ARCH_CAPABILITIES, as CPUID's policy filtered it; a write is #GP.
    ArchCapabilities,
    /// Kept by the VMM, without effect on anything.
    Stored {
        /// As firmware leaves it.
        reset: u64,
        /// Other values are #GP.
        takes: Takes,
    },
    /// Held by somebody else.
    Owned {
        /// By whom.
        owner: Owner,
        /// Other values are #GP.
        takes: Takes,
    },
    /// Held by somebody else; a read is #GP.
    WriteOnly {
        /// By whom.
        owner: Owner,
        /// Other values are #GP.
        takes: Takes,
    },
}

/// On which CPUs a row exists.
#[derive(Debug, Clone, Copy)]
pub(super) enum Present {
    /// All.
    Always,
    /// Those that show the feature.
    With(Feature),
    /// Those of the vendor.
    On(Vendor),
}

impl Present {
    pub(super) fn on(self, cpuid: &CpuidPolicy) -> bool {
        match self {
            Self::Always => true,
            Self::With(feature) => cpuid.has(feature),
            Self::On(vendor) => cpuid.vendor() == vendor,
        }
    }
}

/// May the guest use the register without exits?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Native {
    /// It always exits.
    No,
    /// It is enabled where the provider can.
    Wanted,
    /// The CPU cannot do without.
    Required,
}

/// One MSR, or a run of like ones.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) first: u32,
    pub(super) last: u32,
    pub(super) present: Present,
    pub(super) native: Native,
    pub(super) policy: Policy,
    /// Shown to people who read the table: the name, and why the policy is so.
    #[cfg_attr(not(test), expect(dead_code, reason = "the table's documentation"))]
    pub(super) why: &'static str,
}

impl Row {
    pub(super) fn native_msrs(&self) -> impl Iterator<Item = NativeMsr> {
        let required = self.native == Required;
        let wanted = self.native != No;
        (self.first..=self.last).filter(move |_| wanted).map(move |msr| NativeMsr { msr, required })
    }
}

const fn row(msr: u32, present: Present, policy: Policy, why: &'static str) -> Row {
    Row { first: msr, last: msr, present, native: No, policy, why }
}

const fn stored(first: u32, last: u32, feature: Feature, reset: u64, takes: Takes, why: &'static str) -> Row {
    let policy = Policy::Stored { reset, takes };
    Row { first, last, present: With(feature), native: No, policy, why }
}

const fn native(
    msr: u32,
    present: Present,
    native: Native,
    owner: Owner,
    takes: Takes,
    why: &'static str,
) -> Row {
    Row { first: msr, last: msr, present, native, policy: Policy::Owned { owner, takes }, why }
}

use Native::{No, Required, Wanted};
use Policy::{Constant, WritesIgnored};
use Present::{Always, On, With};

/// PAT after reset: WB, WT, UC-, UC, twice.
const PAT_RESET: u64 = 0x0007_0406_0007_0406;
/// Eight variable ranges, fixed ranges, write combining.
const MTRR_CAP: u64 = 8 | 1 << 8 | 1 << 10;
/// Variable ranges start at 200h, two registers each.
const MTRR_VARIABLE_LAST: u32 = 0x20f;
/// Enabled, write-back by default and no ranges: what the memory is.
const MTRR_DEFAULT: u64 = 1 << 11 | 6;

/// Ascending by number.
pub(super) static ROWS: &[Row] = &[
    row(0x0, With(Feature::MCE), WritesIgnored(0), "P5_MC_ADDR: nothing was ever recorded"),
    row(0x1, With(Feature::MCE), WritesIgnored(0), "P5_MC_TYPE: the same"),
    row(
        0x10,
        Always,
        owned(Owner::Tsc),
        "TSC: kernels read it by RDTSC, which does not exit; writes are the VMM's to refuse",
    ),
    row(0x17, On(Vendor::Intel), Constant(0), "PLATFORM_ID: the microcode driver reads it unguarded"),
    row(0x1b, Always, owned(Owner::LocalApic), "APIC_BASE: state of the local APIC"),
    row(0x3a, On(Vendor::Intel), Constant(1), "FEATURE_CONTROL: locked, nothing enabled"),
    native(0x48, With(Feature::SPEC_CTRL), Wanted, Owner::Vcpu, any, "SPEC_CTRL: hot, the host's rules"),
    Row {
        first: 0x49,
        last: 0x49,
        present: With(Feature::SPEC_CTRL),
        native: Wanted,
        policy: Policy::WriteOnly { owner: Owner::Vcpu, takes: prediction_barrier },
        why: "PRED_CMD: a command",
    },
    row(
        0x8b,
        Always,
        WritesIgnored(1 << 32),
        "UCODE_REV: guests write 0, run CPUID and read; any non-zero will do",
    ),
    row(0xfe, With(Feature::MTRR), Constant(MTRR_CAP), "MTRRCAP"),
    row(0x10a, With(Feature::ARCH_CAPABILITIES), Policy::ArchCapabilities, "ARCH_CAPABILITIES"),
    native(0x174, Always, Wanted, Owner::SysenterCs, any, "SYSENTER_CS"),
    native(0x175, Always, Wanted, Owner::SysenterEsp, canonical, "SYSENTER_ESP"),
    native(0x176, Always, Wanted, Owner::SysenterEip, canonical, "SYSENTER_EIP"),
    row(0x179, With(Feature::MCA), Constant(0), "MCG_CAP: no banks, no MCG_CTL"),
    stored(0x17a, 0x17a, Feature::MCA, 0, zero, "MCG_STATUS: no machine check under way"),
    row(
        0x1a0,
        On(Vendor::Intel),
        WritesIgnored(1 << 0 | 1 << 11 | 1 << 12),
        "MISC_ENABLE: read before there is an exception handler; fast strings on, no BTS, no PEBS",
    ),
    row(
        0x1d9,
        Always,
        Policy::Stored { reset: 0, takes: zero },
        "DEBUGCTL: single-stepping code clears it; branch records are not offered",
    ),
    stored(0x200, MTRR_VARIABLE_LAST, Feature::MTRR, 0, mtrr_variable, "MTRR_PHYSBASE and PHYSMASK"),
    stored(0x250, 0x250, Feature::MTRR, 0, memory_types, "MTRR_FIX64K"),
    stored(0x258, 0x259, Feature::MTRR, 0, memory_types, "MTRR_FIX16K"),
    stored(0x268, 0x26f, Feature::MTRR, 0, memory_types, "MTRR_FIX4K"),
    stored(0x277, 0x277, Feature::PAT, PAT_RESET, pat, "PAT: the framework refuses it, so it has no effect"),
    stored(0x2ff, 0x2ff, Feature::MTRR, MTRR_DEFAULT, mtrr_default, "MTRR_DEF_TYPE"),
    row(0x6e0, With(Feature::TSC_DEADLINE), owned(Owner::LocalApic), "TSC_DEADLINE: the local APIC's timer"),
    Row {
        first: 0x800,
        last: 0xbff,
        present: With(Feature::X2APIC),
        native: No,
        policy: owned(Owner::LocalApic),
        why: "x2APIC registers; the local APIC raises #GP outside x2APIC mode",
    },
    stored(0xda0, 0xda0, Feature::XSAVES, 0, zero, "XSS: no supervisor state is offered"),
    row(0xc000_0080, With(Feature::LM), owned(Owner::Efer), "EFER: a VMCS field, and LMA follows CR0.PG"),
    native(0xc000_0081, With(Feature::SYSCALL), Required, Owner::Vcpu, any, "STAR"),
    native(0xc000_0082, With(Feature::SYSCALL), Required, Owner::Vcpu, canonical, "LSTAR"),
    native(0xc000_0083, With(Feature::SYSCALL), Required, Owner::Vcpu, canonical, "CSTAR"),
    native(0xc000_0084, With(Feature::SYSCALL), Required, Owner::Vcpu, low_half, "FMASK"),
    native(0xc000_0100, With(Feature::LM), Wanted, Owner::FsBase, canonical, "FS_BASE"),
    native(0xc000_0101, With(Feature::LM), Wanted, Owner::GsBase, canonical, "GS_BASE"),
    native(
        0xc000_0102,
        With(Feature::LM),
        Required,
        Owner::Vcpu,
        canonical,
        "KERNEL_GS_BASE: SWAPGS does not exit",
    ),
    native(
        0xc000_0103,
        With(Feature::RDTSCP),
        Required,
        Owner::Vcpu,
        low_half,
        "TSC_AUX: RDTSCP does not exit",
    ),
    row(0xc001_0015, On(Vendor::Other), WritesIgnored(0), "HWCR: read unguarded on this vendor"),
    row(0xc001_001f, On(Vendor::Other), WritesIgnored(0), "NB_CFG: read unguarded on this vendor"),
    row(0xc001_1029, On(Vendor::Other), WritesIgnored(1 << 1), "DE_CFG: LFENCE serialises"),
];

const fn owned(owner: Owner) -> Policy {
    Policy::Owned { owner, takes: any }
}

fn any(_value: u64, _physical_bits: u8) -> bool {
    true
}

fn zero(value: u64, _physical_bits: u8) -> bool {
    value == 0
}

fn low_half(value: u64, _physical_bits: u8) -> bool {
    value >> 32 == 0
}

/// IBPB is bit 0.
fn prediction_barrier(value: u64, _physical_bits: u8) -> bool {
    value & !1 == 0
}

/// Bits 63:47 alike.
fn canonical(value: u64, _physical_bits: u8) -> bool {
    (value as i64) << 16 >> 16 == value as i64
}

/// UC, WC, WT, WP, WB (SDM vol. 3A table 13-8).
fn memory_type(value: u8) -> bool {
    matches!(value, 0 | 1 | 4 | 5 | 6)
}

fn memory_types(value: u64, _physical_bits: u8) -> bool {
    value.to_le_bytes().into_iter().all(memory_type)
}

/// As MTRRs, and 7 is UC- (SDM vol. 3A table 13-10).
fn pat(value: u64, _physical_bits: u8) -> bool {
    value.to_le_bytes().into_iter().all(|byte| byte == 7 || memory_type(byte))
}

/// 7:0 type, 10 fixed ranges enabled, 11 enabled.
fn mtrr_default(value: u64, _physical_bits: u8) -> bool {
    value & !(3 << 10 | 0xff) == 0 && memory_type(value as u8)
}

/// PHYSBASE has a type in 7:0, PHYSMASK a valid bit 11; both an address below MAXPHYADDR. Told apart by their use of
/// the low bits alone, so either register takes what one of them may hold.
fn mtrr_variable(value: u64, physical_bits: u8) -> bool {
    let address = ((1_u64 << physical_bits.min(52)) - 1) & !0xfff;
    let low = value & !address;
    low == 1 << 11 || memory_type(u8::try_from(low).unwrap_or(u8::MAX))
}
