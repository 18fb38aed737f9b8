//! A small machine: RAM, one vCPU, and a program.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hypervisor_framework::x86_64::vmcs::Field;
use hypervisor_framework::x86_64::{
    AccessRights, Deadline, EntryControls, ExitControls, ExitReason, InterruptionInfo, MemoryFlags, PinBased,
    ProcBased, ProcBased2, Reg, Segment, Vcpu, VcpuOptions, Vm, VmOptions, VmxCapability, canonical_control,
};
use hypervisor_framework::{HostRegion, Result};
use iced_x86::IcedError;
use iced_x86::code_asm::CodeAssembler;
use vm_memory::{Bytes, VolatileMemory};

use crate::layout::*;
use crate::provider::Provider;

/// CR0: PE.
pub(crate) const PE: u64 = 1;
/// CR0: NE and ET.
pub(crate) const NE_ET: u64 = 0x30;
/// CR0: PG.
pub(crate) const PG: u64 = 1 << 31;
/// CR4: PAE.
pub(crate) const PAE: u64 = 1 << 5;
/// CR4: OSFXSR.
pub(crate) const OSFXSR: u64 = 1 << 9;
/// CR4: VMXE.
pub(crate) const VMXE: u64 = 1 << 13;
/// EFER: LME and LMA.
pub(crate) const LONG: u64 = 0x500;
/// RFLAGS: IF and the fixed bit.
pub(crate) const INTERRUPTS_ON: u64 = 0x202;

/// A guest that gets nowhere in this time has failed.
const PATIENCE: Duration = Duration::from_secs(10);

/// What writes a guest's program.
pub(crate) type Program<'a> = &'a dyn Fn(&mut CodeAssembler) -> std::result::Result<(), IcedError>;

pub(crate) struct Guest {
    // Order matters: the vCPU goes before its VM.
    pub(crate) vcpu: Box<dyn Vcpu>,
    pub(crate) vm: Arc<dyn Vm>,
    pub(crate) ram: Arc<HostRegion>,
    entry_caps: u64,
}

/// The options of a guest that are not always the same.
#[derive(Default)]
pub(crate) struct Wish {
    pub(crate) primary: ProcBased,
    pub(crate) secondary: ProcBased2,
    pub(crate) options: VcpuOptions,
}

impl Guest {
    /// Long mode, ring 0, interrupts off, at the program.
    pub(crate) fn long(provider: &Provider, program: Program<'_>) -> Self {
        Self::long_with(provider, Wish::default(), program)
    }

    /// The same with more controls.
    pub(crate) fn long_with(provider: &Provider, wish: Wish, program: Program<'_>) -> Self {
        let mut guest = Self::new(provider, wish, 64, program);
        guest.tables(true);
        guest.set(Field::GUEST_CR0, PE | NE_ET | PG);
        guest.set(Field::GUEST_CR4, PAE | VMXE | OSFXSR);
        guest.set(Field::CTRL_CR0_SHADOW, PE | NE_ET | PG);
        guest.set(Field::CTRL_CR4_SHADOW, PAE | OSFXSR);
        guest.set(Field::GUEST_CR3, PML4);
        guest.set(Field::GUEST_IA32_EFER, LONG);
        guest.entry_controls(EntryControls::LOAD_EFER | EntryControls::GUEST_IA32E);
        guest.segments(CODE_SELECTOR, 0, u32::MAX, AccessRights::CODE64, AccessRights::DATA32);
        guest.vcpu.invalidate_tlb().unwrap();
        guest
    }

    /// Protected mode, 32 bits, flat, no paging.
    pub(crate) fn flat32(provider: &Provider, program: Program<'_>) -> Self {
        let mut guest = Self::new(provider, Wish::default(), 32, program);
        guest.tables(false);
        guest.set(Field::GUEST_CR0, PE | NE_ET);
        guest.set(Field::GUEST_CR4, VMXE | OSFXSR);
        guest.set(Field::CTRL_CR0_SHADOW, PE | NE_ET);
        guest.set(Field::CTRL_CR4_SHADOW, OSFXSR);
        guest.entry_controls(EntryControls::LOAD_EFER);
        guest.segments(CODE_SELECTOR, 0, u32::MAX, AccessRights::CODE32, AccessRights::DATA32);
        guest
    }

