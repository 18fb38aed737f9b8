//! How the date stands in the registers: BCD or binary, 12 or 24 hours.

use super::calendar::Date;
use super::spec::{PM, b, index};

/// What status B says of the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Format {
    binary: bool,
    hours_24: bool,
}

impl Format {
    pub(super) fn of(status_b: u8) -> Self {
        Self { binary: status_b & b::BINARY != 0, hours_24: status_b & b::HOURS_24 != 0 }
    }

    /// A number below 100 as a register shows it.
    fn to(self, value: u8) -> u8 {
        if self.binary { value } else { ((value / 10 % 10) << 4) | (value % 10) }
    }

    /// The number a register shows.
    pub(super) fn from(self, raw: u8) -> u8 {
        if self.binary { raw } else { (raw >> 4) * 10 + (raw & 0xf) }
    }

    fn hour_to(self, hour: u8) -> u8 {
        if self.hours_24 {
            return self.to(hour);
        }
        let pm = if hour >= 12 { PM } else { 0 };
        self.to(match hour % 12 {
            0 => 12,
            hour => hour,
        }) | pm
    }

    /// The hour, 0 to 23 if it is one, that a register shows.
    pub(super) fn hour_from(self, raw: u8) -> u8 {
        if self.hours_24 {
            return self.from(raw);
        }
        let hour = self.from(raw & !PM) % 12;
        if raw & PM != 0 { hour + 12 } else { hour }
    }

    /// What register `at` shows of `date`; `None` if it is not part of a date.
    pub(super) fn show(self, at: u8, date: Date) -> Option<u8> {
        // Both are below 100.
        let (year, century) =
            (date.year.rem_euclid(100) as u8, date.year.div_euclid(100).rem_euclid(100) as u8);
        Some(match at {
            index::SECONDS => self.to(date.second),
            index::MINUTES => self.to(date.minute),
            index::HOURS => self.hour_to(date.hour),
            index::WEEKDAY => self.to(date.weekday()),
            index::DAY => self.to(date.day),
            index::MONTH => self.to(date.month),
            index::YEAR => self.to(year),
            index::CENTURY => self.to(century),
            _ => return None,
        })
    }

    /// Changes `date` as a write of register `at` says; false if it is not part of a date.
    pub(super) fn change(self, at: u8, raw: u8, date: &mut Date) -> bool {
        let value = self.from(raw);
        let (century, year) = (date.year.div_euclid(100), date.year.rem_euclid(100));
        match at {
            index::SECONDS => date.second = value,
            index::MINUTES => date.minute = value,
            index::HOURS => date.hour = self.hour_from(raw),
            // It follows from the date.
            index::WEEKDAY => {}
            index::DAY => date.day = value,
            index::MONTH => date.month = value,
            index::YEAR => date.year = century * 100 + i64::from(value),
            index::CENTURY => date.year = i64::from(value) * 100 + year,
            _ => return false,
        }
        true
    }
}
