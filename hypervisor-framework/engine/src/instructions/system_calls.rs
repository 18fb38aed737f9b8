//! SYSCALL, SYSRET, SYSENTER, SYSEXIT, SWAPGS, INT, INT3, INTO, INT1, IRET.

use iced_x86::{Code, Mnemonic};

use super::system::privileged;
use crate::block::{Exec, Flow, Op, Translator, ends};
use crate::cpu::control::{cr0, efer};
use crate::cpu::flags::bit;
use crate::cpu::{Cpu, Interruptibility, Stack, Trap, TrapCause, gpr, slot, trap_vector as vector};
use crate::{EventKind, Segment, SegmentRegister};

/// A flat code segment of 64-bit mode or, with `compatibility`, of 32 bits.
fn flat_code(selector: u16, dpl: u8, compatibility: bool) -> Segment {
    let kind = if compatibility { 0xc09b } else { 0xa09b };
    Segment { selector, base: 0, limit: u32::MAX, access_rights: kind | u32::from(dpl) << 5 }
}

fn flat_data(selector: u16, dpl: u8) -> Segment {
    Segment { selector, base: 0, limit: u32::MAX, access_rights: 0xc093 | u32::from(dpl) << 5 }
}

fn enter_level(cpu: &mut Cpu, code: Segment, stack: Segment, cpl: u8) {
    cpu.set_segment(SegmentRegister::Cs, code);
    cpu.set_segment(SegmentRegister::Ss, stack);
    cpu.cpl = cpl;
}

/// Are there SYSCALL and SYSRET?
pub(crate) fn has_syscall(cpu: &Cpu) -> bool {
    cpu.efer & efer::SCE != 0 && cpu.mode.is64()
}

/// What SYSCALL does but for RCX, R11 and the flags; answers the flags to load.
pub(crate) fn enter_by_syscall(cpu: &mut Cpu, flags: u64) -> u64 {
    let selector = (cpu.msrs.star >> 32) as u16 & !3;
    enter_level(cpu, flat_code(selector, 0, false), flat_data(selector.wrapping_add(8), 0), 0);
    cpu.rip = cpu.msrs.lstar;
    flags & !cpu.msrs.fmask
}

fn syscall(cpu: &mut Cpu, _op: &Op) -> Result<Flow, Trap> {
    if !has_syscall(cpu) {
        return Err(cpu.undefined());
    }
    cpu.set_slot(gpr::RCX, cpu.rip);
    let flags = cpu.flags.get() & !bit::RF;
    cpu.set_slot(11, flags);
    let flags = enter_by_syscall(cpu, flags);
    cpu.flags.load(flags);
    Ok(Flow::Stop)
}

/// What SYSRET to code of 64 bits (`long`) or 32 does but for the flags; answers those to load, of what is in R11.
pub(crate) fn leave_by_sysret(cpu: &mut Cpu, long: bool, target: u64, flags: u64) -> u64 {
    let base = (cpu.msrs.star >> 48) as u16;
    let code = base.wrapping_add(if long { 16 } else { 0 }) | 3;
    let stack = base.wrapping_add(8) | 3;
    enter_level(cpu, flat_code(code, 3, !long), flat_data(stack, 3), 3);
    cpu.rip = if long { target } else { target & 0xffff_ffff };
    flags & (bit::ALL & !(bit::RF | bit::VM))
}

/// `imm`: operand size.
fn sysret(cpu: &mut Cpu, op: &Op) -> Result<Flow, Trap> {
    if !has_syscall(cpu) {
        return Err(cpu.undefined());
    }
    privileged(cpu)?;
    let long = op.imm == 8;
    let target = cpu.slot(gpr::RCX);
    if long && !Cpu::canonical(target) {
        return Err(cpu.general_protection());
    }
    let flags = leave_by_sysret(cpu, long, target, cpu.slot(11));
    cpu.flags.load(flags);
    Ok(Flow::Stop)
}

