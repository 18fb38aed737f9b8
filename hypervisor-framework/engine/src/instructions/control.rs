//! Control and debug registers: MOV CR, MOV DR, CLTS, LMSW, SMSW, INVLPG, INVPCID.

use iced_x86::Mnemonic;

use crate::block::{Flow, Op, Translator, ends, exec};
use crate::cpu::control::{cr0, cr4, efer};
use crate::cpu::{Cpu, Trap, trap_vector as vector};
use crate::exit::{ControlRegisterAccess, DebugRegisterAccess, Reason};
use crate::intercept::Controls;

fn privileged(cpu: &mut Cpu) -> Result<(), Trap> {
    if cpu.cpl == 0 { Ok(()) } else { Err(cpu.general_protection()) }
}

/// `Op::dst` the control register, `Op::src` the general one.
fn write_cr(cpu: &mut Cpu, op: &Op) -> Result<Flow, Trap> {
    privileged(cpu)?;
    let value = if cpu.mode.is64() { cpu.slot(op.src) } else { cpu.slot(op.src) & 0xffff_ffff };
    let controls = cpu.intercepts.controls;
    let exits = match op.dst {
        0 => (value ^ cpu.intercepts.cr0_shadow) & cpu.intercepts.cr0_mask != 0,
        3 => controls.contains(Controls::CR3_LOAD) && !cpu.intercepts.cr3_targets.contains(&value),
        4 => (value ^ cpu.intercepts.cr4_shadow) & cpu.intercepts.cr4_mask != 0,
        8 => controls.contains(Controls::CR8_LOAD),
        _ => false,
    };
    if exits {
        let access = ControlRegisterAccess::Write { cr: op.dst, gpr: op.src };
        return Err(cpu.leave(Reason::ControlRegister(access)));
    }
    match op.dst {
        0 => {
            let mask = cpu.intercepts.cr0_mask;
            cpu.load_cr0(cpu.cr0 & mask | value & !mask)?;
        }
        2 => {
            cpu.cr2 = value;
            return Ok(Flow::Fall);
        }
        3 => cpu.load_cr3(value)?,
        4 => {
            let mask = cpu.intercepts.cr4_mask;
            cpu.load_cr4(cpu.cr4 & mask | value & !mask)?;
        }
        _ => {
            if value & !0xf != 0 {
                return Err(cpu.general_protection());
            }
            cpu.cr8 = value;
        }
    }
    Ok(Flow::Stop)
}

fn read_cr(cpu: &mut Cpu, op: &Op) -> Result<Flow, Trap> {
    privileged(cpu)?;
    let controls = cpu.intercepts.controls;
    if op.src == 3 && controls.contains(Controls::CR3_STORE)
        || op.src == 8 && controls.contains(Controls::CR8_STORE)
    {
        let access = ControlRegisterAccess::Read { cr: op.src, gpr: op.dst };
        return Err(cpu.leave(Reason::ControlRegister(access)));
    }
    let value = match op.src {
        0 => cpu.visible_cr0(),
        2 => cpu.cr2,
        3 => cpu.cr3,
        4 => cpu.cr4 & !cpu.intercepts.cr4_mask | cpu.intercepts.cr4_shadow & cpu.intercepts.cr4_mask,
        _ => cpu.cr8,
    };
    if cpu.mode.is64() {
        cpu.set_slot(op.dst, value);
    } else {
        cpu.set_reg(op.dst, value as u32);
    }
    Ok(Flow::Fall)
}

impl Cpu {
    /// CR0 as the guest reads it.
    fn visible_cr0(&self) -> u64 {
        self.cr0 & !self.intercepts.cr0_mask | self.intercepts.cr0_shadow & self.intercepts.cr0_mask
    }

    fn load_cr0(&mut self, value: u64) -> Result<(), Trap> {
        if value >> 32 != 0
            || value & cr0::PG != 0 && value & cr0::PE == 0
            || value & cr0::NW != 0 && value & cr0::CD == 0
        {
            return Err(self.general_protection());
        }
        let value = value & cr0::DEFINED | cr0::ET;
        let turns_on = value & !self.cr0 & cr0::PG != 0;
        let turns_off = self.cr0 & !value & cr0::PG != 0;
        if turns_on && self.efer & efer::LME != 0 && (self.cr4 & cr4::PAE == 0 || self.segments[1].long()) {
            return Err(self.general_protection());
        }
        if turns_off && (self.mode.is64() || self.cr4 & cr4::PCIDE != 0) {
            return Err(self.general_protection());
        }
        if turns_on && self.efer & efer::LME == 0 && self.cr4 & cr4::PAE != 0 && !self.load_pdptes()? {
            return Err(self.general_protection());
        }
        self.set_cr(0, value);
        if turns_on && self.efer & efer::LME != 0 {
            self.set_efer(self.efer | efer::LMA);
        } else if turns_off {
            self.set_efer(self.efer & !efer::LMA);
        }
        Ok(())
    }

