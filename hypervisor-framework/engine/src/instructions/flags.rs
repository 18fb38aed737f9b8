//! CLC, STC, CMC, CLD, STD, LAHF, SAHF, CLI, STI, STAC, CLAC.

use iced_x86::Mnemonic;

use crate::block::{Flow, Op, Translator, ends, next};
use crate::cpu::control::cr4;
use crate::cpu::flags::bit;
use crate::cpu::{Cpu, Interruptibility, Trap, gpr};

fn clc(cpu: &mut Cpu, _op: &Op, rest: &[Op]) -> Flow {
    cpu.flags.carry = false;
    next(cpu, rest)
}

fn stc(cpu: &mut Cpu, _op: &Op, rest: &[Op]) -> Flow {
    cpu.flags.carry = true;
    next(cpu, rest)
}

fn cmc(cpu: &mut Cpu, _op: &Op, rest: &[Op]) -> Flow {
    cpu.flags.carry = !cpu.flags.carry;
    next(cpu, rest)
}

fn cld(cpu: &mut Cpu, _op: &Op, rest: &[Op]) -> Flow {
    cpu.flags.system &= !bit::DF;
    next(cpu, rest)
}

fn std(cpu: &mut Cpu, _op: &Op, rest: &[Op]) -> Flow {
    cpu.flags.system |= bit::DF;
    next(cpu, rest)
}

fn lahf(cpu: &mut Cpu, _op: &Op, rest: &[Op]) -> Flow {
    let flags = cpu.flags.get() as u8;
    cpu.set_reg(Op::HIGH | gpr::RAX, flags);
    next(cpu, rest)
}

fn sahf(cpu: &mut Cpu, _op: &Op, rest: &[Op]) -> Flow {
    let value = u64::from(cpu.reg::<u8>(Op::HIGH | gpr::RAX));
    let overflow = cpu.flags.overflow;
    cpu.flags.set_arithmetic(value);
    cpu.flags.overflow = overflow;
    next(cpu, rest)
}

/// May the program change IF?
fn may_change_if(cpu: &Cpu) -> bool {
    cpu.cpl <= (cpu.flags.system >> 12 & 3) as u8
}

/// Protected-mode virtual interrupts (CR4.PVI at CPL 3): VIF stands for IF.
fn uses_vif(cpu: &Cpu) -> bool {
    let vm = cpu.flags.has(bit::VM);
    vm && cpu.cr4 & cr4::VME != 0 || !vm && cpu.cpl == 3 && cpu.cr4 & cr4::PVI != 0
}

fn cli(cpu: &mut Cpu, op: &Op, rest: &[Op]) -> Flow {
    if may_change_if(cpu) {
        cpu.flags.system &= !bit::IF;
    } else if uses_vif(cpu) {
        cpu.flags.system &= !bit::VIF;
    } else {
        let _ = cpu.general_protection();
        return cpu.trapped(op);
    }
    next(cpu, rest)
}

fn sti(cpu: &mut Cpu, _op: &Op) -> Result<Flow, Trap> {
    if may_change_if(cpu) {
        if !cpu.flags.has(bit::IF) {
            cpu.flags.system |= bit::IF;
            cpu.interruptibility.insert(Interruptibility::STI);
        }
        return Ok(Flow::Stop);
    }
    if uses_vif(cpu) && !cpu.flags.has(bit::VIP) {
        cpu.flags.system |= bit::VIF;
        return Ok(Flow::Fall);
    }
    Err(cpu.general_protection())
}

fn set_ac<const ON: bool>(cpu: &mut Cpu, _op: &Op) -> Result<Flow, Trap> {
    if cpu.cpl != 0 {
        return Err(cpu.undefined());
    }
    cpu.flags.system = cpu.flags.system & !bit::AC | if ON { bit::AC } else { 0 };
    cpu.update_mode();
    Ok(Flow::Fall)
}

pub(super) fn translate(t: &mut Translator<'_>) -> bool {
    match t.insn.mnemonic() {
        Mnemonic::Clc => t.push_simple(clc),
        Mnemonic::Stc => t.push_simple(stc),
        Mnemonic::Cmc => t.push_simple(cmc),
        Mnemonic::Cld => t.push_simple(cld),
        Mnemonic::Std => t.push_simple(std),
        Mnemonic::Lahf => t.push_simple(lahf),
        Mnemonic::Sahf => t.push_simple(sahf),
        Mnemonic::Cli => t.push_simple(cli),
        Mnemonic::Sti => t.push_simple_end(ends!(sti)),
        Mnemonic::Stac => t.push_simple_end(ends!(set_ac::<true>)),
        Mnemonic::Clac => t.push_simple_end(ends!(set_ac::<false>)),
        _ => return false,
    }
    true
}
