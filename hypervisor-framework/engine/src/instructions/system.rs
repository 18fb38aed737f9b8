//! CPUID, MSRs, HLT, time, random numbers, descriptor-table registers, FS and GS bases, and what always exits.

use iced_x86::Mnemonic;

use super::control::check_umip;
use crate::DescriptorTable;
use crate::block::{Exec, Flow, Op, Translator, ends, exec};
use crate::cpu::control::{cr4, efer};
use crate::cpu::{Cpu, Trap, gpr, slot};
use crate::exit::Reason;
use crate::intercept::Controls;

/// Numbers of the MSRs the engine keeps.
mod msr {
    pub(super) const TSC: u32 = 0x10;
    pub(super) const SPEC_CTRL: u32 = 0x48;
    pub(super) const PRED_CMD: u32 = 0x49;
    pub(super) const SYSENTER_CS: u32 = 0x174;
    pub(super) const SYSENTER_ESP: u32 = 0x175;
    pub(super) const SYSENTER_EIP: u32 = 0x176;
    pub(super) const XSS: u32 = 0xda0;
    pub(super) const EFER: u32 = 0xc000_0080;
    pub(super) const STAR: u32 = 0xc000_0081;
    pub(super) const LSTAR: u32 = 0xc000_0082;
    pub(super) const CSTAR: u32 = 0xc000_0083;
    pub(super) const FMASK: u32 = 0xc000_0084;
    pub(super) const FS_BASE: u32 = 0xc000_0100;
    pub(super) const GS_BASE: u32 = 0xc000_0101;
    pub(super) const KERNEL_GS_BASE: u32 = 0xc000_0102;
    pub(super) const TSC_AUX: u32 = 0xc000_0103;
}

impl Cpu {
    /// An MSR the engine keeps; `None` for others.
    pub fn msr(&self, number: u32) -> Option<u64> {
        let msrs = &self.msrs;
        Some(match number {
            msr::TSC => self.tsc(),
            msr::SPEC_CTRL => msrs.spec_ctrl,
            msr::PRED_CMD => 0,
            msr::SYSENTER_CS => msrs.sysenter_cs,
            msr::SYSENTER_ESP => msrs.sysenter_esp,
            msr::SYSENTER_EIP => msrs.sysenter_eip,
            msr::XSS => msrs.xss,
            msr::EFER => self.efer,
            msr::STAR => msrs.star,
            msr::LSTAR => msrs.lstar,
            msr::CSTAR => msrs.cstar,
            msr::FMASK => msrs.fmask,
            msr::FS_BASE => self.slot(slot::FS_BASE),
            msr::GS_BASE => self.slot(slot::GS_BASE),
            msr::KERNEL_GS_BASE => msrs.kernel_gs_base,
            msr::TSC_AUX => msrs.tsc_aux,
            _ => return None,
        })
    }

    /// Writes an MSR the engine keeps; false where the number is unknown or the value would raise #GP.
    pub fn set_msr(&mut self, number: u32, value: u64) -> bool {
        let address = matches!(
            number,
            msr::LSTAR
                | msr::CSTAR
                | msr::FS_BASE
                | msr::GS_BASE
                | msr::KERNEL_GS_BASE
                | msr::SYSENTER_ESP
                | msr::SYSENTER_EIP
        );
        if address && !Self::canonical(value) {
            return false;
        }
        match number {
            msr::TSC => {
                let offset = value.wrapping_sub(self.time.tsc());
                self.intercepts.tsc_offset = offset as i64;
            }
            msr::SPEC_CTRL => self.msrs.spec_ctrl = value & 7,
            msr::PRED_CMD => {}
            msr::SYSENTER_CS => self.msrs.sysenter_cs = value,
            msr::SYSENTER_ESP => self.msrs.sysenter_esp = value,
            msr::SYSENTER_EIP => self.msrs.sysenter_eip = value,
            msr::XSS => self.msrs.xss = value,
            msr::EFER => {
                if value & !efer::DEFINED != 0 {
                    return false;
                }
                self.set_efer(value & !efer::LMA | self.efer & efer::LMA);
            }
            msr::STAR => self.msrs.star = value,
            msr::LSTAR => self.msrs.lstar = value,
            msr::CSTAR => self.msrs.cstar = value,
            msr::FMASK => self.msrs.fmask = value & 0xffff_ffff,
            msr::FS_BASE => self.set_slot(slot::FS_BASE, value),
            msr::GS_BASE => self.set_slot(slot::GS_BASE, value),
            msr::KERNEL_GS_BASE => self.msrs.kernel_gs_base = value,
            msr::TSC_AUX => self.msrs.tsc_aux = value & 0xffff_ffff,
            _ => return false,
        }
        true
    }
}

