//! ACPI fixed hardware registers: ACPI specification 6.5, section 4.8.

/// SLP_TYP value of the soft-off state, for the DSDT's `\_S5` package.
pub const SLP_TYP_S5: u8 = 5;
/// Frequency of the PM timer, in Hz.
pub const PM_TIMER_HZ: u64 = 3_579_545;
