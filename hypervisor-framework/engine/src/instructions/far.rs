//! Far JMP, CALL and RET.

use iced_x86::{Mnemonic, OpKind};

use crate::block::{Exec, Flow, Op, Translator, ends};
use crate::cpu::control::efer;
use crate::cpu::descriptor::Descriptor;
use crate::cpu::{Cpu, Stack, Trap, trap_vector as vector};
use crate::exit::Reason;
use crate::{Segment, SegmentRegister, TaskSwitchSource};

/// Transfers to a code segment of the same privilege level, once checked.
fn enter_code(cpu: &mut Cpu, selector: u16, code: Descriptor, cpl: u8, rip: u64) -> Result<(), Trap> {
    let to_long = cpu.efer & efer::LMA != 0 && code.long();
    let bad = if to_long { !Cpu::canonical(rip) } else { rip > u64::from(code.limit()) };
    if bad {
        return Err(cpu.general_protection());
    }
    cpu.mark_accessed(selector, code)?;
    cpu.set_segment(SegmentRegister::Cs, code.segment(selector & !3 | u16::from(cpl)));
    cpu.cpl = cpl;
    cpu.rip = rip;
    Ok(())
}

fn check_code(cpu: &mut Cpu, selector: u16, code: Descriptor) -> Result<(), Trap> {
    let rpl = (selector & 3) as u8;
    let level_ok =
        if code.is_conforming() { code.dpl() <= cpu.cpl } else { rpl <= cpu.cpl && code.dpl() == cpu.cpl };
    if !level_ok || cpu.efer & efer::LMA != 0 && code.long() && code.big() {
        return Err(cpu.selector_fault(vector::GP, selector));
    }
    if !code.present() {
        return Err(cpu.selector_fault(vector::NP, selector));
    }
    Ok(())
}

/// A far JMP or CALL. `size` is the operand size.
fn transfer(cpu: &mut Cpu, selector: u16, offset: u64, size: u8, call: bool) -> Result<Flow, Trap> {
    let back = cpu.rip;
    let old_cs = u64::from(cpu.segments[1].selector);
    if cpu.real_mode() {
        let mut stack = cpu.stack();
        if offset > 0xffff && offset > u64::from(cpu.segments[1].limit) {
            return Err(cpu.general_protection());
        }
        if call {
            cpu.push_sized(&mut stack, size, old_cs)?;
            cpu.push_sized(&mut stack, size, back)?;
            cpu.set_stack_pointer(&stack);
        }
        let cs = &mut cpu.segments[1];
        cs.selector = selector;
        cs.base = u64::from(selector) << 4;
        cpu.rip = offset;
        return Ok(Flow::Stop);
    }
    if selector & !3 == 0 {
        return Err(cpu.general_protection());
    }
    let descriptor = cpu.read_descriptor(selector, vector::GP)?;
    if descriptor.is_code() {
        check_code(cpu, selector, descriptor)?;
        let cpl = cpu.cpl;
        if call {
            let mut stack = cpu.stack();
            cpu.push_sized(&mut stack, size, old_cs)?;
            cpu.push_sized(&mut stack, size, back)?;
            enter_code(cpu, selector, descriptor, cpl, offset)?;
            cpu.set_stack_pointer(&stack);
        } else {
            enter_code(cpu, selector, descriptor, cpl, offset)?;
        }
        return Ok(Flow::Stop);
    }
    if descriptor.is_segment() {
        return Err(cpu.selector_fault(vector::GP, selector));
    }
    let long = cpu.efer & efer::LMA != 0;
    match descriptor.kind() {
        // Call gates.
        0xc => {}
        0x4 if !long => {}
        // An available TSS or a task gate: a task switch.
        0x1 | 0x5 | 0x9 if !long => {
            let rpl = (selector & 3) as u8;
            if descriptor.dpl() < cpu.cpl || descriptor.dpl() < rpl {
                return Err(cpu.selector_fault(vector::GP, selector));
            }
            if !descriptor.present() {
                return Err(cpu.selector_fault(vector::NP, selector));
            }
            let target = if descriptor.kind() == 5 { descriptor.gate_selector() } else { selector };
            let source = if call { TaskSwitchSource::Call } else { TaskSwitchSource::Jmp };
            return Err(cpu.leave(Reason::TaskSwitch { selector: target, source }));
        }
        _ => return Err(cpu.selector_fault(vector::GP, selector)),
    }
    gate_transfer(cpu, selector, descriptor, call, back)
}

