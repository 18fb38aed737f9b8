//! Memory operands: found page by page, then read or written in RAM or in devices.

use super::address::Window;
use super::context::{CodeSize, GuestContext};
use super::emulation::Emulation;
use super::error::Stop;
use crate::x86_64::paging::Access;

const PAGE: u64 = 0x1000;

/// The largest operand, bytes.
const MAX_OPERAND: usize = 16;

/// A range within one page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Piece {
    gpa: u64,
    length: usize,
}

/// A memory operand that has been translated: one range, or two where it crosses a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Located {
    first: Piece,
    second: Option<Piece>,
}

/// The last page translated for an operand of a repeated instruction.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct PageMemo(Option<(u64, u64)>);

impl<C: GuestContext> Emulation<'_, C> {
    /// Finds `length` (1 to 16) bytes at `offset` of `window`: all faults of the access happen here.
    pub(super) fn locate(
        &mut self,
        window: &Window,
        offset: u64,
        length: usize,
        access: Access,
    ) -> Result<Located, Stop<C::Error>> {
        self.locate_with(window, offset, length, access, &mut PageMemo::default())
    }

    /// [`Self::locate`] that spares the page walk while the operand stays in one page.
    pub(super) fn locate_with(
        &mut self,
        window: &Window,
        offset: u64,
        length: usize,
        access: Access,
        memo: &mut PageMemo,
    ) -> Result<Located, Stop<C::Error>> {
        let length = length.clamp(1, MAX_OPERAND);
        let linear = window.linear(offset, length as u64, access)?;
        let in_first = (PAGE - linear % PAGE).min(length as u64) as usize;
        let first = Piece { gpa: self.translate(linear, access, memo)?, length: in_first };
        let second = match length - in_first {
            0 => None,
            rest => {
                let next = linear.wrapping_add(in_first as u64);
                let next = if self.mode.code == CodeSize::Bits64 { next } else { next & 0xffff_ffff };
                Some(Piece { gpa: self.translate(next, access, memo)?, length: rest })
            }
        };
        Ok(Located { first, second })
    }

    fn translate(&mut self, linear: u64, access: Access, memo: &mut PageMemo) -> Result<u64, Stop<C::Error>> {
        let page = linear & !(PAGE - 1);
        if let Some((known, gpa)) = memo.0
            && known == page
        {
            return Ok(gpa | (linear & (PAGE - 1)));
        }
        let gpa = self.context.translate(linear, access)?;
        memo.0 = Some((page, gpa & !(PAGE - 1)));
        Ok(gpa)
    }

    /// Reads the operand, little-endian, zero-extended.
    pub(super) fn load(&mut self, located: &Located) -> u128 {
        let mut bytes = [0; MAX_OPERAND];
        let (first, rest) = bytes.split_at_mut(located.first.length);
        self.load_piece(located.first.gpa, first);
        if let Some(second) = located.second
            && let Some(rest) = rest.get_mut(..second.length)
        {
            self.load_piece(second.gpa, rest);
        }
        u128::from_le_bytes(bytes)
    }

    /// Writes as many low bytes of `value` as the operand has.
    pub(super) fn store(&mut self, located: &Located, value: u128) {
        let bytes = value.to_le_bytes();
        let (first, rest) = bytes.split_at(located.first.length);
        self.store_piece(located.first.gpa, first);
        if let Some(second) = located.second
            && let Some(rest) = rest.get(..second.length)
        {
            self.store_piece(second.gpa, rest);
        }
    }

    fn load_piece(&mut self, gpa: u64, bytes: &mut [u8]) {
        if self.context.read_ram(gpa, bytes) {
            return;
        }
        for access in aligned_accesses(gpa, bytes.len()) {
            let value = self.devices.read(access.gpa, access.width as u8).to_le_bytes();
            let target = bytes.iter_mut().skip(access.start).take(access.width);
            target.zip(value).for_each(|(byte, new)| *byte = new);
        }
    }

    fn store_piece(&mut self, gpa: u64, bytes: &[u8]) {
        if self.context.write_ram(gpa, bytes) {
            return;
        }
        for access in aligned_accesses(gpa, bytes.len()) {
            let mut value = [0; 8];
            let source = bytes.iter().skip(access.start).take(access.width);
            value.iter_mut().zip(source).for_each(|(new, byte)| *new = *byte);
            self.devices.write(access.gpa, access.width as u8, u64::from_le_bytes(value));
        }
    }
}

/// One access to a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct DeviceAccess {
    gpa: u64,
    /// Offset in the operand's piece.
    start: usize,
    /// 1, 2, 4 or 8.
    width: usize,
}

/// Cuts a range into naturally aligned accesses, each as wide as it can be, in ascending order.
fn aligned_accesses(gpa: u64, length: usize) -> impl Iterator<Item = DeviceAccess> {
    let mut start = 0;
    std::iter::from_fn(move || {
        let left = length.checked_sub(start).filter(|left| *left > 0)?;
        let at = gpa.wrapping_add(start as u64);
        let width = [8, 4, 2, 1].into_iter().find(|width| *width <= left && at & (*width as u64 - 1) == 0)?;
        let access = DeviceAccess { gpa: at, start, width };
        start += width;
        Some(access)
    })
}