pub(super) fn privileged(cpu: &mut Cpu) -> Result<(), Trap> {
    if cpu.cpl == 0 { Ok(()) } else { Err(cpu.general_protection()) }
}

fn cpuid(cpu: &mut Cpu, _op: &Op) -> Result<Flow, Trap> {
    Err(cpu.leave(Reason::Cpuid))
}

/// Exits at CPL 0, whatever the controls.
macro_rules! always {
    ($name:ident, $reason:expr) => {
        fn $name(cpu: &mut Cpu, _op: &Op) -> Result<Flow, Trap> {
            privileged(cpu)?;
            Err(cpu.leave($reason))
        }
    };
}
always!(invd, Reason::Invd);

fn hlt(cpu: &mut Cpu, _op: &Op) -> Result<Flow, Trap> {
    privileged(cpu)?;
    // Without the control the caller waits all the same: nothing can happen in here before an event is injected.
    Err(cpu.leave(Reason::Hlt))
}

fn wbinvd(cpu: &mut Cpu, _op: &Op) -> Result<Flow, Trap> {
    privileged(cpu)?;
    if cpu.intercepts.controls.contains(Controls::WBINVD) {
        return Err(cpu.leave(Reason::Wbinvd));
    }
    Ok(Flow::Fall)
}

fn rdmsr(cpu: &mut Cpu, _op: &Op) -> Result<Flow, Trap> {
    privileged(cpu)?;
    let number: u32 = cpu.reg(gpr::RCX);
    if !cpu.msr_right(number).read {
        return Err(cpu.leave(Reason::ReadMsr));
    }
    let Some(value) = cpu.msr(number) else { return Err(cpu.general_protection()) };
    cpu.set_reg(gpr::RAX, value as u32);
    cpu.set_reg(gpr::RDX, (value >> 32) as u32);
    Ok(Flow::Fall)
}

fn wrmsr(cpu: &mut Cpu, _op: &Op) -> Result<Flow, Trap> {
    privileged(cpu)?;
    let number: u32 = cpu.reg(gpr::RCX);
    if !cpu.msr_right(number).write {
        return Err(cpu.leave(Reason::WriteMsr));
    }
    let value = u64::from(cpu.reg::<u32>(gpr::RAX)) | u64::from(cpu.reg::<u32>(gpr::RDX)) << 32;
    if !cpu.set_msr(number, value) {
        return Err(cpu.general_protection());
    }
    Ok(Flow::Fall)
}

fn check_tsd(cpu: &mut Cpu) -> Result<(), Trap> {
    if cpu.cpl != 0 && cpu.cr4 & cr4::TSD != 0 {
        return Err(cpu.general_protection());
    }
    Ok(())
}

fn rdtsc(cpu: &mut Cpu, _op: &Op) -> Result<Flow, Trap> {
    check_tsd(cpu)?;
    if cpu.intercepts.controls.contains(Controls::RDTSC) {
        return Err(cpu.leave(Reason::Rdtsc));
    }
    let tsc = cpu.tsc();
    cpu.set_reg(gpr::RAX, tsc as u32);
    cpu.set_reg(gpr::RDX, (tsc >> 32) as u32);
    Ok(Flow::Fall)
}

fn rdtscp(cpu: &mut Cpu, op: &Op) -> Result<Flow, Trap> {
    if !cpu.intercepts.controls.contains(Controls::ENABLE_RDTSCP) {
        return Err(cpu.undefined());
    }
    check_tsd(cpu)?;
    if cpu.intercepts.controls.contains(Controls::RDTSC) {
        return Err(cpu.leave(Reason::Rdtscp));
    }
    let flow = rdtsc(cpu, op)?;
    let aux = cpu.msrs.tsc_aux as u32;
    cpu.set_reg(gpr::RCX, aux);
    Ok(flow)
}

fn rdpid(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    if !cpu.intercepts.controls.contains(Controls::ENABLE_RDTSCP) {
        return Err(cpu.undefined());
    }
    cpu.set_slot(op.dst, cpu.msrs.tsc_aux & 0xffff_ffff);
    Ok(())
}

fn rdpmc(cpu: &mut Cpu, _op: &Op) -> Result<Flow, Trap> {
    if cpu.cpl != 0 && cpu.cr4 & cr4::PCE == 0 {
        return Err(cpu.general_protection());
    }
    if cpu.intercepts.controls.contains(Controls::RDPMC) {
        return Err(cpu.leave(Reason::Rdpmc));
    }
    Err(cpu.general_protection())
}

