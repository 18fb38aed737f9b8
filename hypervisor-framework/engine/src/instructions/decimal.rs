//! AAA, AAS, AAD, AAM, DAA, DAS, SALC, BOUND, ARPL: what 64-bit code no longer has.

use iced_x86::Mnemonic;

use super::arithmetic::{set_zero, sign_extend};
use crate::block::{Op, Translator, exec};
use crate::cpu::flags::bit;
use crate::cpu::trap_vector as vector;
use crate::cpu::{Cpu, Trap, gpr};

/// Flags after a decimal adjustment: SF, ZF and PF follow AL.
fn adjusted(cpu: &mut Cpu, al: u8, carry: bool, auxiliary: bool) {
    cpu.flags.set_logic(sign_extend(al));
    let flags = cpu.flags.arithmetic() & !(bit::CF | bit::AF);
    let flag = |on: bool, bit: u64| if on { bit } else { 0 };
    cpu.flags.set_arithmetic(flags | flag(carry, bit::CF) | flag(auxiliary, bit::AF));
}

fn ascii_adjust(cpu: &mut Cpu, add: bool) {
    let ax: u16 = cpu.reg(gpr::RAX);
    let adjust = ax & 0xf > 9 || cpu.flags.auxiliary();
    let result = match (adjust, add) {
        (true, true) => ax.wrapping_add(0x106),
        (true, false) => ax.wrapping_sub(0x106),
        (false, _) => ax,
    } & 0xff0f;
    cpu.set_reg(gpr::RAX, result);
    adjusted(cpu, result as u8, adjust, adjust);
}

fn aaa(cpu: &mut Cpu, _op: &Op) -> Result<(), Trap> {
    ascii_adjust(cpu, true);
    Ok(())
}

fn aas(cpu: &mut Cpu, _op: &Op) -> Result<(), Trap> {
    ascii_adjust(cpu, false);
    Ok(())
}

fn decimal_adjust(cpu: &mut Cpu, add: bool) {
    let al: u8 = cpu.reg(gpr::RAX);
    let carry = cpu.flags.carry;
    let low = al & 0xf > 9 || cpu.flags.auxiliary();
    let high = al > 0x99 || carry;
    let correction = if low { 6 } else { 0 } + if high { 0x60 } else { 0 };
    let result = if add { al.wrapping_add(correction) } else { al.wrapping_sub(correction) };
    let borrow = !add && low && al < 6;
    cpu.set_reg(gpr::RAX, result);
    adjusted(cpu, result, high || borrow, low);
}

fn daa(cpu: &mut Cpu, _op: &Op) -> Result<(), Trap> {
    decimal_adjust(cpu, true);
    Ok(())
}

fn das(cpu: &mut Cpu, _op: &Op) -> Result<(), Trap> {
    decimal_adjust(cpu, false);
    Ok(())
}

fn aam(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    let base = op.imm as u8;
    if base == 0 {
        return Err(cpu.fault(vector::DE));
    }
    let al: u8 = cpu.reg(gpr::RAX);
    let (high, low) = (al / base, al % base);
    cpu.set_reg(gpr::RAX, u16::from(high) << 8 | u16::from(low));
    adjusted(cpu, low, false, false);
    Ok(())
}

fn aad(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    let ax: u16 = cpu.reg(gpr::RAX);
    let al = (ax as u8).wrapping_add(((ax >> 8) as u8).wrapping_mul(op.imm as u8));
    cpu.set_reg(gpr::RAX, u16::from(al));
    adjusted(cpu, al, false, false);
    Ok(())
}

fn salc(cpu: &mut Cpu, _op: &Op) -> Result<(), Trap> {
    let value = if cpu.flags.carry { 0xff_u8 } else { 0 };
    cpu.set_reg(gpr::RAX, value);
    Ok(())
}

/// BOUND: the memory operand holds two signed limits.
fn bound(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    let address = cpu.address(op);
    let (index, low, high) = if op.src == 2 {
        let low: u16 = cpu.load(address)?;
        let high: u16 = cpu.load(cpu.wrap(address.wrapping_add(2)))?;
        (sign_extend(cpu.reg::<u16>(op.dst)), sign_extend(low), sign_extend(high))
    } else {
        let low: u32 = cpu.load(address)?;
        let high: u32 = cpu.load(cpu.wrap(address.wrapping_add(4)))?;
        (sign_extend(cpu.reg::<u32>(op.dst)), sign_extend(low), sign_extend(high))
    };
    if (index as i64) < low as i64 || index as i64 > high as i64 {
        return Err(cpu.fault(vector::BR));
    }
    Ok(())
}

fn arpl(cpu: &mut Cpu, op: &Op, memory: bool) -> Result<(), Trap> {
    if cpu.real_mode() {
        return Err(cpu.undefined());
    }
    let source: u16 = cpu.reg(op.src);
    let address = cpu.address(op);
    let target: u16 = if memory { cpu.load(address)? } else { cpu.reg(op.dst) };
    let raise = target & 3 < source & 3;
    if raise {
        let value = target & !3 | source & 3;
        if memory {
            cpu.store(address, value)?;
        } else {
            cpu.set_reg(op.dst, value);
        }
    }
    set_zero(cpu, raise);
    Ok(())
}

pub(super) fn translate(t: &mut Translator<'_>) -> bool {
    match t.insn.mnemonic() {
        Mnemonic::Aaa => t.push_simple(exec!(aaa)),
        Mnemonic::Aas => t.push_simple(exec!(aas)),
        Mnemonic::Daa => t.push_simple(exec!(daa)),
        Mnemonic::Das => t.push_simple(exec!(das)),
        Mnemonic::Salc => t.push_simple(exec!(salc)),
        Mnemonic::Aam | Mnemonic::Aad => {
            let mut op = t.op(if t.insn.mnemonic() == Mnemonic::Aam { exec!(aam) } else { exec!(aad) });
            op.imm = u64::from(t.insn.immediate8());
            t.push(op);
        }
        Mnemonic::Bound => {
            let mut op = t.op(exec!(bound));
            op.dst = t.register(0);
            op.src = t.insn.op0_register().size() as u8;
            t.memory(&mut op);
            t.push(op);
        }
        Mnemonic::Arpl => {
            let memory = t.is_memory(0);
            let mut op = t.op(if memory {
                exec!(|cpu: &mut Cpu, op: &Op| arpl(cpu, op, true))
            } else {
                exec!(|cpu: &mut Cpu, op: &Op| arpl(cpu, op, false))
            });
            op.src = t.register(1);
            if memory {
                t.memory(&mut op);
            } else {
                op.dst = t.register(0);
            }
            t.push(op);
        }
        _ => return false,
    }
    true
}
