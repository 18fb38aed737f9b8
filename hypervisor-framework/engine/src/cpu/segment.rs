//! Segment registers with their hidden parts.

/// A segment register, LDTR or TR; numbered as in instruction encodings and the VMCS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum SegmentRegister {
    /// ES
    Es = 0,
    /// CS
    Cs = 1,
    /// SS
    Ss = 2,
    /// DS
    Ds = 3,
    /// FS
    Fs = 4,
    /// GS
    Gs = 5,
    /// LDTR
    Ldtr = 6,
    /// TR
    Tr = 7,
}

/// A segment register's visible and hidden parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// The selector.
    pub selector: u16,
    /// The linear base address.
    pub base: u64,
    /// The last valid offset, in bytes (granularity applied).
    pub limit: u32,
    /// Access rights in VMX format (SDM vol. 3, table 25-2): type 3:0, S 4, DPL 6:5, P 7, AVL 12, L 13, D/B 14, G 15,
    /// unusable 16.
    pub access_rights: u32,
}

impl Segment {
    /// Access rights bit: no segment is loaded.
    pub const UNUSABLE: u32 = 1 << 16;

    /// A segment register after loading a null selector.
    pub fn null(selector: u16) -> Self {
        Self { selector, base: 0, limit: 0, access_rights: Self::UNUSABLE }
    }

    pub(crate) fn usable(&self) -> bool {
        self.access_rights & Self::UNUSABLE == 0
    }

    pub(crate) fn kind(&self) -> u32 {
        self.access_rights & 0xf
    }

    pub(crate) fn dpl(&self) -> u8 {
        (self.access_rights >> 5 & 3) as u8
    }

    /// D/B: 32-bit code or stack.
    pub(crate) fn big(&self) -> bool {
        self.access_rights & 1 << 14 != 0
    }

    /// L: 64-bit code.
    pub(crate) fn long(&self) -> bool {
        self.access_rights & 1 << 13 != 0
    }

    /// Base 0 and all of 4 GiB, readable and writable (data) or readable (code), so that no check can fail.
    pub(crate) fn flat(&self) -> bool {
        let kind = self.kind();
        let open = if kind & 8 != 0 { kind & 2 != 0 } else { kind & 6 == 2 };
        self.usable() && self.base == 0 && self.limit == u32::MAX && open
    }
}

/// GDTR or IDTR.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DescriptorTable {
    /// The linear base address.
    pub base: u64,
    /// The last valid offset, in bytes.
    pub limit: u16,
}