    /// Real mode, segments based at the program (CS) and at 0.
    pub(crate) fn real(provider: &Provider, program: Program<'_>) -> Self {
        let mut guest = Self::new(provider, Wish::default(), 16, program);
        guest.set(Field::GUEST_CR0, NE_ET);
        guest.set(Field::GUEST_CR4, VMXE);
        guest.set(Field::CTRL_CR0_SHADOW, NE_ET);
        guest.entry_controls(EntryControls::LOAD_EFER);
        guest.segments((CODE >> 4) as u16, CODE, 0xffff, AccessRights::CODE16, AccessRights::DATA16);
        guest.set(Field::GUEST_RIP, 0);
        guest.set(Field::GUEST_RSP, 0x7000);
        for segment in [Segment::Ss, Segment::Ds, Segment::Es, Segment::Fs, Segment::Gs] {
            guest.set(segment.selector(), 0);
            guest.set(segment.limit(), 0xffff);
        }
        guest
    }

    fn new(provider: &Provider, wish: Wish, bitness: u32, program: Program<'_>) -> Self {
        let vm = provider.hypervisor.create_vm(VmOptions::empty()).unwrap();
        let ram = Arc::new(HostRegion::new(RAM).unwrap());
        vm.map(&ram, 0, 0, RAM, MemoryFlags::RWX).unwrap();
        let vcpu = vm.vcpu_ticket(wish.options).unwrap().claim().unwrap();
        let mut guest = Self { vcpu, vm, ram, entry_caps: 0 };
        let mut assembler = CodeAssembler::new(bitness).unwrap();
        program(&mut assembler).unwrap();
        let origin = if bitness == 16 { 0 } else { CODE };
        guest.write(CODE, &assembler.assemble(origin).unwrap());
        let caps = |capability| provider.hypervisor.vmx_capability(capability).unwrap();
        let secondary = (wish.secondary | ProcBased2::EPT | ProcBased2::UNRESTRICTED).bits();
        let primary = (wish.primary | ProcBased::SECONDARY | ProcBased::HLT).bits();
        let pin = (PinBased::INTR | PinBased::NMI | PinBased::VIRTUAL_NMI).bits();
        let exits = ExitControls::HOST_IA32E | ExitControls::LOAD_EFER | ExitControls::SAVE_EFER;
        for (field, want, capability) in [
            (Field::CTRL_PIN_BASED, pin, VmxCapability::PINBASED),
            (Field::CTRL_CPU_BASED, primary, VmxCapability::PROCBASED),
            (Field::CTRL_CPU_BASED2, secondary, VmxCapability::PROCBASED2),
            (Field::CTRL_VMEXIT_CONTROLS, exits.bits(), VmxCapability::EXIT),
        ] {
            guest.set(field, canonical_control(want, caps(capability)).into());
        }
        guest.entry_caps = caps(VmxCapability::ENTRY);
        guest.set(Field::CTRL_EXC_BITMAP, 0);
        guest.set(Field::CTRL_CR0_MASK, PE | PG | NE_ET | 3 << 29);
        guest.set(Field::CTRL_CR4_MASK, VMXE);
        guest.set(Field::CTRL_CR4_SHADOW, 0);
        guest.set(Field::CTRL_VMENTRY_IRQ_INFO, 0);
        for field in [
            Field::GUEST_CR3,
            Field::GUEST_IA32_EFER,
            Field::GUEST_INTERRUPTIBILITY,
            Field::GUEST_ACTIVITY_STATE,
            Field::GUEST_DEBUG_EXC,
            Field::GUEST_IA32_SYSENTER_CS,
            Field::GUEST_SYSENTER_ESP,
            Field::GUEST_SYSENTER_EIP,
            Field::GUEST_GDTR_BASE,
            Field::GUEST_GDTR_LIMIT,
            Field::GUEST_IDTR_BASE,
        ] {
            guest.set(field, 0);
        }
        guest.set(Field::GUEST_IDTR_LIMIT, 0x3ff);
        guest.set(Field::GUEST_DR7, 0x400);
        guest.set(Field::GUEST_RIP, CODE);
        guest.set(Field::GUEST_RSP, STACK);
        guest.set(Field::GUEST_RFLAGS, 2);
        guest
    }