/// Through a call gate.
fn gate_transfer(
    cpu: &mut Cpu,
    gate_selector: u16,
    gate: Descriptor,
    call: bool,
    back: u64,
) -> Result<Flow, Trap> {
    let rpl = (gate_selector & 3) as u8;
    if gate.dpl() < cpu.cpl || gate.dpl() < rpl {
        return Err(cpu.selector_fault(vector::GP, gate_selector));
    }
    if !gate.present() {
        return Err(cpu.selector_fault(vector::NP, gate_selector));
    }
    let long = cpu.efer & efer::LMA != 0;
    let mut target = gate.gate_offset();
    let size = if long {
        8
    } else if gate.kind() & 8 != 0 {
        4
    } else {
        target &= 0xffff;
        2
    };
    if long {
        let Some(address) = cpu.descriptor_address(gate_selector, 16) else {
            return Err(cpu.selector_fault(vector::GP, gate_selector));
        };
        target |= cpu.load_system::<u64>(address.wrapping_add(8))? << 32;
    }
    let selector = gate.gate_selector();
    if selector & !3 == 0 {
        return Err(cpu.general_protection());
    }
    let code = cpu.read_descriptor(selector, vector::GP)?;
    if !code.is_code() || code.dpl() > cpu.cpl || long && (!code.long() || code.big()) {
        return Err(cpu.selector_fault(vector::GP, selector));
    }
    if !code.present() {
        return Err(cpu.selector_fault(vector::NP, selector));
    }
    let inner = call && !code.is_conforming() && code.dpl() < cpu.cpl;
    if !inner && !code.is_conforming() && code.dpl() != cpu.cpl {
        return Err(cpu.selector_fault(vector::GP, selector));
    }
    let cpl = if inner { code.dpl() } else { cpu.cpl };
    let old_cs = u64::from(cpu.segments[1].selector);
    if !inner {
        let mut stack = cpu.stack();
        if call {
            cpu.push_sized(&mut stack, size, old_cs)?;
            cpu.push_sized(&mut stack, size, back)?;
        }
        enter_code(cpu, selector, code, cpl, target)?;
        cpu.set_stack_pointer(&stack);
        return Ok(Flow::Stop);
    }
    let old_stack = cpu.stack();
    let old_ss = u64::from(cpu.segments[2].selector);
    let mut stack = if long {
        let pointer = cpu.tss_stack_64(u32::from(cpl))?;
        let null = Segment {
            access_rights: Segment::UNUSABLE | u32::from(cpl) << 5,
            ..Segment::null(u16::from(cpl))
        };
        Stack::long(pointer, null)
    } else {
        let (ss, pointer) = cpu.tss_stack(cpl)?;
        let segment = cpu.stack_descriptor(ss, cpl, vector::TS)?;
        Stack::legacy(pointer, segment)
    };
    let parameters = if long { 0 } else { (gate.0 >> 32 & 0x1f) as usize };
    let mut copied = [0; 32];
    let mut from = old_stack;
    for value in copied.iter_mut().take(parameters) {
        *value = cpu.pop_sized(&mut from, size)?;
    }
    cpu.with_cpl(cpl, |cpu| {
        cpu.push_sized(&mut stack, size, old_ss)?;
        cpu.push_sized(&mut stack, size, old_stack.pointer)?;
        for value in copied.iter().take(parameters).rev() {
            cpu.push_sized(&mut stack, size, *value)?;
        }
        cpu.push_sized(&mut stack, size, old_cs)?;
        cpu.push_sized(&mut stack, size, back)
    })?;
    enter_code(cpu, selector, code, cpl, target)?;
    let segment = stack.segment;
    cpu.set_segment(SegmentRegister::Ss, segment);
    cpu.cpl = cpl;
    cpu.set_stack_pointer(&stack);
    Ok(Flow::Stop)
}

/// `imm` offset, `disp` selector, `src` operand size.
fn far_direct<const CALL: bool>(cpu: &mut Cpu, op: &Op) -> Result<Flow, Trap> {
    transfer(cpu, op.disp as u16, op.imm, op.src, CALL)
}

