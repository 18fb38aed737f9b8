//! The emulator against a CPU and a device made of arrays.

mod addressing;
mod alignment;
mod arithmetic;
mod ending;
mod exchange;
mod fetching;
mod moves;
mod port_io;
mod random;
mod shifts;
mod stack;
mod strings;
mod vector;

use std::collections::BTreeMap;
use std::sync::OnceLock;

use super::*;
use crate::x86_64::paging::Access;

/// RAM is below, the device from here to [`END`], both linear and physical; the rest is not mapped.
pub(super) const DEVICE: u64 = 0x1_0000;
pub(super) const END: u64 = 0x2_0000;
/// Where instructions are put.
pub(super) const CODE: u64 = 0x1000;

pub(super) const RAX: usize = 0;
pub(super) const RCX: usize = 1;
pub(super) const RDX: usize = 2;
pub(super) const RBX: usize = 3;
pub(super) const RSP: usize = 4;
pub(super) const RSI: usize = 6;
pub(super) const RDI: usize = 7;

pub(super) const TF: u64 = 1 << 8;

/// An access the device has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Touch {
    Read { gpa: u64, width: u8 },
    Write { gpa: u64, width: u8, value: u64 },
}

/// 64 KiB of device memory that remembers how it was touched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Device {
    pub(super) bytes: Vec<u8>,
    pub(super) touches: Vec<Touch>,
}

impl MmioAccess for Device {
    fn read(&mut self, gpa: u64, width: u8) -> u64 {
        assert!(
            matches!(width, 1 | 2 | 4 | 8) && gpa.is_multiple_of(width.into()),
            "{width} bytes at {gpa:#x}"
        );
        self.touches.push(Touch::Read { gpa, width });
        let at = (gpa - DEVICE) as usize;
        let mut value = [0xee; 8];
        value[..width.into()].copy_from_slice(&self.bytes[at..at + usize::from(width)]);
        u64::from_le_bytes(value)
    }

    fn write(&mut self, gpa: u64, width: u8, value: u64) {
        assert!(
            matches!(width, 1 | 2 | 4 | 8) && gpa.is_multiple_of(width.into()),
            "{width} bytes at {gpa:#x}"
        );
        self.touches.push(Touch::Write { gpa, width, value });
        let at = (gpa - DEVICE) as usize;
        self.bytes[at..at + usize::from(width)].copy_from_slice(&value.to_le_bytes()[..width.into()]);
    }
}

/// A CPU whose registers are fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cpu {
    pub(super) gprs: [u64; 16],
    pub(super) rip: u64,
    pub(super) rflags: u64,
    pub(super) segments: [SegmentState; 6],
    pub(super) mode: CpuMode,
    pub(super) ram: Vec<u8>,
    /// Linear pages that are not identity-mapped: to which physical page, and whether writable; `None` is absent.
    pub(super) pages: BTreeMap<u64, Option<(u64, bool)>>,
    pub(super) xmm: Option<[u128; 16]>,
    /// What [`GuestContext::retire`] was told.
    pub(super) retired: Option<(u64, bool)>,
    /// Accesses translated, in order.
    pub(super) translated: Vec<(u64, Access)>,
}

/// The only error of [`Cpu`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("nothing")]
pub(super) struct NoError;

impl GuestContext for Cpu {
    type Error = NoError;

    fn mode(&mut self) -> Result<CpuMode, NoError> {
        Ok(self.mode)
    }

    fn gpr(&mut self, number: u8) -> Result<u64, NoError> {
        Ok(self.gprs[usize::from(number)])
    }

    fn set_gpr(&mut self, number: u8, value: u64) -> Result<(), NoError> {
        self.gprs[usize::from(number)] = value;
        Ok(())
    }

    fn rip(&mut self) -> Result<u64, NoError> {
        Ok(self.rip)
    }

    fn rflags(&mut self) -> Result<u64, NoError> {
        Ok(self.rflags)
    }