    fn load_cr3(&mut self, value: u64) -> Result<(), Trap> {
        let pcid = self.cr4 & cr4::PCIDE != 0;
        let keep = pcid && value >> 63 != 0;
        let value = if pcid { value & !(1 << 63) } else { value };
        if self.mode.is64() && value >> crate::PHYSICAL_ADDRESS_BITS != 0 {
            return Err(self.general_protection());
        }
        let old = std::mem::replace(&mut self.cr3, value);
        if self.cr0 & cr0::PG != 0
            && self.cr4 & cr4::PAE != 0
            && self.efer & efer::LMA == 0
            && !self.load_pdptes()?
        {
            self.cr3 = old;
            return Err(self.general_protection());
        }
        if pcid {
            self.mmu.enter_address_space((value & 0xfff) as u16, keep);
        } else {
            self.mmu.flush_non_global();
        }
        Ok(())
    }

    fn load_cr4(&mut self, value: u64) -> Result<(), Trap> {
        if value & !cr4::DEFINED != 0 {
            return Err(self.general_protection());
        }
        let long = self.efer & efer::LMA != 0;
        if long && value & cr4::PAE == 0 {
            return Err(self.general_protection());
        }
        let pcid_on = value & !self.cr4 & cr4::PCIDE != 0;
        if pcid_on && (!long || self.cr3 & 0xfff != 0) {
            return Err(self.general_protection());
        }
        let old = self.cr4;
        let reload = cr4::PAE | cr4::PSE | cr4::PGE | cr4::SMEP;
        self.set_cr(4, value);
        let pae = value & cr4::PAE != 0 && self.cr0 & cr0::PG != 0 && !long;
        if pae && (old ^ value) & reload != 0 && !self.load_pdptes()? {
            self.set_cr(4, old);
            return Err(self.general_protection());
        }
        Ok(())
    }
}

fn clts(cpu: &mut Cpu, _op: &Op) -> Result<Flow, Trap> {
    privileged(cpu)?;
    if cpu.intercepts.cr0_mask & cr0::TS != 0 {
        if cpu.intercepts.cr0_shadow & cr0::TS != 0 {
            return Err(cpu.leave(Reason::ControlRegister(ControlRegisterAccess::Clts)));
        }
        return Ok(Flow::Fall);
    }
    cpu.cr0 &= !cr0::TS;
    cpu.update_mode();
    Ok(Flow::Fall)
}

/// `Op::imm`: 1 with a memory operand.
fn lmsw(cpu: &mut Cpu, op: &Op) -> Result<Flow, Trap> {
    privileged(cpu)?;
    let address = (op.imm == 1).then(|| cpu.address(op));
    let source: u16 = match address {
        Some(address) => cpu.load(address)?,
        None => cpu.reg(op.src),
    };
    let low = u64::from(source) & 0xf;
    let visible = cpu.visible_cr0();
    // PE can be set, not cleared.
    let wanted = visible & !0xe | low | visible & 1;
    let mask = cpu.intercepts.cr0_mask;
    if (wanted ^ cpu.intercepts.cr0_shadow) & mask & 0xf != 0 {
        return Err(cpu.leave(Reason::ControlRegister(ControlRegisterAccess::Lmsw { source, address })));
    }
    cpu.set_cr(0, cpu.cr0 & (mask | !0xf) | wanted & !mask & 0xf | cpu.cr0 & 1);
    Ok(Flow::Stop)
}

/// UMIP forbids the store instructions of system state to CPL 3.
pub(super) fn check_umip(cpu: &mut Cpu) -> Result<(), Trap> {
    if cpu.cpl == 3 && cpu.cr4 & cr4::UMIP != 0 && cpu.cr0 & cr0::PE != 0 {
        return Err(cpu.general_protection());
    }
    Ok(())
}

/// `Op::imm`: operand size in bytes, 0 for memory.
fn smsw(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    check_umip(cpu)?;
    let value = cpu.visible_cr0();
    match op.imm {
        0 => {
            let address = cpu.address(op);
            cpu.store(address, value as u16)?;
        }
        2 => cpu.set_reg(op.dst, value as u16),
        4 => cpu.set_reg(op.dst, value as u32),
        _ => cpu.set_reg(op.dst, value),
    }
    Ok(())
}

/// DR4 and DR5 are DR6 and DR7 unless CR4.DE is set. A general-detect trap comes first.
fn debug_register(cpu: &mut Cpu, number: u8) -> Result<u8, Trap> {
    if matches!(number, 4 | 5) && cpu.cr4 & cr4::DE != 0 {
        return Err(cpu.undefined());
    }
    privileged(cpu)?;
    if cpu.dr[7] & 1 << 13 != 0 {
        cpu.dr[6] |= 1 << 13;
        return Err(cpu.fault(vector::DB));
    }
    Ok(if matches!(number, 4 | 5) { number + 2 } else { number })
}

