//! CR0, CR4, EFER and the transitions between modes (SDM vol. 3, 2.5, 5.1, 11.8.5, 27.3.1.1).
//!
//! The host owns the CR bits that VMX operation forces and those whose change it must see; the guest reads its own values from
//! the shadows. The decisions are pure functions; the rest writes them into the VMCS.

use hypervisor_framework::x86_64::vmcs::Field;
use hypervisor_framework::x86_64::{AccessRights, CrAccess, CrQualification, EntryControls, Segment};

use super::{VcpuError, X86Vcpu};
use crate::x86_64::mmio::Exception;
use crate::x86_64::msr::efer_after_write;
use crate::x86_64::paging::GuestRam;

pub(super) mod cr0 {
    pub(crate) const PE: u64 = 1 << 0;
    pub(crate) const MP: u64 = 1 << 1;
    pub(crate) const EM: u64 = 1 << 2;
    pub(crate) const TS: u64 = 1 << 3;
    pub(crate) const ET: u64 = 1 << 4;
    pub(crate) const NE: u64 = 1 << 5;
    pub(crate) const WP: u64 = 1 << 16;
    pub(crate) const AM: u64 = 1 << 18;
    pub(crate) const NW: u64 = 1 << 29;
    pub(crate) const CD: u64 = 1 << 30;
    pub(crate) const PG: u64 = 1 << 31;
}

pub(super) mod cr4 {
    pub(crate) const PAE: u64 = 1 << 5;
    pub(crate) const PCIDE: u64 = 1 << 17;
    pub(crate) const VMXE: u64 = 1 << 13;
}

pub(super) mod efer {
    pub(crate) const LME: u64 = 1 << 8;
    pub(crate) const LMA: u64 = 1 << 10;
    pub(crate) const NXE: u64 = 1 << 11;
}

/// CR0 after power-up and INIT, as the guest sees it.
pub(super) const CR0_RESET: u64 = cr0::CD | cr0::NW | cr0::ET;

/// CR0 bits that exist.
const CR0_DEFINED: u64 = cr0::PE
    | cr0::MP
    | cr0::EM
    | cr0::TS
    | cr0::ET
    | cr0::NE
    | cr0::WP
    | cr0::AM
    | cr0::NW
    | cr0::CD
    | cr0::PG;

/// CR0 bits owned by the host. TS, MP, EM, WP and AM are the guest's: their changes need no look.
const CR0_MASK: u64 = !(cr0::MP | cr0::EM | cr0::TS | cr0::WP | cr0::AM);

/// What decides whether a write to CR0 is legal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ModeState {
    pub(super) cr0: u64,
    pub(super) cr4: u64,
    pub(super) efer: u64,
    /// CS.L: with LMA, 64-bit mode.
    pub(super) cs_long: bool,
}

/// A legal write to CR0: the guest's new view and IA32_EFER. `None` is #GP(0).
pub(super) fn cr0_after_write(state: ModeState, value: u64) -> Option<(u64, u64)> {
    if value >> 32 != 0 {
        return None;
    }
    // Reserved bits cannot be set, and setting them is no fault; ET is wired.
    let value = value & CR0_DEFINED | cr0::ET;
    let has = |bits: u64| value & bits == bits;
    if (has(cr0::PG) && !has(cr0::PE)) || (has(cr0::NW) && !has(cr0::CD)) {
        return None;
    }
    let was_paging = state.cr0 & cr0::PG != 0;
    let mut efer = state.efer;
    if has(cr0::PG) && !was_paging && efer & efer::LME != 0 {
        if state.cr4 & cr4::PAE == 0 || state.cs_long {
            return None;
        }
        efer |= efer::LMA;
    }
    if !has(cr0::PG) && was_paging {
        if state.cr4 & cr4::PCIDE != 0 || (efer & efer::LMA != 0 && state.cs_long) {
            return None;
        }
        efer &= !efer::LMA;
    }
    Some((value, efer))
}

/// Is this a legal value for CR4? `allowed` are the bits CPUID offers; `cr3` is the current one. Else #GP(0).
pub(super) fn cr4_write_is_legal(state: ModeState, value: u64, allowed: u64, cr3: u64) -> bool {
    if value & !allowed != 0 {
        return false;
    }
    let long = state.efer & efer::LMA != 0;
    if long && value & cr4::PAE == 0 {
        return false;
    }
    let enables_pcid = value & cr4::PCIDE != 0 && state.cr4 & cr4::PCIDE == 0;
    !enables_pcid || (long && cr3 & 0xfff == 0)
}

impl X86Vcpu {
    /// Writes control registers and EFER as a start state has them, masks and shadows included.
    pub(super) fn load_control_registers(&mut self, cr0: u64, cr4: u64, efer: u64) -> Result<(), VcpuError> {
        let allowed = self.platform.cpuid.cr4_mask();
        self.vcpu.write_vmcs(Field::CTRL_CR0_MASK, CR0_MASK)?;
        self.vcpu.write_vmcs(Field::CTRL_CR4_MASK, !allowed | cr4::VMXE | self.plan.cr4_must)?;
        self.write_cr0(cr0)?;
        self.write_cr4(cr4)?;
        self.write_efer(efer)?;
        self.vcpu.invalidate_tlb()?;
        Ok(())
    }

