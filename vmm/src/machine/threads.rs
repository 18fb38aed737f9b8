//! One thread per vCPU.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use boot::InitialState;
use devices::Patience;
use devices::power::{ResetSource, SystemEvent, SystemEvents};
use hypervisor_framework::x86_64::VcpuTicket;

use super::signals::{Message, Signals};
use crate::stop::StopReason;
use crate::vcpu::{Doorbell, Hold, Order, Rest, Turns, VcpuGroup};
use crate::x86_64::platform::Platform;
use crate::x86_64::vcpu::{ControlPlan, ExitCounters, GuestStop, Step, VcpuError, X86Vcpu};

/// What a vCPU's thread is given.
pub(super) struct VcpuThread {
    pub(super) index: u32,
    pub(super) ticket: Box<dyn VcpuTicket>,
    pub(super) platform: Arc<Platform>,
    pub(super) plan: ControlPlan,
    pub(super) counters: Arc<ExitCounters>,
    pub(super) group: Arc<VcpuGroup<InitialState>>,
    pub(super) bell: Arc<Doorbell>,
    pub(super) signals: Arc<Signals>,
    /// Where time is counted.
    pub(super) turns: Option<Arc<Turns>>,
}

impl VcpuThread {
    /// Starts the thread; it makes its vCPU and waits for orders.
    pub(super) fn spawn(self) -> io::Result<JoinHandle<()>> {
        thread::Builder::new().name(format!("vcpu{}", self.index)).spawn(move || self.main())
    }

    fn main(self) {
        let (group, signals, index) = (self.group.clone(), self.signals.clone(), self.index);
        let failure = match catch_unwind(AssertUnwindSafe(|| self.serve())) {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(crate::error_chain(&error)),
            Err(_) => Some("its thread panicked".to_owned()),
        };
        if let Some(reason) = failure {
            signals
                .send(Message::VcpuStopped(StopReason::Error { message: format!("vCPU {index}: {reason}") }));
        }
        group.gone(slot(index));
    }

    fn serve(self) -> Result<(), VcpuError> {
        let Self { index, ticket, platform, plan, counters, group, bell, signals, turns } = self;
        let slot = slot(index);
        let vcpu = ticket.claim()?;
        bell.set_id(vcpu.id());
        let apic = platform.local_apic(index).map_err(|_| VcpuError::MissingControl("local APIC"))?;
        let mut vcpu = X86Vcpu::new(index, vcpu, apic, platform.clone(), plan, counters.clone())?;
        vcpu.take_turns(turns.clone());
        let mut patience = Patience::default();
        let mut rung = true;
        loop {
            if rung {
                count(&counters, &vcpu);
                match group.order(slot) {
                    Order::Run => {}
                    Order::Reset(boot) => {
                        vcpu.reset(&boot)?;
                        if let Some(turns) = &turns {
                            turns.news(slot);
                        }
                        group.reset_done(slot);
                        continue;
                    }
                    Order::Exit => {
                        counters.set_cache_bytes(vcpu.cache_bytes());
                        return Ok(());
                    }
                }
            }
            if let Some(turns) = &turns {
                if !turns.holds(slot) {
                    bell.sleep_until(None, &mut patience);
                    rung = bell.answer();
                    continue;
                }
                turns.begin(slot);
            }
            match vcpu.step(&bell)? {
                Step::Ran => {
                    if let Some(turns) = &turns {
                        turns.end_step(slot);
                    }
                }
                Step::Idle(until) => {
                    count(&counters, &vcpu);
                    let for_good = until.is_none() && vcpu.sleeps_for_good()?;
                    if let Some(turns) = &turns {
                        match turns.rest(slot, until, for_good, platform.timers.next_deadline_ns()) {
                            Rest::Again => {}
                            Rest::Outside => bell.sleep_until(None, &mut patience),
                            Rest::ForGood => {
                                signals.send(Message::AllAsleep);
                                bell.sleep_until(None, &mut patience);
                            }
                        }
                    } else {
                        if for_good && group.set_asleep(slot, true) {
                            signals.send(Message::AllAsleep);
                        }
                        let until = until.and_then(|ns| platform.clock.instant_at(ns));
                        bell.sleep_until(until, &mut patience);
                        if for_good {
                            group.set_asleep(slot, false);
                        }
                    }
                }
                Step::Stopped(stop) => match stop_reason(index, stop) {
                    Some(reason) => {
                        group.hold(Hold::Guest);
                        signals.send(Message::VcpuStopped(reason));
                    }
                    None => signals.notify(SystemEvent::Reset(ResetSource::Shutdown)),
                },
            }
            rung = bell.answer();
        }
    }
}

fn count(counters: &ExitCounters, vcpu: &X86Vcpu) {
    if let Some(count) = vcpu.instructions_retired() {
        counters.set_instructions(count);
    }
}

/// Why the run ends; `None` if the machine is to be reset.
fn stop_reason(cpu: u32, stop: GuestStop) -> Option<StopReason> {
    match stop {
        GuestStop::TripleFault(registers) => Some(StopReason::TripleFault { cpu, registers }),
        GuestStop::ResetByShutdown => None,
        GuestStop::Impossible { what, registers } => Some(StopReason::GuestFault { cpu, what, registers }),
    }
}

/// A vCPU's place in tables; there are few.
fn slot(index: u32) -> usize {
    index as usize
}
