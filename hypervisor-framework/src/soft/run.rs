//! A run: VM entry, guest, and what the framework handles before the caller sees an exit.

use std::time::{Duration, Instant};

use engine::{ControlRegisterAccess, Event, EventKind, Exit, Interruptibility, Reason};

use super::entry::{self, Kind, Refusal};
use super::exit::{self, Setting};
use super::intercepts;
use super::memory::Touch;
use super::vcpu::SoftVcpu;
use crate::x86_64::vmcs::Field;
use crate::x86_64::{
    ActivityState, EntryControls, ExitReason, InterruptionInfo, InterruptionKind, PinBased, ProcBased,
    ProcBased2,
};
use crate::{Error, Result, ReturnCode};

/// EFER of a macOS host: SCE and NXE.
const HOST_EFER: u64 = 1 | 1 << 11;
const EFER_LME: u64 = 1 << 8;
const EFER_LMA: u64 = 1 << 10;
const CR0_PG: u64 = 1 << 31;
const RFLAGS_IF: u64 = 1 << 9;
/// VM-instruction error: entry with invalid control fields.
const ERROR_INVALID_CONTROLS: u64 = 7;
/// The preemption timer counts down once per 2^5 TSC ticks, as IA32_VMX_MISC says.
const TIMER_SHIFT: u32 = 5;

/// Which call runs the guest.
#[derive(Debug, Clone, Copy)]
pub(super) enum Entry {
    /// `hv_vcpu_run`.
    Plain,
    /// `hv_vcpu_run_until`; `None` is forever.
    Until(Option<Instant>),
    /// `run_for`: to this count of instructions.
    To(u64),
}

impl Entry {
    /// The framework deals with first touches itself.
    fn hides_fills(self) -> bool {
        !matches!(self, Self::Plain)
    }
}

/// What an entry leaves to do before the guest's first instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pending {
    Nothing,
    /// The injected "event" is a monitor trap exit.
    MonitorTrap,
    /// An event, and a monitor trap exit in front of its handler (SDM vol. 3, 26.5.2).
    MonitorTrapAfterEvent,
}

/// When the guest has to stop by itself, and what that looks like.
#[derive(Debug, Clone, Copy)]
struct Alarm {
    at: Instant,
    reason: ExitReason,
}

/// A small deterministic generator for the times of host interrupts (xorshift).
#[derive(Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    fn below(&mut self, limit: Duration) -> Duration {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let nanos = u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX).max(1);
        Duration::from_nanos(self.0 % nanos)
    }
}

impl SoftVcpu {
    /// Runs the guest until something leaves it that the caller is to see.
    pub(super) fn enter(&mut self, call: &'static str, entry: Entry) -> Result<u32> {
        self.kick.enter();
        let result = self.enter_inside(call, entry);
        self.kick.leave();
        result
    }

    fn enter_inside(&mut self, call: &'static str, entry: Entry) -> Result<u32> {
        if let Err(refusal) = entry::check(&self.state) {
            return self.refuse(call, refusal);
        }
        if entry.hides_fills() {
            self.vm.memory.warm_all();
        }
        let alarm = match self.load() {
            Pending::MonitorTrap => return Ok(exit::record_plain(&mut self.state, ExitReason::MONITOR_TRAP)),
            // Time enough to deliver the event, not for the handler's first instruction.
            Pending::MonitorTrapAfterEvent => {
                Some(Alarm { at: Instant::now(), reason: ExitReason::MONITOR_TRAP })
            }
            Pending::Nothing => self.alarm(entry),
        };
        loop {
            let halted = self.state.get(Field::GUEST_ACTIVITY_STATE) == u64::from(ActivityState::HLT.0);
            // An entry delivers its event before anything can end the run.
            let delivers = self.state.engine.cpu.has_injected_event();
            let exit = if !delivers && self.kick.take() {
                bare(Reason::Kicked)
            } else if halted {
                self.wait(alarm)
            } else {
                let start = Instant::now();
                let engine = &mut self.state.engine;
                let exit = match (entry, alarm, &mut self.twin, &self.vm.lockstep) {
                    (Entry::To(count), None, Some(twin), Some(lockstep)) => {
                        twin.run(engine, lockstep, &self.vm.memory, count).map_err(|difference| {
                            log::error!("{difference}");
                            Error { call, code: ReturnCode::ERROR }
                        })?
                    }
                    (Entry::To(count), None, ..) => engine.run_to(count),
                    _ => engine.run(alarm.map(|alarm| alarm.at)),
                };
                self.in_guest = self.in_guest.saturating_add(start.elapsed());
                exit
            };
            if let Some(reason) = self.leave(exit, entry, alarm) {
                return Ok(reason);
            }
        }
    }