/// RDRAND and RDSEED: `src` is the operand size.
fn random<const SEED: bool>(cpu: &mut Cpu, op: &Op) -> Result<Flow, Trap> {
    let (control, reason) =
        if SEED { (Controls::RDSEED, Reason::Rdseed) } else { (Controls::RDRAND, Reason::Rdrand) };
    if cpu.intercepts.controls.contains(control) {
        return Err(cpu.leave(reason));
    }
    let value = cpu.random();
    // CF says whether there was a number.
    cpu.flags.set_arithmetic(u64::from(value.is_some()));
    let value = value.unwrap_or(0);
    match op.src {
        2 => cpu.set_reg(op.dst, value as u16),
        4 => cpu.set_reg(op.dst, value as u32),
        _ => cpu.set_slot(op.dst, value),
    }
    Ok(Flow::Fall)
}

fn pause(cpu: &mut Cpu, _op: &Op) -> Result<Flow, Trap> {
    if cpu.intercepts.controls.contains(Controls::PAUSE) {
        return Err(cpu.leave(Reason::Pause));
    }
    std::hint::spin_loop();
    Ok(Flow::Fall)
}

fn monitor(cpu: &mut Cpu, _op: &Op) -> Result<Flow, Trap> {
    if cpu.cpl != 0 {
        return Err(cpu.undefined());
    }
    if cpu.intercepts.controls.contains(Controls::MONITOR) {
        return Err(cpu.leave(Reason::Monitor));
    }
    Ok(Flow::Fall)
}

fn mwait(cpu: &mut Cpu, _op: &Op) -> Result<Flow, Trap> {
    if cpu.cpl != 0 {
        return Err(cpu.undefined());
    }
    if cpu.intercepts.controls.contains(Controls::MWAIT) {
        return Err(cpu.leave(Reason::Mwait));
    }
    Ok(Flow::Fall)
}

fn xsetbv(cpu: &mut Cpu, _op: &Op) -> Result<Flow, Trap> {
    if cpu.cr4 & cr4::OSXSAVE == 0 {
        return Err(cpu.undefined());
    }
    privileged(cpu)?;
    Err(cpu.leave(Reason::Xsetbv))
}

/// VMX instructions outside of VMX operation exit to the host, which has VMX; `imm` is the exit reason.
fn vmx(cpu: &mut Cpu, op: &Op) -> Result<Flow, Trap> {
    if cpu.real_mode() && op.imm != VMCALL {
        return Err(cpu.undefined());
    }
    Err(cpu.leave(Reason::Vmx(op.imm as u8)))
}

const VMCALL: u64 = 18;

fn table_exit(cpu: &mut Cpu) -> Result<(), Trap> {
    if cpu.intercepts.controls.contains(Controls::DESCRIPTOR_TABLE) {
        return Err(cpu.leave(Reason::GdtrIdtrAccess));
    }
    Ok(())
}

/// LGDT and LIDT; `imm` is the operand size in bytes.
fn load_table<const IDT: bool>(cpu: &mut Cpu, op: &Op) -> Result<Flow, Trap> {
    privileged(cpu)?;
    table_exit(cpu)?;
    let address = cpu.address(op);
    let limit: u16 = cpu.load(address)?;
    let at = cpu.wrap(address.wrapping_add(2));
    let base = if op.imm == 8 {
        let base: u64 = cpu.load(at)?;
        if !Cpu::canonical(base) {
            return Err(cpu.general_protection());
        }
        base
    } else {
        let base: u32 = cpu.load(at)?;
        u64::from(if op.imm == 2 { base & 0xff_ffff } else { base })
    };
    let table = DescriptorTable { base, limit };
    if IDT {
        cpu.idtr = table;
    } else {
        cpu.gdtr = table;
    }
    Ok(Flow::Fall)
}

fn store_table<const IDT: bool>(cpu: &mut Cpu, op: &Op) -> Result<Flow, Trap> {
    check_umip(cpu)?;
    table_exit(cpu)?;
    let table = if IDT { cpu.idtr } else { cpu.gdtr };
    let address = cpu.address(op);
    let mut bytes = [0; 10];
    bytes[..2].copy_from_slice(&table.limit.to_le_bytes());
    bytes[2..].copy_from_slice(&table.base.to_le_bytes());
    let len = if cpu.mode.is64() { 10 } else { 6 };
    cpu.store_bytes(address, &bytes[..len])?;
    Ok(Flow::Fall)
}

fn check_fsgsbase(cpu: &mut Cpu) -> Result<(), Trap> {
    if cpu.cr4 & cr4::FSGSBASE == 0 { Err(cpu.undefined()) } else { Ok(()) }
}

/// RDFSBASE, RDGSBASE: `imm` the slot, `src` the operand size.
fn read_base(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    check_fsgsbase(cpu)?;
    let value = cpu.slot(op.imm as u8);
    if op.src == 4 {
        cpu.set_reg(op.dst, value as u32);
    } else {
        cpu.set_slot(op.dst, value);
    }
    Ok(())
}

