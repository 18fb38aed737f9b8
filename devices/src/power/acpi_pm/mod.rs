//! ACPI fixed hardware: PM1 event and control blocks, PM timer.

pub mod spec;

use std::sync::Arc;

use super::SystemEvents;
use crate::bus::{BusDevice, Unclaimed, Width};
use crate::interrupt::IrqLine;
use crate::time::{Clock, DeadlineListener, TimedDevice};

/// The ACPI power management registers. SCI_EN is always set (FADT: SMI_CMD 0), the PM timer has 32 bits
/// (FADT: TMR_VAL_EXT), S5 is sleep type [`spec::SLP_TYP_S5`] (DSDT: `\_S5`).
pub struct AcpiPm {
    sci: IrqLine,
    clock: Arc<dyn Clock>,
    events: Arc<dyn SystemEvents>,
    listener: Arc<dyn DeadlineListener>,
}

impl AcpiPm {
    /// The registers after reset; `sci` is level-triggered.
    pub fn new(
        sci: IrqLine,
        clock: Arc<dyn Clock>,
        events: Arc<dyn SystemEvents>,
        listener: Arc<dyn DeadlineListener>,
    ) -> Self {
        Self { sci, clock, events, listener }
    }

    /// Somebody presses the power button: the guest is told by SCI if it listens.
    pub fn press_power_button(&mut self) {
        let _ = (&self.sci, &self.clock, &self.events, &self.listener);
    }

    /// Whether the guest's ACPI driver listens to the power button (PWRBTN_EN).
    pub fn power_button_enabled(&self) -> bool {
        false
    }

    /// Power-up reset.
    pub fn reset(&mut self) {}
}

impl BusDevice for AcpiPm {
    fn read(&mut self, _offset: u64, _width: Width) -> Result<u64, Unclaimed> {
        Err(Unclaimed)
    }

    fn write(&mut self, _offset: u64, _width: Width, _value: u64) -> Result<(), Unclaimed> {
        Err(Unclaimed)
    }
}

impl TimedDevice for AcpiPm {
    fn next_deadline_ns(&self) -> Option<u64> {
        None
    }

    fn advance(&mut self, _now_ns: u64) {}
}
