//! MOV, MOVZX, MOVSX, LEA, XCHG, CMOVcc, SETcc, BSWAP, XLAT and the sign extensions of RAX.

use iced_x86::{Mnemonic, OpKind, Register};

use super::arithmetic::{sign_extend, sized};
use super::strings::element_address;
use super::{condition_code, operand_size};
use crate::SegmentRegister;
use crate::block::{Exec, Flow, LockedMem, Op, Place, Translator, exec, next, segment_number, then};
use crate::cpu::{Cpu, Trap, gpr};
use crate::memory::Scalar;

fn mov_rr<T: Scalar>(cpu: &mut Cpu, op: &Op, rest: &[Op]) -> Flow {
    let value: T = cpu.reg(op.src);
    cpu.set_reg(op.dst, value);
    next(cpu, rest)
}

fn mov_ri<T: Scalar>(cpu: &mut Cpu, op: &Op, rest: &[Op]) -> Flow {
    cpu.set_reg(op.dst, T::narrow(op.imm));
    next(cpu, rest)
}

fn mov_rm<T: Scalar>(cpu: &mut Cpu, op: &Op, rest: &[Op]) -> Flow {
    let address = cpu.address(op);
    match cpu.load::<T>(address) {
        Ok(value) => {
            cpu.set_reg(op.dst, value);
            next(cpu, rest)
        }
        Err(Trap) => cpu.trapped(op),
    }
}

fn mov_mr<T: Scalar>(cpu: &mut Cpu, op: &Op, rest: &[Op]) -> Flow {
    let address = cpu.address(op);
    let value: T = cpu.reg(op.src);
    let outcome = cpu.store(address, value);
    then(cpu, op, rest, outcome)
}

fn mov_mi<T: Scalar>(cpu: &mut Cpu, op: &Op, rest: &[Op]) -> Flow {
    let address = cpu.address(op);
    let outcome = cpu.store(address, T::narrow(op.imm));
    then(cpu, op, rest, outcome)
}

fn extend_r<T: Scalar, D: Scalar, const SIGNED: bool>(cpu: &mut Cpu, op: &Op, rest: &[Op]) -> Flow {
    let value: T = cpu.reg(op.src);
    cpu.set_reg(op.dst, D::narrow(if SIGNED { sign_extend(value) } else { value.widen() }));
    next(cpu, rest)
}

fn extend_m<T: Scalar, D: Scalar, const SIGNED: bool>(cpu: &mut Cpu, op: &Op, rest: &[Op]) -> Flow {
    let address = cpu.address(op);
    match cpu.load::<T>(address) {
        Ok(value) => {
            cpu.set_reg(op.dst, D::narrow(if SIGNED { sign_extend(value) } else { value.widen() }));
            next(cpu, rest)
        }
        Err(Trap) => cpu.trapped(op),
    }
}

fn extension<const SIGNED: bool>(from: usize, to: usize, memory: bool) -> Exec {
    macro_rules! pick {
        ($f:ident) => {
            match (from, to) {
                (1, 2) => $f::<u8, u16, SIGNED>,
                (1, 4) => $f::<u8, u32, SIGNED>,
                (1, _) => $f::<u8, u64, SIGNED>,
                (2, 2) => $f::<u16, u16, SIGNED>,
                (2, 4) => $f::<u16, u32, SIGNED>,
                (2, _) => $f::<u16, u64, SIGNED>,
                (4, 2) => $f::<u32, u16, SIGNED>,
                (4, 4) => $f::<u32, u32, SIGNED>,
                (_, _) => $f::<u32, u64, SIGNED>,
            }
        };
    }
    if memory { pick!(extend_m) } else { pick!(extend_r) }
}

fn lea<T: Scalar>(cpu: &mut Cpu, op: &Op, rest: &[Op]) -> Flow {
    let address = cpu.address(op);
    cpu.set_reg(op.dst, T::narrow(address));
    next(cpu, rest)
}

fn xchg_rr<T: Scalar>(cpu: &mut Cpu, op: &Op, rest: &[Op]) -> Flow {
    let (a, b): (T, T) = (cpu.reg(op.dst), cpu.reg(op.src));
    cpu.set_reg(op.dst, b);
    cpu.set_reg(op.src, a);
    next(cpu, rest)
}

fn xchg_mr<T: Scalar>(cpu: &mut Cpu, op: &Op, rest: &[Op]) -> Flow {
    let new: T = cpu.reg(op.src);
    let outcome = LockedMem::update(cpu, op, |_| new).map(|old| cpu.set_reg(op.src, old));
    then(cpu, op, rest, outcome)
}

fn cmov_r<T: Scalar>(cpu: &mut Cpu, op: &Op, rest: &[Op]) -> Flow {
    let from = if cpu.flags.condition(op.imm as u8) { op.src } else { op.dst };
    let value: T = cpu.reg(from);
    cpu.set_reg(op.dst, value);
    next(cpu, rest)
}

