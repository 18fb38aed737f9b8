//! Events on their way into the guest.
//!
//! Order (SDM vol. 3, 7.9 and 27.2): an event whose delivery an exit cut short, an exception of an emulated instruction, an NMI,
//! an external interrupt. What cannot be delivered yet asks for a window: an exit as soon as it can.

use hypervisor_framework::x86_64::vmcs::Field;
use hypervisor_framework::x86_64::{
    EptQualification, ExitReason, Interruptibility, InterruptionInfo, InterruptionKind, ProcBased, Reg,
};

use super::{VcpuError, X86Vcpu};
use crate::x86_64::mmio::Exception;

/// RFLAGS.IF.
const INTERRUPT_FLAG: u64 = 1 << 9;
const VECTOR_NMI: u8 = 2;
const VECTOR_DOUBLE_FAULT: u8 = 8;
const VECTOR_PAGE_FAULT: u8 = 14;

/// An event in the VMCS's terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Event {
    info: InterruptionInfo,
    error_code: u32,
    /// Software events: added to the RIP that is pushed.
    instruction_length: u32,
}

/// Events of one vCPU.
#[derive(Debug, Default)]
pub(super) struct Events {
    /// The VMCS holds an event; the next entry delivers it.
    loaded: bool,
    /// Cut short by the last exit.
    interrupted: Option<Event>,
    /// Raised by an instruction that the VMM carried out.
    exception: Option<Event>,
    /// Primary controls as last written.
    pub(super) primary: u32,
}

impl Event {
    fn hardware(kind: InterruptionKind, vector: u8, error_code: Option<u32>) -> Self {
        Self {
            info: InterruptionInfo::new(kind, vector, error_code.is_some()),
            error_code: error_code.unwrap_or(0),
            instruction_length: 0,
        }
    }

    fn exception(vector: u8, error_code: Option<u32>) -> Self {
        Self::hardware(InterruptionKind::HardwareException, vector, error_code)
    }
}

/// How an exception during the delivery of another event goes on (SDM vol. 3, 7.15 "Double Fault").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Escalation {
    /// Only the second is delivered; the first comes again when its instruction does.
    Second,
    /// #DF.
    DoubleFault,
    /// Shutdown.
    TripleFault,
}

/// What becomes of exception `second`, raised while `first` was being delivered.
pub(super) fn escalate(first: InterruptionInfo, second: u8) -> Escalation {
    if first.kind() != InterruptionKind::HardwareException {
        return Escalation::Second;
    }
    let contributory = |vector: u8| matches!(vector, 0 | 10..=13);
    let page_fault = |vector: u8| vector == VECTOR_PAGE_FAULT;
    let first = first.vector();
    if first == VECTOR_DOUBLE_FAULT && (contributory(second) || page_fault(second)) {
        return Escalation::TripleFault;
    }
    let doubles = (contributory(first) && contributory(second))
        || (page_fault(first) && (contributory(second) || page_fault(second)));
    if doubles { Escalation::DoubleFault } else { Escalation::Second }
}

impl X86Vcpu {
    /// An instruction the VMM carried out has faulted.
    pub(super) fn raise(&mut self, exception: Exception) -> Result<(), VcpuError> {
        if let Some(linear) = exception.cr2 {
            self.vcpu.write_register(Reg::CR2, linear)?;
        }
        // Real mode has no error codes; an entry that pushes one there fails (SDM vol. 3, 27.2.1.3).
        let error_code = exception.error_code.filter(|_| self.guest_cr0().is_ok_and(|cr0| cr0 & 1 != 0));
        self.events.exception = Some(Event::exception(exception.vector, error_code));
        Ok(())
    }

    /// #GP(0).
    pub(super) fn raise_general_protection(&mut self) -> Result<(), VcpuError> {
        self.raise(Exception::general_protection())
    }

