//! Effective and linear addresses, and the checks of segmentation (SDM vol. 3A chapter 6, vol. 1 §3.7).

use iced_x86::{OpKind, Register};

use super::context::{CodeSize, CpuMode, GuestContext, Segment, SegmentState};
use super::emulation::Emulation;
use super::error::{Exception, Stop, Unsupported};
use super::operand::gpr_number;
use crate::x86_64::paging::Access;

/// Access rights: unusable.
const UNUSABLE: u32 = 1 << 16;
/// Access rights: default size 32 bits (or upper bound 4 GiB of an expand-down segment).
const BIG: u32 = 1 << 14;
const TYPE_CODE: u32 = 1 << 3;
/// Of data segments.
const TYPE_EXPAND_DOWN: u32 = 1 << 2;
/// Writable for data, readable for code.
const TYPE_WRITE_OR_READ: u32 = 1 << 1;

/// Are all bits above the implemented linear address bits copies of the highest?
pub(super) fn canonical(linear: u64, linear_bits: u8) -> bool {
    let unused = 64_u32.saturating_sub(u32::from(linear_bits)).min(63);
    ((linear as i64) << unused >> unused) as u64 == linear
}

/// Address size in bytes as a mask over offsets.
pub(super) fn offset_mask(size: u8) -> u64 {
    match size {
        2 => 0xffff,
        4 => 0xffff_ffff,
        _ => u64::MAX,
    }
}

/// A segment ready to have offsets checked against it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    segment: Segment,
    state: SegmentState,
    mode: CpuMode,
}

impl Window {
    /// The linear address of `length` bytes at `offset`, or the fault the access raises.
    pub(super) fn linear(&self, offset: u64, length: u64, access: Access) -> Result<u64, Exception> {
        let fault = if self.segment == Segment::Ss {
            Exception::stack_fault()
        } else {
            Exception::general_protection()
        };
        if self.mode.code == CodeSize::Bits64 {
            let linear = self.state.base.wrapping_add(offset);
            let last = linear.wrapping_add(length.saturating_sub(1));
            let bits = self.mode.linear_bits;
            return if canonical(linear, bits) && canonical(last, bits) { Ok(linear) } else { Err(fault) };
        }
        let rights = self.state.rights;
        if rights & UNUSABLE != 0 {
            return Err(Exception::general_protection());
        }
        let code = rights & TYPE_CODE != 0;
        if self.mode.protected {
            let allowed = match access {
                Access::Write => !code && rights & TYPE_WRITE_OR_READ != 0,
                Access::Read | Access::Fetch => !code || rights & TYPE_WRITE_OR_READ != 0,
            };
            if !allowed {
                return Err(fault);
            }
        }
        let last = offset.saturating_add(length.saturating_sub(1));
        let limit = u64::from(self.state.limit);
        let inside = if !code && rights & TYPE_EXPAND_DOWN != 0 {
            let upper = if rights & BIG != 0 { 0xffff_ffff } else { 0xffff };
            offset > limit && last <= upper
        } else {
            last <= limit
        };
        if inside { Ok(self.state.base.wrapping_add(offset) & 0xffff_ffff) } else { Err(fault) }
    }

    /// Is the stack pointer 32 bits wide, this being the stack segment outside 64-bit mode?
    pub(super) fn big(&self) -> bool {
        self.state.rights & BIG != 0
    }
}

/// iced's name of a segment register.
pub(super) fn segment_of(register: Register) -> Option<Segment> {
    Some(match register {
        Register::ES => Segment::Es,
        Register::CS => Segment::Cs,
        Register::SS => Segment::Ss,
        Register::DS => Segment::Ds,
        Register::FS => Segment::Fs,
        Register::GS => Segment::Gs,
        _ => return None,
    })
}

impl<C: GuestContext> Emulation<'_, C> {
    pub(super) fn window(&mut self, segment: Segment) -> Result<Window, Stop<C::Error>> {
        let based = self.mode.code != CodeSize::Bits64 || matches!(segment, Segment::Fs | Segment::Gs);
        // Nothing of a flat segment counts; asking for it costs a provider four reads.
        let state =
            if based { self.context.segment(segment).map_err(Stop::Context)? } else { SegmentState::FLAT };
        Ok(Window { segment, state, mode: self.mode })
    }

    /// The segment of the ModRM, moffs or string source operand. In 64-bit mode prefixes other than FS and GS do not
    /// count, not even for which fault a bad address raises.
    pub(super) fn memory_segment(&self) -> Result<Segment, Unsupported> {
        let instruction = &self.instruction;
        let flat =
            matches!(instruction.segment_prefix(), Register::ES | Register::CS | Register::SS | Register::DS);
        if self.mode.code == CodeSize::Bits64 && flat {
            let stack = matches!(gpr_number(instruction.memory_base()), Some(4 | 5));
            return Ok(if stack { Segment::Ss } else { Segment::Ds });
        }
        segment_of(instruction.memory_segment()).ok_or(Unsupported::Instruction)
    }

    /// The segment and offset of the ModRM or moffs operand. `rsp` stands for RSP where POP has moved it already.
    pub(super) fn effective_address(
        &mut self,
        rsp: Option<u64>,
    ) -> Result<(Segment, u64, u8), Stop<C::Error>> {
        let instruction = self.instruction;
        let segment = self.memory_segment()?;
        if instruction.is_ip_rel_memory_operand() {
            let size = if instruction.memory_base() == Register::EIP { 4 } else { 8 };
            return Ok((segment, instruction.ip_rel_memory_address() & offset_mask(size), size));
        }
        let (base, index) = (instruction.memory_base(), instruction.memory_index());
        let size = match (base, index) {
            (Register::None, Register::None) => u8::try_from(instruction.memory_displ_size()).unwrap_or(8),
            (Register::None, register) | (register, _) => u8::try_from(register.size()).unwrap_or(8),
        };
        let mut offset = instruction.memory_displacement64();
        if base != Register::None {
            let number = gpr_number(base).ok_or(Unsupported::Instruction)?;
            let value = match rsp {
                Some(moved) if number == 4 => moved,
                _ => self.context.gpr(number).map_err(Stop::Context)?,
            };
            offset = offset.wrapping_add(value);
        }
        if index != Register::None {
            let number = gpr_number(index).ok_or(Unsupported::Instruction)?;
            let value = self.context.gpr(number).map_err(Stop::Context)?;
            offset = offset.wrapping_add(value.wrapping_mul(instruction.memory_index_scale().into()));
        }
        Ok((segment, offset & offset_mask(size), size))
    }

    /// Bytes of the address registers a string operand uses, from its kind.
    pub(super) fn string_address_size(&self, operand: u32) -> Option<u8> {
        Some(match self.instruction.op_kind(operand) {
            OpKind::MemorySegSI | OpKind::MemoryESDI => 2,
            OpKind::MemorySegESI | OpKind::MemoryESEDI => 4,
            OpKind::MemorySegRSI | OpKind::MemoryESRDI => 8,
            _ => return None,
        })
    }
}