    /// CR0 as the guest sees it.
    pub(super) fn guest_cr0(&self) -> Result<u64, VcpuError> {
        let (real, shadow) =
            (self.vcpu.read_vmcs(Field::GUEST_CR0)?, self.vcpu.read_vmcs(Field::CTRL_CR0_SHADOW)?);
        Ok(real & !CR0_MASK | shadow & CR0_MASK)
    }

    /// CR4 as the guest sees it.
    pub(super) fn guest_cr4(&self) -> Result<u64, VcpuError> {
        let mask = self.vcpu.read_vmcs(Field::CTRL_CR4_MASK)?;
        let (real, shadow) =
            (self.vcpu.read_vmcs(Field::GUEST_CR4)?, self.vcpu.read_vmcs(Field::CTRL_CR4_SHADOW)?);
        Ok(real & !mask | shadow & mask)
    }

    pub(super) fn guest_efer(&self) -> Result<u64, VcpuError> {
        Ok(self.vcpu.read_vmcs(Field::GUEST_IA32_EFER)?)
    }

    fn mode_state(&self) -> Result<ModeState, VcpuError> {
        Ok(ModeState {
            cr0: self.guest_cr0()?,
            cr4: self.guest_cr4()?,
            efer: self.guest_efer()?,
            cs_long: AccessRights(self.read32(Segment::Cs.access_rights())?).is_long(),
        })
    }

    /// A control register exit. RIP is moved past the instruction unless it faults.
    pub(super) fn access_control_register(&mut self) -> Result<(), VcpuError> {
        let access = CrQualification(self.vcpu.read_vmcs(Field::RO_EXIT_QUALIFIC)?);
        let legal = match access.access() {
            CrAccess::Write => {
                let value = self.vcpu.read_register(access.gpr())?;
                self.write_control_register(access.cr(), value)?
            }
            CrAccess::Read => {
                let value = match access.cr() {
                    3 => self.vcpu.read_vmcs(Field::GUEST_CR3)?,
                    8 => self.apic.cr8(),
                    4 => self.guest_cr4()?,
                    _ => self.guest_cr0()?,
                };
                self.vcpu.write_register(access.gpr(), value)?;
                true
            }
            CrAccess::Clts => {
                let value = self.guest_cr0()? & !cr0::TS;
                self.set_cr0(value)?
            }
            CrAccess::Lmsw => {
                // PE can be set so, not cleared.
                let source = u64::from(access.lmsw_source()) & 0xf;
                let old = self.guest_cr0()?;
                self.set_cr0(old & !0xe | source)?
            }
        };
        if legal { self.advance() } else { self.raise(Exception::general_protection()) }
    }

    fn write_control_register(&mut self, cr: u8, value: u64) -> Result<bool, VcpuError> {
        // Outside 64-bit mode operands have 32 bits.
        let value = if self.in_64_bit_mode()? { value } else { value & 0xffff_ffff };
        match cr {
            0 => self.set_cr0(value),
            3 => self.set_cr3(value),
            4 => self.set_cr4(value),
            8 => Ok(self.apic.set_cr8(value).is_ok()),
            _ => Ok(false),
        }
    }

    fn in_64_bit_mode(&self) -> Result<bool, VcpuError> {
        let state = self.mode_state()?;
        Ok(state.efer & efer::LMA != 0 && state.cs_long)
    }

    fn set_cr0(&mut self, value: u64) -> Result<bool, VcpuError> {
        let state = self.mode_state()?;
        let Some((cr0, efer)) = cr0_after_write(state, value) else { return Ok(false) };
        let cr3 = self.vcpu.read_vmcs(Field::GUEST_CR3)?;
        let starts_paging = cr0 & !state.cr0 & cr0::PG != 0;
        if starts_paging && is_pae(cr0, state.cr4, efer) && !self.load_pdptes(cr3)? {
            return Ok(false);
        }
        self.write_cr0(cr0)?;
        if efer != state.efer {
            self.write_efer(efer)?;
            self.fit_task_register(efer)?;
        }
        if (cr0 ^ state.cr0) & (cr0::PG | cr0::PE | cr0::WP) != 0 {
            self.vcpu.invalidate_tlb()?;
        }
        Ok(true)
    }

    fn set_cr4(&mut self, value: u64) -> Result<bool, VcpuError> {
        let state = self.mode_state()?;
        let cr3 = self.vcpu.read_vmcs(Field::GUEST_CR3)?;
        if !cr4_write_is_legal(state, value, self.platform.cpuid.cr4_mask(), cr3) {
            return Ok(false);
        }
        if is_pae(state.cr0, value, state.efer) && !self.load_pdptes(cr3)? {
            return Ok(false);
        }
        self.write_cr4(value)?;
        self.vcpu.invalidate_tlb()?;
        Ok(true)
    }

