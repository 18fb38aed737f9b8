//! What a case starts from and what it ends in, the same for both sides.

/// First page of the data window: two pages to read and write, one to read. What lies around it is not mapped.
pub(crate) const WINDOW: u64 = 0x1000_0000;
/// Bytes of the window that can be written.
pub(crate) const WRITABLE: usize = 0x2000;
/// Bytes of the window.
pub(crate) const WINDOW_SIZE: usize = 0x3000;
/// Two pages of code, which cannot be written.
pub(crate) const CODE: u64 = 0x1010_0000;
/// Bytes of the code pages.
pub(crate) const CODE_SIZE: usize = 0x2000;
/// Base of GS.
pub(crate) const GS_BASE: u64 = 0x0123_4560;
/// Selector of the data segment in a Linux process.
pub(crate) const USER_DATA: u16 = 0x2b;

/// Bits of RFLAGS.
pub(crate) mod flag {
    pub(crate) const CF: u64 = 1 << 0;
    pub(crate) const PF: u64 = 1 << 2;
    pub(crate) const AF: u64 = 1 << 4;
    pub(crate) const ZF: u64 = 1 << 6;
    pub(crate) const SF: u64 = 1 << 7;
    pub(crate) const TF: u64 = 1 << 8;
    pub(crate) const IF: u64 = 1 << 9;
    pub(crate) const DF: u64 = 1 << 10;
    pub(crate) const OF: u64 = 1 << 11;
    pub(crate) const NT: u64 = 1 << 14;
    pub(crate) const AC: u64 = 1 << 18;
    pub(crate) const ID: u64 = 1 << 21;
    /// The six arithmetic flags.
    pub(crate) const ARITHMETIC: u64 = CF | PF | AF | ZF | SF | OF;
    /// Set in every process.
    pub(crate) const ALWAYS: u64 = IF | 2;
}

/// General registers by ModRM number.
pub(crate) const RAX: usize = 0;
/// See [`RAX`].
pub(crate) const RCX: usize = 1;
/// See [`RAX`].
pub(crate) const RDX: usize = 2;
/// See [`RAX`].
pub(crate) const RBX: usize = 3;
/// See [`RAX`].
pub(crate) const RSP: usize = 4;
/// See [`RAX`].
pub(crate) const RBP: usize = 5;
/// See [`RAX`].
pub(crate) const RSI: usize = 6;
/// See [`RAX`].
pub(crate) const RDI: usize = 7;

/// An FXSAVE64 image (SDM vol. 1, table 10-2).
#[derive(Clone, PartialEq, Eq)]
#[repr(C, align(64))]
pub(crate) struct Image(pub(crate) [u8; 512]);

impl Image {
    pub(crate) fn u16(&self, offset: usize) -> u16 {
        u16::from_le_bytes(self.bytes(offset))
    }

    pub(crate) fn u32(&self, offset: usize) -> u32 {
        u32::from_le_bytes(self.bytes(offset))
    }

    fn bytes<const N: usize>(&self, offset: usize) -> [u8; N] {
        let mut bytes = [0; N];
        bytes.copy_from_slice(&self.0[offset..offset + N]);
        bytes
    }

    pub(crate) fn put(&mut self, offset: usize, bytes: &[u8]) {
        self.0[offset..offset + bytes.len()].copy_from_slice(bytes);
    }

    /// ST(i): sign and exponent, significand.
    pub(crate) fn st(&self, i: usize) -> (u16, u64) {
        (self.u16(40 + 16 * i), u64::from_le_bytes(self.bytes(32 + 16 * i)))
    }

    pub(crate) fn set_st(&mut self, i: usize, (sign_exponent, significand): (u16, u64)) {
        self.put(32 + 16 * i, &significand.to_le_bytes());
        self.put(40 + 16 * i, &sign_exponent.to_le_bytes());
    }

    pub(crate) fn xmm(&self, i: usize) -> u128 {
        u128::from_le_bytes(self.bytes(160 + 16 * i))
    }

    pub(crate) fn set_xmm(&mut self, i: usize, value: u128) {
        self.put(160 + 16 * i, &value.to_le_bytes());
    }
}

/// Registers.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct State {
    /// By ModRM number.
    pub(crate) gpr: [u64; 16],
    pub(crate) rflags: u64,
    pub(crate) rip: u64,
    pub(crate) image: Image,
    /// The upper halves of YMM0 to YMM15.
    pub(crate) upper: [u128; 16],
}

impl State {
    pub(crate) fn new() -> Self {
        let mut image = Image([0; 512]);
        image.put(0, &0x37f_u16.to_le_bytes());
        image.put(24, &0x1f80_u32.to_le_bytes());
        Self { gpr: [0; 16], rflags: flag::ALWAYS, rip: 0, image, upper: [0; 16] }
    }
}

/// An exception.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) vector: u8,
    /// 0 for those that have none.
    pub(crate) error: u32,
    /// Of #PF, else 0.
    pub(crate) address: u64,
}

/// Where a case ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    /// At a landing.
    Landed,
    /// By an exception, RIP at the instruction (behind it for INT3).
    Fault(Fault),
    /// In a way no case should.
    Other(String),
}

/// What came of a case; memory is asked for separately.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) state: State,
    pub(crate) end: End,
}

/// The mode of the processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// 64-bit mode.
    Long,
    /// Compatibility mode with 32-bit code: what 32-bit protected mode does, with flat segments.
    Compatibility,
}

impl Mode {
    /// Default width of addresses.
    pub(crate) fn bits(self) -> u32 {
        match self {
            Self::Long => 64,
            Self::Compatibility => 32,
        }
    }

    /// Selector of its code segment in a Linux process.
    pub(crate) fn code_segment(self) -> u16 {
        match self {
            Self::Long => 0x33,
            Self::Compatibility => 0x23,
        }
    }
}

/// The code of a case.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    pub(crate) mode: Mode,
    /// Linear address of the first byte.
    pub(crate) start: u64,
    pub(crate) bytes: Vec<u8>,
    /// Landings beyond the one behind the last byte: targets of branches.
    pub(crate) landings: Vec<u64>,
}

impl Program {
    /// The landing behind the last byte.
    pub(crate) fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }
}

/// Bytes between landings, at least.
pub(crate) const LANDING: u64 = 16;
