//! The local APIC.

pub mod spec;

use std::sync::Arc;

use super::{ApicMailbox, InterruptFabric};
use crate::bus::Width;
use crate::time::Clock;

/// An access that raises #GP(0) in the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("general protection")]
pub struct GeneralProtection;

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
        Ok(Self { config, mailbox, fabric, clock, ext_int })
    }

    /// Whether the vCPU should look here before it enters the guest or goes to sleep: something was posted, or
    /// something is deliverable. Does not say whether a timer is due; see [`LocalApic::next_deadline_ns`]. Cheap.
    #[inline]
    pub fn has_work(&self) -> bool {
        self.mailbox.has_posted()
    }

    /// INIT or start-up, if one is pending; to be asked for first, until `None`.
    pub fn take_event(&mut self) -> Option<VcpuEvent> {
        None
    }

    /// Whether the vCPU waits for a start-up IPI: it must not run.
    pub fn waits_for_startup(&self) -> bool {
        !self.config.bootstrap
    }

    /// Whether an NMI is pending.
    pub fn nmi_pending(&mut self) -> bool {
        false
    }

    /// Takes the pending NMI, when it is injected.
    pub fn take_nmi(&mut self) -> bool {
        false
    }

    /// The interrupt to inject next, if any is above the processor's priority.
    pub fn highest_deliverable(&mut self) -> Option<Deliverable> {
        None
    }

    /// Accepts [`LocalApic::highest_deliverable`]: it becomes in service, and its vector is what to inject.
    pub fn acknowledge(&mut self) -> Option<u8> {
        let _ = (&self.fabric, &self.clock, &self.ext_int);
        None
    }

    /// CR8: the task priority class, 0 to 15.
    pub fn cr8(&self) -> u64 {
        0
    }

    /// Writes CR8.
    ///
    /// # Errors
    /// Bits above 3 are set.
    pub fn set_cr8(&mut self, value: u64) -> Result<(), GeneralProtection> {
        if value > 15 { Err(GeneralProtection) } else { Ok(()) }
    }

    /// Whether `index` is an MSR of the APIC: IA32_APIC_BASE, IA32_TSC_DEADLINE (if offered), 0x800 to 0x8ff.
    pub fn handles_msr(&self, index: u32) -> bool {
        matches!(index, spec::msr::APIC_BASE | spec::msr::TSC_DEADLINE | 0x800..=0x8ff)
    }

    /// RDMSR of one of the APIC's.
    ///
    /// # Errors
    /// The register does not exist, cannot be read, or the APIC is not in x2APIC mode.
    pub fn read_msr(&mut self, _index: u32) -> Result<u64, GeneralProtection> {
        Err(GeneralProtection)
    }

    /// WRMSR of one of the APIC's.
    ///
    /// # Errors
    /// The register does not exist or cannot be written, a reserved bit is set, the mode change is not allowed, or the
    /// APIC is not in x2APIC mode.
    pub fn write_msr(&mut self, _index: u32, _value: u64) -> Result<(), GeneralProtection> {
        Err(GeneralProtection)
    }

    /// Guest-physical address of the register page, while there is one (xAPIC mode).
    pub fn mmio_base(&self) -> Option<u64> {
        Some(crate::platform_map::mmio::LOCAL_APIC_BASE)
    }

    /// Reads the register page at `offset` (0 to 0xfff).
    pub fn read_mmio(&mut self, _offset: u64, width: Width) -> u64 {
        width.mask()
    }

    /// Writes the register page at `offset` (0 to 0xfff).
    pub fn write_mmio(&mut self, _offset: u64, _width: Width, _value: u64) {}

    /// When the timer fires next, in nanoseconds of the machine's clock.
    pub fn next_deadline_ns(&self) -> Option<u64> {
        None
    }

    /// Lets the timer do what is due at `now_ns`. Harmless when nothing is.
    pub fn advance(&mut self, _now_ns: u64) {}

    /// What this vCPU's TSC is ahead of the machine's (IA32_TSC written by the guest), for the TSC-deadline timer.
    pub fn set_tsc_offset(&mut self, _ticks: i64) {}

    /// Power-up reset, also of what is in the mailbox. Called by the vCPU's thread while the machine is reset.
    pub fn reset(&mut self) {}

    /// What PC firmware leaves on the bootstrap processor: enabled, the 8259 heard through LINT0, NMI through LINT1
    /// ("virtual wire"; MultiProcessor Specification 3.6.2.2). Others: enabled, LINT0 masked.
    pub fn set_firmware_state(&mut self) {}
}

/// A local APIC for a vCPU that the fabric does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the interrupt fabric has no vCPU {vcpu}")]
pub struct NoSuchVcpu {
    /// The index asked for.
    pub vcpu: usize,
}
