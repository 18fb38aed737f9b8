//! General registers, immediates and memory as operands of up to 8 bytes.

use iced_x86::{OpKind, Register};

use super::context::GuestContext;
use super::emulation::Emulation;
use super::error::{Stop, Unsupported};
use super::memory::Located;
use crate::x86_64::paging::Access;

/// Bits of an operand of `width` bytes.
pub(super) fn width_mask(width: u8) -> u64 {
    match width {
        1 => 0xff,
        2 => 0xffff,
        4 => 0xffff_ffff,
        _ => u64::MAX,
    }
}

/// `value`, of `width` bytes, with its sign carried to 64 bits.
pub(super) fn sign_extend(value: u64, width: u8) -> u64 {
    let unused = 64 - 8 * u32::from(width.clamp(1, 8));
    ((value << unused) as i64 >> unused) as u64
}

/// The ModRM number of a general register of any width.
pub(super) fn gpr_number(register: Register) -> Option<u8> {
    if register.is_gpr() { u8::try_from(register.full_register().number()).ok() } else { None }
}

/// A general register, or a part of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct GprPart {
    pub(super) number: u8,
    /// Bytes.
    pub(super) width: u8,
    /// AH, CH, DH or BH.
    pub(super) high: bool,
}

impl GprPart {
    pub(super) fn of(register: Register) -> Option<Self> {
        Some(Self {
            number: gpr_number(register)?,
            width: u8::try_from(register.size()).ok()?,
            high: matches!(register, Register::AH | Register::CH | Register::DH | Register::BH),
        })
    }

    /// RAX, EAX, AX or AL.
    pub(super) fn accumulator(width: u8) -> Self {
        Self { number: 0, width, high: false }
    }
}

/// Where an operand is read and written.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place {
    Gpr(GprPart),
    Memory(Located),
    Immediate(u64),
}

impl<C: GuestContext> Emulation<'_, C> {
    /// Bytes of operand `index`: of the register, or of the memory operand.
    pub(super) fn operand_width(&self, index: u32) -> u8 {
        let size = match self.instruction.op_kind(index) {
            OpKind::Register => self.instruction.op_register(index).size(),
            _ => self.instruction.memory_size().size(),
        };
        u8::try_from(size).unwrap_or(0)
    }

    /// Finds operand `index`; a memory operand's faults for `access` happen here.
    pub(super) fn place(&mut self, index: u32, access: Access) -> Result<Place, Stop<C::Error>> {
        match self.instruction.op_kind(index) {
            OpKind::Register => {
                let part =
                    GprPart::of(self.instruction.op_register(index)).ok_or(Unsupported::Instruction)?;
                Ok(Place::Gpr(part))
            }
            OpKind::Memory => {
                let width = usize::from(self.operand_width(index));
                Ok(Place::Memory(self.locate_operand(width, access)?))
            }
            OpKind::Immediate8
            | OpKind::Immediate16
            | OpKind::Immediate32
            | OpKind::Immediate64
            | OpKind::Immediate8to16
            | OpKind::Immediate8to32
            | OpKind::Immediate8to64
            | OpKind::Immediate32to64 => Ok(Place::Immediate(self.instruction.immediate(index))),
            _ => Err(Unsupported::Instruction.into()),
        }
    }

    /// Finds `width` bytes at the ModRM or moffs operand.
    pub(super) fn locate_operand(&mut self, width: usize, access: Access) -> Result<Located, Stop<C::Error>> {
        let (segment, offset, _) = self.effective_address(None)?;
        let window = self.window(segment)?;
        self.locate(&window, offset, width, access)
    }

    /// Reads an operand; memory operands are at most 8 bytes here.
    pub(super) fn get(&mut self, place: &Place) -> Result<u64, Stop<C::Error>> {
        match place {
            Place::Gpr(part) => self.get_part(*part),
            Place::Memory(located) => Ok(self.load(located) as u64),
            Place::Immediate(value) => Ok(*value),
        }
    }

    /// Writes an operand.
    pub(super) fn put(&mut self, place: &Place, value: u64) -> Result<(), Stop<C::Error>> {
        match place {
            Place::Gpr(part) => self.put_part(*part, value),
            Place::Memory(located) => {
                self.store(located, value.into());
                Ok(())
            }
            Place::Immediate(_) => Err(Unsupported::Instruction.into()),
        }
    }

    pub(super) fn get_part(&mut self, part: GprPart) -> Result<u64, Stop<C::Error>> {
        let value = self.context.gpr(part.number).map_err(Stop::Context)?;
        Ok(if part.high { value >> 8 & 0xff } else { value & width_mask(part.width) })
    }

    /// 8- and 16-bit writes leave the rest of the register, 32-bit writes clear the upper half.
    pub(super) fn put_part(&mut self, part: GprPart, value: u64) -> Result<(), Stop<C::Error>> {
        let new = match part.width {
            4 => value & 0xffff_ffff,
            8 => value,
            width => {
                let shift = if part.high { 8 } else { 0 };
                let mask = width_mask(width) << shift;
                let old = self.context.gpr(part.number).map_err(Stop::Context)?;
                old & !mask | value << shift & mask
            }
        };
        self.context.set_gpr(part.number, new).map_err(Stop::Context)
    }
}
