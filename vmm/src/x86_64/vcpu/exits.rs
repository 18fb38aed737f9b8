//! What is done about each exit (SDM vol. 3, chapter 28 and appendix C).

use devices::bus::Width;
use devices::interrupt::local_apic_spec::msr::APIC_BASE;
use devices::time::Clock;
use hypervisor_framework::x86_64::vmcs::Field;
use hypervisor_framework::x86_64::{
    EptQualification, ExitReason, IoQualification, Reg, TaskSwitchQualification,
};

use super::context::{Context, Devices, Ports};
use super::{GuestStop, Step, VcpuError, X86Vcpu};
use crate::x86_64::cpuid::DynamicState;
use crate::x86_64::mmio::{EmulationError, Exception, Outcome, emulate, emulate_port_io};
use crate::x86_64::msr::{Owner, Read, Write};

/// IA32_APIC_BASE: the APIC is enabled.
const APIC_ENABLE: u64 = 1 << 11;

/// Exits in a row for one page of mapped RAM after which the provider is taken to be broken.
const MAX_SPURIOUS: u32 = 1000;

impl X86Vcpu {
    pub(super) fn handle_exit(&mut self, reason: ExitReason) -> Result<Step, VcpuError> {
        if reason.basic() != ExitReason::EPT_VIOLATION {
            self.spurious = 0;
        }
        match reason.basic() {
            // The host's interrupt, the kick, the bound on a run; windows are asked for anew before each entry.
            ExitReason::EXTERNAL_INTERRUPT
            | ExitReason::PREEMPTION_TIMER
            | ExitReason::INTERRUPT_WINDOW
            | ExitReason::NMI_WINDOW => {}
            ExitReason::EXCEPTION_NMI => {
                if !self.reflect_exception()? {
                    return self.triple_fault();
                }
            }
            ExitReason::TRIPLE_FAULT => return self.triple_fault(),
            ExitReason::CPUID => self.cpuid()?,
            ExitReason::HLT => {
                self.advance()?;
                self.halted = true;
            }
            ExitReason::CR_ACCESS => self.access_control_register()?,
            ExitReason::IO => return self.port_io(),
            ExitReason::RDMSR => self.read_msr()?,
            ExitReason::WRMSR => self.write_msr()?,
            ExitReason::XSETBV => self.set_xcr0()?,
            ExitReason::EPT_VIOLATION => return self.memory_exit(),
            // Memory is always coherent here, and translations are the processor's business.
            ExitReason::INVD | ExitReason::WBINVD | ExitReason::PAUSE => self.advance()?,
            ExitReason::INVLPG => {
                self.vcpu.invalidate_tlb()?;
                self.advance()?;
            }
            ExitReason::RDTSC | ExitReason::RDTSCP => self.read_tsc()?,
            ExitReason::RDPMC => self.raise_general_protection()?,
            // CPUID offers none of these.
            ExitReason::MWAIT
            | ExitReason::MONITOR
            | ExitReason::GETSEC
            | ExitReason::RSM
            | ExitReason::VMCALL
            | ExitReason::VMCLEAR
            | ExitReason::VMLAUNCH
            | ExitReason::VMPTRLD
            | ExitReason::VMPTRST
            | ExitReason::VMREAD
            | ExitReason::VMRESUME
            | ExitReason::VMWRITE
            | ExitReason::VMXOFF
            | ExitReason::VMXON
            | ExitReason::VMFUNC
            | ExitReason::INVEPT
            | ExitReason::INVVPID
            | ExitReason::INVPCID
            | ExitReason::ENCLS
            | ExitReason::XSAVES
            | ExitReason::XRSTORS
            | ExitReason::UMWAIT
            | ExitReason::TPAUSE => self.raise(Exception::invalid_opcode())?,
            ExitReason::TASK_SWITCH => {
                let task = TaskSwitchQualification(self.vcpu.read_vmcs(Field::RO_EXIT_QUALIFIC)?);
                return Ok(
                    self.impossible(format!("hardware task switch to selector {:#x}", task.selector()))
                );
            }
            other => return Ok(self.impossible(format!("exit without a handler: {other}"))),
        }
        Ok(Step::Ran)
    }

    fn triple_fault(&self) -> Result<Step, VcpuError> {
        let on_purpose = self.vcpu.read_vmcs(Field::GUEST_IDTR_LIMIT)? == 0;
        Ok(Step::Stopped(if on_purpose {
            GuestStop::ResetByShutdown
        } else {
            GuestStop::TripleFault(Box::new(self.dump()))
        }))
    }

