//! Control of the x87 unit: FNINIT, FNCLEX, control and status words, the stack pointer, FWAIT.

use iced_x86::{Code, Mnemonic, Register};

use super::state::status;
use super::{available, mmx, pointers, ready};
use crate::block::{Op, Translator, exec};
use crate::cpu::control::cr0;
use crate::cpu::{Cpu, Trap, gpr, trap_vector as vector};

pub(super) fn translate(t: &mut Translator<'_>) -> bool {
    let exec = match t.insn.mnemonic() {
        Mnemonic::Fninit => exec!(initialise),
        Mnemonic::Fnclex => exec!(clear_exceptions),
        Mnemonic::Wait => exec!(wait),
        Mnemonic::Fldcw => exec!(load_control),
        Mnemonic::Fnstcw => exec!(store_control),
        Mnemonic::Fnstsw if t.insn.op0_register() == Register::AX => exec!(status_to_ax),
        Mnemonic::Fnstsw => exec!(store_status),
        Mnemonic::Fnop => exec!(no_operation),
        // The 8087's and 287's, which do nothing now but wait.
        Mnemonic::Fneni | Mnemonic::Fndisi | Mnemonic::Fnsetpm => exec!(no_wait),
        Mnemonic::Fincstp => exec!(rotate::<1>),
        Mnemonic::Fdecstp => exec!(rotate::<7>),
        Mnemonic::Ffree => exec!(free::<false>),
        Mnemonic::Ffreep => exec!(free::<true>),
        Mnemonic::Emms => exec!(empty),
        _ => return false,
    };
    let mut op = t.op(exec);
    match t.insn.code() {
        Code::Fldcw_m2byte => pointers::memory(t, &mut op),
        Code::Fnstcw_m2byte | Code::Fnstsw_m2byte => pointers::memory_without_waiting(t, &mut op),
        Code::Ffree_sti | Code::Ffreep_sti => op.dst = t.register(0),
        _ => {}
    }
    t.push(op);
    true
}

fn initialise(cpu: &mut Cpu, _op: &Op) -> Result<(), Trap> {
    available(cpu)?;
    cpu.fpu.initialise();
    Ok(())
}

fn clear_exceptions(cpu: &mut Cpu, _op: &Op) -> Result<(), Trap> {
    available(cpu)?;
    cpu.fpu.status &= status::CONDITIONS;
    Ok(())
}

/// #NM needs TS and MP both.
fn wait(cpu: &mut Cpu, _op: &Op) -> Result<(), Trap> {
    let both = cr0::TS | cr0::MP;
    if cpu.cr0 & both == both {
        return Err(cpu.fault(vector::NM));
    }
    if cpu.fpu.pending() { Err(cpu.fault(vector::MF)) } else { Ok(()) }
}

fn load_control(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    ready(cpu)?;
    let address = cpu.address(op);
    let value = cpu.load(address)?;
    cpu.fpu.set_control_word(value);
    Ok(())
}

fn store_control(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    available(cpu)?;
    let address = cpu.address(op);
    cpu.store(address, cpu.fpu.control_word())
}

fn store_status(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    available(cpu)?;
    let address = cpu.address(op);
    cpu.store(address, cpu.fpu.status_word())
}

fn status_to_ax(cpu: &mut Cpu, _op: &Op) -> Result<(), Trap> {
    available(cpu)?;
    cpu.set_reg(gpr::RAX, cpu.fpu.status_word());
    Ok(())
}

fn no_operation(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    ready(cpu)?;
    pointers::note(cpu, op);
    Ok(())
}

fn no_wait(cpu: &mut Cpu, _op: &Op) -> Result<(), Trap> {
    available(cpu)
}

fn rotate<const BY: u8>(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    ready(cpu)?;
    pointers::note(cpu, op);
    cpu.fpu.top = cpu.fpu.top.wrapping_add(BY) & 7;
    cpu.fpu.status &= !status::C1;
    Ok(())
}

fn free<const POP: bool>(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    ready(cpu)?;
    pointers::note(cpu, op);
    cpu.fpu.status &= !status::C1;
    cpu.fpu.free(op.dst);
    if POP {
        cpu.fpu.pop();
    }
    Ok(())
}

fn empty(cpu: &mut Cpu, _op: &Op) -> Result<(), Trap> {
    mmx::ready(cpu)?;
    (cpu.fpu.top, cpu.fpu.valid) = (0, 0);
    Ok(())
}