    fn set_cr3(&mut self, value: u64) -> Result<bool, VcpuError> {
        let state = self.mode_state()?;
        let no_flush = 1 << 63;
        let value = if state.cr4 & cr4::PCIDE != 0 { value & !no_flush } else { value };
        if state.efer & efer::LMA != 0 && value >> self.platform.cpuid.physical_bits() != 0 {
            return Ok(false);
        }
        if is_pae(state.cr0, state.cr4, state.efer) && !self.load_pdptes(value)? {
            return Ok(false);
        }
        self.vcpu.write_vmcs(Field::GUEST_CR3, value)?;
        self.vcpu.invalidate_tlb()?;
        Ok(true)
    }

    /// WRMSR to IA32_EFER; false is #GP(0).
    pub(super) fn set_efer(&mut self, value: u64) -> Result<bool, VcpuError> {
        let (old, allowed) = (self.guest_efer()?, self.platform.cpuid.efer_mask());
        let paging = self.guest_cr0()? & cr0::PG != 0;
        let Some(new) = efer_after_write(old, value, allowed, paging) else { return Ok(false) };
        self.write_efer(new)?;
        if (old ^ new) & efer::NXE != 0 {
            self.vcpu.invalidate_tlb()?;
        }
        Ok(true)
    }

    fn write_cr0(&mut self, value: u64) -> Result<(), VcpuError> {
        // Caching is always on for the processor; the framework insists.
        let real = (value | self.plan.cr0_must) & !(cr0::CD | cr0::NW);
        self.vcpu.write_vmcs(Field::GUEST_CR0, real)?;
        self.vcpu.write_vmcs(Field::CTRL_CR0_SHADOW, value)?;
        Ok(())
    }

    fn write_cr4(&mut self, value: u64) -> Result<(), VcpuError> {
        self.vcpu.write_vmcs(Field::GUEST_CR4, value | self.plan.cr4_must)?;
        self.vcpu.write_vmcs(Field::CTRL_CR4_SHADOW, value)?;
        Ok(())
    }

    /// IA32_EFER, and the entry control that must agree with its LMA.
    fn write_efer(&mut self, value: u64) -> Result<(), VcpuError> {
        self.vcpu.write_vmcs(Field::GUEST_IA32_EFER, value)?;
        let long = if value & efer::LMA != 0 { EntryControls::GUEST_IA32E.bits() } else { 0 };
        self.vcpu.write_vmcs(Field::CTRL_VMENTRY_CONTROLS, (self.plan.entry | long).into())?;
        Ok(())
    }

    /// An entry to IA-32e mode wants a 64-bit busy TSS, as the guest will have one before it uses it.
    fn fit_task_register(&mut self, efer: u64) -> Result<(), VcpuError> {
        let rights = self.read32(Segment::Tr.access_rights())?;
        if efer & efer::LMA != 0 && AccessRights(rights).kind() != AccessRights::TSS_BUSY.kind() {
            let fitted = rights & !0xf | u32::from(AccessRights::TSS_BUSY.kind());
            self.vcpu.write_vmcs(Segment::Tr.access_rights(), fitted.into())?;
        }
        Ok(())
    }

    /// PAE paging keeps four entries in the processor, which VM entry takes from the VMCS (SDM vol. 3, 27.3.2.4). False if one
    /// has reserved bits set.
    fn load_pdptes(&mut self, cr3: u64) -> Result<bool, VcpuError> {
        const FIELDS: [Field; 4] =
            [Field::GUEST_PDPTE0, Field::GUEST_PDPTE1, Field::GUEST_PDPTE2, Field::GUEST_PDPTE3];
        let table = cr3 & 0xffff_ffe0;
        for (field, at) in FIELDS.into_iter().zip((table..).step_by(8)) {
            let mut bytes = [0xff; 8];
            // Outside RAM entries read as all ones, like anything nobody answers.
            let _ = self.platform.ram.memory().read(at, &mut bytes);
            let entry = u64::from_le_bytes(bytes);
            if !pdpte_is_legal(entry, self.platform.cpuid.physical_bits()) {
                return Ok(false);
            }
            self.vcpu.write_vmcs(field, entry)?;
        }
        Ok(true)
    }
}

/// SDM vol. 3, table 5-8.
fn pdpte_is_legal(entry: u64, physical_bits: u8) -> bool {
    const PRESENT: u64 = 1;
    const RESERVED_LOW: u64 = 0b1_1110_0110;
    let high = u64::MAX.checked_shl(physical_bits.into()).unwrap_or(0);
    entry & PRESENT == 0 || entry & (RESERVED_LOW | high) == 0
}

fn is_pae(cr0: u64, cr4: u64, efer: u64) -> bool {
    cr0 & cr0::PG != 0 && cr4 & cr4::PAE != 0 && efer & efer::LMA == 0
}

#[cfg(test)]
#[path = "control_register_test.rs"]
mod control_register_test;
