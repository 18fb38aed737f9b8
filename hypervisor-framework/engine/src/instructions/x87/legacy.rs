//! The 512-byte legacy region that FXSAVE and XSAVE share (SDM vol. 1, 10.5.1 and 13.4.1).

use super::Fpu;
use super::float::F80;
use super::state::Pointer;
use crate::cpu::Cpu;

/// Bytes of the region.
pub(super) const SIZE: usize = 512;
/// Offset of MXCSR; MXCSR_MASK follows.
pub(super) const MXCSR: usize = 24;
/// Offset of ST(0).
const REGISTERS: usize = 32;
/// Offset of XMM0.
pub(super) const XMM: usize = 160;
/// Bits of MXCSR that can be set.
pub(super) const MXCSR_MASK: u32 = 0xffff;

/// How instruction and operand pointers are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pointers {
    /// 32-bit offset and selector.
    Far,
    /// 64-bit offset, with REX.W.
    Near,
}

fn put(image: &mut [u8; SIZE], offset: usize, bytes: &[u8]) {
    image[offset..offset + bytes.len()].copy_from_slice(bytes);
}

fn get<const N: usize>(image: &[u8; SIZE], offset: usize) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(&image[offset..offset + N]);
    bytes
}

fn put_pointer(image: &mut [u8; SIZE], offset: usize, pointer: Pointer, format: Pointers) {
    match format {
        Pointers::Near => put(image, offset, &pointer.offset.to_le_bytes()),
        Pointers::Far => {
            put(image, offset, &(pointer.offset as u32).to_le_bytes());
            put(image, offset + 4, &u32::from(pointer.selector).to_le_bytes());
        }
    }
}

fn get_pointer(image: &[u8; SIZE], offset: usize, format: Pointers) -> Pointer {
    match format {
        Pointers::Near => Pointer { offset: u64::from_le_bytes(get(image, offset)), selector: 0 },
        Pointers::Far => Pointer {
            offset: u64::from(u32::from_le_bytes(get(image, offset))),
            selector: u16::from_le_bytes(get(image, offset + 4)),
        },
    }
}

/// Writes the x87 part: bytes 0–23 and 32–159.
pub(super) fn put_x87(image: &mut [u8; SIZE], fpu: &Fpu, format: Pointers) {
    put(image, 0, &fpu.control_word().to_le_bytes());
    put(image, 2, &fpu.status_word().to_le_bytes());
    put(image, 4, &[fpu.valid, 0]);
    put(image, 6, &fpu.opcode.to_le_bytes());
    put_pointer(image, 8, fpu.instruction, format);
    put_pointer(image, 16, fpu.operand, format);
    for i in 0..8 {
        let value = fpu.registers[fpu.number(i)];
        put(image, REGISTERS + 16 * usize::from(i), &value.bits().to_le_bytes());
    }
}

/// Reads the x87 part.
pub(super) fn get_x87(image: &[u8; SIZE], fpu: &mut Fpu, format: Pointers) {
    fpu.set_control_word(u16::from_le_bytes(get(image, 0)));
    fpu.set_status_word(u16::from_le_bytes(get(image, 2)));
    fpu.valid = image[4];
    fpu.opcode = u16::from_le_bytes(get(image, 6)) & 0x7ff;
    fpu.instruction = get_pointer(image, 8, format);
    fpu.operand = get_pointer(image, 16, format);
    for i in 0..8 {
        let mut bits = [0; 16];
        bits[..10].copy_from_slice(&get::<10>(image, REGISTERS + 16 * usize::from(i)));
        let number = fpu.number(i);
        fpu.registers[number] = F80::from_bits(u128::from_le_bytes(bits));
    }
}

/// Writes MXCSR and its mask: bytes 24–31.
pub(super) fn put_mxcsr(image: &mut [u8; SIZE], mxcsr: u32) {
    put(image, MXCSR, &mxcsr.to_le_bytes());
    put(image, MXCSR + 4, &MXCSR_MASK.to_le_bytes());
}

/// Reads MXCSR; `None` if it has bits that cannot be set.
pub(super) fn get_mxcsr(image: &[u8; SIZE]) -> Option<u32> {
    let mxcsr = u32::from_le_bytes(get(image, MXCSR));
    (mxcsr & !MXCSR_MASK == 0).then_some(mxcsr)
}

/// Writes the first `count` XMM registers: bytes from 160.
pub(super) fn put_xmm(image: &mut [u8; SIZE], cpu: &Cpu, count: usize) {
    for (i, value) in cpu.xmm.iter().take(count).enumerate() {
        put(image, XMM + 16 * i, &value.to_le_bytes());
    }
}

/// Reads the first `count` XMM registers.
pub(super) fn get_xmm(image: &[u8; SIZE], cpu: &mut Cpu, count: usize) {
    for (i, value) in cpu.xmm.iter_mut().take(count).enumerate() {
        *value = u128::from_le_bytes(get(image, XMM + 16 * i));
    }
}

/// XMM registers there are in the current mode.
pub(super) fn xmm_count(cpu: &Cpu) -> usize {
    if cpu.mode.is64() { 16 } else { 8 }
}
