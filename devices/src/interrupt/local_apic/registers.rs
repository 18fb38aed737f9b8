//! Register reads and writes, by page offset, for both the page and the MSRs.

use super::spec::{self, dfr, esr, lvt, reg, svr};
use super::timer::TimerMode;
use super::{GeneralProtection, LocalApic};
use crate::interrupt::mailbox::{ApicMode, x2apic_logical_id};

/// What a register access comes to, before either interface makes an error of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RegisterError {
    /// There is none at this offset in this mode, or not for this direction.
    NoSuchRegister,
    /// The value has reserved bits set (x2APIC mode only).
    ReservedBits,
}

impl From<RegisterError> for GeneralProtection {
    fn from(_: RegisterError) -> Self {
        Self
    }
}

impl LocalApic {
    /// Reads the register at `offset`, a multiple of 16.
    pub(super) fn read_register(&mut self, offset: u32) -> Result<u32, RegisterError> {
        let x2apic = self.mode() == ApicMode::X2Apic;
        self.collect();
        Ok(match offset {
            reg::ID if x2apic => self.config.apic_id,
            // Eight bits of it are seen in xAPIC mode.
            reg::ID => self.config.apic_id << 24,
            reg::VERSION => spec::VERSION,
            reg::TPR => self.tpr.into(),
            reg::APR if !x2apic => self.processor_priority().into(),
            reg::PPR => self.processor_priority().into(),
            reg::RRD if !x2apic => 0,
            reg::LDR if x2apic => x2apic_logical_id(self.config.apic_id),
            reg::LDR => u32::from(self.logical_id) << 24,
            reg::DFR if !x2apic => self.dfr,
            reg::SVR => self.svr,
            reg::ISR..=reg::ISR_LAST => self.isr.register((offset - reg::ISR) >> 4),
            reg::TMR..=reg::TMR_LAST => self.tmr.register((offset - reg::TMR) >> 4),
            reg::IRR..=reg::IRR_LAST => self.irr.register((offset - reg::IRR) >> 4),
            reg::ESR => self.esr,
            reg::ICR_LOW => self.icr as u32,
            reg::ICR_HIGH if !x2apic => (self.icr >> 32) as u32,
            reg::LVT_TIMER..=reg::LVT_ERROR => self.lvt(offset),
            reg::TIMER_INITIAL => self.timer.initial(),
            reg::TIMER_CURRENT => {
                let now_ns = self.clock.now_ns();
                self.advance(now_ns);
                self.timer.current(now_ns)
            }
            reg::TIMER_DIVIDE => self.timer.divide(),
            _ => return Err(RegisterError::NoSuchRegister),
        })
    }

    /// Writes the register at `offset`, a multiple of 16. The interrupt command register is not among them: its
    /// interfaces differ.
    pub(super) fn write_register(&mut self, offset: u32, value: u32) -> Result<(), RegisterError> {
        let x2apic = self.mode() == ApicMode::X2Apic;
        // In xAPIC mode reserved bits are ignored.
        let allow = |bits: u32| {
            if x2apic && value & !bits != 0 { Err(RegisterError::ReservedBits) } else { Ok(()) }
        };
        match offset {
            reg::TPR => {
                allow(0xff)?;
                self.tpr = (value & 0xff) as u8;
                self.publish_priority();
            }
            reg::EOI => {
                allow(0)?;
                self.end_of_interrupt();
            }
            reg::LDR if !x2apic => {
                self.logical_id = (value >> 24) as u8;
                self.publish_address();
            }
            reg::DFR if !x2apic => {
                self.dfr = value & dfr::MODEL | !dfr::MODEL;
                self.publish_address();
            }
            reg::SVR => {
                allow(svr::WRITABLE)?;
                self.write_svr(value & svr::WRITABLE);
            }
            reg::ESR => {
                allow(0)?;
                self.esr = std::mem::take(&mut self.esr_pending);
            }
            reg::LVT_TIMER..=reg::LVT_ERROR => self.write_lvt(offset, value, x2apic)?,
            reg::TIMER_INITIAL => {
                let now_ns = self.clock.now_ns();
                self.advance(now_ns);
                self.timer.set_initial(value, now_ns);
            }
            reg::TIMER_DIVIDE => {
                allow(0b1011)?;
                let now_ns = self.clock.now_ns();
                self.advance(now_ns);
                self.timer.set_divide(value, now_ns);
            }
            reg::SELF_IPI if x2apic => {
                allow(0xff)?;
                self.send_self((value & 0xff) as u8);
            }
            // Registers that exist but are read only: the page ignores the write, an MSR refuses it.
            reg::ID | reg::VERSION | reg::APR | reg::PPR | reg::RRD | reg::TIMER_CURRENT if !x2apic => {}
            reg::ISR..=reg::IRR_LAST if !x2apic => {}
            _ => return Err(RegisterError::NoSuchRegister),
        }
        Ok(())
    }

