//! Comparisons and classification (SDM vol. 1, 8.3.6).

use std::cmp::Ordering;

use iced_x86::{Code, Mnemonic};

use super::float::{Class, F80, compare, flag};
use super::state::status;
use super::transfer::{I16, I32, M32, M64, Operand};
use super::{pointers, ready};
use crate::block::{Exec, Op, Translator, exec};
use crate::cpu::flags::bit;
use crate::cpu::{Cpu, Trap};

pub(super) fn translate(t: &mut Translator<'_>) -> bool {
    if let Some(exec) = memory_form(t.insn.code()) {
        let mut op = t.op(exec);
        pointers::memory(t, &mut op);
        t.push(op);
        return true;
    }
    let exec = match t.insn.mnemonic() {
        Mnemonic::Fcom => exec!(to_conditions::<false, 0>),
        Mnemonic::Fcomp => exec!(to_conditions::<false, 1>),
        Mnemonic::Fcompp => exec!(to_conditions::<false, 2>),
        Mnemonic::Fucom => exec!(to_conditions::<true, 0>),
        Mnemonic::Fucomp => exec!(to_conditions::<true, 1>),
        Mnemonic::Fucompp => exec!(to_conditions::<true, 2>),
        Mnemonic::Fcomi => exec!(to_flags::<false, false>),
        Mnemonic::Fcomip => exec!(to_flags::<false, true>),
        Mnemonic::Fucomi => exec!(to_flags::<true, false>),
        Mnemonic::Fucomip => exec!(to_flags::<true, true>),
        Mnemonic::Ftst => exec!(test),
        Mnemonic::Fxam => exec!(examine),
        _ => return false,
    };
    let mut op = t.op(exec);
    // FCOMPP and FUCOMPP name no operand: it is ST(1).
    op.src = if t.insn.op_count() > 1 { t.register(1) } else { 1 };
    t.push(op);
    true
}

fn memory_form(code: Code) -> Option<Exec> {
    Some(match code {
        Code::Fcom_m32fp => exec!(memory::<M32, false>),
        Code::Fcomp_m32fp => exec!(memory::<M32, true>),
        Code::Fcom_m64fp => exec!(memory::<M64, false>),
        Code::Fcomp_m64fp => exec!(memory::<M64, true>),
        Code::Ficom_m16int => exec!(memory::<I16, false>),
        Code::Ficomp_m16int => exec!(memory::<I16, true>),
        Code::Ficom_m32int => exec!(memory::<I32, false>),
        Code::Ficomp_m32int => exec!(memory::<I32, true>),
        _ => return None,
    })
}

/// The answer for an empty register.
const STACK_UNDERFLOW: (Option<Ordering>, u16) = (None, flag::IE | flag::SF);

fn conditions(order: Option<Ordering>) -> u16 {
    match order {
        Some(Ordering::Greater) => 0,
        Some(Ordering::Less) => status::C0,
        Some(Ordering::Equal) => status::C3,
        None => status::C0 | status::C2 | status::C3,
    }
}

fn finish(cpu: &mut Cpu, op: &Op, (order, flags): (Option<Ordering>, u16), pops: u8) {
    // The condition codes are set even where an unmasked exception keeps the stack as it is.
    let done = cpu.fpu.raise(flags);
    cpu.fpu.status = cpu.fpu.status & !status::ORDER | conditions(order);
    for _ in 0..if done { pops } else { 0 } {
        cpu.fpu.pop();
    }
    pointers::note_exception(cpu, op);
}

fn to_conditions<const QUIET: bool, const POPS: u8>(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    ready(cpu)?;
    pointers::note(cpu, op);
    let found = match (cpu.fpu.get(0), cpu.fpu.get(op.src)) {
        (Some(a), Some(b)) => compare(a, b, 0, QUIET),
        _ => STACK_UNDERFLOW,
    };
    finish(cpu, op, found, POPS);
    Ok(())
}

fn memory<T: Operand, const POP: bool>(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    ready(cpu)?;
    let address = cpu.address(op);
    let source = T::load(cpu, address)?;
    pointers::note_memory(cpu, op, address);
    let found = match cpu.fpu.get(0) {
        Some(value) => compare(value, source.value, source.flags, false),
        None => STACK_UNDERFLOW,
    };
    finish(cpu, op, found, u8::from(POP));
    Ok(())
}

fn test(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    ready(cpu)?;
    pointers::note(cpu, op);
    let found = cpu.fpu.get(0).map_or(STACK_UNDERFLOW, |value| compare(value, F80::ZERO, 0, false));
    finish(cpu, op, found, 0);
    Ok(())
}

fn to_flags<const QUIET: bool, const POP: bool>(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    ready(cpu)?;
    pointers::note(cpu, op);
    let (order, flags) = match (cpu.fpu.get(0), cpu.fpu.get(op.src)) {
        (Some(a), Some(b)) => compare(a, b, 0, QUIET),
        _ => STACK_UNDERFLOW,
    };
    let arithmetic = match order {
        Some(Ordering::Greater) => 0,
        Some(Ordering::Less) => bit::CF,
        Some(Ordering::Equal) => bit::ZF,
        None => bit::ZF | bit::PF | bit::CF,
    };
    cpu.flags.set_arithmetic(arithmetic);
    if cpu.fpu.raise(flags) && POP {
        cpu.fpu.pop();
    }
    pointers::note_exception(cpu, op);
    Ok(())
}

fn examine(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    ready(cpu)?;
    pointers::note(cpu, op);
    let fpu = &mut cpu.fpu;
    let number = fpu.number(0);
    let value = fpu.registers[number];
    let class = if fpu.get(0).is_none() {
        status::C3 | status::C0
    } else {
        match value.class() {
            Class::Unsupported => 0,
            Class::Quiet | Class::Signaling => status::C0,
            Class::Normal => status::C2,
            Class::Infinity => status::C2 | status::C0,
            Class::Zero => status::C3,
            Class::Denormal => status::C3 | status::C2,
        }
    };
    fpu.set_conditions(class | if value.negative() { status::C1 } else { 0 });
    Ok(())
}
