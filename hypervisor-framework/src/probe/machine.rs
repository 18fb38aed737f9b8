//! A VM with one vCPU for probing, in one of three modes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use vm_memory::{Bytes, VolatileMemory};

use crate::x86_64::vmcs::Field;
use crate::x86_64::{
    AccessRights, Deadline, EntryControls, ExitReason, Hypervisor, MemoryFlags, PinBased, ProcBased, Segment,
    Vcpu, VcpuOptions, Vm, VmOptions, VmxCapability, canonical_control,
};
use crate::{Error, HostRegion, Result, ReturnCode};

/// RAM from 0 on.
pub(super) const RAM: usize = 12 << 20;
/// The program's address.
pub(super) const CODE: u64 = 0x1_0000;
/// A probe that gets no answer in this time gives up.
const PATIENCE: Duration = Duration::from_secs(5);

/// Dropped in this order: the vCPU before its VM.
pub(super) struct Machine {
    pub(super) vcpu: Box<dyn Vcpu>,
    pub(super) vm: Arc<dyn Vm>,
    pub(super) ram: Arc<HostRegion>,
}

impl Machine {
    /// Real mode, CS based at the program, everything else at 0.
    pub(super) fn real(hypervisor: &dyn Hypervisor, program: &[u8]) -> Result<Self> {
        let mut machine = Self::bare(hypervisor)?;
        machine.write(CODE, program)?;
        machine.set(Field::GUEST_CR0, 0x30)?;
        machine.set(Field::GUEST_CR4, 0x2000)?;
        let code = (Segment::Cs, (CODE >> 4) as u16, CODE, 0xffff, AccessRights::CODE16);
        machine.segments(code, 0xffff, AccessRights::DATA16)?;
        machine.set(Field::GUEST_RIP, 0)?;
        Ok(machine)
    }

    /// 32-bit flat code under paging with 4 MiB pages; `page_directory` is CR3.
    pub(super) fn paged(hypervisor: &dyn Hypervisor, program: &[u8], page_directory: u64) -> Result<Self> {
        let mut machine = Self::bare(hypervisor)?;
        machine.write(CODE, program)?;
        machine.set(Field::GUEST_CR0, 0x8000_0031)?;
        machine.set(Field::GUEST_CR4, 0x2010)?;
        machine.set(Field::GUEST_CR3, page_directory)?;
        let code = (Segment::Cs, 8, 0, u32::MAX, AccessRights::CODE32);
        machine.segments(code, u32::MAX, AccessRights::DATA32)?;
        machine.set(Field::GUEST_RIP, CODE)?;
        machine.vcpu.invalidate_tlb()?;
        Ok(machine)
    }

    /// 64-bit code; RAM is mapped to itself by 2 MiB pages.
    pub(super) fn long(hypervisor: &dyn Hypervisor, program: &[u8]) -> Result<Self> {
        const TABLES: [u64; 3] = [0x2000, 0x3000, 0x4000];
        const LME_LMA: u64 = 0x500;
        let mut machine = Self::paged(hypervisor, program, TABLES[0])?;
        machine.write(TABLES[0], &(TABLES[1] | 3).to_le_bytes())?;
        machine.write(TABLES[1], &(TABLES[2] | 3).to_le_bytes())?;
        for page in 0..(RAM >> 21) as u64 {
            machine.write(TABLES[2] + 8 * page, &(page << 21 | 0x83).to_le_bytes())?;
        }
        machine.set(Field::GUEST_CR4, 0x2020)?;
        machine.set(Field::GUEST_IA32_EFER, LME_LMA)?;
        let want = EntryControls::LOAD_EFER | EntryControls::GUEST_IA32E;
        let entry = canonical_control(want.bits(), hypervisor.vmx_capability(VmxCapability::ENTRY)?);
        machine.set(Field::CTRL_VMENTRY_CONTROLS, entry.into())?;
        machine.set(Field::GUEST_CS_AR, AccessRights::CODE64.0.into())?;
        machine.vcpu.invalidate_tlb()?;
        Ok(machine)
    }

