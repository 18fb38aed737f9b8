//! Control registers, EFER and what follows from them.

/// CR0 bits (SDM vol. 3, 2.5).
pub(crate) mod cr0 {
    pub(crate) const PE: u64 = 1 << 0;
    pub(crate) const MP: u64 = 1 << 1;
    pub(crate) const EM: u64 = 1 << 2;
    pub(crate) const TS: u64 = 1 << 3;
    pub(crate) const ET: u64 = 1 << 4;
    pub(crate) const NE: u64 = 1 << 5;
    pub(crate) const WP: u64 = 1 << 16;
    pub(crate) const AM: u64 = 1 << 18;
    pub(crate) const NW: u64 = 1 << 29;
    pub(crate) const CD: u64 = 1 << 30;
    pub(crate) const PG: u64 = 1 << 31;
    pub(crate) const DEFINED: u64 = PE | MP | EM | TS | ET | NE | WP | AM | NW | CD | PG;
}

/// CR4 bits.
pub(crate) mod cr4 {
    pub(crate) const VME: u64 = 1 << 0;
    pub(crate) const PVI: u64 = 1 << 1;
    pub(crate) const TSD: u64 = 1 << 2;
    pub(crate) const DE: u64 = 1 << 3;
    pub(crate) const PSE: u64 = 1 << 4;
    pub(crate) const PAE: u64 = 1 << 5;
    pub(crate) const MCE: u64 = 1 << 6;
    pub(crate) const PGE: u64 = 1 << 7;
    pub(crate) const PCE: u64 = 1 << 8;
    pub(crate) const OSFXSR: u64 = 1 << 9;
    pub(crate) const OSXMMEXCPT: u64 = 1 << 10;
    pub(crate) const UMIP: u64 = 1 << 11;
    pub(crate) const VMXE: u64 = 1 << 13;
    pub(crate) const FSGSBASE: u64 = 1 << 16;
    pub(crate) const PCIDE: u64 = 1 << 17;
    pub(crate) const OSXSAVE: u64 = 1 << 18;
    pub(crate) const SMEP: u64 = 1 << 20;
    pub(crate) const SMAP: u64 = 1 << 21;
    /// What MOV to CR4 accepts.
    pub(crate) const DEFINED: u64 = VME
        | PVI
        | TSD
        | DE
        | PSE
        | PAE
        | MCE
        | PGE
        | PCE
        | OSFXSR
        | OSXMMEXCPT
        | UMIP
        | VMXE
        | FSGSBASE
        | PCIDE
        | OSXSAVE
        | SMEP
        | SMAP;
}

/// IA32_EFER bits.
pub(crate) mod efer {
    pub(crate) const SCE: u64 = 1 << 0;
    pub(crate) const LME: u64 = 1 << 8;
    pub(crate) const LMA: u64 = 1 << 10;
    pub(crate) const NXE: u64 = 1 << 11;
    pub(crate) const DEFINED: u64 = SCE | LME | LMA | NXE;
}

/// Guest physical addresses have this many bits; CPUID 0x80000008 must not promise more.
pub const PHYSICAL_ADDRESS_BITS: u32 = 40;

/// Execution mode as blocks are keyed by it: what decoding and translation depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Mode(pub(crate) u8);

impl Mode {
    /// Default operand size: 0 for 16, 1 for 32, 2 for 64 bits.
    pub(crate) const CODE: u8 = 3;
    /// The stack pointer is ESP (legacy modes).
    pub(crate) const STACK32: u8 = 1 << 2;
    /// CPL is 3.
    pub(crate) const USER: u8 = 1 << 3;
    /// CS, DS, ES and SS are flat (legacy modes).
    pub(crate) const FLAT: u8 = 1 << 4;
    /// Blocks of one instruction.
    pub(crate) const SINGLE: u8 = 1 << 5;
    /// Long mode is active, so 32- and 16-bit code is compatibility mode.
    pub(crate) const LONG: u8 = 1 << 6;
    /// Real or virtual-8086 mode.
    pub(crate) const REAL: u8 = 1 << 7;

    /// 16, 32 or 64.
    pub(crate) fn bits(self) -> u32 {
        16 << (self.0 & Self::CODE)
    }

    #[inline(always)]
    pub(crate) fn is64(self) -> bool {
        self.0 & Self::CODE == 2
    }

    #[inline(always)]
    pub(crate) fn has(self, bit: u8) -> bool {
        self.0 & bit != 0
    }
}
