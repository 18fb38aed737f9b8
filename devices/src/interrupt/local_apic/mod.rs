//! The local APIC.
//!
//! ```text
//! other threads ─▶ ApicMailbox ─collect─▶ IRR ─acknowledge─▶ ISR ─EOI─▶ (level) I/O APIC
//!                                          ▲ timer, LVTs, self-IPI
//! ```

mod arrivals;
mod interfaces;
mod ipi;
mod pins;
mod registers;
pub mod spec;
mod timer;
mod vector_set;

use std::sync::Arc;

use self::spec::{base, dfr, esr, lvt, reg, svr};
use self::timer::ApicTimer;
use self::vector_set::VectorSet;
use super::mailbox::{ApicAddress, ApicMode};
use super::{ApicMailbox, DeliveryMode, InterruptFabric, Trigger};
use crate::platform_map::mmio::LOCAL_APIC_BASE;
use crate::time::Clock;

/// An access that raises #GP(0) in the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("general protection")]
pub struct GeneralProtection;

/// A local APIC for a vCPU that the fabric does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the interrupt fabric has no vCPU {vcpu}")]
pub struct NoSuchVcpu {
    /// The index asked for.
    pub vcpu: usize,
}

/// Gives the vector of an interrupt that came through LINT0 or by an ExtINT message: the 8259 pair's interrupt
/// acknowledge cycle.
pub trait ExtIntSource: Send + Sync {
    /// Acknowledges the highest pending interrupt and gives its vector; the spurious one if there is none.
    fn acknowledge(&self) -> u8;
}

/// How a local APIC is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalApicConfig {
    /// The vCPU's index in the fabric.
    pub vcpu: usize,
    /// The APIC ID, as CPUID leaves 1 and 0xb must say.
    pub apic_id: u32,
    /// Whether this is the bootstrap processor, which starts by itself.
    pub bootstrap: bool,
    /// Frequency of the timer before division, in Hz (CPUID leaf 0x15 ECX).
    pub timer_hz: u64,
    /// Whether CPUID offers x2APIC mode.
    pub x2apic: bool,
    /// Whether CPUID offers the timer's TSC-deadline mode.
    pub tsc_deadline: bool,
}

/// What a vCPU must do before anything else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VcpuEvent {
    /// INIT: take the processor's INIT state; the APIC has taken its own. An application processor then waits for
    /// [`VcpuEvent::Startup`]; the bootstrap processor starts again at the reset vector.
    Init,
    /// Start-up IPI: leave the wait and run in real mode at `vector << 12`. Only given to a waiting vCPU.
    Startup {
        /// Page number of the first instruction; CS selector is `vector << 8`.
        vector: u8,
    },
}

/// An interrupt that could be injected now, if the processor's own flags allow it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deliverable {
    /// This vector, from the APIC.
    Vector(u8),
    /// The 8259's; its vector is known once acknowledged.
    ExtInt,
}

/// One vCPU's local APIC. It belongs to the vCPU's thread; other threads reach it through its [`ApicMailbox`].
pub struct LocalApic {
    config: LocalApicConfig,
    mailbox: Arc<ApicMailbox>,
    fabric: Arc<InterruptFabric>,
    clock: Arc<dyn Clock>,
    ext_int: Arc<dyn ExtIntSource>,
    /// IA32_APIC_BASE.
    base: u64,
    tpr: u8,
    logical_id: u8,
    dfr: u32,
    svr: u32,
    /// What the register shows: the errors up to its last write.
    esr: u32,
    /// Errors since.
    esr_pending: u32,
    icr: u64,
    /// In the order of [`spec::lvt::ENTRIES`].
    lvt: [u32; 6],
    irr: VectorSet,
    isr: VectorSet,
    tmr: VectorSet,
    timer: ApicTimer,
    init: bool,
    startup: Option<u8>,
    waits_for_startup: bool,
    nmi: bool,
    /// An ExtINT message arrived; the line's level is in the mailbox.
    ext_int_message: bool,
}