fn write_dr(cpu: &mut Cpu, op: &Op) -> Result<Flow, Trap> {
    if cpu.intercepts.controls.contains(Controls::MOV_DR) {
        privileged(cpu)?;
        let access = DebugRegisterAccess { dr: op.dst, gpr: op.src, read: false };
        return Err(cpu.leave(Reason::DebugRegister(access)));
    }
    let number = debug_register(cpu, op.dst)?;
    let value = if cpu.mode.is64() { cpu.slot(op.src) } else { cpu.slot(op.src) & 0xffff_ffff };
    if number >= 6 && value >> 32 != 0 {
        return Err(cpu.general_protection());
    }
    match number {
        6 => cpu.set_dr(6, value & 0x1_e00f | 0xfffe_0ff0),
        7 => cpu.set_dr(7, value & 0xffff_2bff | 0x400),
        _ => cpu.set_dr(number, value),
    }
    Ok(Flow::Stop)
}

fn read_dr(cpu: &mut Cpu, op: &Op) -> Result<Flow, Trap> {
    if cpu.intercepts.controls.contains(Controls::MOV_DR) {
        privileged(cpu)?;
        let access = DebugRegisterAccess { dr: op.src, gpr: op.dst, read: true };
        return Err(cpu.leave(Reason::DebugRegister(access)));
    }
    let number = debug_register(cpu, op.src)?;
    let value = cpu.dr(number);
    if cpu.mode.is64() {
        cpu.set_slot(op.dst, value);
    } else {
        cpu.set_reg(op.dst, value as u32);
    }
    Ok(Flow::Fall)
}

fn invlpg(cpu: &mut Cpu, op: &Op) -> Result<Flow, Trap> {
    privileged(cpu)?;
    let address = cpu.address(op);
    if cpu.intercepts.controls.contains(Controls::INVLPG) {
        return Err(cpu.leave(Reason::Invlpg(address)));
    }
    cpu.mmu.flush_page(address);
    Ok(Flow::Stop)
}

fn invpcid(cpu: &mut Cpu, op: &Op) -> Result<Flow, Trap> {
    if !cpu.intercepts.controls.contains(Controls::ENABLE_INVPCID) {
        return Err(cpu.undefined());
    }
    privileged(cpu)?;
    if cpu.intercepts.controls.contains(Controls::INVLPG) {
        return Err(cpu.leave(Reason::Invpcid));
    }
    let address = cpu.address(op);
    let kind = if cpu.mode.is64() { cpu.slot(op.dst) } else { u64::from(cpu.reg::<u32>(op.dst)) };
    let pcid: u64 = cpu.load(address)?;
    let linear: u64 = cpu.load(cpu.wrap(address.wrapping_add(8)))?;
    let bad_pcid = pcid >> 12 != 0 || kind < 2 && cpu.cr4 & cr4::PCIDE == 0 && pcid != 0;
    if kind > 3 || kind != 2 && bad_pcid && kind != 3 || kind == 0 && !Cpu::canonical(linear) {
        return Err(cpu.general_protection());
    }
    match kind {
        0 => cpu.mmu.flush_page(linear),
        2 => cpu.mmu.flush_all(),
        _ => cpu.mmu.flush_non_global(),
    }
    Ok(Flow::Stop)
}

pub(super) fn translate(t: &mut Translator<'_>) -> bool {
    let insn = t.insn;
    match insn.mnemonic() {
        Mnemonic::Mov => {
            let (to, from) = (insn.op0_register(), insn.op1_register());
            let exec: crate::block::Exec = if to.is_cr() {
                if !matches!(t.register(0), 0 | 2 | 3 | 4 | 8) {
                    return false;
                }
                ends!(write_cr)
            } else if from.is_cr() {
                if !matches!(t.register(1), 0 | 2 | 3 | 4 | 8) {
                    return false;
                }
                ends!(read_cr)
            } else if to.is_dr() {
                ends!(write_dr)
            } else if from.is_dr() {
                ends!(read_dr)
            } else {
                return false;
            };
            let mut op = t.op(exec);
            op.dst = t.register(0);
            op.src = t.register(1);
            t.push_end(op);
        }
        Mnemonic::Clts => t.push_simple_end(ends!(clts)),
        Mnemonic::Lmsw => {
            let mut op = t.op(ends!(lmsw));
            if t.is_memory(0) {
                op.imm = 1;
                t.memory(&mut op);
            } else {
                op.src = t.register(0);
            }
            t.push_end(op);
        }
        Mnemonic::Smsw => {
            let mut op = t.op(exec!(smsw));
            if t.is_memory(0) {
                t.memory(&mut op);
            } else {
                op.dst = t.register(0);
                op.imm = insn.op0_register().size() as u64;
            }
            t.push(op);
        }
        Mnemonic::Invlpg => {
            let mut op = t.op(ends!(invlpg));
            t.memory(&mut op);
            t.push_end(op);
        }
        Mnemonic::Invpcid => {
            let mut op = t.op(ends!(invpcid));
            op.dst = t.register(0);
            t.memory(&mut op);
            t.push_end(op);
        }
        _ => return false,
    }
    true
}
