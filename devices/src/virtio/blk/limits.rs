//! What one request may ask: told in the configuration, and held to.

use super::spec::UNMAP;

/// Entries of each queue.
pub(super) const QUEUE_SIZE: u16 = 256;

/// Most segments of data: what fits a queue beside header and status.
pub(super) const SEGMENTS: u32 = QUEUE_SIZE as u32 - 2;

/// Largest segment of data, bytes. Drivers split larger ones; one request then stops a queue for a bounded time.
pub(super) const SEGMENT_BYTES: u32 = 1 << 20;

/// Most data of a request, bytes.
pub(super) const DATA_BYTES: u64 = SEGMENTS as u64 * SEGMENT_BYTES as u64;

/// Segments of a discard or zeroing.
pub(super) struct Segments {
    pub(super) count: u32,
    pub(super) sectors: u32,
    pub(super) flags: u32,
}

/// Discards only ever make holes: 2 GiB each.
pub(super) const DISCARD: Segments = Segments { count: 32, sectors: 4 << 20, flags: 0 };

/// Where the host has no holes, zeros are written: 64 MiB in all.
pub(super) const WRITE_ZEROES: Segments = Segments { count: 1, sectors: 128 << 10, flags: UNMAP };

/// Most queues of a device; more than there are vCPUs serve nobody.
pub(super) const QUEUES: u16 = 16;
