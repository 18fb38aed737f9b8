//! Numbers of the block device (virtio 1.2, section 5.2).

/// Features (section 5.2.3).
pub mod feature {
    /// A segment has a largest size.
    pub const SIZE_MAX: u64 = 1 << 1;
    /// A request has a largest number of segments.
    pub const SEG_MAX: u64 = 1 << 2;
    /// The disk cannot be written.
    pub const RO: u64 = 1 << 5;
    /// The block size is told.
    pub const BLK_SIZE: u64 = 1 << 6;
    /// There is a cache, and requests to flush it.
    pub const FLUSH: u64 = 1 << 9;
    /// What sizes of request the disk likes is told.
    pub const TOPOLOGY: u64 = 1 << 10;
    /// The driver can turn the cache off.
    pub const CONFIG_WCE: u64 = 1 << 11;
    /// There are several queues.
    pub const MQ: u64 = 1 << 12;
    /// Space can be given back.
    pub const DISCARD: u64 = 1 << 13;
    /// Zeros can be written without sending them.
    pub const WRITE_ZEROES: u64 = 1 << 14;
}

/// Types of request (section 5.2.6).
pub mod request {
    /// Read.
    pub const IN: u32 = 0;
    /// Write.
    pub const OUT: u32 = 1;
    /// Flush.
    pub const FLUSH: u32 = 4;
    /// Tell the serial number.
    pub const GET_ID: u32 = 8;
    /// Give space back.
    pub const DISCARD: u32 = 11;
    /// Write zeros.
    pub const WRITE_ZEROES: u32 = 13;
}

/// Answers (section 5.2.6).
pub mod status {
    /// Done.
    pub const OK: u8 = 0;
    /// The host or the driver made a mistake.
    pub const IO_ERROR: u8 = 1;
    /// Not a request this device knows.
    pub const UNSUPPORTED: u8 = 2;
}

/// Offsets of the configuration's fields (section 5.2.4); all numbers are little-endian.
pub mod config {
    /// Sectors, 64 bits.
    pub const CAPACITY: usize = 0;
    /// Largest segment in bytes, 32 bits.
    pub const SIZE_MAX: usize = 8;
    /// Most segments of a request, 32 bits.
    pub const SEG_MAX: usize = 12;
    /// Logical block in bytes, 32 bits.
    pub const BLK_SIZE: usize = 20;
    /// log2 of logical blocks per physical block, 8 bits.
    pub const PHYSICAL_BLOCK_EXP: usize = 24;
    /// Smallest request that does not cost more than it has to, in logical blocks, 16 bits.
    pub const MIN_IO_SIZE: usize = 26;
    /// The best size of request in logical blocks, 32 bits; 0 if there is none.
    pub const OPT_IO_SIZE: usize = 28;
    /// Whether the cache is on, 8 bits; the driver may write it.
    pub const WRITEBACK: usize = 32;
    /// Number of queues, 16 bits.
    pub const NUM_QUEUES: usize = 34;
    /// Most sectors of a discarded segment, 32 bits.
    pub const MAX_DISCARD_SECTORS: usize = 36;
    /// Most segments of a discard, 32 bits.
    pub const MAX_DISCARD_SEG: usize = 40;
    /// Discarded segments are best aligned to this many sectors, 32 bits.
    pub const DISCARD_SECTOR_ALIGNMENT: usize = 44;
    /// Most sectors of a zeroed segment, 32 bits.
    pub const MAX_WRITE_ZEROES_SECTORS: usize = 48;
    /// Most segments of a zeroing, 32 bits.
    pub const MAX_WRITE_ZEROES_SEG: usize = 52;
    /// Whether zeroing may give space back, 8 bits.
    pub const WRITE_ZEROES_MAY_UNMAP: usize = 56;
    /// Bytes in all.
    pub const BYTES: usize = 60;
}

/// Bytes of a request's header: type, reserved, sector.
pub const HEADER_BYTES: usize = 16;

/// Bytes of a segment of a discard or zeroing: sector, number of sectors, flags.
pub const SEGMENT_BYTES: usize = 16;

/// Flag of a zeroed segment: its space may be given back.
pub const UNMAP: u32 = 1;

/// Bytes of a serial number.
pub const ID_BYTES: usize = 20;
