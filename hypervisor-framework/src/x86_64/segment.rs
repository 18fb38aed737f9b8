//! Segment registers as the VMCS holds them.

use super::vmcs::Field;

/// A segment register, numbered as in the VMCS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Segment {
    /// Extra segment.
    Es = 0,
    /// Code segment.
    Cs = 1,
    /// Stack segment.
    Ss = 2,
    /// Data segment.
    Ds = 3,
    /// FS.
    Fs = 4,
    /// GS.
    Gs = 5,
    /// Local descriptor table.
    Ldtr = 6,
    /// Task register.
    Tr = 7,
}

impl Segment {
    /// All, in the order of the VMCS.
    pub const ALL: [Self; 8] =
        [Self::Es, Self::Cs, Self::Ss, Self::Ds, Self::Fs, Self::Gs, Self::Ldtr, Self::Tr];

    /// The selector's field.
    pub const fn selector(self) -> Field {
        Field(Field::GUEST_ES.0 + 2 * self as u32)
    }

    /// The base's field.
    pub const fn base(self) -> Field {
        Field(Field::GUEST_ES_BASE.0 + 2 * self as u32)
    }

    /// The limit's field.
    pub const fn limit(self) -> Field {
        Field(Field::GUEST_ES_LIMIT.0 + 2 * self as u32)
    }

    /// The access rights' field.
    pub const fn access_rights(self) -> Field {
        Field(Field::GUEST_ES_AR.0 + 2 * self as u32)
    }
}

/// Access rights in VMX format (SDM vol. 3, table 25-2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct AccessRights(pub u32);

impl AccessRights {
    /// Bit 16: the segment is unusable.
    pub const UNUSABLE: Self = Self(1 << 16);
    /// 64-bit code, ring 0.
    pub const CODE64: Self = Self(0xa09b);
    /// 32-bit flat code, ring 0.
    pub const CODE32: Self = Self(0xc09b);
    /// 32-bit flat data, ring 0.
    pub const DATA32: Self = Self(0xc093);
    /// 16-bit code, as after reset.
    pub const CODE16: Self = Self(0x9b);
    /// 16-bit data, as after reset.
    pub const DATA16: Self = Self(0x93);
    /// Busy 32-bit (or 64-bit) TSS.
    pub const TSS_BUSY: Self = Self(0x8b);
    /// LDT.
    pub const LDT: Self = Self(0x82);

    /// Bits 3:0.
    pub const fn kind(self) -> u8 {
        (self.0 & 15) as u8
    }

    /// Bit 4, S: code or data, else system.
    pub const fn is_code_or_data(self) -> bool {
        self.0 & 1 << 4 != 0
    }

    /// Bits 6:5.
    pub const fn dpl(self) -> u8 {
        (self.0 >> 5 & 3) as u8
    }

    /// Bit 7.
    pub const fn is_present(self) -> bool {
        self.0 & 1 << 7 != 0
    }

    /// Bit 13, L.
    pub const fn is_long(self) -> bool {
        self.0 & 1 << 13 != 0
    }

    /// Bit 14, D/B.
    pub const fn is_big(self) -> bool {
        self.0 & 1 << 14 != 0
    }

    /// Bit 15, G.
    pub const fn is_page_granular(self) -> bool {
        self.0 & 1 << 15 != 0
    }

    /// Bit 16.
    pub const fn is_unusable(self) -> bool {
        self.0 & 1 << 16 != 0
    }
}
