//! PUSH, POP, PUSHA, POPA, PUSHF, POPF, ENTER, LEAVE.

use iced_x86::{Mnemonic, OpKind};

use crate::block::{Dst, Exec, Flow, Imm, Mem, Op, Place, Reg, Source, Translator, ends, exec, next};
use crate::cpu::flags::bit;
use crate::cpu::{Cpu, Trap, gpr};
use crate::memory::Scalar;

fn push64_r(cpu: &mut Cpu, op: &Op, rest: &[Op]) -> Flow {
    let value = cpu.slot(op.src);
    match cpu.push64(value) {
        Ok(()) => next(cpu, rest),
        Err(Trap) => cpu.trapped(op),
    }
}

fn pop64_r(cpu: &mut Cpu, op: &Op, rest: &[Op]) -> Flow {
    match cpu.pop64() {
        Ok(value) => {
            cpu.set_slot(op.dst, value);
            next(cpu, rest)
        }
        Err(Trap) => cpu.trapped(op),
    }
}

fn push<T: Scalar, S: Source>(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    let value: T = S::get(cpu, op)?;
    let mut stack = cpu.stack();
    cpu.push_to(&mut stack, value)?;
    cpu.set_stack_pointer(&stack);
    Ok(())
}

/// POP to a register: the stack pointer moves first, so that POP SP gets the popped value.
fn pop_r<T: Scalar>(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    let mut stack = cpu.stack();
    let value: T = cpu.pop_from(&mut stack)?;
    cpu.set_stack_pointer(&stack);
    Dst::set(cpu, op, value)
}

/// POP to memory: an address through RSP uses the value after the pop.
fn pop_m<T: Scalar>(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    let mut stack = cpu.stack();
    let value: T = cpu.pop_from(&mut stack)?;
    // A base of RSP was given the increment when translated; an address computed by a step before it as well.
    Mem::set(cpu, op, value)?;
    cpu.set_stack_pointer(&stack);
    Ok(())
}

fn pusha<T: Scalar>(cpu: &mut Cpu, _op: &Op) -> Result<(), Trap> {
    let mut stack = cpu.stack();
    for register in 0..8 {
        let value: T = cpu.reg(register);
        cpu.push_to(&mut stack, value)?;
    }
    cpu.set_stack_pointer(&stack);
    Ok(())
}

fn popa<T: Scalar>(cpu: &mut Cpu, _op: &Op) -> Result<(), Trap> {
    let mut stack = cpu.stack();
    let mut values = [T::narrow(0); 8];
    for value in values.iter_mut().rev() {
        *value = cpu.pop_from(&mut stack)?;
    }
    for (register, value) in (0..8).zip(values) {
        if register != gpr::RSP {
            cpu.set_reg(register, value);
        }
    }
    cpu.set_stack_pointer(&stack);
    Ok(())
}

fn iopl(cpu: &Cpu) -> u8 {
    (cpu.flags.system >> 12 & 3) as u8
}

fn pushf<T: Scalar>(cpu: &mut Cpu, _op: &Op) -> Result<(), Trap> {
    if cpu.flags.has(bit::VM) && iopl(cpu) < 3 {
        return Err(cpu.general_protection());
    }
    let value = T::narrow(cpu.flags.get() & !(bit::RF | bit::VM));
    let mut stack = cpu.stack();
    cpu.push_to(&mut stack, value)?;
    cpu.set_stack_pointer(&stack);
    Ok(())
}

fn popf<T: Scalar>(cpu: &mut Cpu, _op: &Op) -> Result<Flow, Trap> {
    if cpu.flags.has(bit::VM) && iopl(cpu) < 3 {
        return Err(cpu.general_protection());
    }
    let mut stack = cpu.stack();
    let value = cpu.pop_from::<T>(&mut stack)?.widen();
    cpu.set_stack_pointer(&stack);
    let mut writable = bit::ARITHMETIC | bit::TF | bit::DF | bit::NT | bit::AC | bit::ID;
    if cpu.cpl <= iopl(cpu) {
        writable |= bit::IF;
    }
    if cpu.cpl == 0 && !cpu.flags.has(bit::VM) {
        writable |= bit::IOPL;
    }
    if T::SIZE == 2 {
        writable &= 0xffff;
    }
    let old = cpu.flags.get();
    // RF is cleared; VIF and VIP stay.
    cpu.flags.load(old & !writable & !bit::RF | value & writable);
    let changed = old ^ cpu.flags.get();
    Ok(if changed & !(bit::ARITHMETIC | bit::DF) == 0 { Flow::Fall } else { Flow::Stop })
}

/// ENTER; `imm` is the frame size, `src` the nesting level, `disp` the operand size.
fn enter(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    let level = op.src & 31;
    let size = op.disp as u8;
    let mask = cpu.stack_mask();
    let mut stack = cpu.stack();
    let mut frame = cpu.slot(gpr::RBP);
    cpu.push_sized(&mut stack, size, frame)?;
    let pointer = stack.pointer;
    if level > 0 {
        for _ in 1..level {
            frame = frame.wrapping_sub(u64::from(size)) & mask;
            let mut display = stack;
            display.pointer = frame;
            let value = cpu.pop_sized(&mut display, size)?;
            cpu.push_sized(&mut stack, size, value)?;
        }
        cpu.push_sized(&mut stack, size, pointer)?;
    }
    stack.pointer = stack.pointer.wrapping_sub(op.imm) & mask;
    // The new top must be writable.
    let address = cpu.stack_address(&stack, stack.pointer, 1, true)?;
    cpu.probe_write(address, usize::from(size))?;
    set_frame(cpu, size, pointer);
    cpu.set_stack_pointer(&stack);
    Ok(())
}

