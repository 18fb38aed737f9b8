//! Numbers of virtio-console (virtio 1.2, section 5.3).

/// Features.
pub mod feature {
    /// The configuration has the size of the screen.
    pub const SIZE: u64 = 1 << 0;
    /// Bytes can be written without queues.
    pub const EMERG_WRITE: u64 = 1 << 2;
}

/// Input, to the guest.
pub const RX: u16 = 0;
/// Output of the guest.
pub const TX: u16 = 1;

/// Offsets in the configuration: columns and rows in two bytes each, number of ports and emergency write in four.
pub mod config {
    /// Columns.
    pub const COLS: usize = 0;
    /// Rows.
    pub const ROWS: usize = 2;
    /// Number of ports.
    pub const MAX_PORTS: usize = 4;
    /// Emergency write.
    pub const EMERG_WR: u64 = 8;
    /// Bytes of all.
    pub const BYTES: usize = 12;
}
