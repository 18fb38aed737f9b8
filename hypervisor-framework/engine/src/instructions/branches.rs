//! Near branches: Jcc, JMP, CALL, RET, LOOP, JrCXZ.

use iced_x86::{ConditionCode, Mnemonic, OpKind};

use super::condition_code;
use super::operand_size;
use crate::block::{Exec, Flow, Mem, Op, Reg, Source, Translator, ends};
use crate::cpu::{Cpu, Trap, gpr, slot};
use crate::memory::Scalar;

/// The target of a direct branch: `op.imm` is its distance from the block's start, which only 64-bit code may use in
/// full; `op.disp` is the operand size in bytes.
#[inline(always)]
fn target(cpu: &Cpu, op: &Op) -> u64 {
    let rip = cpu.regs[slot::BLOCK_RIP as usize].wrapping_add(op.imm);
    match op.disp {
        8 => rip,
        4 => rip & 0xffff_ffff,
        _ => rip & 0xffff,
    }
}

/// Legacy code must stay within the limit of CS; 64-bit code finds out when it fetches.
fn check_target(cpu: &mut Cpu, rip: u64) -> Result<(), Trap> {
    if !cpu.mode.is64() && rip > u64::from(cpu.segments[1].limit) {
        return Err(cpu.general_protection());
    }
    Ok(())
}

/// An indirect target of 64-bit code must be canonical.
#[inline(always)]
fn check_indirect(cpu: &mut Cpu, rip: u64) -> Result<(), Trap> {
    if cpu.mode.is64() {
        return if Cpu::canonical(rip) { Ok(()) } else { Err(cpu.general_protection()) };
    }
    check_target(cpu, rip)
}

fn jcc<const CODE: u8>(cpu: &mut Cpu, op: &Op, _rest: &[Op]) -> Flow {
    if cpu.flags.condition(CODE) {
        cpu.rip = target(cpu, op);
        Flow::Taken
    } else {
        cpu.rip = cpu.next_rip(op);
        Flow::Fall
    }
}

fn jcc_legacy(cpu: &mut Cpu, op: &Op) -> Result<Flow, Trap> {
    if !cpu.flags.condition(op.src) {
        return Ok(Flow::Fall);
    }
    let rip = target(cpu, op);
    check_target(cpu, rip)?;
    cpu.rip = rip;
    Ok(Flow::Taken)
}

fn jcc_exec(code: u8) -> Exec {
    const TABLE: [Exec; 16] = [
        jcc::<0>, jcc::<1>, jcc::<2>, jcc::<3>, jcc::<4>, jcc::<5>, jcc::<6>, jcc::<7>, jcc::<8>, jcc::<9>,
        jcc::<10>, jcc::<11>, jcc::<12>, jcc::<13>, jcc::<14>, jcc::<15>,
    ];
    TABLE[code as usize & 15]
}

fn jmp_direct(cpu: &mut Cpu, op: &Op, _rest: &[Op]) -> Flow {
    cpu.rip = target(cpu, op);
    Flow::Taken
}

fn jmp_legacy(cpu: &mut Cpu, op: &Op) -> Result<Flow, Trap> {
    let rip = target(cpu, op);
    check_target(cpu, rip)?;
    cpu.rip = rip;
    Ok(Flow::Taken)
}

fn jmp_indirect<T: Scalar, S: Source>(cpu: &mut Cpu, op: &Op) -> Result<Flow, Trap> {
    let rip = S::get::<T>(cpu, op)?.widen();
    check_indirect(cpu, rip)?;
    cpu.rip = rip;
    Ok(Flow::Indirect)
}

fn call64(cpu: &mut Cpu, op: &Op) -> Result<Flow, Trap> {
    let back = cpu.rip;
    cpu.push64(back)?;
    cpu.rip = target(cpu, op);
    Ok(Flow::Taken)
}

fn call_legacy(cpu: &mut Cpu, op: &Op) -> Result<Flow, Trap> {
    let rip = target(cpu, op);
    check_target(cpu, rip)?;
    let mut stack = cpu.stack();
    let back = cpu.rip;
    cpu.push_sized(&mut stack, op.disp as u8, back)?;
    cpu.set_stack_pointer(&stack);
    cpu.rip = rip;
    Ok(Flow::Taken)
}

fn call_indirect<T: Scalar, S: Source>(cpu: &mut Cpu, op: &Op) -> Result<Flow, Trap> {
    let rip = S::get::<T>(cpu, op)?.widen();
    check_indirect(cpu, rip)?;
    let back = cpu.rip;
    if T::SIZE == 8 {
        cpu.push64(back)?;
    } else {
        let mut stack = cpu.stack();
        cpu.push_sized(&mut stack, T::SIZE as u8, back)?;
        cpu.set_stack_pointer(&stack);
    }
    cpu.rip = rip;
    Ok(Flow::Indirect)
}

fn ret64(cpu: &mut Cpu, op: &Op) -> Result<Flow, Trap> {
    let before = cpu.regs[gpr::RSP as usize];
    let rip = cpu.pop64()?;
    if !Cpu::canonical(rip) {
        cpu.regs[gpr::RSP as usize] = before;
        return Err(cpu.general_protection());
    }
    cpu.regs[gpr::RSP as usize] = cpu.regs[gpr::RSP as usize].wrapping_add(op.imm);
    cpu.rip = rip;
    Ok(Flow::Indirect)
}

fn ret_legacy(cpu: &mut Cpu, op: &Op) -> Result<Flow, Trap> {
    let mut stack = cpu.stack();
    let rip = cpu.pop_sized(&mut stack, op.disp as u8)?;
    check_indirect(cpu, rip)?;
    stack.pointer = stack.pointer.wrapping_add(op.imm);
    cpu.set_stack_pointer(&stack);
    cpu.rip = rip;
    Ok(Flow::Indirect)
}

