//! Pushing and popping through SS.

use super::control::Mode;
use super::{Cpu, Trap, TrapCause, gpr, trap_vector as vector};
use crate::Segment;
use crate::block::segment_allows;
use crate::memory::Scalar;

/// A stack to push to before it is known whether all pushes succeed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stack {
    pub(crate) pointer: u64,
    pub(crate) segment: Segment,
    /// The stack pointer's bits.
    mask: u64,
    wide: bool,
}

impl Stack {
    /// A stack of 64-bit mode.
    pub(crate) fn long(pointer: u64, segment: Segment) -> Self {
        Self { pointer, segment, mask: u64::MAX, wide: true }
    }

    /// A stack of legacy and compatibility modes.
    pub(crate) fn legacy(pointer: u64, segment: Segment) -> Self {
        let mask = if segment.big() { 0xffff_ffff } else { 0xffff };
        Self { pointer, segment, mask, wide: false }
    }
}

impl Cpu {
    /// The stack pointer's mask: 64, 32 or 16 bits.
    #[inline(always)]
    pub(crate) fn stack_mask(&self) -> u64 {
        if self.mode.is64() {
            u64::MAX
        } else if self.mode.has(Mode::STACK32) {
            0xffff_ffff
        } else {
            0xffff
        }
    }

    /// The current stack.
    pub(crate) fn stack(&self) -> Stack {
        let pointer = self.regs[gpr::RSP as usize];
        if self.mode.is64() {
            Stack::long(pointer, self.segments[2])
        } else {
            Stack::legacy(pointer, self.segments[2])
        }
    }

    /// Makes `stack` the current stack pointer, leaving bits beyond its width.
    pub(crate) fn set_stack_pointer(&mut self, stack: &Stack) {
        let rsp = &mut self.regs[gpr::RSP as usize];
        *rsp = if stack.mask == 0xffff {
            *rsp & !0xffff | stack.pointer & 0xffff
        } else {
            stack.pointer & stack.mask
        };
    }

    /// The linear address of `size` bytes at `offset` of a stack.
    pub(crate) fn stack_address(
        &mut self,
        stack: &Stack,
        offset: u64,
        size: u32,
        write: bool,
    ) -> Result<u64, Trap> {
        if stack.wide {
            if !Self::canonical(offset) {
                return Err(self.fault_with(vector::SS, 0));
            }
            return Ok(offset);
        }
        if !segment_allows(&stack.segment, offset, size, write) {
            return Err(self.fault_with(vector::SS, 0));
        }
        Ok(offset.wrapping_add(stack.segment.base) & 0xffff_ffff)
    }

    /// Pushes to a stack; its pointer moves when the store succeeded.
    pub(crate) fn push_to<T: Scalar>(&mut self, stack: &mut Stack, value: T) -> Result<(), Trap> {
        let pointer = stack.pointer.wrapping_sub(T::SIZE as u64) & stack.mask;
        let address = self.stack_address(stack, pointer, T::SIZE as u32, true)?;
        self.store(address, value)?;
        stack.pointer = pointer;
        Ok(())
    }

    /// Pops from a stack.
    pub(crate) fn pop_from<T: Scalar>(&mut self, stack: &mut Stack) -> Result<T, Trap> {
        let pointer = stack.pointer & stack.mask;
        let address = self.stack_address(stack, pointer, T::SIZE as u32, false)?;
        let value = self.load(address)?;
        stack.pointer = pointer.wrapping_add(T::SIZE as u64) & stack.mask;
        Ok(value)
    }

    /// Pushes a value of 2, 4 or 8 bytes.
    pub(crate) fn push_sized(&mut self, stack: &mut Stack, size: u8, value: u64) -> Result<(), Trap> {
        match size {
            2 => self.push_to(stack, value as u16),
            4 => self.push_to(stack, value as u32),
            _ => self.push_to(stack, value),
        }
    }

    /// Pops a value of 2, 4 or 8 bytes, zero-extended.
    pub(crate) fn pop_sized(&mut self, stack: &mut Stack, size: u8) -> Result<u64, Trap> {
        Ok(match size {
            2 => u64::from(self.pop_from::<u16>(stack)?),
            4 => u64::from(self.pop_from::<u32>(stack)?),
            _ => self.pop_from(stack)?,
        })
    }

    /// Pushes in 64-bit mode; the hot path of PUSH and CALL.
    #[inline(always)]
    pub(crate) fn push64(&mut self, value: u64) -> Result<(), Trap> {
        let pointer = self.regs[gpr::RSP as usize].wrapping_sub(8);
        match self.store(pointer, value) {
            Ok(()) => {
                self.regs[gpr::RSP as usize] = pointer;
                Ok(())
            }
            Err(Trap) => Err(self.stack_trap()),
        }
    }

    /// Pops in 64-bit mode.
    #[inline(always)]
    pub(crate) fn pop64(&mut self) -> Result<u64, Trap> {
        let pointer = self.regs[gpr::RSP as usize];
        match self.load(pointer) {
            Ok(value) => {
                self.regs[gpr::RSP as usize] = pointer.wrapping_add(8);
                Ok(value)
            }
            Err(Trap) => Err(self.stack_trap()),
        }
    }

    #[cold]
    fn stack_trap(&mut self) -> Trap {
        if self.cause == TrapCause::BadAddress {
            return self.fault_with(vector::SS, 0);
        }
        Trap
    }
}
