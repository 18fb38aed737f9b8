//! LLDT, LTR, SLDT, STR, LAR, LSL, VERR, VERW: the local descriptor table, the task register, and questions about
//! selectors.

use iced_x86::Mnemonic;

use super::arithmetic::set_zero;
use super::control::check_umip;
use super::system::privileged;
use crate::block::{Exec, Flow, Op, Translator, ends, exec};
use crate::cpu::control::efer;
use crate::cpu::descriptor::Descriptor;
use crate::cpu::{Cpu, Trap, trap_vector as vector};
use crate::exit::Reason;
use crate::intercept::Controls;
use crate::{Segment, SegmentRegister};

fn exit_if_asked(cpu: &mut Cpu) -> Result<(), Trap> {
    if cpu.intercepts.controls.contains(Controls::DESCRIPTOR_TABLE) {
        return Err(cpu.leave(Reason::LdtrTrAccess));
    }
    Ok(())
}

/// The selector operand: `Op::dst` or memory.
fn selector_operand<const MEMORY: bool>(cpu: &mut Cpu, op: &Op) -> Result<u16, Trap> {
    if MEMORY {
        let address = cpu.address(op);
        cpu.load(address)
    } else {
        Ok(cpu.reg(op.src))
    }
}

/// A system descriptor of the GDT with the upper half of its base in long mode.
fn system_segment(cpu: &mut Cpu, selector: u16) -> Result<(Descriptor, Segment), Trap> {
    let long = cpu.efer & efer::LMA != 0;
    let size = if long { 16 } else { 8 };
    let address = if selector & 4 == 0 { cpu.descriptor_address(selector, size) } else { None };
    let Some(address) = address else { return Err(cpu.selector_fault(vector::GP, selector)) };
    let descriptor = Descriptor(cpu.load_system(address)?);
    let mut segment = descriptor.segment(selector);
    if long {
        segment.base |= cpu.load_system::<u64>(address.wrapping_add(8))? << 32;
    }
    Ok((descriptor, segment))
}

fn lldt<const MEMORY: bool>(cpu: &mut Cpu, op: &Op) -> Result<Flow, Trap> {
    if cpu.real_mode() {
        return Err(cpu.undefined());
    }
    privileged(cpu)?;
    exit_if_asked(cpu)?;
    let selector = selector_operand::<MEMORY>(cpu, op)?;
    if selector & !3 == 0 {
        cpu.set_segment(SegmentRegister::Ldtr, Segment::null(selector));
        return Ok(Flow::Fall);
    }
    let (descriptor, segment) = system_segment(cpu, selector)?;
    if descriptor.is_segment() || descriptor.kind() != 2 {
        return Err(cpu.selector_fault(vector::GP, selector));
    }
    if !descriptor.present() {
        return Err(cpu.selector_fault(vector::NP, selector));
    }
    cpu.set_segment(SegmentRegister::Ldtr, segment);
    Ok(Flow::Fall)
}

fn ltr<const MEMORY: bool>(cpu: &mut Cpu, op: &Op) -> Result<Flow, Trap> {
    if cpu.real_mode() {
        return Err(cpu.undefined());
    }
    privileged(cpu)?;
    exit_if_asked(cpu)?;
    let selector = selector_operand::<MEMORY>(cpu, op)?;
    if selector & !3 == 0 {
        return Err(cpu.general_protection());
    }
    let (descriptor, mut segment) = system_segment(cpu, selector)?;
    let long = cpu.efer & efer::LMA != 0;
    let available = descriptor.kind() == 9 || descriptor.kind() == 1 && !long;
    if descriptor.is_segment() || !available {
        return Err(cpu.selector_fault(vector::GP, selector));
    }
    if !descriptor.present() {
        return Err(cpu.selector_fault(vector::NP, selector));
    }
    // The descriptor becomes busy.
    if let Some(address) = cpu.descriptor_address(selector, 8) {
        cpu.update_system::<u8>(address.wrapping_add(5), |byte| byte | 2)?;
    }
    segment.access_rights |= 2;
    cpu.set_segment(SegmentRegister::Tr, segment);
    Ok(Flow::Fall)
}

/// SLDT and STR: `src` the register, `imm` the operand size or 0 for memory.
fn store_system(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    if cpu.real_mode() {
        return Err(cpu.undefined());
    }
    check_umip(cpu)?;
    exit_if_asked(cpu)?;
    let selector = cpu.segments[op.src as usize & 7].selector;
    match op.imm {
        0 => {
            let address = cpu.address(op);
            cpu.store(address, selector)?;
        }
        2 => cpu.set_reg(op.dst, selector),
        4 => cpu.set_reg(op.dst, u32::from(selector)),
        _ => cpu.set_reg(op.dst, u64::from(selector)),
    }
    Ok(())
}

