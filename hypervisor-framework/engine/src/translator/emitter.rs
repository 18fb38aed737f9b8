//! Host instructions of the fixed sequences: the few forms that stubs and rewritten instructions need.

/// Host registers by ModRM number.
pub(super) mod host {
    pub(crate) const RAX: u8 = 0;
    pub(crate) const RBP: u8 = 5;
    pub(crate) const RSP: u8 = 4;
    pub(crate) const RDX: u8 = 2;
    pub(crate) const RSI: u8 = 6;
    pub(crate) const RDI: u8 = 7;
    pub(crate) const RCX: u8 = 1;
}

use host::{RBP, RSP};

/// Opcodes of `op r, r/m` in 32 and 64 bits.
pub(super) mod opcode {
    pub(crate) const ADD: &[u8] = &[0x03];
    pub(crate) const XOR: &[u8] = &[0x33];
    pub(crate) const CMP: &[u8] = &[0x3b];
    pub(crate) const LOAD: &[u8] = &[0x8b];
    pub(crate) const STORE: &[u8] = &[0x89];
    pub(crate) const TEST: &[u8] = &[0x85];
    pub(crate) const MOVZX_WORD: &[u8] = &[0x0f, 0xb7];
    pub(crate) const LEA: &[u8] = &[0x8d];
    pub(crate) const MOVUPS_LOAD: &[u8] = &[0x0f, 0x10];
    pub(crate) const MOVUPS_STORE: &[u8] = &[0x0f, 0x11];
}

/// Condition codes of Jcc.
pub(super) mod condition {
    pub(crate) const BELOW: u8 = 2;
    pub(crate) const ABOVE_OR_EQUAL: u8 = 3;
    pub(crate) const EQUAL: u8 = 4;
    pub(crate) const NOT_EQUAL: u8 = 5;
    pub(crate) const BELOW_OR_EQUAL: u8 = 6;
    pub(crate) const ABOVE: u8 = 7;
    pub(crate) const SIGN: u8 = 8;
}

/// Groups of `op r/m, imm` by their ModRM extension.
pub(super) mod group {
    pub(crate) const ADD: u8 = 0;
    pub(crate) const OR: u8 = 1;
    pub(crate) const AND: u8 = 4;
    pub(crate) const SUB: u8 = 5;
    pub(crate) const CMP: u8 = 7;
    pub(crate) const SHL: u8 = 4;
    pub(crate) const SHR: u8 = 5;
    pub(crate) const SAR: u8 = 7;
}

/// A memory operand.
#[derive(Clone, Copy)]
pub(super) enum At {
    /// `[base + disp]`
    Base(u8, i32),
    /// `[base + index << scale + disp]`; no index may be RSP.
    Indexed { base: Option<u8>, index: u8, scale: u8, disp: i32 },
    /// An address within 2 GiB.
    Near(u64),
}

/// Host code being written, to run at `address`.
pub(super) struct Emitter {
    pub(super) bytes: Vec<u8>,
    pub(super) address: u64,
}

impl Emitter {
    pub(super) fn new(address: u64) -> Self {
        Self { bytes: Vec::with_capacity(4096), address }
    }

    /// Offset of the next instruction.
    pub(super) fn here(&self) -> usize {
        self.bytes.len()
    }

    /// Address of the next instruction.
    pub(super) fn address_here(&self) -> u64 {
        self.address + self.bytes.len() as u64
    }

    pub(super) fn byte(&mut self, byte: u8) {
        self.bytes.push(byte);
    }

    pub(super) fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    pub(super) fn imm32(&mut self, value: i32) {
        self.raw(&value.to_le_bytes());
    }

    fn rex(&mut self, wide: bool, reg: u8, index: u8, base: u8) {
        let rex = u8::from(wide) << 3 | reg >> 3 << 2 | index >> 3 << 1 | base >> 3;
        if rex != 0 {
            self.byte(0x40 | rex);
        }
    }

    /// `op reg, rm` between registers.
    pub(super) fn registers(&mut self, wide: bool, opcode: &[u8], reg: u8, rm: u8) {
        self.rex(wide, reg, 0, rm);
        self.raw(opcode);
        self.byte(0xc0 | (reg & 7) << 3 | rm & 7);
    }

    /// `op reg, [at]` (or the reverse, as the opcode says); `tail` bytes of immediate follow.
    pub(super) fn memory_with(&mut self, wide: bool, opcode: &[u8], reg: u8, at: At, tail: usize) {
        let low = (reg & 7) << 3;
        match at {
            At::Base(base, disp) => {
                self.rex(wide, reg, 0, base);
                self.raw(opcode);
                let (mode, short) = mode_of(base, disp);
                self.byte(mode | low | base & 7);
                if base & 7 == RSP {
                    self.byte(0x24);
                }
                self.displacement(mode, short, disp);
            }
            At::Indexed { base: Some(base), index, scale, disp } => {
                self.rex(wide, reg, index, base);
                self.raw(opcode);
                let (mode, short) = mode_of(base, disp);
                self.byte(mode | low | 4);
                self.byte(scale << 6 | (index & 7) << 3 | base & 7);
                self.displacement(mode, short, disp);
            }
            At::Indexed { base: None, index, scale, disp } => {
                self.rex(wide, reg, index, 0);
                self.raw(opcode);
                self.byte(low | 4);
                self.byte(scale << 6 | (index & 7) << 3 | 5);
                self.imm32(disp);
            }
            At::Near(address) => {
                self.rex(wide, reg, 0, 0);
                self.raw(opcode);
                self.byte(low | 5);
                let next = self.address_here() + 4 + tail as u64;
                self.imm32(address.wrapping_sub(next) as i32);
            }
        }
    }

