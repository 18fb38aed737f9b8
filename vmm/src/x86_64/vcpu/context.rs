//! A stopped vCPU as the instruction emulator sees it, and the devices around it.

use devices::bus::{MmioBus, PortBus, Width};
use devices::interrupt::LocalApic;
use hypervisor_framework::x86_64::vmcs::Field;
use hypervisor_framework::x86_64::{AccessRights, Interruptibility, Reg, Segment, Vcpu};

use super::control_register::{cr0, cr4, efer};
use super::{VcpuError, X86Vcpu};
use crate::x86_64::mmio::{
    CodeSize, CpuMode, Exception, GuestContext, MmioAccess, PortAccess, Segment as SegmentName, SegmentState,
    Stop, Unsupported,
};
use crate::x86_64::paging::{self, Access, GuestRam, PagingState, WalkError};
use guest_memory::GuestMemory;

/// RFLAGS bits.
mod rflags {
    pub(super) const TF: u64 = 1 << 8;
    pub(super) const RF: u64 = 1 << 16;
    pub(super) const VM: u64 = 1 << 17;
    pub(super) const AC: u64 = 1 << 18;
}

/// CR4.LA57.
const LA57: u64 = 1 << 12;
/// Pending debug exceptions: BS, a single-step trap (SDM vol. 3, table 25-4).
const PENDING_SINGLE_STEP: u64 = 1 << 14;

/// Standard-format XSAVE image: XMM0 and XSTATE_BV.
const XMM0_OFFSET: usize = 160;
const XSTATE_BV_OFFSET: usize = 512;
const XSTATE_SSE: u8 = 1 << 1;
const FPSTATE_BYTES: usize = 4096;

/// The part of a vCPU an instruction may touch.
pub(super) struct Context<'a> {
    pub(super) vcpu: &'a mut dyn Vcpu,
    pub(super) memory: &'a GuestMemory,
    pub(super) physical_bits: u8,
}

/// What an access that is not RAM reaches: this vCPU's own APIC page, else the bus.
pub(super) struct Devices<'a> {
    pub(super) apic: &'a mut LocalApic,
    pub(super) bus: &'a MmioBus,
}

/// Registers that decide how linear addresses are translated now.
pub(super) fn paging_state(vcpu: &dyn Vcpu, physical_bits: u8) -> Result<PagingState, VcpuError> {
    let cr0 = vcpu.read_vmcs(Field::GUEST_CR0)?;
    let cr4 = vcpu.read_vmcs(Field::GUEST_CR4)?;
    let efer = vcpu.read_vmcs(Field::GUEST_IA32_EFER)?;
    let pae = cr0 & cr0::PG != 0 && cr4 & cr4::PAE != 0 && efer & efer::LMA == 0;
    let pdptes = if pae {
        Some([
            vcpu.read_vmcs(Field::GUEST_PDPTE0)?,
            vcpu.read_vmcs(Field::GUEST_PDPTE1)?,
            vcpu.read_vmcs(Field::GUEST_PDPTE2)?,
            vcpu.read_vmcs(Field::GUEST_PDPTE3)?,
        ])
    } else {
        None
    };
    // SS.DPL is the CPL, in every mode (SDM vol. 3, 25.4.1).
    let rights = vcpu.read_vmcs(Segment::Ss.access_rights())? as u32;
    let flags = vcpu.read_register(Reg::RFLAGS)?;
    Ok(PagingState {
        cr0,
        cr3: vcpu.read_vmcs(Field::GUEST_CR3)?,
        cr4,
        efer,
        pdptes,
        user: AccessRights(rights).dpl() == 3,
        alignment_check: flags & rflags::AC != 0,
        physical_bits,
    })
}

/// The instruction is done: RIP is `rip`, and what ends with an instruction ends.
pub(super) fn retire(vcpu: &mut dyn Vcpu, rip: u64, single_step: bool) -> Result<(), VcpuError> {
    vcpu.write_register(Reg::RIP, rip)?;
    let flags = vcpu.read_register(Reg::RFLAGS)?;
    if flags & rflags::RF != 0 {
        vcpu.write_register(Reg::RFLAGS, flags & !rflags::RF)?;
    }
    let state = Interruptibility::from_bits_truncate(vcpu.read_vmcs(Field::GUEST_INTERRUPTIBILITY)? as u32);
    let shadow = Interruptibility::STI | Interruptibility::MOV_SS;
    if state.intersects(shadow) {
        vcpu.write_vmcs(Field::GUEST_INTERRUPTIBILITY, (state - shadow).bits().into())?;
    }
    if single_step {
        let pending = vcpu.read_vmcs(Field::GUEST_DEBUG_EXC)?;
        vcpu.write_vmcs(Field::GUEST_DEBUG_EXC, pending | PENDING_SINGLE_STEP)?;
    }
    Ok(())
}

