//! From seconds since 1970 to a date and back, in the proleptic Gregorian calendar, UTC.

const SECONDS_PER_DAY: i64 = 86_400;
/// Days in 400 years.
const DAYS_PER_ERA: i64 = 146_097;
/// Days from 0000-03-01 to 1970-01-01.
const EPOCH: i64 = 719_468;

/// What the clock's registers show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Date {
    pub(super) year: i64,
    pub(super) month: u8,
    pub(super) day: u8,
    pub(super) hour: u8,
    pub(super) minute: u8,
    pub(super) second: u8,
}

impl Date {
    /// The date `seconds` after 1970-01-01 00:00:00.
    pub(super) fn from_unix(seconds: i64) -> Self {
        let days = seconds.div_euclid(SECONDS_PER_DAY);
        // Below 86,400.
        let time = seconds.rem_euclid(SECONDS_PER_DAY) as u32;
        // Years begin in March here, so that a leap day is a year's last.
        let shifted = days.saturating_add(EPOCH);
        let era = shifted.div_euclid(DAYS_PER_ERA);
        let day_of_era = shifted.rem_euclid(DAYS_PER_ERA);
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let march_month = (5 * day_of_year + 2) / 153;
        let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
        Self {
            year: era * 400 + year_of_era + i64::from(month <= 2),
            // All of these are small by construction.
            month: month as u8,
            day: (day_of_year - (153 * march_month + 2) / 5 + 1) as u8,
            hour: (time / 3600) as u8,
            minute: (time / 60 % 60) as u8,
            second: (time % 60) as u8,
        }
    }

    /// Seconds since 1970-01-01 00:00:00. Days and times beyond their unit's end run on into the next; a month is taken
    /// into its range.
    pub(super) fn to_unix(self) -> i64 {
        let month = i64::from(self.month.clamp(1, 12));
        let year = self.year.clamp(-10_000, 30_000) - i64::from(month <= 2);
        let era = year.div_euclid(400);
        let year_of_era = year.rem_euclid(400);
        let march_month = (month + 9) % 12;
        let day_of_year = (153 * march_month + 2) / 5 + i64::from(self.day.max(1)) - 1;
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        let days = era * DAYS_PER_ERA + day_of_era - EPOCH;
        let time = i64::from(self.hour) * 3600 + i64::from(self.minute) * 60 + i64::from(self.second);
        days * SECONDS_PER_DAY + time
    }

    /// Day of the week, Sunday is 1.
    pub(super) fn weekday(self) -> u8 {
        let days = self.to_unix().div_euclid(SECONDS_PER_DAY);
        // 1970-01-01 was a Thursday; below 7.
        (days + 4).rem_euclid(7) as u8 + 1
    }
}