fn far_indirect<const CALL: bool>(cpu: &mut Cpu, op: &Op) -> Result<Flow, Trap> {
    let address = cpu.address(op);
    let size = op.src;
    let offset = match size {
        2 => u64::from(cpu.load::<u16>(address)?),
        4 => u64::from(cpu.load::<u32>(address)?),
        _ => cpu.load(address)?,
    };
    let selector: u16 = cpu.load(cpu.wrap(address.wrapping_add(u64::from(size))))?;
    transfer(cpu, selector, offset, size, CALL)
}

/// RETF: `imm` bytes to release, `src` operand size.
fn far_return(cpu: &mut Cpu, op: &Op) -> Result<Flow, Trap> {
    let size = op.src;
    let mut stack = cpu.stack();
    let rip = cpu.pop_sized(&mut stack, size)?;
    let selector = cpu.pop_sized(&mut stack, size)? as u16;
    if cpu.real_mode() {
        stack.pointer = stack.pointer.wrapping_add(op.imm);
        cpu.set_stack_pointer(&stack);
        let cs = &mut cpu.segments[1];
        cs.selector = selector;
        cs.base = u64::from(selector) << 4;
        cpu.rip = rip;
        return Ok(Flow::Stop);
    }
    if selector & !3 == 0 {
        return Err(cpu.general_protection());
    }
    let rpl = (selector & 3) as u8;
    let code = cpu.read_descriptor(selector, vector::GP)?;
    let level_ok = if code.is_conforming() { code.dpl() <= rpl } else { code.dpl() == rpl };
    if !code.is_code() || rpl < cpu.cpl || !level_ok {
        return Err(cpu.selector_fault(vector::GP, selector));
    }
    if !code.present() {
        return Err(cpu.selector_fault(vector::NP, selector));
    }
    stack.pointer = stack.pointer.wrapping_add(op.imm);
    if rpl == cpu.cpl {
        enter_code(cpu, selector, code, rpl, rip)?;
        cpu.set_stack_pointer(&stack);
        return Ok(Flow::Stop);
    }
    let pointer = cpu.pop_sized(&mut stack, size)?;
    let ss = cpu.pop_sized(&mut stack, size)? as u16;
    let to_long = cpu.efer & efer::LMA != 0 && code.long();
    let segment = if ss & !3 == 0 && to_long && rpl < 3 {
        Segment { access_rights: Segment::UNUSABLE | u32::from(rpl) << 5, ..Segment::null(ss) }
    } else {
        cpu.stack_descriptor(ss, rpl, vector::GP)?
    };
    enter_code(cpu, selector, code, rpl, rip)?;
    cpu.set_segment(SegmentRegister::Ss, segment);
    cpu.cpl = rpl;
    let pointer = pointer.wrapping_add(op.imm);
    let target = if to_long { Stack::long(pointer, segment) } else { Stack::legacy(pointer, segment) };
    cpu.set_stack_pointer(&target);
    cpu.drop_privileged_segments();
    Ok(Flow::Stop)
}

fn far_branch(t: &mut Translator<'_>, call: bool) -> bool {
    let insn = t.insn;
    let direct: Exec = if call { ends!(far_direct::<true>) } else { ends!(far_direct::<false>) };
    let mut op = match insn.op0_kind() {
        OpKind::FarBranch16 => {
            let mut op = t.op(direct);
            op.imm = u64::from(insn.far_branch16());
            op.src = 2;
            op.disp = i32::from(insn.far_branch_selector());
            op
        }
        OpKind::FarBranch32 => {
            let mut op = t.op(direct);
            op.imm = u64::from(insn.far_branch32());
            op.src = 4;
            op.disp = i32::from(insn.far_branch_selector());
            op
        }
        OpKind::Memory => {
            let mut op = t.op(if call { ends!(far_indirect::<true>) } else { ends!(far_indirect::<false>) });
            op.src = insn.memory_size().size() as u8 - 2;
            t.memory(&mut op);
            op
        }
        _ => return false,
    };
    op.len = insn.len() as u8;
    t.push_end(op);
    true
}

pub(super) fn translate(t: &mut Translator<'_>) -> bool {
    let insn = t.insn;
    match insn.mnemonic() {
        Mnemonic::Jmp => return far_branch(t, false),
        Mnemonic::Call => return far_branch(t, true),
        Mnemonic::Retf => {
            let mut op = t.op(ends!(far_return));
            op.imm = if insn.op_count() > 0 { u64::from(insn.immediate16()) } else { 0 };
            op.src = ((insn.stack_pointer_increment() - op.imm as i32) / 2) as u8;
            t.push_end(op);
        }
        _ => return false,
    }
    true
}