/// A descriptor the program may ask about; `None` clears ZF.
fn visible_descriptor(cpu: &mut Cpu, selector: u16) -> Result<Option<Descriptor>, Trap> {
    if selector & !3 == 0 {
        return Ok(None);
    }
    let Some(address) = cpu.descriptor_address(selector, 8) else { return Ok(None) };
    let descriptor = Descriptor(cpu.load_system(address)?);
    let level = cpu.cpl.max((selector & 3) as u8);
    let visible = descriptor.is_conforming() || descriptor.dpl() >= level;
    Ok(visible.then_some(descriptor))
}

/// LAR and LSL; `dst` the result, `imm` its size.
fn query<const MEMORY: bool, const LIMIT: bool>(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    if cpu.real_mode() {
        return Err(cpu.undefined());
    }
    let selector = selector_operand::<MEMORY>(cpu, op)?;
    let long = cpu.efer & efer::LMA != 0;
    let known = |d: &Descriptor| {
        d.is_segment()
            || match d.kind() {
                2 | 9 | 0xb => true,
                1 | 3 => !long,
                0xc => !LIMIT,
                4 | 5 => !LIMIT && !long,
                _ => false,
            }
    };
    let found = visible_descriptor(cpu, selector)?.filter(known);
    if let Some(descriptor) = found {
        let value = if LIMIT { u64::from(descriptor.limit()) } else { descriptor.0 >> 32 & 0xf0_ff00 };
        match op.imm {
            2 => cpu.set_reg(op.dst, value as u16),
            4 => cpu.set_reg(op.dst, value as u32),
            _ => cpu.set_slot(op.dst, value),
        }
    }
    set_zero(cpu, found.is_some());
    Ok(())
}

/// VERR and VERW.
fn verify<const MEMORY: bool, const WRITE: bool>(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    if cpu.real_mode() {
        return Err(cpu.undefined());
    }
    let selector = selector_operand::<MEMORY>(cpu, op)?;
    let found = visible_descriptor(cpu, selector)?;
    let good = found.is_some_and(|d| if WRITE { d.is_writable_data() } else { d.is_readable() });
    set_zero(cpu, good);
    Ok(())
}

fn one_operand(t: &mut Translator<'_>, exec: Exec, ends: bool) {
    let mut op = t.op(exec);
    if t.is_memory(0) {
        t.memory(&mut op);
    } else {
        op.src = t.register(0);
    }
    if ends { t.push_end(op) } else { t.push(op) }
}

pub(super) fn translate(t: &mut Translator<'_>) -> bool {
    let insn = t.insn;
    let memory = (0..insn.op_count()).any(|i| t.is_memory(i));
    match insn.mnemonic() {
        Mnemonic::Lldt => {
            one_operand(t, if memory { ends!(lldt::<true>) } else { ends!(lldt::<false>) }, true)
        }
        Mnemonic::Ltr => one_operand(t, if memory { ends!(ltr::<true>) } else { ends!(ltr::<false>) }, true),
        Mnemonic::Sldt | Mnemonic::Str => {
            let mut op = t.op(exec!(store_system));
            op.src = if insn.mnemonic() == Mnemonic::Sldt { 6 } else { 7 };
            if memory {
                t.memory(&mut op);
            } else {
                op.dst = t.register(0);
                op.imm = insn.op0_register().size() as u64;
            }
            t.push(op);
        }
        Mnemonic::Lar | Mnemonic::Lsl => {
            let limit = insn.mnemonic() == Mnemonic::Lsl;
            let mut op = t.op(match (memory, limit) {
                (true, true) => exec!(query::<true, true>),
                (true, false) => exec!(query::<true, false>),
                (false, true) => exec!(query::<false, true>),
                (false, false) => exec!(query::<false, false>),
            });
            op.dst = t.register(0);
            op.imm = insn.op0_register().size() as u64;
            if memory {
                t.memory(&mut op);
            } else {
                op.src = t.register(1);
            }
            t.push(op);
        }
        Mnemonic::Verr => {
            one_operand(
                t,
                if memory { exec!(verify::<true, false>) } else { exec!(verify::<false, false>) },
                false,
            );
        }
        Mnemonic::Verw => {
            one_operand(
                t,
                if memory { exec!(verify::<true, true>) } else { exec!(verify::<false, true>) },
                false,
            );
        }
        _ => return false,
    }
    true
}
