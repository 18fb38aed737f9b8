//! The virtual machine control structure: field encodings, widths and write rights.
//!
//! Constants carry the names of the framework's header without the `VMCS_` prefix.

mod table;

/// A field's encoding (SDM vol. 3, appendix B).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(transparent)]
pub struct Field(pub u32);

/// A field's width: bits 14:13 of its encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Width {
    /// 16 bits.
    Bits16,
    /// 64 bits.
    Bits64,
    /// 32 bits.
    Bits32,
    /// The processor's word: 64 bits here.
    Natural,
}

/// What a field belongs to: bits 11:10 of its encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Area {
    /// Controls.
    Control,
    /// Written by VM exits.
    ReadOnlyData,
    /// Guest state.
    Guest,
    /// Host state.
    Host,
}

/// May a client of the framework write a field? (Apple's access table, and what programs observed.)
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WriteRight {
    /// Any value of the field's width.
    Free,
    /// Values that satisfy a rule.
    Checked(Rule),
    /// Documented as read-only.
    ReadOnly,
    /// The framework's own; programs found writes refused, or none was ever seen.
    Never,
}

/// What a checked field demands of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rule {
    /// CD and NW are 0.
    Cr0,
    /// CD and NW are 1: the host owns them.
    Cr0Mask,
    /// 0 (active) or 1 (HLT).
    Activity,
    /// [`VmxCapability::PINBASED`](super::VmxCapability::PINBASED).
    PinControls,
    /// [`VmxCapability::PROCBASED`](super::VmxCapability::PROCBASED).
    PrimaryControls,
    /// [`VmxCapability::PROCBASED2`](super::VmxCapability::PROCBASED2).
    SecondaryControls,
    /// [`VmxCapability::EXIT`](super::VmxCapability::EXIT).
    ExitControls,
    /// [`VmxCapability::ENTRY`](super::VmxCapability::ENTRY).
    EntryControls,
}

impl Field {
    /// One past the highest encoding (`VMCS_MAX`).
    pub const MAX: u32 = 0x6d00;

    /// Bits 14:13 of the encoding.
    pub const fn width(self) -> Width {
        match self.0 >> 13 & 3 {
            0 => Width::Bits16,
            1 => Width::Bits64,
            2 => Width::Bits32,
            _ => Width::Natural,
        }
    }

    /// Bits 11:10 of the encoding.
    pub const fn area(self) -> Area {
        match self.0 >> 10 & 3 {
            0 => Area::Control,
            1 => Area::ReadOnlyData,
            2 => Area::Guest,
            _ => Area::Host,
        }
    }
}

impl Width {
    /// The largest value that fits.
    pub const fn mask(self) -> u64 {
        match self {
            Self::Bits16 => 0xffff,
            Self::Bits32 => 0xffff_ffff,
            Self::Bits64 | Self::Natural => u64::MAX,
        }
    }
}

impl std::fmt::Debug for Field {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "Field({:#06x})", self.0),
        }
    }
}

#[cfg(test)]
#[path = "table_test.rs"]
mod table_test;