fn sysenter(cpu: &mut Cpu, _op: &Op) -> Result<Flow, Trap> {
    let selector = cpu.msrs.sysenter_cs as u16 & !3;
    if cpu.cr0 & cr0::PE == 0 || selector == 0 {
        return Err(cpu.general_protection());
    }
    let long = cpu.efer & efer::LMA != 0;
    cpu.flags.system &= !(bit::VM | bit::IF | bit::RF);
    enter_level(cpu, flat_code(selector, 0, !long), flat_data(selector.wrapping_add(8), 0), 0);
    let mask = if long { u64::MAX } else { 0xffff_ffff };
    cpu.set_slot(gpr::RSP, cpu.msrs.sysenter_esp & mask);
    cpu.rip = cpu.msrs.sysenter_eip & mask;
    Ok(Flow::Stop)
}

/// `imm`: operand size.
fn sysexit(cpu: &mut Cpu, op: &Op) -> Result<Flow, Trap> {
    let base = cpu.msrs.sysenter_cs as u16 & !3;
    if cpu.cr0 & cr0::PE == 0 || base == 0 {
        return Err(cpu.general_protection());
    }
    privileged(cpu)?;
    let long = op.imm == 8;
    let (rip, rsp) = (cpu.slot(gpr::RDX), cpu.slot(gpr::RCX));
    if long && (!Cpu::canonical(rip) || !Cpu::canonical(rsp)) {
        return Err(cpu.general_protection());
    }
    let (code, stack) = if long {
        (base.wrapping_add(32), base.wrapping_add(40))
    } else {
        (base.wrapping_add(16), base.wrapping_add(24))
    };
    enter_level(cpu, flat_code(code | 3, 3, !long), flat_data(stack | 3, 3), 3);
    let mask = if long { u64::MAX } else { 0xffff_ffff };
    cpu.set_slot(gpr::RSP, rsp & mask);
    cpu.rip = rip & mask;
    Ok(Flow::Stop)
}

fn swapgs(cpu: &mut Cpu, _op: &Op) -> Result<Flow, Trap> {
    privileged(cpu)?;
    let base = cpu.slot(slot::GS_BASE);
    cpu.set_slot(slot::GS_BASE, cpu.msrs.kernel_gs_base);
    cpu.msrs.kernel_gs_base = base;
    Ok(Flow::Fall)
}

fn software(cpu: &mut Cpu, vector: u8, kind: EventKind) -> Result<Flow, Trap> {
    cpu.cause = TrapCause::Software { vector, kind };
    Err(Trap)
}

fn int(cpu: &mut Cpu, op: &Op) -> Result<Flow, Trap> {
    software(cpu, op.imm as u8, EventKind::SoftwareInterrupt)
}

fn int3(cpu: &mut Cpu, _op: &Op) -> Result<Flow, Trap> {
    software(cpu, vector::BP, EventKind::SoftwareException)
}

fn int1(cpu: &mut Cpu, _op: &Op) -> Result<Flow, Trap> {
    software(cpu, vector::DB, EventKind::PrivilegedSoftwareException)
}

fn into(cpu: &mut Cpu, _op: &Op) -> Result<Flow, Trap> {
    if cpu.flags.overflow { software(cpu, vector::OF, EventKind::SoftwareException) } else { Ok(Flow::Fall) }
}

/// Loads RFLAGS from an IRET frame of `size` bytes, as privileges allow.
fn load_flags(cpu: &mut Cpu, value: u64, size: u8, cpl: u8) {
    let mut writable = bit::ARITHMETIC | bit::TF | bit::DF | bit::NT | bit::RF | bit::AC | bit::ID;
    if cpl <= (cpu.flags.system >> 12 & 3) as u8 {
        writable |= bit::IF;
    }
    if cpl == 0 {
        writable |= bit::IOPL | bit::VIF | bit::VIP;
    }
    if size == 2 {
        writable &= 0xffff;
    }
    let old = cpu.flags.get();
    cpu.flags.load(old & !writable | value & writable);
}