    fn entry_controls(&mut self, want: EntryControls) {
        let value = canonical_control(want.bits(), self.entry_caps);
        self.set(Field::CTRL_VMENTRY_CONTROLS, value.into());
    }

    fn segments(
        &mut self,
        code: u16,
        base: u64,
        limit: u32,
        code_rights: AccessRights,
        data_rights: AccessRights,
    ) {
        self.segment(Segment::Cs, code, base, limit, code_rights);
        for segment in [Segment::Ss, Segment::Ds, Segment::Es, Segment::Fs, Segment::Gs] {
            self.segment(segment, DATA_SELECTOR, 0, limit, data_rights);
        }
        self.segment(Segment::Ldtr, 0, 0, 0, AccessRights::UNUSABLE);
        self.segment(Segment::Tr, TSS_SELECTOR, TSS, 0x67, AccessRights::TSS_BUSY);
    }

    pub(crate) fn segment(
        &mut self,
        which: Segment,
        selector: u16,
        base: u64,
        limit: u32,
        rights: AccessRights,
    ) {
        self.set(which.selector(), selector.into());
        self.set(which.base(), base);
        self.set(which.limit(), limit.into());
        self.set(which.access_rights(), rights.0.into());
    }

    /// Page tables, GDT, IDT and a handler per vector: the handler writes its vector to a port.
    fn tables(&mut self, long: bool) {
        let size = if long { 16 } else { 8 };
        self.write_u64(PML4, PDPT | 7);
        self.write_u64(PDPT, PAGE_DIRECTORY | 7);
        for i in 0..512 {
            self.write_u64(PAGE_DIRECTORY + 8 * i, i << 21 | 0x87);
        }
        self.write_u64(
            GDT + u64::from(CODE_SELECTOR),
            if long { 0x00af_9b00_0000_ffff } else { 0x00cf_9b00_0000_ffff },
        );
        self.write_u64(GDT + u64::from(DATA_SELECTOR), 0x00cf_9300_0000_ffff);
        self.write_u64(GDT + u64::from(TSS_SELECTOR), 0x0000_8b00_0000_0067 | TSS << 16);
        for vector in 0..256 {
            let handler = HANDLERS + vector * HANDLER_SIZE;
            // mov al, vector; out HANDLER_PORT, al; hlt
            self.write(handler, &[0xb0, vector as u8, 0xe6, HANDLER_PORT as u8, 0xf4]);
            let gate =
                handler & 0xffff | u64::from(CODE_SELECTOR) << 16 | 0x8e00 << 32 | (handler >> 16) << 48;
            self.write_u64(IDT + vector * size, gate);
            if long {
                self.write_u64(IDT + vector * size + 8, 0);
            }
        }
        self.set(Field::GUEST_GDTR_BASE, GDT);
        self.set(Field::GUEST_GDTR_LIMIT, 0x27);
        self.set(Field::GUEST_IDTR_BASE, IDT);
        self.set(Field::GUEST_IDTR_LIMIT, 0xfff);
    }

    pub(crate) fn write(&mut self, gpa: u64, bytes: &[u8]) {
        self.ram.as_volatile_slice().write_slice(bytes, gpa as usize).unwrap();
    }

    pub(crate) fn write_u64(&mut self, gpa: u64, value: u64) {
        self.write(gpa, &value.to_le_bytes());
    }

    pub(crate) fn read_u64(&self, gpa: u64) -> u64 {
        let mut bytes = [0; 8];
        self.ram.as_volatile_slice().read_slice(&mut bytes, gpa as usize).unwrap();
        u64::from_le_bytes(bytes)
    }

    pub(crate) fn get(&self, field: Field) -> u64 {
        self.vcpu.read_vmcs(field).unwrap()
    }

    pub(crate) fn set(&mut self, field: Field, value: u64) {
        self.vcpu.write_vmcs(field, value).unwrap_or_else(|e| panic!("{field:?} = {value:#x}: {e}"));
    }