fn cmov_m<T: Scalar>(cpu: &mut Cpu, op: &Op, rest: &[Op]) -> Flow {
    let address = cpu.address(op);
    match cpu.load::<T>(address) {
        Ok(value) => {
            let value = if cpu.flags.condition(op.imm as u8) { value } else { cpu.reg(op.dst) };
            cpu.set_reg(op.dst, value);
            next(cpu, rest)
        }
        Err(Trap) => cpu.trapped(op),
    }
}

fn setcc_r(cpu: &mut Cpu, op: &Op, rest: &[Op]) -> Flow {
    let value = u8::from(cpu.flags.condition(op.imm as u8));
    cpu.set_reg(op.dst, value);
    next(cpu, rest)
}

fn setcc_m(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    let address = cpu.address(op);
    let value = u8::from(cpu.flags.condition(op.imm as u8));
    cpu.store(address, value)
}

fn bswap<T: Scalar>(cpu: &mut Cpu, op: &Op, rest: &[Op]) -> Flow {
    match T::SIZE {
        8 => cpu.set_slot(op.dst, cpu.slot(op.dst).swap_bytes()),
        4 => cpu.set_reg(op.dst, cpu.reg::<u32>(op.dst).swap_bytes()),
        // Undefined; CPUs give zero.
        _ => cpu.set_reg(op.dst, 0_u16),
    }
    next(cpu, rest)
}

/// `imm`: mask of the address size; `index`: the segment. BX plus AL wraps at the address size.
fn xlat(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    let offset = cpu.slot(gpr::RBX).wrapping_add(cpu.reg::<u8>(gpr::RAX).into()) & op.imm;
    let address = element_address(cpu, op.index, offset, 1, false)?;
    let value: u8 = cpu.load(address)?;
    cpu.set_reg(gpr::RAX, value);
    Ok(())
}

fn translate_xlat(t: &mut Translator<'_>) {
    let mut op = t.op(exec!(xlat));
    op.index = segment_number(t.insn.memory_segment());
    op.imm = match t.insn.memory_base() {
        Register::BX => 0xffff,
        Register::EBX => 0xffff_ffff,
        _ => u64::MAX,
    };
    if op.index == SegmentRegister::Ss as u8 && !t.mode.is64() {
        op.flags |= Op::STACK_SEGMENT;
    }
    t.push(op);
}

/// CBW, CWDE, CDQE: `T` is the source.
fn extend_rax<T: Scalar, D: Scalar>(cpu: &mut Cpu, _op: &Op, rest: &[Op]) -> Flow {
    let value = sign_extend(cpu.reg::<T>(gpr::RAX));
    cpu.set_reg(gpr::RAX, D::narrow(value));
    next(cpu, rest)
}

/// CWD, CDQ, CQO.
fn sign_to_rdx<T: Scalar>(cpu: &mut Cpu, _op: &Op, rest: &[Op]) -> Flow {
    let sign = (sign_extend(cpu.reg::<T>(gpr::RAX)) as i64 >> 63) as u64;
    cpu.set_reg(gpr::RDX, T::narrow(sign));
    next(cpu, rest)
}

fn nop(cpu: &mut Cpu, _op: &Op, rest: &[Op]) -> Flow {
    next(cpu, rest)
}

fn translate_mov(t: &mut Translator<'_>) -> bool {
    let insn = t.insn;
    if insn.op_kind(0) == OpKind::Register && !is_general(insn.op0_register())
        || insn.op_kind(1) == OpKind::Register && !is_general(insn.op1_register())
    {
        return false;
    }
    let size = operand_size(insn, 0);
    if t.is_memory(0) {
        if insn.op_kind(1) == OpKind::Register {
            let mut op = t.op(sized!(size, mov_mr, [], []));
            op.src = t.register(1);
            t.memory(&mut op);
            t.push(op);
        } else {
            let mut op = t.op(sized!(size, mov_mi, [], []));
            op.imm = t.immediate(1);
            t.memory(&mut op);
            t.push(op);
        }
        return true;
    }
    let exec: Exec = if t.is_memory(1) {
        sized!(size, mov_rm, [], [])
    } else if insn.op_kind(1) == OpKind::Register {
        sized!(size, mov_rr, [], [])
    } else {
        sized!(size, mov_ri, [], [])
    };
    let mut op = t.op(exec);
    op.dst = t.register(0);
    if t.is_memory(1) {
        t.memory(&mut op);
    } else if insn.op_kind(1) == OpKind::Register {
        op.src = t.register(1);
    } else {
        op.imm = t.immediate(1);
    }
    t.push(op);
    true
}

fn is_general(register: Register) -> bool {
    register.is_gpr()
}