/// IRET ends the blocking of NMIs even if it then faults.
fn unblock_nmi(cpu: &mut Cpu) {
    if cpu.interruptibility.contains(Interruptibility::NMI) {
        cpu.interruptibility.remove(Interruptibility::NMI);
        cpu.nmi_unblocked_by_iret = true;
    }
}

/// `imm`: operand size.
fn iret(cpu: &mut Cpu, op: &Op) -> Result<Flow, Trap> {
    unblock_nmi(cpu);
    let size = op.imm as u8;
    if cpu.cr0 & cr0::PE == 0 {
        iret_real(cpu, size)?;
    } else if cpu.flags.has(bit::VM) {
        if cpu.flags.system & bit::IOPL != bit::IOPL {
            return Err(cpu.general_protection());
        }
        iret_real(cpu, size)?;
    } else if cpu.flags.has(bit::NT) && cpu.efer & efer::LMA == 0 {
        let tss = cpu.segments[7];
        let selector: u16 = cpu.load_system(tss.base)?;
        let source = crate::TaskSwitchSource::Iret;
        return Err(cpu.leave(crate::Reason::TaskSwitch { selector, source }));
    } else {
        if cpu.flags.has(bit::NT) {
            return Err(cpu.general_protection());
        }
        iret_protected(cpu, size)?;
    }
    cpu.nmi_unblocked_by_iret = false;
    Ok(Flow::Stop)
}

fn iret_real(cpu: &mut Cpu, size: u8) -> Result<(), Trap> {
    let mut stack = cpu.stack();
    let rip = cpu.pop_sized(&mut stack, size)?;
    let selector = cpu.pop_sized(&mut stack, size)? as u16;
    let flags = cpu.pop_sized(&mut stack, size)?;
    if rip > 0xffff {
        return Err(cpu.general_protection());
    }
    let virtual_8086 = cpu.flags.has(bit::VM);
    let cpl = if virtual_8086 { 3 } else { 0 };
    let keep = cpu.flags.system & (bit::VIF | bit::VIP | if virtual_8086 { bit::IOPL } else { 0 });
    let kept = bit::VIF | bit::VIP | if virtual_8086 { bit::IOPL } else { 0 };
    load_flags(cpu, flags, size, cpl);
    cpu.flags.system = cpu.flags.system & !kept | keep;
    let cs = &mut cpu.segments[1];
    cs.selector = selector;
    cs.base = u64::from(selector) << 4;
    cpu.set_stack_pointer(&stack);
    cpu.rip = rip;
    Ok(())
}

fn iret_protected(cpu: &mut Cpu, size: u8) -> Result<(), Trap> {
    let mut stack = cpu.stack();
    let rip = cpu.pop_sized(&mut stack, size)?;
    let selector = cpu.pop_sized(&mut stack, size)? as u16;
    let flags = cpu.pop_sized(&mut stack, size)?;
    let long = cpu.efer & efer::LMA != 0;
    if !long && flags & bit::VM != 0 && cpu.cpl == 0 && size == 4 {
        return iret_to_virtual_8086(cpu, stack, rip, selector, flags);
    }
    if selector & !3 == 0 {
        return Err(cpu.general_protection());
    }
    let rpl = (selector & 3) as u8;
    let code = cpu.read_descriptor(selector, vector::GP)?;
    let level_ok = if code.is_conforming() { code.dpl() <= rpl } else { code.dpl() == rpl };
    if !code.is_code() || rpl < cpu.cpl || !level_ok || long && code.long() && code.big() {
        return Err(cpu.selector_fault(vector::GP, selector));
    }
    if !code.present() {
        return Err(cpu.selector_fault(vector::NP, selector));
    }
    let to_long = long && code.long();
    let outer = rpl > cpu.cpl;
    // 64-bit mode always pops the stack pointer.
    let mut new_stack = None;
    if outer || cpu.mode.is64() {
        let pointer = cpu.pop_sized(&mut stack, size)?;
        let ss = cpu.pop_sized(&mut stack, size)? as u16;
        let null_ok = to_long && rpl < 3 && (ss & 3) as u8 == rpl;
        let segment = if ss & !3 == 0 {
            if !null_ok {
                return Err(cpu.general_protection());
            }
            Segment { access_rights: Segment::UNUSABLE | u32::from(rpl) << 5, ..Segment::null(ss) }
        } else {
            cpu.stack_descriptor(ss, rpl, vector::GP)?
        };
        new_stack = Some((segment, pointer));
    }
    let bad = if to_long { !Cpu::canonical(rip) } else { rip > u64::from(code.limit()) };
    if bad {
        return Err(cpu.general_protection());
    }
    cpu.mark_accessed(selector, code)?;
    let old_cpl = cpu.cpl;
    load_flags(cpu, flags, size, old_cpl);
    cpu.set_segment(SegmentRegister::Cs, code.segment(selector));
    match new_stack {
        Some((segment, pointer)) => {
            cpu.set_segment(SegmentRegister::Ss, segment);
            let target =
                if to_long { Stack::long(pointer, segment) } else { Stack::legacy(pointer, segment) };
            cpu.set_stack_pointer(&target);
        }
        None => cpu.set_stack_pointer(&stack),
    }
    cpu.cpl = rpl;
    if outer {
        cpu.drop_privileged_segments();
    }
    cpu.rip = rip;
    Ok(())
}

