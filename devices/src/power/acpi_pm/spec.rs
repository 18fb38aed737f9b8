//! ACPI fixed hardware registers: ACPI specification 6.5, section 4.8.

/// SLP_TYP value of the soft-off state, for the DSDT's `\_S5` package.
pub const SLP_TYP_S5: u8 = 5;
/// Frequency of the PM timer, in Hz.
pub const PM_TIMER_HZ: u64 = 3_579_545;
/// Bits of the PM timer, for the FADT's TMR_VAL_EXT.
pub const PM_TIMER_BITS: u32 = 32;

/// Offsets from the block's first port.
pub mod offset {
    /// PM1 status, two bytes.
    pub const PM1_STATUS: u64 = 0;
    /// PM1 enable, two bytes.
    pub const PM1_ENABLE: u64 = 2;
    /// PM1 control, two bytes.
    pub const PM1_CONTROL: u64 = 4;
    /// PM timer, four bytes.
    pub const PM_TIMER: u64 = 8;
    /// The byte after it.
    pub const END: u64 = 12;
}

/// PM1 status and enable.
pub mod pm1 {
    /// The PM timer's highest bit changed.
    pub const TIMER: u16 = 1 << 0;
    /// Global lock release.
    pub const GLOBAL: u16 = 1 << 5;
    /// Power button.
    pub const POWER_BUTTON: u16 = 1 << 8;
    /// Sleep button.
    pub const SLEEP_BUTTON: u16 = 1 << 9;
    /// Real-time clock alarm.
    pub const RTC: u16 = 1 << 10;
    /// Woken.
    pub const WAKE: u16 = 1 << 15;
    /// Events that can be enabled.
    pub const EVENTS: u16 = TIMER | GLOBAL | POWER_BUTTON | SLEEP_BUTTON | RTC;
}

/// PM1 control.
pub mod control {
    /// Events raise SCI.
    pub const SCI_ENABLE: u16 = 1 << 0;
    /// Where the sleep type is; three bits.
    pub const SLEEP_TYPE_SHIFT: u16 = 10;
    /// The sleep type.
    pub const SLEEP_TYPE: u16 = 7 << SLEEP_TYPE_SHIFT;
    /// Enter the sleep type; reads as zero.
    pub const SLEEP_ENABLE: u16 = 1 << 13;
    /// Bus-master reload and sleep type keep what is written.
    pub const WRITABLE: u16 = SLEEP_TYPE | 1 << 1;
}