    fn impossible(&self, what: String) -> Step {
        Step::Stopped(GuestStop::Impossible { what, registers: Box::new(self.dump()) })
    }

    fn cpuid(&mut self) -> Result<(), VcpuError> {
        // Leaf and subleaf are EAX and ECX.
        let leaf = self.vcpu.read_register(Reg::RAX)? as u32;
        let subleaf = self.vcpu.read_register(Reg::RCX)? as u32;
        let state = DynamicState {
            apic_id: self.index,
            cr4: self.guest_cr4()?,
            xcr0: self.xcr0,
            xss: 0,
            apic_enabled: self.apic.read_msr(APIC_BASE).is_ok_and(|base| base & APIC_ENABLE != 0),
        };
        let answer = self.platform.cpuid.query(leaf, subleaf, &state);
        for (reg, value) in
            [(Reg::RAX, answer.eax), (Reg::RBX, answer.ebx), (Reg::RCX, answer.ecx), (Reg::RDX, answer.edx)]
        {
            self.vcpu.write_register(reg, value.into())?;
        }
        self.advance()
    }

    fn set_xcr0(&mut self) -> Result<(), VcpuError> {
        let value = self.edx_eax()?;
        // Only XCR0 exists.
        if self.vcpu.read_register(Reg::RCX)? as u32 != 0 || !self.platform.cpuid.xcr0_valid(value) {
            return self.raise_general_protection();
        }
        self.vcpu.write_register(Reg::XCR0, value)?;
        self.xcr0 = value;
        self.advance()
    }

    fn read_tsc(&mut self) -> Result<(), VcpuError> {
        let tsc = self.platform.clock.tsc_now();
        self.set_edx_eax(tsc)?;
        self.advance()
    }

    fn read_msr(&mut self) -> Result<(), VcpuError> {
        let msr = self.vcpu.read_register(Reg::RCX)? as u32;
        let value = match self.msrs.read(msr) {
            Ok(Read::Value(value)) => Some(value),
            Ok(Read::Owner(owner)) => self.read_owned_msr(owner, msr)?,
            Err(_) => {
                self.platform.unknown_msrs.note(msr, false);
                None
            }
        };
        match value {
            Some(value) => {
                self.set_edx_eax(value)?;
                self.advance()
            }
            None => self.raise_general_protection(),
        }
    }

    fn read_owned_msr(&mut self, owner: Owner, msr: u32) -> Result<Option<u64>, VcpuError> {
        Ok(match owner {
            Owner::LocalApic => self.apic.read_msr(msr).ok(),
            Owner::Tsc => Some(self.platform.clock.tsc_now()),
            Owner::Vcpu => Some(self.vcpu.read_msr(msr)?),
            owner => owned_field(owner).map(|field| self.vcpu.read_vmcs(field)).transpose()?,
        })
    }

    fn write_msr(&mut self) -> Result<(), VcpuError> {
        let msr = self.vcpu.read_register(Reg::RCX)? as u32;
        let value = self.edx_eax()?;
        let legal = match self.msrs.write(msr, value) {
            Ok(Write::Done) => true,
            Ok(Write::Owner(owner, value)) => self.write_owned_msr(owner, msr, value)?,
            Err(_) => {
                self.platform.unknown_msrs.note(msr, true);
                false
            }
        };
        if legal { self.advance() } else { self.raise_general_protection() }
    }

    fn write_owned_msr(&mut self, owner: Owner, msr: u32, value: u64) -> Result<bool, VcpuError> {
        match owner {
            Owner::LocalApic => return Ok(self.apic.write_msr(msr, value).is_ok()),
            Owner::Efer => return self.set_efer(value),
            // All vCPUs share one clock, and timers go by it. Linux wrote here only to make vCPUs equal, which they are;
            // today it writes IA32_TSC_ADJUST, which CPUID does not offer.
            Owner::Tsc => log::debug!("vCPU {}: write of {value:#x} to IA32_TSC is ignored", self.index),
            Owner::Vcpu => self.vcpu.write_msr(msr, value)?,
            owner => {
                if let Some(field) = owned_field(owner) {
                    self.vcpu.write_vmcs(field, value)?;
                }
            }
        }
        Ok(true)
    }

