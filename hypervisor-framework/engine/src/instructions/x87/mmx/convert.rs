//! Conversions between integers in MMX registers and floating point in XMM registers.

use iced_x86::Code;

use super::{Memory, Register, Source, operands, ready_with_xmm};
use crate::block::{Exec, Op, Translator, exec};
use crate::cpu::control::{cr0, cr4};
use crate::cpu::{Cpu, Trap, trap_vector as vector};

use super::super::float::{
    Control, Outcome, Rounding, flag, from_f32, from_f64, from_i64, to_f32, to_f64, to_integer,
};

/// Denormals are zeros.
const DAZ: u32 = 1 << 6;
const LOW: u128 = u64::MAX as u128;

pub(super) fn translate(t: &mut Translator<'_>) -> bool {
    let memory = t.is_memory(1);
    let Some(exec) = (if memory { in_memory(t.insn.code()) } else { in_register(t.insn.code()) }) else {
        return false;
    };
    let mut op = t.op(exec);
    operands(t, &mut op);
    t.push(op);
    true
}

fn in_register(code: Code) -> Option<Exec> {
    Some(match code {
        Code::Cvtpi2ps_xmm_mmm64 => exec!(to_singles::<Register, true>),
        Code::Cvtpi2pd_xmm_mmm64 => exec!(to_doubles),
        Code::Cvtps2pi_mm_xmmm64 => exec!(from_singles::<Xmm, false>),
        Code::Cvttps2pi_mm_xmmm64 => exec!(from_singles::<Xmm, true>),
        Code::Cvtpd2pi_mm_xmmm128 => exec!(from_doubles::<false>),
        Code::Cvttpd2pi_mm_xmmm128 => exec!(from_doubles::<true>),
        _ => return None,
    })
}

fn in_memory(code: Code) -> Option<Exec> {
    Some(match code {
        Code::Cvtpi2ps_xmm_mmm64 => exec!(to_singles::<Memory, false>),
        Code::Cvtpi2pd_xmm_mmm64 => exec!(to_doubles_from_memory),
        Code::Cvtps2pi_mm_xmmm64 => exec!(from_singles::<Memory, false>),
        Code::Cvttps2pi_mm_xmmm64 => exec!(from_singles::<Memory, true>),
        Code::Cvtpd2pi_mm_xmmm128 => exec!(from_doubles_in_memory::<false>),
        Code::Cvttpd2pi_mm_xmmm128 => exec!(from_doubles_in_memory::<true>),
        _ => return None,
    })
}

/// The low half of the XMM register `op.src`.
struct Xmm;

impl Source for Xmm {
    #[inline(always)]
    fn get(cpu: &mut Cpu, op: &Op) -> Result<u64, Trap> {
        Ok((cpu.xmm[op.src as usize & 15] & LOW) as u64)
    }
}

/// The control word that rounds as MXCSR asks.
fn control(cpu: &Cpu) -> Control {
    Control(Control::INITIAL.0 | ((cpu.mxcsr >> 13 & 3) as u16) << 10)
}

/// Records exceptions in MXCSR; #XM (or #UD, if the system does not want those) for one that is not masked.
fn raise(cpu: &mut Cpu, flags: u16) -> Result<(), Trap> {
    let flags = u32::from(flags & flag::EXCEPTIONS);
    cpu.mxcsr |= flags;
    if flags & !(cpu.mxcsr >> 7) != 0 {
        let wanted = cpu.cr4 & cr4::OSXMMEXCPT != 0;
        return Err(if wanted { cpu.fault(vector::XM) } else { cpu.undefined() });
    }
    Ok(())
}

/// The two 32-bit integers of 64 bits.
fn integers(value: u64) -> [i64; 2] {
    [i64::from(value as i32), i64::from((value >> 32) as i32)]
}

/// `ENTER`: an MMX register is used, which memory operands do not.
fn to_singles<S: Source, const ENTER: bool>(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    ready_with_xmm(cpu)?;
    let source = S::get(cpu, op)?;
    let control = control(cpu);
    let [(low, first), (high, second)] = integers(source).map(|value| to_f32(from_i64(value), control));
    raise(cpu, first | second)?;
    if ENTER {
        cpu.fpu.enter_mmx();
    }
    let xmm = &mut cpu.xmm[op.dst as usize & 15];
    *xmm = *xmm & !LOW | u128::from(low) | u128::from(high) << 32;
    Ok(())
}

/// Doubles hold every 32-bit integer.
fn put_doubles(cpu: &mut Cpu, op: &Op, source: u64) {
    let [low, high] = integers(source).map(|value| to_f64(from_i64(value), Control::INITIAL).0);
    cpu.xmm[op.dst as usize & 15] = u128::from(low) | u128::from(high) << 64;
}

fn to_doubles(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    ready_with_xmm(cpu)?;
    cpu.fpu.enter_mmx();
    put_doubles(cpu, op, cpu.fpu.mmx(op.src));
    Ok(())
}

/// From memory no MMX register is used: it is an SSE2 instruction.
fn to_doubles_from_memory(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    if cpu.cr0 & cr0::EM != 0 || cpu.cr4 & cr4::OSFXSR == 0 {
        return Err(cpu.undefined());
    }
    if cpu.fpu_blocked & 1 != 0 {
        return Err(cpu.fault(vector::NM));
    }
    let source = Memory::get(cpu, op)?;
    put_doubles(cpu, op, source);
    Ok(())
}

/// Converts two values to 32-bit integers and writes them to the MMX register `op.dst`.
fn put_integers(cpu: &mut Cpu, op: &Op, values: [Outcome; 2], truncate: bool) -> Result<(), Trap> {
    let rounding = if truncate { Rounding::Zero } else { control(cpu).rounding() };
    let zero_denormals = cpu.mxcsr & DAZ != 0;
    let [(low, first), (high, second)] = values.map(|Outcome { value, flags }| {
        if zero_denormals && flags & flag::DE != 0 { (0, 0) } else { to_integer(value, 32, rounding) }
    });
    raise(cpu, first | second)?;
    cpu.fpu.enter_mmx();
    cpu.fpu.set_mmx(op.dst, u64::from(low as u32) | u64::from(high as u32) << 32);
    Ok(())
}

fn from_singles<S: Source, const TRUNCATE: bool>(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    ready_with_xmm(cpu)?;
    let source = S::get(cpu, op)?;
    let values = [source as u32, (source >> 32) as u32].map(from_f32);
    put_integers(cpu, op, values, TRUNCATE)
}

fn two_doubles(source: u128) -> [Outcome; 2] {
    [(source & LOW) as u64, (source >> 64) as u64].map(from_f64)
}

fn from_doubles<const TRUNCATE: bool>(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    ready_with_xmm(cpu)?;
    let source = cpu.xmm[op.src as usize & 15];
    put_integers(cpu, op, two_doubles(source), TRUNCATE)
}

/// The operand must be aligned.
fn from_doubles_in_memory<const TRUNCATE: bool>(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    ready_with_xmm(cpu)?;
    let address = cpu.address(op);
    if address & 15 != 0 {
        return Err(cpu.general_protection());
    }
    let source = cpu.load_u128(address)?;
    put_integers(cpu, op, two_doubles(source), TRUNCATE)
}
