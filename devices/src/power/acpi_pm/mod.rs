//! ACPI fixed hardware: PM1 event and control blocks, PM timer.

pub mod spec;

use std::sync::Arc;

use self::spec::{PM_TIMER_BITS, PM_TIMER_HZ, control, offset, pm1};
use super::{SystemEvent, SystemEvents};
use crate::bus::{BusDevice, Unclaimed, Width};
use crate::interrupt::IrqLine;
use crate::time::{Clock, DeadlineListener, TimedDevice, nanos_to_ticks, ticks_to_nanos};

/// The ACPI power management registers. SCI_EN is always set (FADT: SMI_CMD 0), the PM timer has 32 bits
/// (FADT: TMR_VAL_EXT), S5 is sleep type [`spec::SLP_TYP_S5`] (DSDT: `\_S5`). No event blocks beyond PM1.
pub struct AcpiPm {
    sci: IrqLine,
    clock: Arc<dyn Clock>,
    events: Arc<dyn SystemEvents>,
    listener: Arc<dyn DeadlineListener>,
    status: u16,
    enable: u16,
    control: u16,
    /// How often the timer's highest bit had changed when that was last looked at.
    carries: u64,
}

impl AcpiPm {
    /// The registers after reset; `sci` is level-triggered.
    pub fn new(
        sci: IrqLine,
        clock: Arc<dyn Clock>,
        events: Arc<dyn SystemEvents>,
        listener: Arc<dyn DeadlineListener>,
    ) -> Self {
        let carries = carries_at(clock.now_ns());
        Self { sci, clock, events, listener, status: 0, enable: 0, control: 0, carries }
    }

    /// Somebody presses the power button: the guest is told by SCI if it listens.
    pub fn press_power_button(&mut self) {
        self.status |= pm1::POWER_BUTTON;
        self.drive();
    }

    /// Whether the guest's ACPI driver listens to the power button (PWRBTN_EN).
    pub fn power_button_enabled(&self) -> bool {
        self.enable & pm1::POWER_BUTTON != 0
    }

    /// Power-up reset.
    pub fn reset(&mut self) {
        (self.status, self.enable, self.control) = (0, 0, 0);
        self.carries = carries_at(self.clock.now_ns());
        self.drive();
    }

    fn drive(&self) {
        self.sci.set_level(self.status & self.enable & pm1::EVENTS != 0);
    }

    fn settle(&mut self, now_ns: u64) {
        let carries = carries_at(now_ns);
        if carries != self.carries {
            self.carries = carries;
            self.status |= pm1::TIMER;
        }
        self.drive();
    }

    /// The registers as bytes, from the first port on.
    fn image(&self) -> [u8; offset::END as usize] {
        // 32 bits of the timer are shown.
        let timer = nanos_to_ticks(self.clock.now_ns(), PM_TIMER_HZ) as u32;
        let [s0, s1] = self.status.to_le_bytes();
        let [e0, e1] = self.enable.to_le_bytes();
        let [c0, c1] = (self.control | control::SCI_ENABLE).to_le_bytes();
        let [t0, t1, t2, t3] = timer.to_le_bytes();
        [s0, s1, e0, e1, c0, c1, 0, 0, t0, t1, t2, t3]
    }

    /// Writes one byte; the others of its register are as if written with what changes nothing.
    fn write_byte(&mut self, at: u64, value: u8) {
        let shift = (at & 1) * 8;
        let (value, mask) = (u16::from(value) << shift, 0xff_u16 << shift);
        match at & !1 {
            // Ones clear.
            offset::PM1_STATUS => self.status &= !value,
            offset::PM1_ENABLE => self.enable = (self.enable & !mask | value) & pm1::EVENTS,
            offset::PM1_CONTROL => {
                self.control = (self.control & !mask | value) & control::WRITABLE;
                if value & control::SLEEP_ENABLE != 0 {
                    self.sleep();
                }
            }
            // The timer is read only.
            _ => {}
        }
    }

    fn sleep(&mut self) {
        let sleep_type = (self.control & control::SLEEP_TYPE) >> control::SLEEP_TYPE_SHIFT;
        if sleep_type == u16::from(spec::SLP_TYP_S5) {
            self.events.notify(SystemEvent::PowerOff);
        } else {
            log::warn!("the guest asks for sleep type {sleep_type}, which the tables do not offer");
        }
    }
}

fn carries_at(now_ns: u64) -> u64 {
    nanos_to_ticks(now_ns, PM_TIMER_HZ) >> (PM_TIMER_BITS - 1)
}

impl BusDevice for AcpiPm {
    fn read(&mut self, offset: u64, width: Width) -> Result<u64, Unclaimed> {
        self.settle(self.clock.now_ns());
        let image = self.image();
        let mut value = 0;
        for n in 0..width.bytes() {
            let at = usize::try_from(offset.saturating_add(n)).map_err(|_| Unclaimed)?;
            let byte = image.get(at).ok_or(Unclaimed)?;
            value |= u64::from(*byte) << (8 * n);
        }
        Ok(value)
    }

    fn write(&mut self, offset: u64, width: Width, value: u64) -> Result<(), Unclaimed> {
        let end = offset.checked_add(width.bytes()).ok_or(Unclaimed)?;
        if end > offset::END {
            return Err(Unclaimed);
        }
        self.settle(self.clock.now_ns());
        for (at, byte) in (offset..end).zip(value.to_le_bytes()) {
            self.write_byte(at, byte);
        }
        self.drive();
        self.listener.deadline_moved();
        Ok(())
    }
}

impl TimedDevice for AcpiPm {
    fn next_deadline_ns(&self) -> Option<u64> {
        if self.enable & !self.status & pm1::TIMER == 0 {
            return None;
        }
        let ticks = self.carries.saturating_add(1).saturating_mul(1 << (PM_TIMER_BITS - 1));
        Some(ticks_to_nanos(ticks, PM_TIMER_HZ))
    }

    fn advance(&mut self, now_ns: u64) {
        self.settle(now_ns);
    }
}
