//! FNSTENV, FLDENV, FNSAVE and FRSTOR (SDM vol. 1, 8.1.10).

use iced_x86::{Code, Mnemonic};

use super::float::F80;
use super::state::Pointer;
use super::{Fpu, available, pointers, ready};
use crate::block::{Op, Translator, exec};
use crate::cpu::control::Mode;
use crate::cpu::{Cpu, Trap};

/// Bytes of the environment with 32-bit fields; with 16-bit fields it is half of that.
const ENVIRONMENT: usize = 28;
/// Bytes of an environment and eight registers.
const STATE: usize = ENVIRONMENT + 80;

pub(super) fn translate(t: &mut Translator<'_>) -> bool {
    let exec = match t.insn.code() {
        Code::Fnstenv_m28byte => exec!(store_environment::<4>),
        Code::Fnstenv_m14byte => exec!(store_environment::<2>),
        Code::Fldenv_m28byte => exec!(load_environment::<4>),
        Code::Fldenv_m14byte => exec!(load_environment::<2>),
        Code::Fnsave_m108byte => exec!(save::<4>),
        Code::Fnsave_m94byte => exec!(save::<2>),
        Code::Frstor_m108byte => exec!(restore::<4>),
        Code::Frstor_m94byte => exec!(restore::<2>),
        _ => return false,
    };
    let mut op = t.op(exec);
    if matches!(t.insn.mnemonic(), Mnemonic::Fnstenv | Mnemonic::Fnsave) {
        pointers::memory_without_waiting(t, &mut op);
    } else {
        pointers::memory(t, &mut op);
    }
    t.push(op);
    true
}

/// The seven fields of an environment.
type Fields = [u32; 7];

fn fields(fpu: &Fpu, wide: bool, real: bool) -> Fields {
    let words = [fpu.control_word(), fpu.status_word(), fpu.tag_word()].map(u32::from);
    let opcode = u32::from(fpu.opcode);
    let (ip, dp) = (fpu.instruction, fpu.operand);
    let pointers = if real {
        // Linear addresses, whose upper bits stand above the opcode.
        let linear =
            |pointer: Pointer| (u32::from(pointer.selector) << 4).wrapping_add(pointer.offset as u32);
        let upper = |linear: u32| if wide { linear >> 16 << 12 } else { (linear >> 16 & 0xf) << 12 };
        let (ip, dp) = (linear(ip), linear(dp));
        [ip & 0xffff, upper(ip) | opcode, dp & 0xffff, upper(dp)]
    } else {
        let code = u32::from(ip.selector) | opcode << 16;
        [ip.offset as u32, code, dp.offset as u32, u32::from(dp.selector)]
    };
    let mut fields = [words[0], words[1], words[2], pointers[0], pointers[1], pointers[2], pointers[3]];
    if wide {
        // Reserved halves read as ones.
        let reserved: &[usize] = if real { &[0, 1, 2, 3, 5] } else { &[0, 1, 2, 6] };
        for &field in reserved {
            fields[field] |= 0xffff_0000;
        }
    }
    fields
}

fn set_fields(fpu: &mut Fpu, fields: &Fields, wide: bool, real: bool) {
    fpu.set_control_word(fields[0] as u16);
    fpu.set_status_word(fields[1] as u16);
    fpu.set_tag_word(fields[2] as u16);
    let pointer = |offset: u32, selector: u32| Pointer { offset: offset.into(), selector: selector as u16 };
    if real {
        let linear = |low: u32, high: u32| low & 0xffff | (high >> 12 & 0xffff) << 16;
        fpu.instruction = pointer(linear(fields[3], fields[4]), 0);
        fpu.operand = pointer(linear(fields[5], fields[6]), 0);
        fpu.opcode = fields[4] as u16 & 0x7ff;
    } else {
        fpu.instruction = pointer(fields[3], fields[4]);
        fpu.operand = pointer(fields[5], fields[6]);
        if wide {
            fpu.opcode = (fields[4] >> 16) as u16 & 0x7ff;
        }
    }
}

fn store_fields<const WIDTH: usize>(cpu: &Cpu, bytes: &mut [u8]) {
    let fields = fields(&cpu.fpu, WIDTH == 4, cpu.mode.has(Mode::REAL));
    for (place, field) in bytes.chunks_exact_mut(WIDTH).zip(fields) {
        place.copy_from_slice(&field.to_le_bytes()[..WIDTH]);
    }
}

fn load_fields<const WIDTH: usize>(cpu: &mut Cpu, bytes: &[u8]) {
    let mut fields = Fields::default();
    for (place, field) in bytes.chunks_exact(WIDTH).zip(&mut fields) {
        let mut wide = [0; 4];
        wide[..WIDTH].copy_from_slice(place);
        *field = u32::from_le_bytes(wide);
    }
    let real = cpu.mode.has(Mode::REAL);
    set_fields(&mut cpu.fpu, &fields, WIDTH == 4, real);
}

fn store_environment<const WIDTH: usize>(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    available(cpu)?;
    let mut bytes = [0; ENVIRONMENT];
    store_fields::<WIDTH>(cpu, &mut bytes);
    let address = cpu.address(op);
    cpu.store_bytes(address, &bytes[..7 * WIDTH])?;
    // Handlers run with all exceptions masked.
    let masked = cpu.fpu.control_word() | 0x3f;
    cpu.fpu.set_control_word(masked);
    Ok(())
}

fn load_environment<const WIDTH: usize>(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    ready(cpu)?;
    let mut bytes = [0; ENVIRONMENT];
    let address = cpu.address(op);
    cpu.load_bytes(address, &mut bytes[..7 * WIDTH])?;
    load_fields::<WIDTH>(cpu, &bytes);
    Ok(())
}

fn save<const WIDTH: usize>(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    available(cpu)?;
    let mut bytes = [0; STATE];
    let (environment, registers) = bytes.split_at_mut(7 * WIDTH);
    store_fields::<WIDTH>(cpu, environment);
    for (i, place) in (0..8).zip(registers.chunks_exact_mut(10)) {
        let value = cpu.fpu.registers[cpu.fpu.number(i)];
        place.copy_from_slice(&value.bits().to_le_bytes()[..10]);
    }
    let address = cpu.address(op);
    cpu.store_bytes(address, &bytes[..7 * WIDTH + 80])?;
    cpu.fpu.initialise();
    Ok(())
}

fn restore<const WIDTH: usize>(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    ready(cpu)?;
    let mut bytes = [0; STATE];
    let address = cpu.address(op);
    cpu.load_bytes(address, &mut bytes[..7 * WIDTH + 80])?;
    let (environment, registers) = bytes.split_at(7 * WIDTH);
    load_fields::<WIDTH>(cpu, environment);
    for (i, place) in (0..8).zip(registers.chunks_exact(10)) {
        let mut bits = [0; 16];
        bits[..10].copy_from_slice(place);
        let number = cpu.fpu.number(i);
        cpu.fpu.registers[number] = F80::from_bits(u128::from_le_bytes(bits));
    }
    Ok(())
}