fn set_frame(cpu: &mut Cpu, size: u8, value: u64) {
    match size {
        2 => cpu.set_reg(gpr::RBP, value as u16),
        4 => cpu.set_reg(gpr::RBP, value as u32),
        _ => cpu.set_slot(gpr::RBP, value),
    }
}

fn leave64(cpu: &mut Cpu, op: &Op, rest: &[Op]) -> Flow {
    let before = cpu.regs[gpr::RSP as usize];
    cpu.regs[gpr::RSP as usize] = cpu.slot(gpr::RBP);
    match cpu.pop64() {
        Ok(value) => {
            cpu.set_slot(gpr::RBP, value);
            next(cpu, rest)
        }
        Err(Trap) => {
            cpu.regs[gpr::RSP as usize] = before;
            cpu.trapped(op)
        }
    }
}

fn leave(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    let mut stack = cpu.stack();
    stack.pointer = cpu.slot(gpr::RBP);
    let value = cpu.pop_sized(&mut stack, op.disp as u8)?;
    set_frame(cpu, op.disp as u8, value);
    cpu.set_stack_pointer(&stack);
    Ok(())
}

/// Bytes that the instruction moves the stack pointer by.
fn stack_size(t: &Translator<'_>) -> usize {
    t.insn.stack_pointer_increment().unsigned_abs() as usize
}

macro_rules! by_size {
    ($size:expr, $wrap:ident, $f:ident $(, $s:ty)?) => {
        match $size {
            2 => $wrap!($f::<u16 $(, $s)?>),
            4 => $wrap!($f::<u32 $(, $s)?>),
            _ => $wrap!($f::<u64 $(, $s)?>),
        }
    };
}

fn translate_push(t: &mut Translator<'_>) -> bool {
    let size = stack_size(t);
    match t.insn.op0_kind() {
        OpKind::Register => {
            if !t.insn.op0_register().is_gpr() {
                return false;
            }
            let exec: Exec = if size == 8 { push64_r } else { by_size!(size, exec, push, Reg) };
            let mut op = t.op(exec);
            op.src = t.register(0);
            t.push(op);
        }
        OpKind::Memory => {
            let mut op = t.op(by_size!(size, exec, push, Mem));
            t.memory(&mut op);
            t.push(op);
        }
        _ => {
            let mut op = t.op(by_size!(size, exec, push, Imm));
            op.imm = t.immediate(0);
            t.push(op);
        }
    }
    true
}

fn translate_pop(t: &mut Translator<'_>) -> bool {
    let size = stack_size(t);
    if t.is_memory(0) {
        let mut insn = *t.insn;
        if insn.memory_base().full_register() == iced_x86::Register::RSP {
            insn.set_memory_displacement64(insn.memory_displacement64().wrapping_add(size as u64));
        }
        let mut op = t.op(by_size!(size, exec, pop_m));
        t.memory_of(&insn, &mut op);
        t.push(op);
        return true;
    }
    if !t.insn.op0_register().is_gpr() {
        return false;
    }
    let exec: Exec = if size == 8 { pop64_r } else { by_size!(size, exec, pop_r) };
    let mut op = t.op(exec);
    op.dst = t.register(0);
    t.push(op);
    true
}

pub(super) fn translate(t: &mut Translator<'_>) -> bool {
    match t.insn.mnemonic() {
        Mnemonic::Push => return translate_push(t),
        Mnemonic::Pop => return translate_pop(t),
        Mnemonic::Pusha => t.push_simple(exec!(pusha::<u16>)),
        Mnemonic::Pushad => t.push_simple(exec!(pusha::<u32>)),
        Mnemonic::Popa => t.push_simple(exec!(popa::<u16>)),
        Mnemonic::Popad => t.push_simple(exec!(popa::<u32>)),
        Mnemonic::Pushf => t.push_simple(exec!(pushf::<u16>)),
        Mnemonic::Pushfd => t.push_simple(exec!(pushf::<u32>)),
        Mnemonic::Pushfq => t.push_simple(exec!(pushf::<u64>)),
        Mnemonic::Popf | Mnemonic::Popfd | Mnemonic::Popfq => {
            let op = t.op(by_size!(stack_size(t), ends, popf));
            t.push_end(op);
        }
        Mnemonic::Enter => {
            let mut op = t.op(exec!(enter));
            op.imm = u64::from(t.insn.immediate16());
            op.src = t.insn.immediate8_2nd();
            op.disp = enter_size(t);
            t.push(op);
        }
        Mnemonic::Leave => {
            let size = match t.insn.code() {
                iced_x86::Code::Leavew => 2,
                iced_x86::Code::Leaved => 4,
                _ => 8,
            };
            let mut op = t.op(if size == 8 { leave64 } else { exec!(leave) });
            op.disp = size;
            t.push(op);
        }
        _ => return false,
    }
    true
}

fn enter_size(t: &Translator<'_>) -> i32 {
    match t.insn.code() {
        iced_x86::Code::Enterw_imm16_imm8 => 2,
        iced_x86::Code::Enterd_imm16_imm8 => 4,
        _ => 8,
    }
}
