//! Registers of the I/O APIC: Intel 82093AA data sheet, with the EOI register of its successors.

/// Input pins.
pub const PINS: u8 = 24;

/// Offsets in the page. Each register is four bytes.
pub mod window {
    /// I/O register select: the index of the register in [`DATA`].
    pub const SELECT: u64 = 0x00;
    /// I/O window: the selected register.
    pub const DATA: u64 = 0x10;
    /// EOI: ends level interrupts of the vector written (version 0x20).
    pub const EOI: u64 = 0x40;
}

/// Register indices.
pub mod index {
    /// Identification: bits 27:24.
    pub const ID: u8 = 0x00;
    /// Version and number of pins.
    pub const VERSION: u8 = 0x01;
    /// Arbitration: bits 27:24.
    pub const ARBITRATION: u8 = 0x02;
    /// First redirection entry's low half; high halves are the odd ones.
    pub const REDIRECTION: u8 = 0x10;
}

/// The version register: 0x20, 24 pins.
pub const VERSION: u32 = ((PINS as u32 - 1) << 16) | 0x20;

/// Bits of a redirection entry.
pub mod entry {
    /// Vector.
    pub const VECTOR: u64 = 0xff;
    /// Where the delivery mode is; three bits.
    pub const MODE_SHIFT: u32 = 8;
    /// Logical destination.
    pub const LOGICAL: u64 = 1 << 11;
    /// Delivery status; read only. Messages are posted at once, so it is never set.
    pub const STATUS: u64 = 1 << 12;
    /// Active low. Stored: lines here say "asserted", whichever voltage that is.
    pub const ACTIVE_LOW: u64 = 1 << 13;
    /// A level was accepted and not yet ended; read only.
    pub const REMOTE_IRR: u64 = 1 << 14;
    /// Level-triggered.
    pub const LEVEL: u64 = 1 << 15;
    /// Masked.
    pub const MASKED: u64 = 1 << 16;
    /// Where the destination is; eight bits.
    pub const DESTINATION_SHIFT: u32 = 56;
    /// What can be written.
    pub const WRITABLE: u64 = 0xff00_0000_0001_afff;
}
