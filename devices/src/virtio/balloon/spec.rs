//! Numbers of virtio-balloon (virtio 1.2, section 5.5).

/// Features.
pub mod feature {
    /// There is a queue for statistics.
    pub const STATS_VQ: u64 = 1 << 1;
    /// A guest that runs out of memory takes pages back by itself.
    pub const DEFLATE_ON_OOM: u64 = 1 << 2;
    /// The guest says what its free pages are filled with.
    pub const PAGE_POISON: u64 = 1 << 4;
    /// The guest reports free pages.
    pub const REPORTING: u64 = 1 << 5;
}

/// Queues.
pub mod queue {
    /// Pages the guest gives.
    pub const INFLATE: u16 = 0;
    /// Pages the guest takes back.
    pub const DEFLATE: u16 = 1;
    /// Statistics; where they are not agreed on, drivers that count without gaps report free pages here.
    pub const STATS: u16 = 2;
    /// Where drivers that count without gaps report free pages.
    pub const REPORTING_DENSE: u16 = 3;
    /// Where the specification has the free pages' queue.
    pub const REPORTING: u16 = 4;
}

/// Offsets in the configuration.
pub mod config {
    /// Pages the host wants.
    pub const NUM_PAGES: usize = 0;
    /// Pages the guest has given.
    pub const ACTUAL: usize = 4;
    /// What free pages are filled with.
    pub const POISON_VAL: usize = 12;
    /// Bytes of all.
    pub const BYTES: usize = 16;
}

/// log2 of a balloon page's bytes, 4 KiB whatever the guest's own pages are.
pub const PAGE_SHIFT: u32 = 12;

/// Bytes of one statistic: a tag of two bytes and a value of eight.
pub const STAT_BYTES: usize = 10;

/// Tags of statistics (section 5.5.6.4).
pub mod stat {
    /// Bytes swapped in.
    pub const SWAP_IN: u16 = 0;
    /// Bytes swapped out.
    pub const SWAP_OUT: u16 = 1;
    /// Page faults that waited for a disk.
    pub const MAJOR_FAULTS: u16 = 2;
    /// Page faults that did not.
    pub const MINOR_FAULTS: u16 = 3;
    /// Bytes not used for anything.
    pub const FREE: u16 = 4;
    /// Bytes in all.
    pub const TOTAL: u16 = 5;
    /// Bytes that programs could have without swapping.
    pub const AVAILABLE: u16 = 6;
    /// Bytes of files kept in memory.
    pub const CACHES: u16 = 7;
}
