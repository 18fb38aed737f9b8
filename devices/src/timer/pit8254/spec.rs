//! Registers of the 8254 (Intel 8254 data sheet) and of system control port B.

/// The counters' input clock in Hz: a twelfth of 14.31818 MHz.
pub const HZ: u64 = 1_193_182;

/// Offsets, as [`crate::platform_map::port::PIT`] maps them.
pub mod offset {
    /// Channel 0; 1 and 2 follow.
    pub const CHANNEL_0: u64 = 0;
    /// Channel 2.
    pub const CHANNEL_2: u64 = 2;
    /// Control word; write only.
    pub const CONTROL: u64 = 3;
    /// System control port B.
    pub const PORT_B: u64 = 4;
}

/// Control word.
pub mod control {
    /// Where the channel is; two bits, 3 means read-back.
    pub const CHANNEL_SHIFT: u8 = 6;
    /// Where the access mode is; two bits, 0 means latch.
    pub const ACCESS_SHIFT: u8 = 4;
    /// Where the counting mode is; three bits.
    pub const MODE_SHIFT: u8 = 1;
    /// Count in BCD.
    pub const BCD: u8 = 1;
    /// Read-back: do not latch counts.
    pub const READ_BACK_NO_COUNT: u8 = 1 << 5;
    /// Read-back: do not latch status.
    pub const READ_BACK_NO_STATUS: u8 = 1 << 4;
}

/// Status byte.
pub mod status {
    /// The output pin.
    pub const OUTPUT: u8 = 1 << 7;
    /// The count written is not yet in the counter.
    pub const NULL_COUNT: u8 = 1 << 6;
}

/// System control port B.
pub mod port_b {
    /// Channel 2's gate.
    pub const GATE_2: u8 = 1 << 0;
    /// Bits that keep what is written: gate, speaker, and two check enables.
    pub const WRITABLE: u8 = 0x0f;
    /// Toggles with each memory refresh.
    pub const REFRESH: u8 = 1 << 4;
    /// Channel 2's output.
    pub const OUTPUT_2: u8 = 1 << 5;
    /// Time between toggles of [`REFRESH`], in nanoseconds.
    pub const REFRESH_NS: u64 = 15_085;
}