    fn port_io(&mut self) -> Result<Step, VcpuError> {
        let access = IoQualification(self.vcpu.read_vmcs(Field::RO_EXIT_QUALIFIC)?);
        if access.is_string() {
            let platform = self.platform.clone();
            let mut context = Context {
                vcpu: &mut *self.vcpu,
                memory: platform.ram.memory(),
                physical_bits: platform.cpuid.physical_bits(),
            };
            let mut devices = Devices { apic: &mut self.apic, bus: &platform.mmio };
            let outcome = emulate_port_io(&mut context, &mut Ports(&platform.ports), &mut devices);
            return self.finish_emulation(outcome);
        }
        let Some(width) = Width::from_bytes(access.width().into()) else {
            return Ok(self.impossible("port access of an unknown width".to_owned()));
        };
        let rax = self.vcpu.read_register(Reg::RAX)?;
        if access.is_in() {
            let value = u64::from(self.platform.ports.read(access.port(), width)) & width.mask();
            // A 32-bit result clears the upper half, narrower ones merge.
            let kept = if width == Width::Four { 0 } else { rax & !width.mask() };
            self.vcpu.write_register(Reg::RAX, kept | value)?;
        } else {
            // A port write has at most 32 bits.
            self.platform.ports.write(access.port(), width, (rax & width.mask()) as u32);
        }
        self.advance()?;
        Ok(Step::Ran)
    }

    fn memory_exit(&mut self) -> Result<Step, VcpuError> {
        let access = EptQualification(self.vcpu.read_vmcs(Field::RO_EXIT_QUALIFIC)?);
        let gpa = self.vcpu.read_vmcs(Field::GUEST_PHYSICAL_ADDRESS)?;
        if self.platform.map.is_ram(gpa) {
            // The framework has filled its tables and tells us.
            self.spurious += 1;
            if self.spurious > MAX_SPURIOUS {
                return Ok(self.impossible(format!("access to RAM at {gpa:#x} never succeeds")));
            }
            return Ok(Step::Ran);
        }
        self.spurious = 0;
        if self.was_delivering() {
            return Ok(self.impossible(format!("event delivery touches {gpa:#x}, which is not RAM")));
        }
        if access.is_fetch() {
            return Ok(self.impossible(format!("instruction fetch at {gpa:#x}, which is not RAM")));
        }
        if access.has(EptQualification::LINEAR_VALID) && !access.is_final_access() {
            return Ok(self.impossible(format!("page tables at {gpa:#x}, which is not RAM")));
        }
        let platform = self.platform.clone();
        let mut context = Context {
            vcpu: &mut *self.vcpu,
            memory: platform.ram.memory(),
            physical_bits: platform.cpuid.physical_bits(),
        };
        let mut devices = Devices { apic: &mut self.apic, bus: &platform.mmio };
        let outcome = emulate(&mut context, &mut devices);
        self.finish_emulation(outcome)
    }

    fn finish_emulation(
        &mut self,
        outcome: Result<Outcome, EmulationError<VcpuError>>,
    ) -> Result<Step, VcpuError> {
        match outcome {
            Ok(Outcome::Retired | Outcome::Partial) => Ok(Step::Ran),
            Ok(Outcome::Exception(exception)) => {
                self.raise(exception)?;
                Ok(Step::Ran)
            }
            Err(EmulationError::Context(error)) => Err(error),
            Err(error @ EmulationError::Unsupported { .. }) => Ok(self.impossible(error.to_string())),
        }
    }

    fn edx_eax(&self) -> Result<u64, VcpuError> {
        let low = self.vcpu.read_register(Reg::RAX)? & 0xffff_ffff;
        let high = self.vcpu.read_register(Reg::RDX)? & 0xffff_ffff;
        Ok(high << 32 | low)
    }

    fn set_edx_eax(&mut self, value: u64) -> Result<(), VcpuError> {
        self.vcpu.write_register(Reg::RAX, value & 0xffff_ffff)?;
        self.vcpu.write_register(Reg::RDX, value >> 32)?;
        Ok(())
    }
}

/// The VMCS field an MSR lives in.
fn owned_field(owner: Owner) -> Option<Field> {
    match owner {
        Owner::Efer => Some(Field::GUEST_IA32_EFER),
        Owner::FsBase => Some(Field::GUEST_FS_BASE),
        Owner::GsBase => Some(Field::GUEST_GS_BASE),
        Owner::SysenterCs => Some(Field::GUEST_IA32_SYSENTER_CS),
        Owner::SysenterEsp => Some(Field::GUEST_SYSENTER_ESP),
        Owner::SysenterEip => Some(Field::GUEST_SYSENTER_EIP),
        Owner::LocalApic | Owner::Tsc | Owner::Vcpu => None,
    }
}
