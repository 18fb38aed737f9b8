//! The states a vCPU starts in: power-up, INIT, start-up IPI, boot.

use boot::{InitialState, TableRegister};
use hypervisor_framework::x86_64::vmcs::Field;
use hypervisor_framework::x86_64::{AccessRights, ActivityState, Reg, Segment};

use super::control_register::CR0_RESET;
use super::{VcpuError, X86Vcpu};
use crate::x86_64::cpuid::DynamicState;

/// RFLAGS bit 1 is always 1.
const RFLAGS_RESET: u64 = 2;
/// DR6 and DR7 after reset (SDM vol. 3, table 10-1).
const DR6_RESET: u64 = 0xffff_0ff0;
const DR7_RESET: u64 = 0x400;
/// Selector and base of CS after power-up and INIT, and the offset of the first instruction.
const RESET_CS: (u16, u64) = (0xf000, 0xffff_0000);
const RESET_RIP: u64 = 0xfff0;
/// Segment limit in real mode.
const REAL_LIMIT: u32 = 0xffff;

/// FS and GS bases are fields: not zeroed as MSRs.
const NOT_ZEROED: [u32; 5] = [0xc000_0100, 0xc000_0101, 0x174, 0x175, 0x176];

/// Legacy part and header of a standard-format XSAVE image, padded to what any host asks for.
const FPSTATE_BYTES: usize = 4096;
/// FCW and MXCSR after FNINIT and reset, with their offsets in the image.
const FCW: (usize, u16) = (0, 0x37f);
const MXCSR: (usize, u32) = (24, 0x1f80);

impl X86Vcpu {
    /// Everything as after power-up.
    pub(super) fn write_reset_state(&mut self) -> Result<(), VcpuError> {
        let zeroed: Vec<u32> = self
            .msrs
            .native()
            .iter()
            .map(|native| native.msr)
            .filter(|msr| !NOT_ZEROED.contains(msr))
            .collect();
        for msr in zeroed {
            if let Err(error) = self.vcpu.write_msr(msr, 0) {
                log::debug!("MSR {msr:#x} is not reset: {error}");
            }
        }
        self.write_fpstate_reset();
        self.xcr0 = 1;
        self.vcpu.write_register(Reg::XCR0, 1)?;
        for field in [Field::GUEST_IA32_SYSENTER_CS, Field::GUEST_SYSENTER_ESP, Field::GUEST_SYSENTER_EIP] {
            self.vcpu.write_vmcs(field, 0)?;
        }
        self.write_init_state()
    }

    /// INIT leaves FPU, MSRs and XCR0 alone (SDM vol. 3, table 10-1).
    pub(super) fn write_init_state(&mut self) -> Result<(), VcpuError> {
        for number in 0..16 {
            self.vcpu.write_register(Reg::gpr(number), 0)?;
        }
        let signature = self.processor_signature();
        self.vcpu.write_register(Reg::RDX, signature)?;
        self.vcpu.write_register(Reg::RIP, RESET_RIP)?;
        self.vcpu.write_register(Reg::RFLAGS, RFLAGS_RESET)?;
        for reg in [Reg::CR2, Reg::DR0, Reg::DR1, Reg::DR2, Reg::DR3] {
            self.vcpu.write_register(reg, 0)?;
        }
        self.vcpu.write_register(Reg::DR6, DR6_RESET)?;
        self.vcpu.write_vmcs(Field::GUEST_DR7, DR7_RESET)?;
        for field in [
            Field::GUEST_IA32_DEBUGCTL,
            Field::GUEST_INTERRUPTIBILITY,
            Field::GUEST_DEBUG_EXC,
            Field::CTRL_VMENTRY_IRQ_INFO,
            Field::GUEST_CR3,
            Field::GUEST_IA32_EFER,
        ] {
            self.vcpu.write_vmcs(field, 0)?;
        }
        self.vcpu.write_vmcs(Field::GUEST_ACTIVITY_STATE, ActivityState::ACTIVE.0.into())?;
        self.write_real_mode_segments(RESET_CS.0, RESET_CS.1)?;
        self.write_table(
            Field::GUEST_GDTR_BASE,
            Field::GUEST_GDTR_LIMIT,
            TableRegister { base: 0, limit: 0xffff },
        )?;
        self.write_table(
            Field::GUEST_IDTR_BASE,
            Field::GUEST_IDTR_LIMIT,
            TableRegister { base: 0, limit: 0xffff },
        )?;
        self.load_control_registers(CR0_RESET, 0, 0)
    }