    fn bare(hypervisor: &dyn Hypervisor) -> Result<Self> {
        let vm = hypervisor.create_vm(VmOptions::empty())?;
        let no_memory = |_| Error { call: "mmap", code: ReturnCode::NO_RESOURCES };
        let ram = Arc::new(HostRegion::new(RAM).map_err(no_memory)?);
        vm.map(&ram, 0, 0, RAM, MemoryFlags::RWX)?;
        let vcpu = vm.vcpu_ticket(VcpuOptions::empty())?.claim()?;
        let mut machine = Self { vcpu, vm, ram };
        let pin = PinBased::INTR | PinBased::NMI | PinBased::VIRTUAL_NMI;
        for (field, want, capability) in [
            (Field::CTRL_PIN_BASED, pin.bits(), VmxCapability::PINBASED),
            (
                Field::CTRL_CPU_BASED,
                ProcBased::HLT.bits() | ProcBased::SECONDARY.bits(),
                VmxCapability::PROCBASED,
            ),
            (Field::CTRL_CPU_BASED2, 0, VmxCapability::PROCBASED2),
            (Field::CTRL_VMENTRY_CONTROLS, EntryControls::LOAD_EFER.bits(), VmxCapability::ENTRY),
        ] {
            let value = canonical_control(want, hypervisor.vmx_capability(capability)?);
            machine.set(field, value.into())?;
        }
        for (field, value) in [
            (Field::CTRL_EXC_BITMAP, 0),
            (Field::CTRL_CR0_MASK, 0x6000_0000),
            (Field::CTRL_CR0_SHADOW, 0),
            (Field::CTRL_CR4_MASK, 0x2000),
            (Field::CTRL_CR4_SHADOW, 0),
            (Field::CTRL_VMENTRY_IRQ_INFO, 0),
            (Field::GUEST_IA32_EFER, 0),
            (Field::GUEST_CR3, 0),
            (Field::GUEST_RFLAGS, 2),
            (Field::GUEST_RSP, 0x7000),
            (Field::GUEST_DR7, 0x400),
            (Field::GUEST_GDTR_BASE, 0),
            (Field::GUEST_GDTR_LIMIT, 0xffff),
            (Field::GUEST_IDTR_BASE, 0),
            (Field::GUEST_IDTR_LIMIT, 0xffff),
            (Field::GUEST_INTERRUPTIBILITY, 0),
            (Field::GUEST_ACTIVITY_STATE, 0),
            (Field::GUEST_DEBUG_EXC, 0),
            (Field::GUEST_IA32_SYSENTER_CS, 0),
            (Field::GUEST_SYSENTER_ESP, 0),
            (Field::GUEST_SYSENTER_EIP, 0),
        ] {
            machine.set(field, value)?;
        }
        Ok(machine)
    }

    fn segments(
        &mut self,
        code: (Segment, u16, u64, u32, AccessRights),
        limit: u32,
        data: AccessRights,
    ) -> Result<()> {
        let others = [Segment::Ss, Segment::Ds, Segment::Es, Segment::Fs, Segment::Gs];
        let mut all: Vec<_> = others.into_iter().map(|segment| (segment, 0, 0, limit, data)).collect();
        all.push(code);
        all.push((Segment::Ldtr, 0, 0, 0, AccessRights::UNUSABLE));
        all.push((Segment::Tr, 0, 0, 0xffff, AccessRights::TSS_BUSY));
        for (segment, selector, base, limit, rights) in all {
            self.set(segment.selector(), selector.into())?;
            self.set(segment.base(), base)?;
            self.set(segment.limit(), limit.into())?;
            self.set(segment.access_rights(), rights.0.into())?;
        }
        Ok(())
    }

    pub(super) fn write(&mut self, gpa: u64, bytes: &[u8]) -> Result<()> {
        let outside = |_| Error { call: "write to guest memory", code: ReturnCode::BAD_ARGUMENT };
        self.ram.as_volatile_slice().write_slice(bytes, gpa as usize).map_err(outside)
    }

    pub(super) fn set(&mut self, field: Field, value: u64) -> Result<()> {
        self.vcpu.write_vmcs(field, value)
    }

    pub(super) fn get(&self, field: Field) -> Result<u64> {
        self.vcpu.read_vmcs(field)
    }

    /// Runs until an exit other than a host interrupt; reason 52 when nothing came.
    pub(super) fn run(&mut self) -> Result<ExitReason> {
        let until = Instant::now() + PATIENCE;
        loop {
            let reason = ExitReason(self.vcpu.run_until(Deadline::At(until))?);
            if reason != ExitReason::EXTERNAL_INTERRUPT {
                return Ok(reason);
            }
        }
    }
}