    /// A failed entry, as the framework reports it.
    fn refuse(&mut self, call: &'static str, refusal: Refusal) -> Result<u32> {
        let value = self.state.get(refusal.field);
        log::debug!("VM entry refused: {:?} = {value:#x}, but {}", refusal.field, refusal.rule);
        match refusal.kind {
            Kind::Controls => {
                self.state.store.set(Field::RO_INSTR_ERROR, ERROR_INVALID_CONTROLS);
                self.vmx_status = 1 << 6;
                Err(Error { call, code: ReturnCode::ERROR })
            }
            Kind::GuestState(qualification) => {
                let reason = ExitReason::INVALID_GUEST_STATE;
                let reason = exit::record_entry_failure(&mut self.state, reason, qualification);
                match self.vm.quirks.invalid_guest_state {
                    ReturnCode::SUCCESS => Ok(reason),
                    code => Err(Error { call, code }),
                }
            }
        }
    }

    /// Loads what an entry loads: EFER, intercepts, the TSC offset and the event to inject.
    fn load(&mut self) -> Pending {
        let entry = EntryControls::from_bits_retain(self.state.get(Field::CTRL_VMENTRY_CONTROLS) as u32);
        let efer = if entry.contains(EntryControls::LOAD_EFER) {
            self.state.get(Field::GUEST_IA32_EFER)
        } else {
            let long = entry.contains(EntryControls::GUEST_IA32E);
            let lma = if long { EFER_LMA | EFER_LME } else { 0 };
            let paging = self.state.get(Field::GUEST_CR0) & CR0_PG != 0;
            let kept = if paging { 0 } else { self.state.engine.cpu.efer() & EFER_LME };
            HOST_EFER | lma | kept
        };
        if efer != self.state.engine.cpu.efer() {
            self.state.engine.cpu.set_efer(efer);
        }
        if self.state.changed.controls {
            intercepts::load(&mut self.state);
        }
        let primary = ProcBased::from_bits_retain(self.state.get(Field::CTRL_CPU_BASED) as u32);
        let offset = if primary.contains(ProcBased::TSC_OFFSET) { self.tsc_offset() } else { 0 };
        self.state.engine.cpu.intercepts.tsc_offset = offset;
        self.state.entered();
        self.inject()
    }

    /// Hands the entry's event to the engine; the valid bit is cleared, as every entry does.
    fn inject(&mut self) -> Pending {
        let info = InterruptionInfo(self.state.get(Field::CTRL_VMENTRY_IRQ_INFO) as u32);
        if !info.is_valid() {
            return Pending::Nothing;
        }
        let cleared = info.0 & !InterruptionInfo::VALID;
        self.state.store.set(Field::CTRL_VMENTRY_IRQ_INFO, cleared.into());
        self.wake();
        let kind = match info.kind() {
            InterruptionKind::External => EventKind::External,
            InterruptionKind::Nmi => EventKind::Nmi,
            InterruptionKind::HardwareException => EventKind::Exception,
            InterruptionKind::SoftwareInterrupt => EventKind::SoftwareInterrupt,
            InterruptionKind::PrivilegedSoftwareException => EventKind::PrivilegedSoftwareException,
            InterruptionKind::SoftwareException => EventKind::SoftwareException,
            // The entry checks leave no reserved type.
            InterruptionKind::Reserved | InterruptionKind::Other => return Pending::MonitorTrap,
        };
        let length = if info.kind().needs_instruction_length() {
            self.state.get(Field::CTRL_VMENTRY_INSTR_LEN) as u8
        } else {
            0
        };
        let code = self.state.get(Field::CTRL_VMENTRY_EXC_ERROR) as u32;
        self.state.engine.cpu.inject(Event {
            vector: info.vector(),
            kind,
            error_code: info.has_error_code().then_some(code),
            instruction_length: length,
        });
        let primary = ProcBased::from_bits_retain(self.state.get(Field::CTRL_CPU_BASED) as u32);
        if primary.contains(ProcBased::MONITOR_TRAP) {
            Pending::MonitorTrapAfterEvent
        } else {
            Pending::Nothing
        }
    }

    fn wake(&mut self) {
        self.state.store.set(Field::GUEST_ACTIVITY_STATE, ActivityState::ACTIVE.0.into());
    }

    /// The earliest of deadline, preemption timer and the host's next interrupt.
    fn alarm(&mut self, entry: Entry) -> Option<Alarm> {
        let deadline = match entry {
            Entry::Until(deadline) => {
                return deadline.map(|at| Alarm { at, reason: ExitReason::PREEMPTION_TIMER });
            }
            Entry::To(_) => return None,
            Entry::Plain => self.preemption_timer(),
        };
        let timer = deadline.map(|at| Alarm { at, reason: ExitReason::PREEMPTION_TIMER });
        let interrupt = self.vm.quirks.host_interrupts.map(|most| Alarm {
            at: Instant::now() + self.random.below(most),
            reason: ExitReason::EXTERNAL_INTERRUPT,
        });
        [timer, interrupt].into_iter().flatten().min_by_key(|alarm| alarm.at)
    }