    /// The LVT entry at `offset`; masked if there is none.
    pub(super) fn lvt(&self, offset: u32) -> u32 {
        lvt_index(offset).and_then(|index| self.lvt.get(index)).copied().unwrap_or(lvt::MASKED)
    }

    fn write_lvt(&mut self, offset: u32, value: u32, x2apic: bool) -> Result<(), RegisterError> {
        let Some((index, (_, mut writable))) =
            lvt_index(offset).and_then(|index| Some((index, *lvt::ENTRIES.get(index)?)))
        else {
            return Err(RegisterError::NoSuchRegister);
        };
        if offset == reg::LVT_TIMER && !self.config.tsc_deadline {
            writable &= !lvt::TIMER_TSC_DEADLINE;
        }
        if x2apic && value & !(writable | lvt::READ_ONLY) != 0 {
            return Err(RegisterError::ReservedBits);
        }
        // What came before the write meets the old entry.
        self.collect_events();
        let now_ns = self.clock.now_ns();
        self.advance(now_ns);
        let masked = if self.svr & svr::ENABLE == 0 { lvt::MASKED } else { 0 };
        if let Some(entry) = self.lvt.get_mut(index) {
            *entry = *entry & lvt::REMOTE_IRR | value & writable | masked;
            if *entry & lvt::LEVEL == 0 {
                *entry &= !lvt::REMOTE_IRR;
            }
        }
        if offset == reg::LVT_TIMER {
            let mode = match (value & writable) >> 17 & 3 {
                0 => TimerMode::OneShot,
                1 => TimerMode::Periodic,
                // 3 is reserved and behaves as the deadline mode it contains.
                _ => TimerMode::TscDeadline,
            };
            self.timer.set_mode(mode, now_ns);
        }
        self.hear_lint0();
        Ok(())
    }

    fn write_svr(&mut self, value: u32) {
        self.collect_events();
        let now_ns = self.clock.now_ns();
        self.advance(now_ns);
        self.svr = value;
        if value & svr::ENABLE == 0 {
            // Software-disabled: all entries are masked and stay so until they are written after enabling.
            self.lvt.iter_mut().for_each(|entry| *entry |= lvt::MASKED);
        }
        self.publish_address();
        self.hear_lint0();
    }

    /// Notes an error and raises the error interrupt.
    pub(super) fn error(&mut self, bits: u32) {
        let new = bits & !self.esr_pending;
        self.esr_pending |= bits;
        let entry = self.lvt(reg::LVT_ERROR);
        if new == 0 || entry & lvt::MASKED != 0 {
            return;
        }
        let vector = (entry & lvt::VECTOR) as u8;
        if vector >= spec::FIRST_VECTOR {
            self.irr.insert(vector);
            self.tmr.remove(vector);
        } else {
            // An illegal error vector is an error without an interrupt.
            self.esr_pending |= esr::RECEIVED_ILLEGAL_VECTOR;
        }
    }
}

fn lvt_index(offset: u32) -> Option<usize> {
    lvt::ENTRIES.iter().position(|(entry, _)| *entry == offset)
}