impl X86Vcpu {
    /// Moves RIP past the instruction that exited.
    pub(super) fn advance(&mut self) -> Result<(), VcpuError> {
        let length = self.vcpu.read_vmcs(Field::RO_VMEXIT_INSTR_LEN)?;
        let mut next = self.vcpu.read_register(Reg::RIP)?.wrapping_add(length);
        if next >> 32 != 0 && !AccessRights(self.read32(Segment::Cs.access_rights())?).is_long() {
            next &= 0xffff_ffff;
        }
        let single_step = self.vcpu.read_register(Reg::RFLAGS)? & rflags::TF != 0;
        retire(&mut *self.vcpu, next, single_step)
    }

    pub(super) fn paging_state(&self) -> Result<PagingState, VcpuError> {
        paging_state(&*self.vcpu, self.platform.cpuid.physical_bits())
    }
}

impl Context<'_> {
    fn fpstate(&self) -> Result<Vec<u8>, Stop<VcpuError>> {
        let mut image = vec![0; FPSTATE_BYTES];
        self.vcpu.read_fpstate(&mut image).map_err(|error| Stop::Context(error.into()))?;
        Ok(image)
    }
}

/// Bytes of XMM `number` in an XSAVE image.
fn xmm_range(number: u8) -> std::ops::Range<usize> {
    let start = XMM0_OFFSET + 16 * usize::from(number & 15);
    start..start + 16
}