    fn preemption_timer(&self) -> Option<Instant> {
        let pin = PinBased::from_bits_retain(self.state.get(Field::CTRL_PIN_BASED) as u32);
        if !pin.contains(PinBased::PREEMPTION_TIMER) {
            return None;
        }
        let ticks = u128::from(self.state.get(Field::GUEST_VMX_TIMER_VALUE)) << TIMER_SHIFT;
        let nanos = ticks.saturating_mul(1_000_000_000) / u128::from(self.vm.tsc_frequency_hz.max(1));
        Instant::now().checked_add(Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)))
    }

    /// The HLT state: until a window opens, a kick or the alarm.
    fn wait(&mut self, alarm: Option<Alarm>) -> Exit {
        let primary = ProcBased::from_bits_retain(self.state.get(Field::CTRL_CPU_BASED) as u32);
        let cpu = &self.state.engine.cpu;
        if primary.contains(ProcBased::NMI_WINDOW) && !cpu.interruptibility().contains(Interruptibility::NMI)
        {
            self.wake();
            return bare(Reason::NmiWindow);
        }
        if primary.contains(ProcBased::IRQ_WINDOW) && cpu.rflags() & RFLAGS_IF != 0 {
            self.wake();
            return bare(Reason::InterruptWindow);
        }
        let kicked = self.kick.wait(alarm.map(|alarm| alarm.at));
        bare(if kicked { Reason::Kicked } else { Reason::Deadline })
    }

    /// An exit of the engine: `Some` for the caller, `None` when the framework has dealt with it.
    fn leave(&mut self, exit: Exit, entry: Entry, alarm: Option<Alarm>) -> Option<u32> {
        match &exit.reason {
            Reason::Kicked => {
                self.kick.take();
                return Some(exit::record_plain(&mut self.state, ExitReason::EXTERNAL_INTERRUPT));
            }
            Reason::Deadline => {
                let reason = alarm.map_or(ExitReason::PREEMPTION_TIMER, |alarm| alarm.reason);
                return Some(exit::record_plain(&mut self.state, reason));
            }
            Reason::Hlt if !intercepts::client_wants_hlt(&self.state) => {
                self.step_over(exit.instruction_length);
                self.state.store.set(Field::GUEST_ACTIVITY_STATE, ActivityState::HLT.0.into());
                return None;
            }
            Reason::ControlRegister(ControlRegisterAccess::Write { cr: 8, gpr })
                if !intercepts::client_wants_cr8_loads(&self.state) =>
            {
                return self.write_shadowed_tpr(*gpr, exit.instruction_length);
            }
            Reason::Memory(violation) => {
                // A first touch shows under plain run; a lost race with another CPU's never does.
                let hidden = match self.vm.memory.touch(violation) {
                    Touch::Filled => entry.hides_fills(),
                    Touch::Allowed => true,
                    Touch::Refused => false,
                };
                if hidden {
                    self.resume(&exit);
                    return None;
                }
            }
            _ => {}
        }
        let setting = Setting {
            ept_instruction_length: self.vm.quirks.ept_instruction_length,
            apic_page: self.apic_page(),
        };
        Some(exit::record(&mut self.state, &exit, setting))
    }

    fn apic_page(&self) -> Option<u64> {
        let secondary = ProcBased2::from_bits_retain(self.state.get(Field::CTRL_CPU_BASED2) as u32);
        secondary.contains(ProcBased2::VIRTUAL_APIC).then(|| self.state.get(Field::CTRL_APIC_ACCESS))
    }

    /// Moves past an instruction that was completed here.
    fn step_over(&mut self, length: u8) {
        let cpu = &mut self.state.engine.cpu;
        cpu.set_rip(cpu.rip().wrapping_add(length.into()));
        let shadow = Interruptibility::STI | Interruptibility::MOV_SS;
        cpu.set_interruptibility(cpu.interruptibility() - shadow);
    }

    /// Runs the same instruction again; an event whose delivery was cut short is delivered again.
    fn resume(&mut self, exit: &Exit) {
        let cpu = &mut self.state.engine.cpu;
        if let Some(event) = exit.vectoring {
            if event.kind == EventKind::Nmi {
                cpu.set_interruptibility(cpu.interruptibility() - Interruptibility::NMI);
            }
            cpu.inject(event);
        } else if exit.nmi_unblocked_by_iret {
            cpu.set_interruptibility(cpu.interruptibility() | Interruptibility::NMI);
        }
    }

    /// MOV to CR8 under the TPR shadow: exits, after the instruction, when the TPR falls below the threshold.
    fn write_shadowed_tpr(&mut self, gpr: u8, length: u8) -> Option<u32> {
        let value = self.state.engine.cpu.gpr(gpr);
        if value > 15 {
            self.state.engine.cpu.inject(Event {
                vector: 13,
                kind: EventKind::Exception,
                error_code: Some(0),
                instruction_length: 0,
            });
            return None;
        }
        self.state.engine.cpu.set_cr(8, value);
        self.step_over(length);
        let below = value < self.state.get(Field::CTRL_TPR_THRESHOLD) & 0xf;
        below.then(|| exit::record_plain(&mut self.state, ExitReason::TPR_BELOW_THRESHOLD))
    }
}

/// An exit without an instruction.
fn bare(reason: Reason) -> Exit {
    Exit { reason, instruction_length: 0, vectoring: None, nmi_unblocked_by_iret: false }
}
