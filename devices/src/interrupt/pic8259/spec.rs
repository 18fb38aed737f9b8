//! Registers of the 8259A (Intel 8259A data sheet) and of the edge/level control beside it.

/// Offsets, as [`crate::platform_map::port::PIC`] maps them.
pub mod offset {
    /// First chip: ICW1, OCW2, OCW3; reads IRR, ISR or the poll byte.
    pub const MASTER_COMMAND: u64 = 0;
    /// First chip: ICW2 to ICW4, mask.
    pub const MASTER_DATA: u64 = 1;
    /// Second chip's command.
    pub const SLAVE_COMMAND: u64 = 2;
    /// Second chip's data.
    pub const SLAVE_DATA: u64 = 3;
    /// First chip: which inputs are level-triggered.
    pub const MASTER_ELCR: u64 = 4;
    /// Second chip: which inputs are level-triggered.
    pub const SLAVE_ELCR: u64 = 5;
}

/// Bits of ICW1.
pub mod icw1 {
    /// Marks ICW1.
    pub const INIT: u8 = 1 << 4;
    /// No ICW3 follows.
    pub const SINGLE: u8 = 1 << 1;
    /// ICW4 follows.
    pub const ICW4: u8 = 1 << 0;
}

/// Bits of ICW4.
pub mod icw4 {
    /// Special fully nested mode.
    pub const SPECIAL_FULLY_NESTED: u8 = 1 << 4;
    /// Automatic EOI.
    pub const AUTO_EOI: u8 = 1 << 1;
}

/// Bits of OCW3.
pub mod ocw3 {
    /// Marks OCW3 (with bit 4 clear).
    pub const MARK: u8 = 1 << 3;
    /// Change special mask mode.
    pub const SET_SPECIAL_MASK: u8 = 1 << 6;
    /// Special mask mode on.
    pub const SPECIAL_MASK: u8 = 1 << 5;
    /// The next read polls.
    pub const POLL: u8 = 1 << 2;
    /// Change which register is read.
    pub const SET_READ: u8 = 1 << 1;
    /// Read ISR rather than IRR.
    pub const READ_ISR: u8 = 1 << 0;
}

/// OCW2 commands, bits 7:5; the level is in bits 2:0.
pub mod ocw2 {
    /// Rotate in automatic EOI mode: off.
    pub const ROTATE_AUTO_OFF: u8 = 0;
    /// Non-specific EOI.
    pub const EOI: u8 = 1;
    /// Specific EOI.
    pub const SPECIFIC_EOI: u8 = 3;
    /// Rotate in automatic EOI mode: on.
    pub const ROTATE_AUTO_ON: u8 = 4;
    /// Rotate on non-specific EOI.
    pub const ROTATE_EOI: u8 = 5;
    /// Set the lowest priority.
    pub const SET_PRIORITY: u8 = 6;
    /// Rotate on specific EOI.
    pub const ROTATE_SPECIFIC_EOI: u8 = 7;
}

/// The input of the first chip that the second one drives.
pub const CASCADE: u8 = 2;

/// What a chip answers when it is asked for an interrupt and has none.
pub const SPURIOUS: u8 = 7;

/// Inputs of the first chip that can be level-triggered: not the timer, the keyboard and the cascade.
pub const MASTER_ELCR_WRITABLE: u8 = 0xf8;

/// Inputs of the second chip that can be level-triggered: not the real-time clock and the coprocessor.
pub const SLAVE_ELCR_WRITABLE: u8 = 0xde;
