//! An engine exit as the VMCS reports it (SDM vol. 3, chapter 28 and appendix C).

use engine::{Access, ControlRegisterAccess, Event, Exit, Io, MemoryViolation, Reason};

use super::state::State;
use crate::x86_64::vmcs::Field;
use crate::x86_64::{EntryControls, EptQualification, ExitControls, ExitReason, InterruptionInfo};

const EFER_LMA: u64 = 1 << 10;

/// What an exit puts into the read-only fields.
#[derive(Debug, Clone, Copy, Default)]
struct Report {
    reason: u32,
    qualification: u64,
    interruption: u32,
    interruption_error: u32,
    instruction_info: u32,
    linear: u64,
    physical: u64,
}

/// Facts of the vCPU that some reports depend on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Setting {
    /// EPT violations have an instruction length.
    pub(super) ept_instruction_length: bool,
    /// The APIC-access page, if accesses to it are virtualized.
    pub(super) apic_page: Option<u64>,
}

/// Writes the exit into the VMCS and answers the exit reason.
pub(super) fn record(state: &mut State, exit: &Exit, setting: Setting) -> u32 {
    let mut report = describe(&exit.reason, setting, exit.vectoring.is_some());
    if exit.nmi_unblocked_by_iret {
        match exit.reason {
            Reason::Memory(_) => report.qualification |= EptQualification::NMI_UNBLOCKED,
            Reason::Exception { .. } => report.interruption |= InterruptionInfo::NMI_UNBLOCKED,
            _ => {}
        }
    }
    let length = match (&exit.reason, &exit.vectoring) {
        (_, Some(event)) if event.instruction_length != 0 => event.instruction_length,
        (Reason::Exception { event, .. }, _) => event.instruction_length,
        (Reason::Memory(_), _) if !setting.ept_instruction_length => 0,
        _ => exit.instruction_length,
    };
    let (vectoring, vectoring_error) = match &exit.vectoring {
        Some(event) => (information(event), event.error_code.unwrap_or(0)),
        None => (0, 0),
    };
    let store = &mut state.store;
    store.set(Field::RO_EXIT_REASON, report.reason.into());
    store.set(Field::RO_EXIT_QUALIFIC, report.qualification);
    store.set(Field::RO_VMEXIT_INSTR_LEN, length.into());
    store.set(Field::RO_VMX_INSTR_INFO, report.instruction_info.into());
    store.set(Field::RO_VMEXIT_IRQ_INFO, report.interruption.into());
    store.set(Field::RO_VMEXIT_IRQ_ERROR, report.interruption_error.into());
    store.set(Field::RO_IDT_VECTOR_INFO, vectoring.into());
    store.set(Field::RO_IDT_VECTOR_ERROR, vectoring_error.into());
    store.set(Field::RO_GUEST_LIN_ADDR, report.linear);
    store.set(Field::GUEST_PHYSICAL_ADDRESS, report.physical);
    save_mode(state);
    report.reason
}

/// The kick, host interrupts and the deadline: exits without anything but a reason.
pub(super) fn record_plain(state: &mut State, reason: ExitReason) -> u32 {
    let exit =
        Exit { reason: Reason::Kicked, instruction_length: 0, vectoring: None, nmi_unblocked_by_iret: false };
    record(state, &exit, Setting { ept_instruction_length: false, apic_page: None });
    state.store.set(Field::RO_EXIT_REASON, reason.0.into());
    reason.0
}

/// A failed entry: only reason and qualification are written (SDM vol. 3, 27.8).
pub(super) fn record_entry_failure(state: &mut State, reason: ExitReason, qualification: u64) -> u32 {
    let reason = reason.0 | ExitReason::ENTRY_FAILURE;
    state.store.set(Field::RO_EXIT_REASON, reason.into());
    state.store.set(Field::RO_EXIT_QUALIFIC, qualification);
    reason
}

/// Exits store LMA in the entry controls, and EFER where the exit controls say so.
fn save_mode(state: &mut State) {
    let efer = state.engine.cpu.efer();
    let bit = u64::from(EntryControls::GUEST_IA32E.bits());
    let entry = state.store.get(Field::CTRL_VMENTRY_CONTROLS) & !bit;
    let long = if efer & EFER_LMA != 0 { bit } else { 0 };
    state.store.set(Field::CTRL_VMENTRY_CONTROLS, entry | long);
    if state.store.get(Field::CTRL_VMEXIT_CONTROLS) & u64::from(ExitControls::SAVE_EFER.bits()) != 0 {
        state.store.set(Field::GUEST_IA32_EFER, efer);
    }
}

/// An event as an interruption-information word.
pub(super) fn information(event: &Event) -> u32 {
    let error = if event.error_code.is_some() { InterruptionInfo::ERROR_CODE } else { 0 };
    InterruptionInfo::VALID | error | (event.kind as u32) << 8 | u32::from(event.vector)
}