    fn set_rflags(&mut self, value: u64) -> Result<(), NoError> {
        assert_eq!((value ^ self.rflags) & !flags::STATUS, 0, "only status flags change");
        self.rflags = value;
        Ok(())
    }

    fn segment(&mut self, segment: Segment) -> Result<SegmentState, NoError> {
        Ok(self.segments[segment as usize])
    }

    fn translate(&mut self, linear: u64, access: Access) -> Result<u64, Stop<NoError>> {
        let page = linear & !0xfff;
        let identity = (page < END).then_some((page, true));
        let write = u32::from(access == Access::Write);
        let fault = |present: u32| Stop::Exception(Exception::page_fault(linear, present | write << 1));
        let (gpa, writable) = self.pages.get(&page).copied().unwrap_or(identity).ok_or(fault(0))?;
        if access == Access::Write && !writable {
            return Err(fault(1));
        }
        self.translated.push((linear, access));
        Ok(gpa | linear & 0xfff)
    }

    fn read_ram(&mut self, gpa: u64, buffer: &mut [u8]) -> bool {
        assert!((gpa & 0xfff) as usize + buffer.len() <= 0x1000, "within a page");
        let Some(bytes) = self.ram.get(gpa as usize..gpa as usize + buffer.len()) else { return false };
        buffer.copy_from_slice(bytes);
        true
    }

    fn write_ram(&mut self, gpa: u64, data: &[u8]) -> bool {
        assert!((gpa & 0xfff) as usize + data.len() <= 0x1000, "within a page");
        let Some(bytes) = self.ram.get_mut(gpa as usize..gpa as usize + data.len()) else { return false };
        bytes.copy_from_slice(data);
        true
    }

    fn xmm(&mut self, number: u8) -> Result<u128, Stop<NoError>> {
        self.xmm.map(|xmm| xmm[usize::from(number)]).ok_or(Unsupported::VectorRegisters.into())
    }

    fn set_xmm(&mut self, number: u8, value: u128) -> Result<(), Stop<NoError>> {
        self.xmm.as_mut().ok_or(Unsupported::VectorRegisters)?[usize::from(number)] = value;
        Ok(())
    }

    fn retire(&mut self, rip: u64, single_step: bool) -> Result<(), NoError> {
        self.rip = rip;
        self.retired = Some((rip, single_step));
        Ok(())
    }
}

/// A CPU and a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Machine {
    pub(super) cpu: Cpu,
    pub(super) device: Device,
}

/// A byte that depends on its address.
pub(super) fn pattern(at: u64) -> u8 {
    (at.wrapping_mul(0x9e37_79b9) >> 13) as u8 ^ at as u8
}

/// RAM and device as every machine starts with them.
fn patterns() -> &'static [u8] {
    static PATTERNS: OnceLock<Vec<u8>> = OnceLock::new();
    PATTERNS.get_or_init(|| (0..END).map(pattern).collect())
}

pub(super) type Ending = Result<Outcome, EmulationError<NoError>>;

impl Machine {
    /// 64-, 32- or 16-bit code at [`CODE`], flat segments, patterns in RAM and device, distinct registers.
    pub(super) fn new(bits: u32, code: &[u8]) -> Self {
        let (code_size, cs_rights) = match bits {
            64 => (CodeSize::Bits64, 0xa09b),
            32 => (CodeSize::Bits32, 0xc09b),
            _ => (CodeSize::Bits16, 0x009b),
        };
        let flat = |rights| SegmentState { selector: 0x10, base: 0, limit: u32::MAX, rights };
        let data_rights = if bits == 16 { 0x8093 } else { 0xc093 };
        let mut segments = [flat(data_rights); 6];
        segments[Segment::Cs as usize] = flat(cs_rights);
        let mut gprs = [0; 16];
        for (number, register) in (1..).zip(&mut gprs) {
            *register = 0x0123_4567_89ab_cdef_u64.wrapping_mul(number);
        }
        gprs[RBX] = DEVICE + 0x100;
        gprs[RSP] = 0x8000;
        let mut cpu = Cpu {
            gprs,
            rip: CODE,
            rflags: 2,
            segments,
            mode: CpuMode { code: code_size, protected: true, linear_bits: 48 },
            ram: patterns()[..DEVICE as usize].to_vec(),
            pages: BTreeMap::new(),
            xmm: Some([0; 16]),
            retired: None,
            translated: Vec::new(),
        };
        cpu.ram[CODE as usize..CODE as usize + code.len()].copy_from_slice(code);
        let device = Device { bytes: patterns()[DEVICE as usize..].to_vec(), touches: Vec::new() };
        Self { cpu, device }
    }