    /// Puts the next event into the VMCS and asks for the windows the others need.
    pub(super) fn prepare_entry(&mut self) -> Result<(), VcpuError> {
        if !self.events.loaded
            && let Some(event) = self.events.interrupted.take().or_else(|| self.events.exception.take())
        {
            self.load(event)?;
        }
        let (mut nmi_window, mut irq_window) = (false, false);
        if self.apic.has_work() {
            nmi_window = self.apic.nmi_pending() && !self.inject_nmi()?;
            irq_window = self.apic.highest_deliverable().is_some() && !self.inject_interrupt()?;
            // A second interrupt may wait behind the one just taken.
            irq_window |= self.events.loaded && self.apic.highest_deliverable().is_some();
        }
        let window = |wanted: bool, bit: ProcBased| if wanted { bit.bits() } else { 0 };
        let primary = self.plan.primary
            | window(nmi_window, ProcBased::NMI_WINDOW)
            | window(irq_window, ProcBased::IRQ_WINDOW);
        if primary != self.events.primary {
            self.vcpu.write_vmcs(Field::CTRL_CPU_BASED, primary.into())?;
            self.events.primary = primary;
        }
        Ok(())
    }

    fn inject_nmi(&mut self) -> Result<bool, VcpuError> {
        let blocking = Interruptibility::STI | Interruptibility::MOV_SS | Interruptibility::NMI;
        if self.events.loaded || self.interruptibility()?.intersects(blocking) {
            return Ok(false);
        }
        if self.apic.take_nmi() {
            self.load(Event::hardware(InterruptionKind::Nmi, VECTOR_NMI, None))?;
        }
        Ok(true)
    }

    fn inject_interrupt(&mut self) -> Result<bool, VcpuError> {
        let blocking = Interruptibility::STI | Interruptibility::MOV_SS;
        if self.events.loaded
            || self.vcpu.read_register(Reg::RFLAGS)? & INTERRUPT_FLAG == 0
            || self.interruptibility()?.intersects(blocking)
        {
            return Ok(false);
        }
        if let Some(vector) = self.apic.acknowledge() {
            self.load(Event::hardware(InterruptionKind::External, vector, None))?;
        }
        Ok(true)
    }

    fn load(&mut self, event: Event) -> Result<(), VcpuError> {
        if event.info.has_error_code() {
            self.vcpu.write_vmcs(Field::CTRL_VMENTRY_EXC_ERROR, event.error_code.into())?;
        }
        if event.info.kind().needs_instruction_length() {
            self.vcpu.write_vmcs(Field::CTRL_VMENTRY_INSTR_LEN, event.instruction_length.into())?;
        }
        self.vcpu.write_vmcs(Field::CTRL_VMENTRY_IRQ_INFO, event.info.0.into())?;
        self.events.loaded = true;
        self.halted = false;
        Ok(())
    }

    /// Can a sleeping vCPU be woken by anything but NMI, INIT and start-up?
    pub(super) fn interrupts_enabled(&self) -> Result<bool, VcpuError> {
        Ok(self.vcpu.read_register(Reg::RFLAGS)? & INTERRUPT_FLAG != 0)
    }

    /// After an exit: was the event delivered, and did the exit cut a delivery short?
    pub(super) fn note_interrupted_event(&mut self, reason: ExitReason) -> Result<(), VcpuError> {
        if self.events.loaded {
            // The processor clears the valid bit when it takes the event; a run that never entered leaves it.
            let info = self.read32(Field::CTRL_VMENTRY_IRQ_INFO)?;
            self.events.loaded = InterruptionInfo(info).is_valid();
        }
        let vectoring = InterruptionInfo(self.read32(Field::RO_IDT_VECTOR_INFO)?);
        if vectoring.is_valid() {
            return self.keep_interrupted(vectoring);
        }
        let unblocked = match reason.basic() {
            ExitReason::EXCEPTION_NMI => {
                let info = InterruptionInfo(self.read32(Field::RO_VMEXIT_IRQ_INFO)?);
                info.is_valid() && info.nmi_unblocked() && info.vector() != VECTOR_DOUBLE_FAULT
            }
            ExitReason::EPT_VIOLATION => {
                EptQualification(self.vcpu.read_vmcs(Field::RO_EXIT_QUALIFIC)?).nmi_unblocked()
            }
            _ => false,
        };
        if unblocked {
            let blocked = self.interruptibility()? | Interruptibility::NMI;
            self.set_interruptibility(blocked)?;
        }
        Ok(())
    }