fn describe(reason: &Reason, setting: Setting, vectoring: bool) -> Report {
    let plain = |reason: ExitReason| Report { reason: reason.0, ..Report::default() };
    let qualified = |reason: ExitReason, qualification: u64| Report { qualification, ..plain(reason) };
    match reason {
        Reason::Exception { event, qualification } => Report {
            interruption: information(event),
            interruption_error: event.error_code.unwrap_or(0),
            ..qualified(ExitReason::EXCEPTION_NMI, *qualification)
        },
        Reason::Kicked => plain(ExitReason::EXTERNAL_INTERRUPT),
        Reason::Deadline => plain(ExitReason::PREEMPTION_TIMER),
        Reason::TripleFault => plain(ExitReason::TRIPLE_FAULT),
        Reason::InterruptWindow => plain(ExitReason::INTERRUPT_WINDOW),
        Reason::NmiWindow => plain(ExitReason::NMI_WINDOW),
        Reason::TaskSwitch { selector, source } => {
            qualified(ExitReason::TASK_SWITCH, u64::from(*selector) | (*source as u64) << 30)
        }
        Reason::Cpuid => plain(ExitReason::CPUID),
        Reason::Hlt => plain(ExitReason::HLT),
        Reason::Invd => plain(ExitReason::INVD),
        Reason::Invlpg(address) => qualified(ExitReason::INVLPG, *address),
        Reason::Invpcid => plain(ExitReason::INVPCID),
        Reason::Rdpmc => plain(ExitReason::RDPMC),
        Reason::Rdtsc => plain(ExitReason::RDTSC),
        Reason::Rdtscp => plain(ExitReason::RDTSCP),
        Reason::Rdrand => plain(ExitReason::RDRAND),
        Reason::Rdseed => plain(ExitReason::RDSEED),
        Reason::Wbinvd => plain(ExitReason::WBINVD),
        Reason::Pause => plain(ExitReason::PAUSE),
        Reason::Monitor => plain(ExitReason::MONITOR),
        Reason::Mwait => plain(ExitReason::MWAIT),
        Reason::Xsetbv => plain(ExitReason::XSETBV),
        Reason::Vmx(number) => plain(ExitReason(u32::from(*number))),
        Reason::ControlRegister(access) => control_register(*access, qualified),
        Reason::DebugRegister(access) => {
            let read = if access.read { 1 << 4 } else { 0 };
            qualified(ExitReason::DR_ACCESS, u64::from(access.dr) | read | u64::from(access.gpr) << 8)
        }
        Reason::Io(io) => port(io, qualified),
        Reason::ReadMsr => plain(ExitReason::RDMSR),
        Reason::WriteMsr => plain(ExitReason::WRMSR),
        Reason::GdtrIdtrAccess => plain(ExitReason::GDTR_IDTR_ACCESS),
        Reason::LdtrTrAccess => plain(ExitReason::LDTR_TR_ACCESS),
        Reason::MonitorTrap => plain(ExitReason::MONITOR_TRAP),
        Reason::Memory(violation) => memory(violation, setting, vectoring, qualified),
    }
}

fn control_register(
    access: ControlRegisterAccess,
    qualified: impl FnOnce(ExitReason, u64) -> Report,
) -> Report {
    let mut linear = 0;
    let qualification = match access {
        ControlRegisterAccess::Write { cr, gpr } => u64::from(cr) | u64::from(gpr) << 8,
        ControlRegisterAccess::Read { cr, gpr } => u64::from(cr) | 1 << 4 | u64::from(gpr) << 8,
        ControlRegisterAccess::Clts => 2 << 4,
        ControlRegisterAccess::Lmsw { source, address } => {
            linear = address.unwrap_or(0);
            3 << 4 | u64::from(address.is_some()) << 6 | u64::from(source) << 16
        }
    };
    Report { linear, ..qualified(ExitReason::CR_ACCESS, qualification) }
}

fn port(io: &Io, qualified: impl FnOnce(ExitReason, u64) -> Report) -> Report {
    let flag = |on: bool, bit: u32| u64::from(on) << bit;
    let qualification = u64::from(io.width.saturating_sub(1))
        | flag(io.input, 3)
        | flag(io.string, 4)
        | flag(io.repeat, 5)
        | flag(io.immediate, 6)
        | u64::from(io.port) << 16;
    let mut report = qualified(ExitReason::IO, qualification);
    if io.string {
        let size = match io.address_size {
            2 => 0,
            4 => 1,
            _ => 2,
        };
        report.instruction_info = size << 7 | u32::from(io.segment) << 15;
        report.linear = io.linear_address;
    }
    report
}

fn memory(
    violation: &MemoryViolation,
    setting: Setting,
    vectoring: bool,
    qualified: impl FnOnce(ExitReason, u64) -> Report,
) -> Report {
    if setting.apic_page == Some(violation.gpa & !0xfff) {
        let kind = match violation.access {
            _ if vectoring => 3,
            Access::Read => 0,
            Access::Write => 1,
            Access::Fetch => 2,
        };
        let mut report = qualified(ExitReason::APIC_ACCESS, violation.gpa & 0xfff | kind << 12);
        report.linear = violation.linear.unwrap_or(0);
        return report;
    }
    let (read, write, execute) = violation.allowed;
    let access = match violation.access {
        Access::Read => EptQualification::READ,
        Access::Write => EptQualification::WRITE,
        Access::Fetch => EptQualification::FETCH,
    };
    let when = |on: bool, bit: u64| if on { bit } else { 0 };
    let qualification = access
        | when(read, EptQualification::READABLE)
        | when(write, EptQualification::WRITABLE)
        | when(execute, EptQualification::EXECUTABLE)
        | when(violation.linear.is_some(), EptQualification::LINEAR_VALID)
        | when(violation.linear.is_some() && violation.is_final, EptQualification::FINAL);
    let mut report = qualified(ExitReason::EPT_VIOLATION, qualification);
    report.physical = violation.gpa;
    report.linear = violation.linear.unwrap_or(0);
    report
}
