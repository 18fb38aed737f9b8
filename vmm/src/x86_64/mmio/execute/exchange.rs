//! XCHG, XADD, CMPXCHG and its 8- and 16-byte forms.

use super::super::context::GuestContext;
use super::super::emulation::Emulation;
use super::super::error::{Exception, Stop};
use super::super::flags::{self, ZF};
use super::super::operand::{GprPart, width_mask};
use crate::x86_64::paging::Access;

const RAX: u8 = 0;
const RCX: u8 = 1;
const RDX: u8 = 2;
const RBX: u8 = 3;

impl<C: GuestContext> Emulation<'_, C> {
    pub(super) fn exchange(&mut self) -> Result<(), Stop<C::Error>> {
        let first = self.place(0, Access::Write)?;
        let second = self.place(1, Access::Write)?;
        let (a, b) = (self.get(&first)?, self.get(&second)?);
        self.put(&first, b)?;
        self.put(&second, a)
    }

    pub(super) fn exchange_add(&mut self) -> Result<(), Stop<C::Error>> {
        let width = self.operand_width(0);
        let target = self.place(0, Access::Write)?;
        let source = self.place(1, Access::Write)?;
        let (a, b) = (self.get(&target)?, self.get(&source)?);
        let sum = flags::add(a, b, false, width);
        self.put(&source, a)?;
        self.put(&target, sum.value)?;
        self.set_status(sum.flags);
        Ok(())
    }

    /// The destination is written even where the comparison fails, with what it held.
    pub(super) fn compare_exchange(&mut self) -> Result<(), Stop<C::Error>> {
        let width = self.operand_width(0);
        let target = self.place(0, Access::Write)?;
        let source = self.place(1, Access::Read)?;
        let accumulator = GprPart::accumulator(width);
        let (expected, new) = (self.get_part(accumulator)?, self.get(&source)?);
        let current = self.get(&target)?;
        let comparison = flags::subtract(expected, current, false, width);
        if expected == current {
            self.put(&target, new)?;
        } else {
            self.put(&target, current)?;
            self.put_part(accumulator, current)?;
        }
        self.set_status(comparison.flags);
        Ok(())
    }

    /// CMPXCHG8B (`half` = 4 bytes) and CMPXCHG16B (8 bytes, aligned).
    pub(super) fn compare_exchange_pair(&mut self, half: u8) -> Result<(), Stop<C::Error>> {
        let (segment, offset, _) = self.effective_address(None)?;
        let window = self.window(segment)?;
        let width = 2 * usize::from(half);
        let linear = window.linear(offset, width as u64, Access::Write)?;
        if half == 8 && linear % 16 != 0 {
            return Err(Exception::general_protection().into());
        }
        let target = self.locate(&window, offset, width, Access::Write)?;
        let expected = self.pair(RDX, RAX, half)?;
        let new = self.pair(RCX, RBX, half)?;
        let current = self.load(&target);
        let equal = expected == current;
        self.store(&target, if equal { new } else { current });
        if !equal {
            let shift = 8 * u32::from(half);
            let part = |number| GprPart { number, width: half, high: false };
            self.put_part(part(RAX), current as u64 & width_mask(half))?;
            self.put_part(part(RDX), (current >> shift) as u64)?;
        }
        self.set_flags(ZF, if equal { ZF } else { 0 });
        Ok(())
    }

    fn pair(&mut self, high: u8, low: u8, half: u8) -> Result<u128, Stop<C::Error>> {
        let part = |number| GprPart { number, width: half, high: false };
        let upper = u128::from(self.get_part(part(high))?);
        let lower = u128::from(self.get_part(part(low))?);
        Ok(upper << (8 * u32::from(half)) | lower)
    }
}