fn iret_to_virtual_8086(
    cpu: &mut Cpu,
    mut stack: Stack,
    rip: u64,
    selector: u16,
    flags: u64,
) -> Result<(), Trap> {
    let mut frame = [0; 6];
    for value in &mut frame {
        *value = cpu.pop_sized(&mut stack, 4)?;
    }
    if rip > 0xffff {
        return Err(cpu.general_protection());
    }
    let [pointer, ss, es, ds, fs, gs] = frame;
    cpu.flags.load(flags);
    let segment = |selector: u64| Segment {
        selector: selector as u16,
        base: (selector & 0xffff) << 4,
        limit: 0xffff,
        access_rights: 0xf3,
    };
    cpu.set_segment(SegmentRegister::Cs, segment(u64::from(selector)));
    cpu.set_segment(SegmentRegister::Ss, segment(ss));
    cpu.set_segment(SegmentRegister::Es, segment(es));
    cpu.set_segment(SegmentRegister::Ds, segment(ds));
    cpu.set_segment(SegmentRegister::Fs, segment(fs));
    cpu.set_segment(SegmentRegister::Gs, segment(gs));
    cpu.set_slot(gpr::RSP, pointer);
    cpu.cpl = 3;
    cpu.rip = rip;
    Ok(())
}

fn end(t: &mut Translator<'_>, exec: Exec, imm: u64) {
    let mut op = t.op(exec);
    op.imm = imm;
    t.push_end(op);
}

pub(super) fn translate(t: &mut Translator<'_>) -> bool {
    match t.insn.mnemonic() {
        Mnemonic::Syscall => end(t, ends!(syscall), 0),
        Mnemonic::Sysret | Mnemonic::Sysretq => {
            let size = if t.insn.code() == Code::Sysretq { 8 } else { 4 };
            end(t, ends!(sysret), size);
        }
        Mnemonic::Sysenter => end(t, ends!(sysenter), 0),
        Mnemonic::Sysexit | Mnemonic::Sysexitq => {
            let size = if t.insn.code() == Code::Sysexitq { 8 } else { 4 };
            end(t, ends!(sysexit), size);
        }
        Mnemonic::Swapgs => end(t, ends!(swapgs), 0),
        Mnemonic::Int => end(t, ends!(int), u64::from(t.insn.immediate8())),
        Mnemonic::Int3 => end(t, ends!(int3), 0),
        Mnemonic::Int1 => end(t, ends!(int1), 0),
        Mnemonic::Into => end(t, ends!(into), 0),
        Mnemonic::Iret => end(t, ends!(iret), 2),
        Mnemonic::Iretd => end(t, ends!(iret), 4),
        Mnemonic::Iretq => end(t, ends!(iret), 8),
        _ => return false,
    }
    true
}