    pub(crate) fn reg(&self, reg: Reg) -> u64 {
        self.vcpu.read_register(reg).unwrap()
    }

    pub(crate) fn set_reg(&mut self, reg: Reg, value: u64) {
        self.vcpu.write_register(reg, value).unwrap();
    }

    /// Sets or clears bits of the primary controls.
    pub(crate) fn primary(&mut self, bits: ProcBased, on: bool) {
        let mut value = ProcBased::from_bits_retain(self.get(Field::CTRL_CPU_BASED) as u32);
        value.set(bits, on);
        self.set(Field::CTRL_CPU_BASED, value.bits().into());
    }

    /// Runs until an exit other than a host interrupt, for a bounded time.
    pub(crate) fn try_run(&mut self) -> Result<ExitReason> {
        let until = Instant::now() + PATIENCE;
        loop {
            let reason = ExitReason(self.vcpu.run_until(Deadline::At(until))?);
            if reason != ExitReason::EXTERNAL_INTERRUPT {
                return Ok(reason);
            }
        }
    }

    pub(crate) fn run(&mut self) -> ExitReason {
        self.try_run().unwrap_or_else(|e| panic!("{e}\n{}", self.dump()))
    }

    /// Runs and demands this exit.
    #[track_caller]
    pub(crate) fn expect(&mut self, reason: ExitReason) {
        let got = self.run();
        assert!(got == reason, "expected {reason}, got {got}\n{}", self.dump());
    }

    /// Runs and demands that the handler of `vector` was reached.
    #[track_caller]
    pub(crate) fn expect_handler(&mut self, vector: u8) {
        self.expect(ExitReason::IO);
        let port = self.qualification() >> 16;
        assert_eq!(port, u64::from(HANDLER_PORT), "not at a handler\n{}", self.dump());
        assert_eq!(self.reg(Reg::RAX) as u8, vector, "another vector\n{}", self.dump());
    }

    /// Steps over the instruction that caused the exit.
    pub(crate) fn skip(&mut self) {
        let next = self.rip() + self.length();
        self.set(Field::GUEST_RIP, next);
        self.set(Field::GUEST_INTERRUPTIBILITY, self.get(Field::GUEST_INTERRUPTIBILITY) & !3);
    }

    pub(crate) fn inject(&mut self, info: InterruptionInfo) {
        self.set(Field::CTRL_VMENTRY_IRQ_INFO, info.0.into());
    }

    pub(crate) fn rip(&self) -> u64 {
        self.get(Field::GUEST_RIP)
    }

    pub(crate) fn length(&self) -> u64 {
        self.get(Field::RO_VMEXIT_INSTR_LEN)
    }

    pub(crate) fn qualification(&self) -> u64 {
        self.get(Field::RO_EXIT_QUALIFIC)
    }

    pub(crate) fn interruption(&self) -> InterruptionInfo {
        InterruptionInfo(self.get(Field::RO_VMEXIT_IRQ_INFO) as u32)
    }

    pub(crate) fn vectoring(&self) -> InterruptionInfo {
        InterruptionInfo(self.get(Field::RO_IDT_VECTOR_INFO) as u32)
    }

    pub(crate) fn dump(&self) -> String {
        let fields = [
            Field::RO_EXIT_REASON,
            Field::RO_EXIT_QUALIFIC,
            Field::RO_INSTR_ERROR,
            Field::RO_VMEXIT_IRQ_INFO,
            Field::RO_VMEXIT_IRQ_ERROR,
            Field::RO_IDT_VECTOR_INFO,
            Field::GUEST_PHYSICAL_ADDRESS,
            Field::RO_GUEST_LIN_ADDR,
            Field::RO_VMEXIT_INSTR_LEN,
            Field::GUEST_RIP,
            Field::GUEST_RSP,
            Field::GUEST_RFLAGS,
            Field::GUEST_CR0,
            Field::GUEST_CR3,
            Field::GUEST_CR4,
            Field::GUEST_CS,
        ];
        fields.iter().map(|field| format!("  {field:?} = {:#x}\n", self.get(*field))).collect()
    }
}
