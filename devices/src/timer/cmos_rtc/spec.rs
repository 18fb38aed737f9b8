//! Registers of the MC146818A real-time clock and the PC's CMOS memory.

/// Offsets, as [`crate::platform_map::port::RTC`] maps them.
pub mod offset {
    /// Index into the first 128 bytes; bit 7 masks NMI.
    pub const INDEX: u64 = 0;
    /// The byte there.
    pub const DATA: u64 = 1;
    /// Index into the second 128 bytes.
    pub const INDEX_2: u64 = 2;
    /// The byte there.
    pub const DATA_2: u64 = 3;
}

/// Bytes of CMOS memory, both banks.
pub const BYTES: usize = 256;

/// Indices of the clock's registers and of the bytes firmware and guests agree on.
pub mod index {
    /// Seconds.
    pub const SECONDS: u8 = 0x00;
    /// Alarm: seconds.
    pub const ALARM_SECONDS: u8 = 0x01;
    /// Minutes.
    pub const MINUTES: u8 = 0x02;
    /// Alarm: minutes.
    pub const ALARM_MINUTES: u8 = 0x03;
    /// Hours.
    pub const HOURS: u8 = 0x04;
    /// Alarm: hours.
    pub const ALARM_HOURS: u8 = 0x05;
    /// Day of the week, Sunday is 1.
    pub const WEEKDAY: u8 = 0x06;
    /// Day of the month.
    pub const DAY: u8 = 0x07;
    /// Month.
    pub const MONTH: u8 = 0x08;
    /// Year of the century.
    pub const YEAR: u8 = 0x09;
    /// Status A.
    pub const STATUS_A: u8 = 0x0a;
    /// Status B.
    pub const STATUS_B: u8 = 0x0b;
    /// Status C.
    pub const STATUS_C: u8 = 0x0c;
    /// Status D.
    pub const STATUS_D: u8 = 0x0d;
    /// Memory below 640 KiB in KiB, low byte then high byte.
    pub const BASE_MEMORY: u8 = 0x15;
    /// Memory from 1 MiB in KiB, at most 0xffff.
    pub const EXTENDED_MEMORY: u8 = 0x17;
    /// The same once more.
    pub const EXTENDED_MEMORY_2: u8 = 0x30;
    /// Century, always in BCD or binary as the rest; the FADT's CENTURY field.
    pub const CENTURY: u8 = 0x32;
    /// Memory from 16 MiB in units of 64 KiB, at most 0xffff.
    pub const MEMORY_ABOVE_16M: u8 = 0x34;
    /// Memory from 4 GiB in units of 64 KiB, three bytes.
    pub const MEMORY_ABOVE_4G: u8 = 0x5b;
}

/// Status A.
pub mod a {
    /// Update in progress.
    pub const UPDATE_IN_PROGRESS: u8 = 1 << 7;
    /// The divider: 2 counts 32,768 Hz.
    pub const DIVIDER: u8 = 7 << 4;
    /// The divider's setting for a 32,768 Hz crystal.
    pub const DIVIDER_32768: u8 = 2 << 4;
    /// Rate of the periodic interrupt.
    pub const RATE: u8 = 0xf;
    /// After reset: 32,768 Hz, periodic rate 1,024 Hz.
    pub const RESET: u8 = 0x26;
}

/// Status B.
pub mod b {
    /// Stop updates, to set the date.
    pub const SET: u8 = 1 << 7;
    /// Periodic interrupt enable.
    pub const PERIODIC: u8 = 1 << 6;
    /// Alarm interrupt enable.
    pub const ALARM: u8 = 1 << 5;
    /// Update-ended interrupt enable.
    pub const UPDATE: u8 = 1 << 4;
    /// Square wave enable.
    pub const SQUARE_WAVE: u8 = 1 << 3;
    /// Binary rather than BCD.
    pub const BINARY: u8 = 1 << 2;
    /// 24 hours rather than 12.
    pub const HOURS_24: u8 = 1 << 1;
}

/// Status C; its flags are at the places of their enables in B. Reading clears it.
pub mod c {
    /// The interrupt line is up.
    pub const INTERRUPT: u8 = 1 << 7;
    /// All flags.
    pub const FLAGS: u8 = 7 << 4;
}

/// Status D: the battery is good.
pub const D_VALID: u8 = 1 << 7;

/// The bit of an hour in 12-hour format that says afternoon.
pub const PM: u8 = 1 << 7;

/// Alarm values from here on match anything.
pub const ANY: u8 = 0xc0;

/// The crystal.
pub const HZ: u64 = 32_768;

/// How long before an update "update in progress" is shown.
pub const UPDATE_WARNING_NS: u64 = 244_000;
