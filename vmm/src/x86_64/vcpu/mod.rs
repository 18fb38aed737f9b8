//! An x86 vCPU: set-up, exit loop, injection.

mod context;
mod control_register;
mod counters;
mod dump;
mod error;
mod exits;
mod inject;
#[cfg(test)]
mod scripted;
mod setup;
mod state;

pub(crate) use counters::ExitCounters;
pub(crate) use error::{GuestStop, VcpuError};
pub(crate) use setup::{ControlPlan, provider_features};

use std::sync::Arc;
use std::time::Instant;

use boot::InitialState;
use devices::interrupt::{LocalApic, VcpuEvent};
use devices::time::Clock;
use hypervisor_framework::x86_64::{Deadline, ExitReason, Vcpu};

use self::inject::Events;
use super::msr::MsrFile;
use super::platform::Platform;
use crate::vcpu::{Doorbell, MAX_RUN, Turns};

/// What came of one turn.
#[derive(Debug)]
pub(crate) enum Step {
    /// The guest ran, or must be looked at again at once.
    Ran,
    /// Nothing to do before this time of the machine's clock, nanoseconds, or for ever, unless somebody rings.
    Idle(Option<u64>),
    /// The guest itself cannot go on.
    Stopped(GuestStop),
}

/// One vCPU, on its thread.
pub(crate) struct X86Vcpu {
    index: u32,
    vcpu: Box<dyn Vcpu>,
    apic: LocalApic,
    platform: Arc<Platform>,
    msrs: MsrFile,
    plan: ControlPlan,
    events: Events,
    counters: Arc<ExitCounters>,
    /// After HLT, until an event is injected.
    halted: bool,
    /// XCR0 as last written.
    xcr0: u64,
    /// Exits in a row on RAM that is mapped; the framework fills its tables by such exits.
    spurious: u32,
    /// Where time is counted: when it runs.
    turns: Option<Arc<Turns>>,
    /// Instructions that have been counted.
    counted: u64,
}

impl X86Vcpu {
    /// Readies a vCPU just claimed by this thread. It must be reset before it runs.
    ///
    /// # Errors
    /// The provider refuses a control or an MSR that the vCPU cannot be without.
    pub(crate) fn new(
        index: u32,
        vcpu: Box<dyn Vcpu>,
        apic: LocalApic,
        platform: Arc<Platform>,
        plan: ControlPlan,
        counters: Arc<ExitCounters>,
    ) -> Result<Self, VcpuError> {
        let msrs = MsrFile::new(&platform.cpuid);
        let mut this = Self {
            index,
            vcpu,
            apic,
            platform,
            msrs,
            plan,
            events: Events::default(),
            counters,
            halted: false,
            xcr0: 1,
            spurious: 0,
            turns: None,
            counted: 0,
        };
        this.set_up()?;
        Ok(this)
    }

    /// Time is the count of instructions, and the vCPU runs when it is its turn.
    pub(crate) fn take_turns(&mut self, turns: Option<Arc<Turns>>) {
        self.turns = turns;
    }

    /// Power-up state; the boot processor starts as `boot` says, the others wait for a start-up IPI.
    pub(crate) fn reset(&mut self, boot: &InitialState) -> Result<(), VcpuError> {
        self.apic.reset();
        self.apic.set_firmware_state();
        self.msrs.reset();
        self.forget_events();
        self.write_reset_state()?;
        if self.index == 0 {
            self.write_boot_state(boot)?;
        }
        Ok(())
    }

    /// Runs the guest until something happened. The bell was answered before.
    pub(crate) fn step(&mut self, bell: &Doorbell) -> Result<Step, VcpuError> {
        while let Some(event) = self.apic.take_event() {
            self.forget_events();
            match event {
                VcpuEvent::Init => self.write_init_state()?,
                VcpuEvent::Startup { vector } => self.write_startup_state(vector)?,
            }
        }
        if self.apic.waits_for_startup() {
            return Ok(Step::Idle(None));
        }
        if self.turns.is_some() {
            self.serve_devices();
        }
        let timer = self.serve_timer();
        self.prepare_entry()?;
        if self.halted {
            return Ok(Step::Idle(timer));
        }
        if !bell.enter() {
            return Ok(Step::Ran);
        }
        self.platform.first_entry();
        let result = match self.turns.clone() {
            Some(turns) => self.run_counted(&turns, timer),
            None => {
                let bound = Instant::now() + MAX_RUN;
                let timer = timer.and_then(|ns| self.platform.clock.instant_at(ns));
                self.vcpu.run_until(Deadline::At(timer.map_or(bound, |timer| timer.min(bound))))
            }
        };
        bell.leave();
        let reason = ExitReason(result.map_err(|source| self.run_failed(source))?);
        self.counters.count(reason);
        if reason.is_entry_failure() {
            return Err(VcpuError::EntryFailed { reason, registers: Box::new(self.dump()) });
        }
        self.note_interrupted_event(reason)?;
        self.handle_exit(reason)
    }

    /// Guest instructions executed so far, where the provider counts them.
    pub(crate) fn instructions_retired(&self) -> Option<u64> {
        self.vcpu.instructions_retired()
    }

    /// Bytes of the provider's translations of guest code, where it has such.
    pub(crate) fn cache_bytes(&self) -> Option<u64> {
        self.vcpu.cache_bytes()
    }

    /// Runs until something exits or is due, or the slice is used up.
    fn run_counted(&mut self, turns: &Turns, timer: Option<u64>) -> hypervisor_framework::Result<u32> {
        let now = self.platform.clock.now_ns();
        let due = [timer, self.platform.timers.next_deadline_ns()].into_iter().flatten().min();
        let until_due = due.map_or(u64::MAX, |due| due.saturating_sub(now).max(1));
        let result = self.vcpu.run_for(until_due.min(turns.left()));
        let count = self.vcpu.instructions_retired().unwrap_or(self.counted);
        turns.ran(count.saturating_sub(self.counted));
        self.counted = count;
        result
    }

    /// Lets the machine's devices do what is due: where time is counted that is the vCPUs' work.
    fn serve_devices(&self) {
        let (timers, now) = (&self.platform.timers, self.platform.clock.now_ns());
        if timers.next_deadline_ns().is_some_and(|due| due <= now) {
            timers.advance(now);
        }
    }

    /// Lets the APIC's timer do what is due; the machine's time when it is due next.
    fn serve_timer(&mut self) -> Option<u64> {
        let due = self.apic.next_deadline_ns()?;
        let now = self.platform.clock.now_ns();
        if due <= now {
            self.apic.advance(now);
        }
        self.apic.next_deadline_ns()
    }

    fn forget_events(&mut self) {
        self.events = Events::default();
        self.halted = false;
        self.spurious = 0;
    }

    fn run_failed(&self, source: hypervisor_framework::Error) -> VcpuError {
        VcpuError::Run { source, registers: Box::new(self.dump()) }
    }
}

#[cfg(test)]
#[path = "vcpu_test.rs"]
mod vcpu_test;