impl LocalApic {
    /// A local APIC in its power-up state: xAPIC mode, software-disabled, LVTs masked.
    ///
    /// # Errors
    /// The fabric has no vCPU of that index.
    pub fn new(
        config: LocalApicConfig,
        fabric: Arc<InterruptFabric>,
        clock: Arc<dyn Clock>,
        ext_int: Arc<dyn ExtIntSource>,
    ) -> Result<Self, NoSuchVcpu> {
        let mailbox = fabric.mailbox(config.vcpu).ok_or(NoSuchVcpu { vcpu: config.vcpu })?.clone();
        let mut apic = Self {
            config,
            mailbox,
            fabric,
            clock,
            ext_int,
            base: 0,
            tpr: 0,
            logical_id: 0,
            dfr: u32::MAX,
            svr: svr::RESET,
            esr: 0,
            esr_pending: 0,
            icr: 0,
            lvt: [lvt::MASKED; 6],
            irr: VectorSet::default(),
            isr: VectorSet::default(),
            tmr: VectorSet::default(),
            timer: ApicTimer::new(config.timer_hz),
            init: false,
            startup: None,
            waits_for_startup: !config.bootstrap,
            nmi: false,
            ext_int_message: false,
        };
        apic.reset();
        Ok(apic)
    }

    /// Power-up reset, also of what is in the mailbox. Called by the vCPU's thread while the machine is reset, when no
    /// other vCPU runs. Input lines keep their levels.
    pub fn reset(&mut self) {
        self.mailbox.clear_mark();
        self.mailbox.take_vectors();
        self.mailbox.take_events();
        let bootstrap = if self.config.bootstrap { base::BOOTSTRAP } else { 0 };
        self.base = LOCAL_APIC_BASE | base::ENABLE | bootstrap;
        (self.init, self.startup, self.nmi, self.ext_int_message) = (false, None, false, false);
        self.waits_for_startup = !self.config.bootstrap;
        self.timer.set_tsc_offset(0);
        self.reset_registers();
    }

    /// What PC firmware leaves on the bootstrap processor: enabled, the 8259 heard through LINT0, NMI through LINT1
    /// ("virtual wire"; MultiProcessor Specification 3.6.2.2). On others: enabled, LINT0 masked, NMI through LINT1.
    pub fn set_firmware_state(&mut self) {
        let ext_int = (DeliveryMode::ExtInt as u32) << lvt::MODE_SHIFT;
        let lint0 = if self.config.bootstrap { ext_int } else { lvt::MASKED | ext_int };
        // In xAPIC mode, where the APIC is after reset, no write of these is refused.
        self.write_mmio(reg::SVR.into(), crate::bus::Width::Four, (svr::ENABLE | 0xff).into());
        self.write_mmio(reg::LVT_LINT0.into(), crate::bus::Width::Four, lint0.into());
        let nmi = (DeliveryMode::Nmi as u32) << lvt::MODE_SHIFT;
        self.write_mmio(reg::LVT_LINT1.into(), crate::bus::Width::Four, nmi.into());
    }

    /// Whether the vCPU should look here before it enters the guest or goes to sleep: something was posted, an event or
    /// NMI is pending, or an interrupt is deliverable. It does not say whether the timer is due; see
    /// [`LocalApic::next_deadline_ns`]. Cheap: no lock, a few loads.
    #[inline]
    pub fn has_work(&self) -> bool {
        self.mailbox.has_posted()
            || self.init
            || self.startup.is_some()
            || self.nmi
            || self.ext_int_pending()
            || self.deliverable_vector().is_some()
    }

    /// INIT or start-up, if one is pending; to be asked for first, until `None`.
    pub fn take_event(&mut self) -> Option<VcpuEvent> {
        self.collect();
        if std::mem::take(&mut self.init) {
            return Some(VcpuEvent::Init);
        }
        self.startup.take().map(|vector| VcpuEvent::Startup { vector })
    }

    /// Whether the vCPU waits for a start-up IPI: it must not run.
    pub fn waits_for_startup(&self) -> bool {
        self.waits_for_startup
    }

    /// Whether an NMI is pending.
    pub fn nmi_pending(&mut self) -> bool {
        self.collect();
        self.nmi
    }

    /// Takes the pending NMI, when it is injected.
    pub fn take_nmi(&mut self) -> bool {
        self.collect();
        std::mem::take(&mut self.nmi)
    }

    /// The interrupt to inject next, if any is above the processor's priority. The 8259's goes first: the task priority
    /// does not hold it back.
    pub fn highest_deliverable(&mut self) -> Option<Deliverable> {
        self.collect();
        if self.ext_int_pending() {
            return Some(Deliverable::ExtInt);
        }
        self.deliverable_vector().map(Deliverable::Vector)
    }

    /// Accepts [`LocalApic::highest_deliverable`]: it becomes in service, and its vector is what to inject. The 8259 is
    /// asked for its vector here.
    pub fn acknowledge(&mut self) -> Option<u8> {
        match self.highest_deliverable()? {
            Deliverable::ExtInt => {
                self.ext_int_message = false;
                Some(self.ext_int.acknowledge())
            }
            Deliverable::Vector(vector) => {
                self.irr.remove(vector);
                self.isr.insert(vector);
                self.publish_priority();
                Some(vector)
            }
        }
    }