    fn displacement(&mut self, mode: u8, short: u8, disp: i32) {
        match mode {
            0x40 => self.byte(short),
            0x80 => self.imm32(disp),
            _ => {}
        }
    }

    pub(super) fn memory(&mut self, wide: bool, opcode: &[u8], reg: u8, at: At) {
        self.memory_with(wide, opcode, reg, at, 0);
    }

    /// `mov reg, [at]`, 64 bits.
    pub(super) fn load(&mut self, reg: u8, at: At) {
        self.memory(true, opcode::LOAD, reg, at);
    }

    /// `mov [at], reg`, 64 bits.
    pub(super) fn store(&mut self, reg: u8, at: At) {
        self.memory(true, opcode::STORE, reg, at);
    }

    /// `mov to, from`, 64 bits.
    pub(super) fn copy(&mut self, to: u8, from: u8) {
        if to != from {
            self.registers(true, opcode::LOAD, to, from);
        }
    }

    /// `lea reg, [at]`, 64 bits.
    pub(super) fn lea(&mut self, reg: u8, at: At) {
        self.memory(true, opcode::LEA, reg, at);
    }

    /// `op reg, imm` of the first group of arithmetic.
    pub(super) fn immediate(&mut self, wide: bool, group: u8, reg: u8, value: i32) {
        self.rex(wide, 0, 0, reg);
        let short = i8::try_from(value);
        self.byte(if short.is_ok() { 0x83 } else { 0x81 });
        self.byte(0xc0 | group << 3 | reg & 7);
        match short {
            Ok(short) => self.byte(short as u8),
            Err(_) => self.imm32(value),
        }
    }

    /// `test reg, imm`.
    pub(super) fn test_immediate(&mut self, wide: bool, reg: u8, value: i32) {
        self.rex(wide, 0, 0, reg);
        self.raw(&[0xf7, 0xc0 | reg & 7]);
        self.imm32(value);
    }

    /// `op dword/qword [at], imm8`.
    pub(super) fn memory_immediate(&mut self, wide: bool, group: u8, at: At, value: i8) {
        self.memory_with(wide, &[0x83], group, at, 1);
        self.byte(value as u8);
    }

    /// `mov dword/qword [at], imm32`.
    pub(super) fn store_immediate(&mut self, wide: bool, at: At, value: i32) {
        self.memory_with(wide, &[0xc7], 0, at, 4);
        self.imm32(value);
    }

    /// `shl/shr/sar reg, count`.
    pub(super) fn shift(&mut self, wide: bool, group: u8, reg: u8, count: u8) {
        self.rex(wide, 0, 0, reg);
        self.raw(&[0xc1, 0xc0 | group << 3 | reg & 7, count]);
    }

    /// `mov reg, imm`, the shortest form; flags stay.
    pub(super) fn constant(&mut self, reg: u8, value: u64) {
        if let Ok(value) = u32::try_from(value) {
            self.rex(false, 0, 0, reg);
            self.byte(0xb8 | reg & 7);
            self.raw(&value.to_le_bytes());
        } else if let Ok(value) = i32::try_from(value as i64) {
            self.rex(true, 0, 0, reg);
            self.raw(&[0xc7, 0xc0 | reg & 7]);
            self.imm32(value);
        } else {
            self.rex(true, 0, 0, reg);
            self.byte(0xb8 | reg & 7);
            self.raw(&value.to_le_bytes());
        }
    }

    /// A conditional branch whose target comes with [`Self::land`].
    pub(super) fn branch_if(&mut self, condition: u8) -> usize {
        self.raw(&[0x0f, 0x80 | condition]);
        self.imm32(0);
        self.here() - 4
    }

    /// A branch whose target comes with [`Self::land`].
    pub(super) fn branch_always(&mut self) -> usize {
        self.byte(0xe9);
        self.imm32(0);
        self.here() - 4
    }

    /// Makes a branch lead here.
    pub(super) fn land(&mut self, branch: usize) {
        self.land_at(branch, self.address_here());
    }

    /// Makes a branch lead to an address within 2 GiB.
    pub(super) fn land_at(&mut self, branch: usize, address: u64) {
        let distance = address.wrapping_sub(self.address + branch as u64 + 4) as i32;
        if let Some(place) = self.bytes.get_mut(branch..branch + 4) {
            place.copy_from_slice(&distance.to_le_bytes());
        }
    }

    /// `jmp` to an address within 2 GiB.
    pub(super) fn jump(&mut self, to: u64) {
        self.byte(0xe9);
        let next = self.address_here() + 4;
        self.imm32(to.wrapping_sub(next) as i32);
    }

    /// A conditional branch to an address within 2 GiB.
    pub(super) fn jump_if(&mut self, condition: u8, to: u64) {
        self.raw(&[0x0f, 0x80 | condition]);
        let next = self.address_here() + 4;
        self.imm32(to.wrapping_sub(next) as i32);
    }

    /// `call` an address within 2 GiB.
    pub(super) fn call(&mut self, to: u64) {
        self.byte(0xe8);
        let next = self.address_here() + 4;
        self.imm32(to.wrapping_sub(next) as i32);
    }

    /// `jmp [at]`.
    pub(super) fn jump_memory(&mut self, at: At) {
        self.memory(false, &[0xff], 4, at);
    }
}

/// (ModRM mode bits, 8-bit displacement) for a base register.
fn mode_of(base: u8, disp: i32) -> (u8, u8) {
    if disp == 0 && base & 7 != RBP {
        return (0, 0);
    }
    match i8::try_from(disp) {
        Ok(short) => (0x40, short as u8),
        Err(_) => (0x80, 0),
    }
}

#[cfg(test)]
#[path = "emitter_test.rs"]
mod emitter_test;
