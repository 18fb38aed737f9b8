//! Loading and storing segment registers: MOV, PUSH, POP, LDS and its kin.

use iced_x86::{Mnemonic, OpKind};

use crate::block::{Flow, Op, Translator, ends, exec};
use crate::cpu::control::efer;
use crate::cpu::trap_vector as vector;
use crate::cpu::{Cpu, Interruptibility, Trap, slot};
use crate::{Segment, SegmentRegister};

const ALL: [SegmentRegister; 8] = [
    SegmentRegister::Es,
    SegmentRegister::Cs,
    SegmentRegister::Ss,
    SegmentRegister::Ds,
    SegmentRegister::Fs,
    SegmentRegister::Gs,
    SegmentRegister::Ldtr,
    SegmentRegister::Tr,
];

impl Cpu {
    /// The base of a segment register by number.
    pub(crate) fn segment_base(&self, number: u8) -> u64 {
        match number {
            4 => self.slot(slot::FS_BASE),
            5 => self.slot(slot::GS_BASE),
            _ => self.segments[number as usize & 7].base,
        }
    }

    /// Loads a data or stack segment register by number (SDM vol. 2, MOV).
    pub(crate) fn load_segment(&mut self, number: u8, selector: u16) -> Result<(), Trap> {
        let register = ALL[number as usize & 7];
        if self.real_mode() {
            let old = self.segments[register as usize];
            let rights = if self.flags.has(crate::cpu::flags::bit::VM) { 0xf3 } else { old.access_rights };
            let limit = if self.flags.has(crate::cpu::flags::bit::VM) { 0xffff } else { old.limit };
            let segment = Segment { selector, base: u64::from(selector) << 4, limit, access_rights: rights };
            let cpl = self.cpl;
            self.set_segment(register, segment);
            self.cpl = cpl;
            return Ok(());
        }
        if register == SegmentRegister::Ss {
            let null_ok = self.mode.is64() && self.cpl < 3 && (selector & 3) as u8 == self.cpl;
            let segment = if selector & !3 == 0 {
                if !null_ok {
                    return Err(self.general_protection());
                }
                Segment {
                    access_rights: Segment::UNUSABLE | u32::from(self.cpl) << 5,
                    ..Segment::null(selector)
                }
            } else {
                self.stack_descriptor(selector, self.cpl, vector::GP)?
            };
            self.set_segment(register, segment);
            return Ok(());
        }
        if selector & !3 == 0 {
            let mut segment = Segment::null(selector);
            // The base of FS and GS survives in 64-bit mode on some CPUs; ours clears it, as Intel's do.
            segment.base = 0;
            self.set_segment(register, segment);
            return Ok(());
        }
        let descriptor = self.read_descriptor(selector, vector::GP)?;
        let rpl = (selector & 3) as u8;
        let privileged =
            !descriptor.is_conforming() && (rpl > descriptor.dpl() || self.cpl > descriptor.dpl());
        if !descriptor.is_readable() || privileged {
            return Err(self.selector_fault(vector::GP, selector));
        }
        if !descriptor.present() {
            return Err(self.selector_fault(vector::NP, selector));
        }
        self.mark_accessed(selector, descriptor)?;
        self.set_segment(register, descriptor.segment(selector));
        Ok(())
    }

    /// After a return to an outer level: data segments the new level may not use become null.
    pub(crate) fn drop_privileged_segments(&mut self) {
        for register in [SegmentRegister::Es, SegmentRegister::Ds, SegmentRegister::Fs, SegmentRegister::Gs] {
            let segment = self.segments[register as usize];
            let conforming = segment.kind() & 0xc == 0xc;
            if segment.usable() && !conforming && segment.dpl() < self.cpl {
                self.set_segment(register, Segment::null(0));
            }
        }
    }
}

/// `Op::dst` the segment register, `Op::src` or memory the selector.
fn load_from<const MEMORY: bool>(cpu: &mut Cpu, op: &Op) -> Result<Flow, Trap> {
    let selector = if MEMORY {
        let address = cpu.address(op);
        cpu.load(address)?
    } else {
        cpu.reg(op.src)
    };
    cpu.load_segment(op.dst, selector)?;
    loaded(cpu, op.dst)
}

/// A load of SS blocks events for one instruction; in 64-bit mode other data segments change nothing a block
/// depends on.
fn loaded(cpu: &mut Cpu, number: u8) -> Result<Flow, Trap> {
    if number == SegmentRegister::Ss as u8 {
        cpu.interruptibility.insert(Interruptibility::MOV_SS);
        return Ok(Flow::Stop);
    }
    Ok(if cpu.mode.is64() { Flow::Fall } else { Flow::Stop })
}