    /// A start-up IPI: real mode at `vector` × 4 KiB (SDM vol. 3, 10.4.4).
    pub(super) fn write_startup_state(&mut self, vector: u8) -> Result<(), VcpuError> {
        self.write_init_state()?;
        let vector = u16::from(vector);
        self.write_real_mode_segments(vector << 8, u64::from(vector) << 12)?;
        self.vcpu.write_register(Reg::RIP, 0)?;
        Ok(())
    }

    /// What the boot protocol asks for, on top of the reset state.
    pub(super) fn write_boot_state(&mut self, boot: &InitialState) -> Result<(), VcpuError> {
        for (reg, value) in [
            (Reg::RIP, boot.rip),
            (Reg::RSP, boot.rsp),
            (Reg::RFLAGS, boot.rflags),
            (Reg::RSI, boot.rsi),
            (Reg::RBX, boot.rbx),
            (Reg::RDX, 0),
        ] {
            self.vcpu.write_register(reg, value)?;
        }
        for (segment, value) in [
            (Segment::Es, boot.es),
            (Segment::Cs, boot.cs),
            (Segment::Ss, boot.ss),
            (Segment::Ds, boot.ds),
            (Segment::Fs, boot.fs),
            (Segment::Gs, boot.gs),
            (Segment::Ldtr, boot.ldtr),
            (Segment::Tr, boot.tr),
        ] {
            self.write_segment(segment, value)?;
        }
        self.write_table(Field::GUEST_GDTR_BASE, Field::GUEST_GDTR_LIMIT, boot.gdtr)?;
        self.write_table(Field::GUEST_IDTR_BASE, Field::GUEST_IDTR_LIMIT, boot.idtr)?;
        self.vcpu.write_vmcs(Field::GUEST_CR3, boot.cr3)?;
        self.load_control_registers(boot.cr0, boot.cr4, boot.efer)
    }

    fn write_real_mode_segments(&mut self, cs: u16, cs_base: u64) -> Result<(), VcpuError> {
        let data = boot::Segment {
            limit: REAL_LIMIT,
            access_rights: AccessRights::DATA16.0,
            ..boot::Segment::default()
        };
        for segment in [Segment::Es, Segment::Ss, Segment::Ds, Segment::Fs, Segment::Gs] {
            self.write_segment(segment, data)?;
        }
        let code = boot::Segment {
            selector: cs,
            base: cs_base,
            limit: REAL_LIMIT,
            access_rights: AccessRights::CODE16.0,
        };
        self.write_segment(Segment::Cs, code)?;
        let system = |rights: AccessRights| boot::Segment {
            limit: REAL_LIMIT,
            access_rights: rights.0,
            ..boot::Segment::default()
        };
        self.write_segment(Segment::Ldtr, system(AccessRights::LDT))?;
        self.write_segment(Segment::Tr, system(AccessRights::TSS_BUSY))
    }

    fn write_segment(&mut self, segment: Segment, value: boot::Segment) -> Result<(), VcpuError> {
        self.vcpu.write_vmcs(segment.selector(), value.selector.into())?;
        self.vcpu.write_vmcs(segment.base(), value.base)?;
        self.vcpu.write_vmcs(segment.limit(), value.limit.into())?;
        self.vcpu.write_vmcs(segment.access_rights(), value.access_rights.into())?;
        Ok(())
    }

    fn write_table(&mut self, base: Field, limit: Field, value: TableRegister) -> Result<(), VcpuError> {
        self.vcpu.write_vmcs(base, value.base)?;
        self.vcpu.write_vmcs(limit, value.limit.into())?;
        Ok(())
    }

    fn write_fpstate_reset(&mut self) {
        let mut image = vec![0; FPSTATE_BYTES];
        let legacy = [(FCW.0, FCW.1.to_le_bytes().to_vec()), (MXCSR.0, MXCSR.1.to_le_bytes().to_vec())];
        for (offset, bytes) in legacy {
            if let Some(place) = image.get_mut(offset..offset + bytes.len()) {
                place.copy_from_slice(&bytes);
            }
        }
        // Kernels initialise the FPU themselves; a provider that wants another size does no harm.
        if let Err(error) = self.vcpu.write_fpstate(&image) {
            log::debug!("FPU state is not reset: {error}");
        }
    }

    /// CPUID.1:EAX, which EDX holds after reset.
    fn processor_signature(&self) -> u64 {
        let state = DynamicState { apic_id: self.index, cr4: 0, xcr0: 1, xss: 0, apic_enabled: true };
        self.platform.cpuid.query(1, 0, &state).eax.into()
    }
}
