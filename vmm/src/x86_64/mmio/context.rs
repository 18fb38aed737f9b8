//! What the emulator asks of a CPU and of the devices around it.

use super::error::Stop;
use crate::x86_64::paging::Access;

/// A segment register, by its number in instruction encodings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Segment {
    /// 0
    Es,
    /// 1
    Cs,
    /// 2
    Ss,
    /// 3
    Ds,
    /// 4
    Fs,
    /// 5
    Gs,
}

/// A segment register with its hidden part, as the VMCS has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentState {
    /// The visible selector.
    pub selector: u16,
    /// Base, linear.
    pub base: u64,
    /// Limit in bytes, granularity applied.
    pub limit: u32,
    /// Access rights in the VMCS format (SDM vol. 3C §26.4.1): 3:0 type, 4 S, 6:5 DPL, 7 P, 13 L, 14 D/B, 16 unusable.
    pub rights: u32,
}

impl SegmentState {
    /// What 64-bit mode makes of every segment but FS and GS.
    pub(super) const FLAT: Self = Self { selector: 0, base: 0, limit: u32::MAX, rights: 0xc093 };
}

/// Default operand and address size of the code segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodeSize {
    /// Real, virtual-8086 and 16-bit protected mode.
    Bits16,
    /// 32-bit protected and compatibility mode.
    Bits32,
    /// 64-bit mode.
    Bits64,
}

/// The CPU mode as far as operands depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CpuMode {
    /// Default sizes.
    pub code: CodeSize,
    /// CR0.PE = 1 and RFLAGS.VM = 0: segment types are checked and exceptions carry error codes.
    pub protected: bool,
    /// Linear address bits that take part in canonicality: 48, or 57 with CR4.LA57.
    pub linear_bits: u8,
}

/// One CPU of the guest, stopped at the instruction to emulate.
///
/// Register numbers are those of ModRM: 0 RAX, 1 RCX, 2 RDX, 3 RBX, 4 RSP, 5 RBP, 6 RSI, 7 RDI, 8–15 R8–R15.
pub trait GuestContext {
    /// What a failing access to the CPU gives.
    type Error: std::fmt::Debug;

    /// The mode at the instruction.
    fn mode(&mut self) -> Result<CpuMode, Self::Error>;

    /// A general register, 64 bits.
    fn gpr(&mut self, number: u8) -> Result<u64, Self::Error>;

    /// Replaces all 64 bits of a general register.
    fn set_gpr(&mut self, number: u8, value: u64) -> Result<(), Self::Error>;

    /// RIP, which is also EIP and IP.
    fn rip(&mut self) -> Result<u64, Self::Error>;

    /// RFLAGS.
    fn rflags(&mut self) -> Result<u64, Self::Error>;

    /// Replaces RFLAGS; the emulator changes arithmetic flags only.
    fn set_rflags(&mut self, value: u64) -> Result<(), Self::Error>;

    /// A segment register.
    fn segment(&mut self, segment: Segment) -> Result<SegmentState, Self::Error>;

    /// The guest physical address behind `linear`, with accessed and dirty bits set.
    fn translate(&mut self, linear: u64, access: Access) -> Result<u64, Stop<Self::Error>>;

    /// Fills `buffer` if all of it is RAM or ROM; the range lies within a 4 KiB page. False: it is a device's.
    fn read_ram(&mut self, gpa: u64, buffer: &mut [u8]) -> bool;

    /// Writes `data` if all of it is writable RAM; the range lies within a 4 KiB page. False: it is a device's.
    fn write_ram(&mut self, gpa: u64, data: &[u8]) -> bool;

    /// XMM0–15, or [`super::Unsupported::VectorRegisters`].
    fn xmm(&mut self, number: u8) -> Result<u128, Stop<Self::Error>>;

    /// Replaces an XMM register, leaving the bits above it.
    fn set_xmm(&mut self, number: u8, value: u128) -> Result<(), Stop<Self::Error>>;

    /// The instruction, or an iteration of it, is done: RIP becomes `rip`, RFLAGS.RF is cleared, blocking by STI and
    /// MOV SS ends. With `single_step` (RFLAGS.TF was set) a #DB trap becomes pending.
    fn retire(&mut self, rip: u64, single_step: bool) -> Result<(), Self::Error>;
}

/// The devices in guest physical memory.
pub trait MmioAccess {
    /// Reads `width` (1, 2, 4 or 8) bytes, naturally aligned; upper bits of the answer are ignored.
    fn read(&mut self, gpa: u64, width: u8) -> u64;

    /// Writes the low `width` (1, 2, 4 or 8) bytes of `value`, naturally aligned.
    fn write(&mut self, gpa: u64, width: u8, value: u64);
}

/// The devices on I/O ports.
pub trait PortAccess {
    /// Reads `width` (1, 2 or 4) bytes; upper bits of the answer are ignored.
    fn read(&mut self, port: u16, width: u8) -> u32;

    /// Writes the low `width` (1, 2 or 4) bytes of `value`.
    fn write(&mut self, port: u16, width: u8, value: u32);
}