fn store_register(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    let selector = cpu.segments[op.src as usize & 7].selector;
    match op.imm {
        2 => cpu.set_reg(op.dst, selector),
        4 => cpu.set_reg(op.dst, u32::from(selector)),
        _ => cpu.set_reg(op.dst, u64::from(selector)),
    }
    Ok(())
}

fn store_memory(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    let address = cpu.address(op);
    cpu.store(address, cpu.segments[op.src as usize & 7].selector)
}

/// `Op::imm`: operand size.
fn push(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    let selector = u64::from(cpu.segments[op.src as usize & 7].selector);
    let mut stack = cpu.stack();
    if op.imm == 4 {
        // The upper half of the slot is not written.
        stack.pointer = stack.pointer.wrapping_sub(2);
        cpu.push_sized(&mut stack, 2, selector)?;
    } else {
        cpu.push_sized(&mut stack, op.imm as u8, selector)?;
    }
    cpu.set_stack_pointer(&stack);
    Ok(())
}

fn pop(cpu: &mut Cpu, op: &Op) -> Result<Flow, Trap> {
    let mut stack = cpu.stack();
    let selector = cpu.pop_sized(&mut stack, op.imm as u8)? as u16;
    cpu.load_segment(op.dst, selector)?;
    cpu.set_stack_pointer(&stack);
    loaded(cpu, op.dst)
}

/// LDS, LES, LFS, LGS, LSS: `Op::src` the segment register, `Op::imm` the operand size.
fn load_pointer(cpu: &mut Cpu, op: &Op) -> Result<Flow, Trap> {
    let address = cpu.address(op);
    let size = op.imm;
    let selector: u16 = cpu.load(cpu.wrap(address.wrapping_add(size)))?;
    match size {
        2 => {
            let offset: u16 = cpu.load(address)?;
            cpu.load_segment(op.src, selector)?;
            cpu.set_reg(op.dst, offset);
        }
        4 => {
            let offset: u32 = cpu.load(address)?;
            cpu.load_segment(op.src, selector)?;
            cpu.set_reg(op.dst, offset);
        }
        _ => {
            let offset: u64 = cpu.load(address)?;
            cpu.load_segment(op.src, selector)?;
            cpu.set_reg(op.dst, offset);
        }
    }
    Ok(if cpu.efer & efer::LMA != 0 && cpu.mode.is64() { Flow::Fall } else { Flow::Stop })
}

fn translate_pointer(t: &mut Translator<'_>, segment: SegmentRegister) {
    let mut op = t.op(ends!(load_pointer));
    op.dst = t.register(0);
    op.src = segment as u8;
    op.imm = t.insn.op0_register().size() as u64;
    t.memory(&mut op);
    t.push_end(op);
}

fn translate_mov(t: &mut Translator<'_>) -> bool {
    let insn = t.insn;
    if insn.op0_kind() == OpKind::Register && insn.op0_register().is_segment_register() {
        let number = t.register(0);
        if number == SegmentRegister::Cs as u8 {
            return false;
        }
        let mut op = t.op(if t.is_memory(1) { ends!(load_from::<true>) } else { ends!(load_from::<false>) });
        op.dst = number;
        if t.is_memory(1) {
            t.memory(&mut op);
        } else {
            op.src = t.register(1);
        }
        t.push_end(op);
        return true;
    }
    if insn.op1_kind() == OpKind::Register && insn.op1_register().is_segment_register() {
        let mut op = t.op(if t.is_memory(0) { exec!(store_memory) } else { exec!(store_register) });
        op.src = t.register(1);
        if t.is_memory(0) {
            t.memory(&mut op);
        } else {
            op.dst = t.register(0);
            op.imm = insn.op0_register().size() as u64;
        }
        t.push(op);
        return true;
    }
    false
}

pub(super) fn translate(t: &mut Translator<'_>) -> bool {
    let size = u64::from(t.insn.stack_pointer_increment().unsigned_abs());
    match t.insn.mnemonic() {
        Mnemonic::Mov => return translate_mov(t),
        Mnemonic::Push if t.insn.op0_register().is_segment_register() => {
            let mut op = t.op(exec!(push));
            op.src = t.register(0);
            op.imm = size;
            t.push(op);
        }
        Mnemonic::Pop if t.insn.op0_register().is_segment_register() => {
            let mut op = t.op(ends!(pop));
            op.dst = t.register(0);
            op.imm = size;
            t.push_end(op);
        }
        Mnemonic::Lds => translate_pointer(t, SegmentRegister::Ds),
        Mnemonic::Les => translate_pointer(t, SegmentRegister::Es),
        Mnemonic::Lss => translate_pointer(t, SegmentRegister::Ss),
        Mnemonic::Lfs => translate_pointer(t, SegmentRegister::Fs),
        Mnemonic::Lgs => translate_pointer(t, SegmentRegister::Gs),
        _ => return false,
    }
    true
}
