//! Shifts and rotates of a memory operand (SDM vol. 2B, SAL/SAR/SHL/SHR and RCL/RCR/ROL/ROR).

use iced_x86::Mnemonic;

use super::super::context::GuestContext;
use super::super::emulation::Emulation;
use super::super::error::{Stop, Unsupported};
use super::super::flags::{self, CF, OF, STATUS};
use super::super::operand::{sign_extend, width_mask};
use crate::x86_64::paging::Access;

/// A result, its CF and OF, and whether SF, ZF, PF (and AF, which is undefined) follow the result.
struct Shifted {
    value: u64,
    carry: bool,
    overflow: bool,
    arithmetic: bool,
}

impl<C: GuestContext> Emulation<'_, C> {
    /// A count of 0, after masking, changes nothing. OF is defined for counts of 1; others get the same formula.
    pub(super) fn shift(&mut self) -> Result<(), Stop<C::Error>> {
        let width = self.operand_width(0);
        let target = self.place(0, Access::Write)?;
        let source = self.place(1, Access::Read)?;
        let count = self.get(&source)? as u32 & if width == 8 { 63 } else { 31 };
        let value = self.get(&target)?;
        if count == 0 {
            return Ok(());
        }
        let carry = self.rflags & CF != 0;
        let shifted = match self.instruction.mnemonic() {
            Mnemonic::Shl | Mnemonic::Sal => shift_left(value, count, width),
            Mnemonic::Shr => shift_right(value, 0, count, width),
            Mnemonic::Sar => shift_right(value, sign_extend(value, width), count, width),
            Mnemonic::Rol => rotate_left(value, count, width),
            Mnemonic::Ror => rotate_right(value, count, width),
            Mnemonic::Rcl => rotate_through_carry(value, carry, count, width, true),
            Mnemonic::Rcr => rotate_through_carry(value, carry, count, width, false),
            _ => return Err(Unsupported::Instruction.into()),
        };
        self.put(&target, shifted.value)?;
        let by_result = flags::logic(shifted.value, width).flags;
        let own = if shifted.carry { CF } else { 0 } | if shifted.overflow { OF } else { 0 };
        self.set_flags(if shifted.arithmetic { STATUS } else { CF | OF }, by_result | own);
        Ok(())
    }
}

fn bit(value: u64, index: u32) -> bool {
    u128::from(value) >> index & 1 != 0
}

fn bits(width: u8) -> u32 {
    8 * u32::from(width)
}

fn shift_left(value: u64, count: u32, width: u8) -> Shifted {
    let wide = u128::from(value) << count;
    let result = wide as u64 & width_mask(width);
    let carry = wide >> bits(width) & 1 != 0;
    Shifted { value: result, carry, overflow: bit(result, bits(width) - 1) != carry, arithmetic: true }
}

/// SHR, and SAR with `extension` = the value with its sign extended.
fn shift_right(value: u64, extension: u64, count: u32, width: u8) -> Shifted {
    let arithmetic = extension >> 63 != 0;
    let wide = if arithmetic { extension } else { value };
    let shift = |count: u32| {
        if arithmetic { (wide as i64 >> count.min(63)) as u64 } else { wide.checked_shr(count).unwrap_or(0) }
    };
    let result = shift(count) & width_mask(width);
    let carry = shift(count - 1) & 1 != 0;
    let top = bits(width) - 1;
    // The sign before XOR after: set by SHR of a negative value, never by SAR.
    Shifted { value: result, carry, overflow: bit(value, top) && !arithmetic, arithmetic: true }
}

fn rotate(value: u64, count: u32, width: u8) -> u64 {
    let (value, bits) = (u128::from(value), bits(width));
    let count = count % bits;
    (value << count | value >> (bits - count)) as u64 & width_mask(width)
}

fn rotate_left(value: u64, count: u32, width: u8) -> Shifted {
    let result = rotate(value, count, width);
    let carry = bit(result, 0);
    Shifted { value: result, carry, overflow: bit(result, bits(width) - 1) != carry, arithmetic: false }
}

fn rotate_right(value: u64, count: u32, width: u8) -> Shifted {
    let top = bits(width) - 1;
    let result = rotate(value, bits(width) - count % bits(width), width);
    let carry = bit(result, top);
    Shifted { value: result, carry, overflow: carry != bit(result, top - 1), arithmetic: false }
}

/// A rotation of the operand with CF as one more bit on top.
fn rotate_through_carry(value: u64, carry: bool, count: u32, width: u8, left: bool) -> Shifted {
    let (size, top) = (bits(width) + 1, bits(width) - 1);
    let wide = u128::from(value) | u128::from(carry) << bits(width);
    let by = if left { count % size } else { (size - count % size) % size };
    let turned = if by == 0 { wide } else { wide << by | wide >> (size - by) };
    let result = turned as u64 & width_mask(width);
    let carry = turned >> bits(width) & 1 != 0;
    let overflow = if left { bit(result, top) != carry } else { bit(result, top) != bit(result, top - 1) };
    Shifted { value: result, carry, overflow, arithmetic: false }
}