    /// CR8: the task priority class, 0 to 15.
    pub fn cr8(&self) -> u64 {
        u64::from(self.tpr >> 4)
    }

    /// Writes CR8.
    ///
    /// # Errors
    /// Bits above 3 are set.
    pub fn set_cr8(&mut self, value: u64) -> Result<(), GeneralProtection> {
        let class = u8::try_from(value).ok().filter(|class| *class < 16).ok_or(GeneralProtection)?;
        self.tpr = class << 4;
        self.publish_priority();
        Ok(())
    }

    /// When the timer fires next, in nanoseconds of the machine's clock.
    pub fn next_deadline_ns(&self) -> Option<u64> {
        if self.lvt(reg::LVT_TIMER) & lvt::MASKED != 0 {
            return None;
        }
        self.timer.deadline_ns(&*self.clock)
    }

    /// Lets the timer do what is due at `now_ns`. Harmless when nothing is.
    pub fn advance(&mut self, now_ns: u64) {
        if !self.timer.settle(&*self.clock, now_ns) {
            return;
        }
        let entry = self.lvt(reg::LVT_TIMER);
        if entry & lvt::MASKED == 0 {
            self.accept((entry & lvt::VECTOR) as u8, Trigger::Edge);
        }
    }

    /// What this vCPU's TSC is ahead of the machine's (the guest wrote IA32_TSC), for the TSC-deadline timer.
    pub fn set_tsc_offset(&mut self, ticks: i64) {
        self.timer.set_tsc_offset(ticks);
    }

    /// Takes a vector into IRR.
    fn accept(&mut self, vector: u8, trigger: Trigger) {
        if vector < spec::FIRST_VECTOR {
            self.error(esr::RECEIVED_ILLEGAL_VECTOR);
            return;
        }
        self.irr.insert(vector);
        match trigger {
            Trigger::Edge => self.tmr.remove(vector),
            Trigger::Level => self.tmr.insert(vector),
        }
    }

    /// EOI: the highest interrupt in service is finished.
    fn end_of_interrupt(&mut self) {
        let Some(vector) = self.isr.highest() else { return };
        self.isr.remove(vector);
        self.publish_priority();
        if !self.tmr.contains(vector) {
            return;
        }
        for (offset, line) in [(reg::LVT_LINT0, self.mailbox.lint0()), (reg::LVT_LINT1, self.mailbox.lint1())]
        {
            let entry = self.lvt(offset);
            if entry & lvt::REMOTE_IRR != 0 && entry & lvt::VECTOR == u32::from(vector) {
                self.set_remote_irr(offset, false);
                self.lint(offset, line, false);
            }
        }
        self.fabric.end_of_interrupt(vector);
    }

    /// The highest requested vector above the processor's priority class.
    fn deliverable_vector(&self) -> Option<u8> {
        self.irr.highest().filter(|vector| vector >> 4 > self.processor_priority() >> 4)
    }

    /// PPR: the higher class of TPR and the interrupt in service.
    fn processor_priority(&self) -> u8 {
        let in_service = self.isr.highest().unwrap_or(0);
        if self.tpr >> 4 >= in_service >> 4 { self.tpr } else { in_service & 0xf0 }
    }

    fn publish_priority(&self) {
        self.mailbox.set_priority(self.processor_priority());
    }

    fn publish_address(&self) {
        self.mailbox.set_address(ApicAddress {
            apic_id: self.config.apic_id,
            mode: self.mode(),
            logical_id: self.logical_id,
            flat: self.dfr & dfr::MODEL == dfr::MODEL,
            software_enabled: self.svr & svr::ENABLE != 0 && self.mode() != ApicMode::Disabled,
        });
    }

    /// Registers as after INIT. The mode, the page's address and the mailbox stay.
    fn reset_registers(&mut self) {
        (self.tpr, self.logical_id, self.dfr, self.svr) = (0, 0, u32::MAX, svr::RESET);
        (self.esr, self.esr_pending, self.icr) = (0, 0, 0);
        self.lvt = [lvt::MASKED; 6];
        self.irr = VectorSet::default();
        self.isr = VectorSet::default();
        self.tmr = VectorSet::default();
        self.timer.reset();
        self.publish_priority();
        self.publish_address();
        self.hear_lint0();
    }
}

#[cfg(test)]
#[path = "local_apic_test.rs"]
mod local_apic_test;
#[cfg(test)]
#[path = "timer_test.rs"]
mod timer_test;