fn write_base(cpu: &mut Cpu, op: &Op) -> Result<(), Trap> {
    check_fsgsbase(cpu)?;
    let value = if op.src == 4 { u64::from(cpu.reg::<u32>(op.dst)) } else { cpu.slot(op.dst) };
    if !Cpu::canonical(value) {
        return Err(cpu.general_protection());
    }
    cpu.set_slot(op.imm as u8, value);
    Ok(())
}

fn base_access(t: &mut Translator<'_>, exec: Exec, slot: u8) {
    let mut op = t.op(exec);
    op.dst = t.register(0);
    op.src = t.insn.op0_register().size() as u8;
    op.imm = u64::from(slot);
    t.push(op);
}

fn table(t: &mut Translator<'_>, exec: Exec) {
    let mut op = t.op(exec);
    op.imm = match t.insn.code() {
        iced_x86::Code::Lgdt_m1632_16 | iced_x86::Code::Lidt_m1632_16 => 2,
        iced_x86::Code::Lgdt_m1664 | iced_x86::Code::Lidt_m1664 => 8,
        _ => 4,
    };
    t.memory(&mut op);
    t.push_end(op);
}

/// The basic exit reason of a VMX instruction.
fn vmx_reason(mnemonic: Mnemonic) -> Option<u64> {
    Some(match mnemonic {
        Mnemonic::Vmcall => VMCALL,
        Mnemonic::Vmclear => 19,
        Mnemonic::Vmlaunch => 20,
        Mnemonic::Vmptrld => 21,
        Mnemonic::Vmptrst => 22,
        Mnemonic::Vmread => 23,
        Mnemonic::Vmresume => 24,
        Mnemonic::Vmwrite => 25,
        Mnemonic::Vmxoff => 26,
        Mnemonic::Vmxon => 27,
        Mnemonic::Invept => 50,
        Mnemonic::Invvpid => 53,
        _ => return None,
    })
}

pub(super) fn translate(t: &mut Translator<'_>) -> bool {
    if let Some(reason) = vmx_reason(t.insn.mnemonic()) {
        let mut op = t.op(ends!(vmx));
        op.imm = reason;
        t.push_end(op);
        return true;
    }
    match t.insn.mnemonic() {
        Mnemonic::Cpuid => t.push_simple_end(ends!(cpuid)),
        Mnemonic::Hlt => t.push_simple_end(ends!(hlt)),
        Mnemonic::Invd => t.push_simple_end(ends!(invd)),
        Mnemonic::Wbinvd | Mnemonic::Wbnoinvd => t.push_simple_end(ends!(wbinvd)),
        Mnemonic::Rdmsr => t.push_simple_end(ends!(rdmsr)),
        Mnemonic::Wrmsr => t.push_simple_end(ends!(wrmsr)),
        Mnemonic::Rdtsc => t.push_simple_end(ends!(rdtsc)),
        Mnemonic::Rdtscp => t.push_simple_end(ends!(rdtscp)),
        Mnemonic::Rdpmc => t.push_simple_end(ends!(rdpmc)),
        Mnemonic::Pause => t.push_simple_end(ends!(pause)),
        Mnemonic::Monitor => t.push_simple_end(ends!(monitor)),
        Mnemonic::Mwait => t.push_simple_end(ends!(mwait)),
        Mnemonic::Xsetbv => t.push_simple_end(ends!(xsetbv)),
        Mnemonic::Lgdt => table(t, ends!(load_table::<false>)),
        Mnemonic::Lidt => table(t, ends!(load_table::<true>)),
        Mnemonic::Sgdt => table(t, ends!(store_table::<false>)),
        Mnemonic::Sidt => table(t, ends!(store_table::<true>)),
        Mnemonic::Rdfsbase => base_access(t, exec!(read_base), slot::FS_BASE),
        Mnemonic::Rdgsbase => base_access(t, exec!(read_base), slot::GS_BASE),
        Mnemonic::Wrfsbase => base_access(t, exec!(write_base), slot::FS_BASE),
        Mnemonic::Wrgsbase => base_access(t, exec!(write_base), slot::GS_BASE),
        Mnemonic::Rdpid => {
            let mut op = t.op(exec!(rdpid));
            op.dst = t.register(0);
            t.push(op);
        }
        Mnemonic::Rdrand | Mnemonic::Rdseed => {
            let seed = t.insn.mnemonic() == Mnemonic::Rdseed;
            let mut op = t.op(if seed { ends!(random::<true>) } else { ends!(random::<false>) });
            op.dst = t.register(0);
            op.src = t.insn.op0_register().size() as u8;
            t.push_end(op);
        }
        _ => return false,
    }
    true
}