/// LOOP, LOOPE, LOOPNE, JrCXZ. `src` is the kind, `scale` the address size as a power of two.
fn count_branch(cpu: &mut Cpu, op: &Op) -> Result<Flow, Trap> {
    let mask = match op.scale {
        1 => 0xffff,
        2 => 0xffff_ffff,
        _ => u64::MAX,
    };
    let count = cpu.slot(gpr::RCX) & mask;
    let left = if op.src == JCXZ { count } else { count.wrapping_sub(1) & mask };
    let taken = match op.src {
        JCXZ => count == 0,
        LOOPE => left != 0 && cpu.flags.zero(),
        LOOPNE => left != 0 && !cpu.flags.zero(),
        _ => left != 0,
    };
    let rip = target(cpu, op);
    if taken {
        check_target(cpu, rip)?;
        cpu.rip = rip;
    }
    if op.src != JCXZ {
        match op.scale {
            1 => cpu.set_reg(gpr::RCX, left as u16),
            2 => cpu.set_reg(gpr::RCX, left as u32),
            _ => cpu.set_slot(gpr::RCX, left),
        }
    }
    Ok(if taken { Flow::Taken } else { Flow::Fall })
}

const LOOP: u8 = 0;
const LOOPE: u8 = 1;
const LOOPNE: u8 = 2;
const JCXZ: u8 = 3;

/// Operand size of a near branch in bytes.
fn branch_size(t: &Translator<'_>) -> i32 {
    match t.insn.op0_kind() {
        OpKind::NearBranch16 => 2,
        OpKind::NearBranch32 => 4,
        OpKind::NearBranch64 => 8,
        _ => operand_size(t.insn, 0) as i32,
    }
}

fn direct(t: &mut Translator<'_>, long: Exec, legacy: Exec) {
    let size = branch_size(t);
    let mut op = t.op(if t.mode.is64() { long } else { legacy });
    // iced gives targets as if the block started at 0; narrower ones are sign-extended again.
    op.imm = match size {
        2 => t.insn.near_branch_target() as i16 as u64,
        4 => t.insn.near_branch_target() as i32 as u64,
        _ => t.insn.near_branch_target(),
    };
    op.disp = size;
    op.src = condition_code(t.insn).unwrap_or(0);
    t.push_end(op);
}

fn indirect(t: &mut Translator<'_>, call: bool) {
    let size = operand_size(t.insn, 0);
    macro_rules! pick {
        ($f:ident, $s:ty) => {
            match size {
                2 => ends!($f::<u16, $s>),
                4 => ends!($f::<u32, $s>),
                _ => ends!($f::<u64, $s>),
            }
        };
    }
    let memory = t.is_memory(0);
    let exec: Exec = match (call, memory) {
        (false, false) => pick!(jmp_indirect, Reg),
        (false, true) => pick!(jmp_indirect, Mem),
        (true, false) => pick!(call_indirect, Reg),
        (true, true) => pick!(call_indirect, Mem),
    };
    let mut op = t.op(exec);
    if memory {
        t.memory(&mut op);
    } else {
        op.src = t.register(0);
    }
    t.push_end(op);
}

fn translate_ret(t: &mut Translator<'_>) {
    let mut op = t.op(if t.mode.is64() { ends!(ret64) } else { ends!(ret_legacy) });
    op.imm = if t.insn.op_count() > 0 { u64::from(t.insn.immediate16()) } else { 0 };
    op.disp = t.insn.stack_pointer_increment().clamp(0, 0x1_0008) - op.imm as i32;
    t.push_end(op);
}

fn translate_count(t: &mut Translator<'_>, kind: u8) {
    use iced_x86::Register;
    let size = branch_size(t);
    let mut op = t.op(ends!(count_branch));
    op.src = kind;
    op.imm = match size {
        2 => t.insn.near_branch_target() as i16 as u64,
        4 => t.insn.near_branch_target() as i32 as u64,
        _ => t.insn.near_branch_target(),
    };
    op.disp = size;
    let mut factory = iced_x86::InstructionInfoFactory::new();
    let counter = factory.info(t.insn).used_registers().iter().map(|used| used.register());
    op.scale = 3;
    for register in counter {
        match register {
            Register::CX => op.scale = 1,
            Register::ECX => op.scale = 2,
            _ => {}
        }
    }
    t.push_end(op);
}

pub(super) fn translate(t: &mut Translator<'_>) -> bool {
    let insn = t.insn;
    if insn.condition_code() != ConditionCode::None && insn.is_jcc_short_or_near() {
        let code = condition_code(t.insn).unwrap_or(0);
        direct(t, jcc_exec(code), ends!(jcc_legacy));
        return true;
    }
    match insn.mnemonic() {
        Mnemonic::Jmp if insn.is_jmp_short_or_near() => direct(t, jmp_direct, ends!(jmp_legacy)),
        Mnemonic::Jmp if insn.is_jmp_near_indirect() => indirect(t, false),
        Mnemonic::Call if insn.is_call_near() => direct(t, ends!(call64), ends!(call_legacy)),
        Mnemonic::Call if insn.is_call_near_indirect() => indirect(t, true),
        Mnemonic::Ret => translate_ret(t),
        Mnemonic::Loop => translate_count(t, LOOP),
        Mnemonic::Loope => translate_count(t, LOOPE),
        Mnemonic::Loopne => translate_count(t, LOOPNE),
        Mnemonic::Jcxz | Mnemonic::Jecxz | Mnemonic::Jrcxz => translate_count(t, JCXZ),
        _ => return false,
    }
    true
}