fn translate_extension(t: &mut Translator<'_>, signed: bool) {
    let (from, to) = (operand_size(t.insn, 1), operand_size(t.insn, 0));
    let memory = t.is_memory(1);
    let mut op =
        t.op(if signed { extension::<true>(from, to, memory) } else { extension::<false>(from, to, memory) });
    op.dst = t.register(0);
    if memory {
        t.memory(&mut op);
    } else {
        op.src = t.register(1);
    }
    t.push(op);
}

fn translate_lea(t: &mut Translator<'_>) {
    let size = operand_size(t.insn, 0);
    let mut op = t.op(sized!(size, lea, [], []));
    op.dst = t.register(0);
    t.effective_address(&mut op);
    t.push(op);
}

fn translate_xchg(t: &mut Translator<'_>) {
    let size = operand_size(t.insn, 0);
    let mut op = if t.is_memory(0) {
        let mut op = t.op(sized!(size, xchg_mr, [], []));
        t.memory(&mut op);
        op
    } else {
        let mut op = t.op(sized!(size, xchg_rr, [], []));
        op.dst = t.register(0);
        op
    };
    op.src = t.register(1);
    t.push(op);
}

fn translate_cmov(t: &mut Translator<'_>) {
    let size = operand_size(t.insn, 0);
    let exec: Exec = if t.is_memory(1) { sized!(size, cmov_m, [], []) } else { sized!(size, cmov_r, [], []) };
    let mut op = t.op(exec);
    op.imm = u64::from(condition_code(t.insn).unwrap_or(0));
    op.dst = t.register(0);
    if t.is_memory(1) {
        t.memory(&mut op);
    } else {
        op.src = t.register(1);
    }
    t.push(op);
}

fn translate_setcc(t: &mut Translator<'_>) {
    let mut op = t.op(if t.is_memory(0) { exec!(setcc_m) } else { setcc_r });
    op.imm = u64::from(condition_code(t.insn).unwrap_or(0));
    if t.is_memory(0) {
        t.memory(&mut op);
    } else {
        op.dst = t.register(0);
    }
    t.push(op);
}

pub(super) fn translate(t: &mut Translator<'_>) -> bool {
    use iced_x86::ConditionCode;
    match t.insn.mnemonic() {
        Mnemonic::Mov => return translate_mov(t),
        Mnemonic::Movzx => translate_extension(t, false),
        Mnemonic::Movsx | Mnemonic::Movsxd => translate_extension(t, true),
        Mnemonic::Lea => translate_lea(t),
        Mnemonic::Xchg => translate_xchg(t),
        Mnemonic::Bswap => {
            let size = operand_size(t.insn, 0);
            let mut op = t.op(sized!(size, bswap, [], []));
            op.dst = t.register(0);
            t.push(op);
        }
        Mnemonic::Xlatb => translate_xlat(t),
        Mnemonic::Cbw => t.push_simple(extend_rax::<u8, u16>),
        Mnemonic::Cwde => t.push_simple(extend_rax::<u16, u32>),
        Mnemonic::Cdqe => t.push_simple(extend_rax::<u32, u64>),
        Mnemonic::Cwd => t.push_simple(sign_to_rdx::<u16>),
        Mnemonic::Cdq => t.push_simple(sign_to_rdx::<u32>),
        Mnemonic::Cqo => t.push_simple(sign_to_rdx::<u64>),
        Mnemonic::Nop
        | Mnemonic::Reservednop
        | Mnemonic::Endbr64
        | Mnemonic::Endbr32
        | Mnemonic::Cldemote
        | Mnemonic::Rdsspd
        | Mnemonic::Rdsspq => t.push_simple(nop),
        _ if t.insn.condition_code() != ConditionCode::None && t.insn.is_jcc_short_or_near() => return false,
        Mnemonic::Cmova
        | Mnemonic::Cmovae
        | Mnemonic::Cmovb
        | Mnemonic::Cmovbe
        | Mnemonic::Cmove
        | Mnemonic::Cmovg
        | Mnemonic::Cmovge
        | Mnemonic::Cmovl
        | Mnemonic::Cmovle
        | Mnemonic::Cmovne
        | Mnemonic::Cmovno
        | Mnemonic::Cmovnp
        | Mnemonic::Cmovns
        | Mnemonic::Cmovo
        | Mnemonic::Cmovp
        | Mnemonic::Cmovs => translate_cmov(t),
        Mnemonic::Seta
        | Mnemonic::Setae
        | Mnemonic::Setb
        | Mnemonic::Setbe
        | Mnemonic::Sete
        | Mnemonic::Setg
        | Mnemonic::Setge
        | Mnemonic::Setl
        | Mnemonic::Setle
        | Mnemonic::Setne
        | Mnemonic::Setno
        | Mnemonic::Setnp
        | Mnemonic::Setns
        | Mnemonic::Seto
        | Mnemonic::Setp
        | Mnemonic::Sets => translate_setcc(t),
        _ => return false,
    }
    true
}
