//! The guest-physical memory the plan may use, and the e820 map made from it.

use std::fmt;

/// A half-open range of guest-physical addresses: `start..start + size`, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct GpaRange {
    /// First address.
    pub start: u64,
    /// Length in bytes.
    pub size: u64,
}

impl GpaRange {
    /// The range of `size` bytes from `start`.
    pub const fn new(start: u64, size: u64) -> Self {
        Self { start, size }
    }

    /// The range from `start` up to, not including, `end`; empty where `end` is below `start`.
    pub const fn between(start: u64, end: u64) -> Self {
        Self { start, size: end.saturating_sub(start) }
    }

    /// The first address behind the range, saturating at the top of the address space.
    pub const fn end(&self) -> u64 {
        self.start.saturating_add(self.size)
    }

    /// Whether the two ranges share an address. Empty ranges share none.
    pub const fn overlaps(&self, other: &Self) -> bool {
        self.size != 0 && other.size != 0 && self.start < other.end() && other.start < self.end()
    }

    /// Whether `other` lies in this range entirely.
    pub const fn contains(&self, other: &Self) -> bool {
        self.start <= other.start && other.end() <= self.end()
    }
}

impl fmt::Display for GpaRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}..{:#x}", self.start, self.end())
    }
}

/// Why a [`MemoryLayout`] cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// Two RAM ranges share addresses.
    #[error("guest RAM ranges {0} and {1} overlap")]
    RamOverlap(GpaRange, GpaRange),
    /// A range runs past the end of the 64-bit address space.
    #[error("a guest memory range of {size:#x} bytes at {start:#x} runs past the address space")]
    Wraps {
        /// First address.
        start: u64,
        /// Length in bytes.
        size: u64,
    },
    /// The first 640 KiB hold the zero page, page tables and command line.
    #[error("guest RAM must begin at address 0 with at least {needed:#x} bytes, the layout has {found:#x}")]
    NoLowMemory {
        /// Bytes of RAM needed from address 0.
        needed: u64,
        /// Bytes of RAM found from address 0.
        found: u64,
    },
    /// The e820 table of the zero page is full.
    #[error("the memory map has {0} entries, the zero page holds 128")]
    TooManyEntries(usize),
}

/// What lies where in guest-physical memory, as far as booting cares.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryLayout {
    /// RAM, the first megabyte included; no two ranges overlap, any order.
    pub ram: Vec<GpaRange>,
    /// Ranges the guest must not use as RAM or place devices in (ECAM, firmware areas). They are reported as reserved and
    /// nothing is placed there; they may or may not lie in RAM. The hole below 1 MiB (0x9fc00..0x100000) is reserved by
    /// the plan itself and need not be named.
    pub reserved: Vec<GpaRange>,
}

/// What a range of the e820 map is for (ACPI 6.5, table 15.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum E820Kind {
    /// Usable RAM.
    Ram = 1,
    /// Not to be used.
    Reserved = 2,
    /// ACPI tables, usable once they are read.
    Acpi = 3,
}

/// One range of the memory map given to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct E820Entry {
    /// Addresses.
    pub range: GpaRange,
    /// Use.
    pub kind: E820Kind,
}