    fn keep_interrupted(&mut self, vectoring: InterruptionInfo) -> Result<(), VcpuError> {
        if vectoring.kind() == InterruptionKind::Nmi {
            // Its delivery has blocked NMIs already; they are free until it is delivered.
            let free = self.interruptibility()? - Interruptibility::NMI;
            self.set_interruptibility(free)?;
        }
        let error_code =
            if vectoring.has_error_code() { self.read32(Field::RO_IDT_VECTOR_ERROR)? } else { 0 };
        let instruction_length = if vectoring.kind().needs_instruction_length() {
            self.read32(Field::RO_VMEXIT_INSTR_LEN)?
        } else {
            0
        };
        // Bit 12 is undefined here and reserved on entry.
        let info = InterruptionInfo(vectoring.0 & !InterruptionInfo::NMI_UNBLOCKED);
        self.events.interrupted = Some(Event { info, error_code, instruction_length });
        Ok(())
    }

    /// Was an event being delivered when the last exit came?
    pub(super) fn was_delivering(&self) -> bool {
        self.events.interrupted.is_some()
    }

    /// An exception that exited instead of being delivered: deliver it, or what it becomes together with the event that
    /// was under way. False if the guest has shut down.
    pub(super) fn reflect_exception(&mut self) -> Result<bool, VcpuError> {
        let info = InterruptionInfo(self.read32(Field::RO_VMEXIT_IRQ_INFO)?);
        if !info.is_valid()
            || info.kind() == InterruptionKind::Nmi
            || info.kind() == InterruptionKind::External
        {
            // The host's own.
            return Ok(true);
        }
        let escalation =
            self.events.interrupted.map_or(Escalation::Second, |first| escalate(first.info, info.vector()));
        self.events.exception = match escalation {
            Escalation::TripleFault => return Ok(false),
            Escalation::DoubleFault => {
                self.events.interrupted = None;
                Some(Event::exception(VECTOR_DOUBLE_FAULT, Some(0)))
            }
            Escalation::Second => {
                if info.vector() == VECTOR_PAGE_FAULT {
                    let linear = self.vcpu.read_vmcs(Field::RO_EXIT_QUALIFIC)?;
                    self.vcpu.write_register(Reg::CR2, linear)?;
                }
                self.drop_restarted_event();
                Some(Event {
                    info: InterruptionInfo(info.0 & !InterruptionInfo::NMI_UNBLOCKED),
                    error_code: self.read32(Field::RO_VMEXIT_IRQ_ERROR)?,
                    instruction_length: self.read32(Field::RO_VMEXIT_INSTR_LEN)?,
                })
            }
        };
        Ok(true)
    }

    /// An interrupted exception or software interrupt comes again with its instruction; interrupts and NMIs do not, so they
    /// stay to be delivered first.
    fn drop_restarted_event(&mut self) {
        let restarts =
            |event: &Event| !matches!(event.info.kind(), InterruptionKind::External | InterruptionKind::Nmi);
        if self.events.interrupted.as_ref().is_some_and(restarts) {
            self.events.interrupted = None;
        }
    }

    pub(super) fn interruptibility(&self) -> Result<Interruptibility, VcpuError> {
        Ok(Interruptibility::from_bits_truncate(self.read32(Field::GUEST_INTERRUPTIBILITY)?))
    }

    pub(super) fn set_interruptibility(&mut self, state: Interruptibility) -> Result<(), VcpuError> {
        self.vcpu.write_vmcs(Field::GUEST_INTERRUPTIBILITY, state.bits().into())?;
        Ok(())
    }

    /// A 32-bit field.
    pub(super) fn read32(&self, field: Field) -> Result<u32, VcpuError> {
        // Fields of this width have no upper half.
        Ok(self.vcpu.read_vmcs(field)? as u32)
    }

    /// Does this vCPU sleep so that only another vCPU, or nobody, can wake it?
    pub(crate) fn sleeps_for_good(&mut self) -> Result<bool, VcpuError> {
        if self.apic.waits_for_startup() {
            return Ok(true);
        }
        Ok(self.halted && !self.interrupts_enabled()? && !self.apic.nmi_pending())
    }
}

#[cfg(test)]
#[path = "inject_test.rs"]
mod inject_test;