impl GuestContext for Context<'_> {
    type Error = VcpuError;

    fn mode(&mut self) -> Result<CpuMode, VcpuError> {
        let rights = AccessRights(self.vcpu.read_vmcs(Segment::Cs.access_rights())? as u32);
        let long = self.vcpu.read_vmcs(Field::GUEST_IA32_EFER)? & efer::LMA != 0;
        let flags = self.vcpu.read_register(Reg::RFLAGS)?;
        let protected = self.vcpu.read_vmcs(Field::GUEST_CR0)? & cr0::PE != 0 && flags & rflags::VM == 0;
        let code = match (long && rights.is_long(), rights.is_big()) {
            (true, _) => CodeSize::Bits64,
            (false, true) => CodeSize::Bits32,
            (false, false) => CodeSize::Bits16,
        };
        let linear_bits = if self.vcpu.read_vmcs(Field::GUEST_CR4)? & LA57 != 0 { 57 } else { 48 };
        Ok(CpuMode { code, protected, linear_bits })
    }

    fn gpr(&mut self, number: u8) -> Result<u64, VcpuError> {
        Ok(self.vcpu.read_register(Reg::gpr(number))?)
    }

    fn set_gpr(&mut self, number: u8, value: u64) -> Result<(), VcpuError> {
        Ok(self.vcpu.write_register(Reg::gpr(number), value)?)
    }

    fn rip(&mut self) -> Result<u64, VcpuError> {
        Ok(self.vcpu.read_register(Reg::RIP)?)
    }

    fn rflags(&mut self) -> Result<u64, VcpuError> {
        Ok(self.vcpu.read_register(Reg::RFLAGS)?)
    }

    fn set_rflags(&mut self, value: u64) -> Result<(), VcpuError> {
        Ok(self.vcpu.write_register(Reg::RFLAGS, value)?)
    }

    fn segment(&mut self, segment: SegmentName) -> Result<SegmentState, VcpuError> {
        let segment = match segment {
            SegmentName::Es => Segment::Es,
            SegmentName::Cs => Segment::Cs,
            SegmentName::Ss => Segment::Ss,
            SegmentName::Ds => Segment::Ds,
            SegmentName::Fs => Segment::Fs,
            SegmentName::Gs => Segment::Gs,
        };
        // Each field has the width its value is cut to.
        Ok(SegmentState {
            selector: self.vcpu.read_vmcs(segment.selector())? as u16,
            base: self.vcpu.read_vmcs(segment.base())?,
            limit: self.vcpu.read_vmcs(segment.limit())? as u32,
            rights: self.vcpu.read_vmcs(segment.access_rights())? as u32,
        })
    }

    fn translate(&mut self, linear: u64, access: Access) -> Result<u64, Stop<VcpuError>> {
        let state = paging_state(self.vcpu, self.physical_bits).map_err(Stop::Context)?;
        match paging::translate(self.memory, &state, linear, access) {
            Ok(translation) => Ok(translation.gpa),
            Err(WalkError::PageFault { linear, error_code }) => {
                Err(Stop::Exception(Exception::page_fault(linear, error_code)))
            }
            Err(WalkError::TableOutsideRam { gpa, .. }) => Err(Unsupported::PageTable(gpa).into()),
            Err(WalkError::Contended { .. }) => Err(Stop::Retry),
        }
    }

    fn read_ram(&mut self, gpa: u64, buffer: &mut [u8]) -> bool {
        GuestRam::read(self.memory, gpa, buffer)
    }

    fn write_ram(&mut self, gpa: u64, data: &[u8]) -> bool {
        GuestRam::write(self.memory, gpa, data)
    }

    fn xmm(&mut self, number: u8) -> Result<u128, Stop<VcpuError>> {
        let image = self.fpstate()?;
        let in_use = image.get(XSTATE_BV_OFFSET).is_some_and(|bits| bits & XSTATE_SSE != 0);
        let bytes = image.get(xmm_range(number)).and_then(|bytes| bytes.try_into().ok());
        Ok(bytes.filter(|_| in_use).map_or(0, u128::from_le_bytes))
    }

    fn set_xmm(&mut self, number: u8, value: u128) -> Result<(), Stop<VcpuError>> {
        let mut image = self.fpstate()?;
        let in_use = image.get(XSTATE_BV_OFFSET).is_some_and(|bits| bits & XSTATE_SSE != 0);
        if !in_use && let Some(registers) = image.get_mut(XMM0_OFFSET..XMM0_OFFSET + 256) {
            registers.fill(0);
        }
        if let Some(bits) = image.get_mut(XSTATE_BV_OFFSET) {
            *bits |= XSTATE_SSE;
        }
        if let Some(bytes) = image.get_mut(xmm_range(number)) {
            bytes.copy_from_slice(&value.to_le_bytes());
        }
        self.vcpu.write_fpstate(&image).map_err(|error| Stop::Context(error.into()))
    }

    fn retire(&mut self, rip: u64, single_step: bool) -> Result<(), VcpuError> {
        retire(self.vcpu, rip, single_step)
    }
}

impl Devices<'_> {
    /// Offset in this vCPU's APIC page.
    fn apic_offset(&self, gpa: u64) -> Option<u64> {
        self.apic.mmio_base().filter(|base| gpa & !0xfff == *base).map(|base| gpa - base)
    }
}

impl MmioAccess for Devices<'_> {
    fn read(&mut self, gpa: u64, width: u8) -> u64 {
        let Some(width) = Width::from_bytes(width.into()) else { return u64::MAX };
        match self.apic_offset(gpa) {
            Some(offset) => self.apic.read_mmio(offset, width),
            None => self.bus.read(gpa, width),
        }
    }

    fn write(&mut self, gpa: u64, width: u8, value: u64) {
        let Some(width) = Width::from_bytes(width.into()) else { return };
        match self.apic_offset(gpa) {
            Some(offset) => self.apic.write_mmio(offset, width, value),
            None => self.bus.write(gpa, width, value),
        }
    }
}

/// The port bus as the emulator calls it.
pub(super) struct Ports<'a>(pub(super) &'a PortBus);

impl PortAccess for Ports<'_> {
    fn read(&mut self, port: u16, width: u8) -> u32 {
        Width::from_bytes(width.into()).map_or(u32::MAX, |width| self.0.read(port, width))
    }

    fn write(&mut self, port: u16, width: u8, value: u32) {
        if let Some(width) = Width::from_bytes(width.into()) {
            self.0.write(port, width, value);
        }
    }
}
