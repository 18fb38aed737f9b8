//! The interruption-information words: VM entry (SDM vol. 3, 25.8.3), VM exit (25.9.2) and IDT vectoring (25.9.3).

/// An interruption-information word. The three fields share vector, type, error-code and valid bits; bit 12 differs.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(transparent)]
pub struct InterruptionInfo(pub u32);

/// Bits 10:8 of an interruption-information word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum InterruptionKind {
    /// From an interrupt controller.
    External = 0,
    /// Not used.
    Reserved = 1,
    /// Non-maskable interrupt, vector 2.
    Nmi = 2,
    /// A fault, trap or abort of the processor.
    HardwareException = 3,
    /// INT n.
    SoftwareInterrupt = 4,
    /// INT1.
    PrivilegedSoftwareException = 5,
    /// INT3 or INTO.
    SoftwareException = 6,
    /// On entry: a pending MTF exit.
    Other = 7,
}

impl InterruptionKind {
    /// From the low three bits.
    pub const fn from_bits(bits: u32) -> Self {
        match bits & 7 {
            0 => Self::External,
            1 => Self::Reserved,
            2 => Self::Nmi,
            3 => Self::HardwareException,
            4 => Self::SoftwareInterrupt,
            5 => Self::PrivilegedSoftwareException,
            6 => Self::SoftwareException,
            _ => Self::Other,
        }
    }

    /// Does delivery push a RIP past the instruction, so that the VM-entry instruction length counts?
    pub const fn needs_instruction_length(self) -> bool {
        matches!(self, Self::SoftwareInterrupt | Self::PrivilegedSoftwareException | Self::SoftwareException)
    }
}

impl InterruptionInfo {
    /// Bit 11: an error code is delivered, or was pushed.
    pub const ERROR_CODE: u32 = 1 << 11;
    /// Bit 12 of exit information: an IRET had unblocked NMIs. Undefined in IDT-vectoring information: clear it
    /// before re-injecting.
    pub const NMI_UNBLOCKED: u32 = 1 << 12;
    /// Bit 31.
    pub const VALID: u32 = 1 << 31;

    /// A valid word.
    pub const fn new(kind: InterruptionKind, vector: u8, with_error_code: bool) -> Self {
        let error = if with_error_code { Self::ERROR_CODE } else { 0 };
        Self(Self::VALID | error | (kind as u32) << 8 | vector as u32)
    }

    /// Bits 7:0.
    pub const fn vector(self) -> u8 {
        self.0 as u8
    }

    /// Bits 10:8.
    pub const fn kind(self) -> InterruptionKind {
        InterruptionKind::from_bits(self.0 >> 8)
    }

    /// Bit 11.
    pub const fn has_error_code(self) -> bool {
        self.0 & Self::ERROR_CODE != 0
    }

    /// Bit 12 (exit information only).
    pub const fn nmi_unblocked(self) -> bool {
        self.0 & Self::NMI_UNBLOCKED != 0
    }

    /// Bit 31.
    pub const fn is_valid(self) -> bool {
        self.0 & Self::VALID != 0
    }
}

impl std::fmt::Debug for InterruptionInfo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.is_valid() {
            write!(f, "{:?} vector {:#x} ({:#010x})", self.kind(), self.vector(), self.0)
        } else {
            f.write_str("none")
        }
    }
}