    pub(super) fn emulate(&mut self) -> Ending {
        emulate(&mut self.cpu, &mut self.device)
    }

    /// Emulates and insists that the instruction retired after `length` bytes.
    pub(super) fn retire(&mut self, length: usize) {
        let expected = self.cpu.rip + length as u64;
        assert_eq!(self.emulate(), Ok(Outcome::Retired));
        assert_eq!(self.cpu.rip, expected, "RIP after {length} bytes");
        assert_eq!(self.cpu.retired, Some((expected, self.cpu.rflags & TF != 0)));
    }

    /// Emulates, expecting `exception`, and insists that nothing else has happened.
    pub(super) fn fault(&mut self, exception: Exception) {
        let before = self.clone();
        assert_eq!(self.emulate(), Ok(Outcome::Exception(exception)));
        self.cpu.translated.clone_from(&before.cpu.translated);
        assert_eq!(*self, before, "a fault leaves no trace");
    }

    /// Emulates, expecting that it is not possible.
    pub(super) fn unsupported(&mut self, expected: Unsupported) {
        let before = self.clone();
        let Err(EmulationError::Unsupported { reason, rip, .. }) = self.emulate() else {
            panic!("{expected} was expected");
        };
        assert_eq!((reason, rip), (expected, before.cpu.rip));
        self.cpu.translated.clone_from(&before.cpu.translated);
        assert_eq!(*self, before, "what is not supported leaves no trace");
    }

    /// `width` bytes of RAM or device at `at`.
    pub(super) fn peek(&self, at: u64, width: u8) -> u64 {
        let mut value = [0; 8];
        for (i, byte) in value.iter_mut().take(width.into()).enumerate() {
            let at = at + i as u64;
            *byte = if at < DEVICE {
                self.cpu.ram[at as usize]
            } else {
                self.device.bytes[(at - DEVICE) as usize]
            };
        }
        u64::from_le_bytes(value)
    }

    pub(super) fn poke(&mut self, at: u64, width: u8, value: u64) {
        for (i, byte) in value.to_le_bytes().into_iter().take(width.into()).enumerate() {
            let at = at + i as u64;
            if at < DEVICE {
                self.cpu.ram[at as usize] = byte;
            } else {
                self.device.bytes[(at - DEVICE) as usize] = byte;
            }
        }
    }
}

/// Prefixes for 32-bit (`66` for 16, `REX.W` for 64) code of 64-bit mode, given the opcode for bytes and the other.
pub(super) fn sized(width: u8, rex: u8, byte_opcode: &[u8], opcode: &[u8], rest: &[u8]) -> Vec<u8> {
    let mut code = Vec::new();
    if width == 2 {
        code.push(0x66);
    }
    let rex = rex | if width == 8 { 0x48 } else { 0 };
    if rex != 0 {
        code.push(rex | 0x40);
    }
    code.extend_from_slice(if width == 1 { byte_opcode } else { opcode });
    code.extend_from_slice(rest);
    code
}

pub(super) fn mask(width: u8) -> u64 {
    u64::MAX >> (64 - 8 * u32::from(width))
}
