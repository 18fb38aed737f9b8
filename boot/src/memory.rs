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

/// Where the legacy hole begins: the extended BIOS data area of a PC with 639 KiB of low memory.
pub(crate) const LOW_RAM_END: u64 = 0x9_fc00;

/// Where the legacy hole ends.
pub(crate) const HIGH_RAM_START: u64 = 0x10_0000;

/// Entries the zero page has room for.
const E820_MAX: usize = 128;

impl MemoryLayout {
    /// Bytes of RAM in all.
    pub fn ram_size(&self) -> u64 {
        self.ram.iter().fold(0, |sum, range| sum.saturating_add(range.size))
    }

    /// The end of the highest RAM range.
    pub fn ram_end(&self) -> u64 {
        self.ram.iter().filter(|range| range.size != 0).map(GpaRange::end).max().unwrap_or(0)
    }

    /// RAM in order, ranges that touch made one.
    pub(crate) fn sorted_ram(&self) -> Result<Vec<GpaRange>, LayoutError> {
        for range in self.ram.iter().chain(&self.reserved) {
            if range.start.checked_add(range.size).is_none() {
                return Err(LayoutError::Wraps { start: range.start, size: range.size });
            }
        }
        let mut sorted = self.ram.clone();
        sorted.retain(|range| range.size != 0);
        sorted.sort_unstable();
        let mut ram: Vec<GpaRange> = Vec::new();
        for range in sorted {
            match ram.last_mut() {
                Some(last) if last.overlaps(&range) => return Err(LayoutError::RamOverlap(*last, range)),
                Some(last) if last.end() == range.start => last.size += range.size,
                _ => ram.push(range),
            }
        }
        let found = ram.first().filter(|range| range.start == 0).map_or(0, |range| range.size);
        if found < HIGH_RAM_START {
            return Err(LayoutError::NoLowMemory { needed: HIGH_RAM_START, found });
        }
        Ok(ram)
    }

    /// RAM the guest may use: RAM without the legacy hole and without reserved ranges.
    pub(crate) fn usable_ram(&self) -> Result<Vec<GpaRange>, LayoutError> {
        let hole = GpaRange::between(LOW_RAM_END, HIGH_RAM_START);
        let mut usable = self.sorted_ram()?;
        for taken in self.reserved.iter().chain([&hole]) {
            usable = subtract(&usable, taken);
        }
        Ok(usable)
    }

    /// The memory map: usable RAM, `acpi` as ACPI memory, and the reserved ranges.
    pub(crate) fn e820(&self, acpi: Option<GpaRange>) -> Result<Vec<E820Entry>, LayoutError> {
        let mut reserved = self.reserved.clone();
        reserved.push(GpaRange::between(LOW_RAM_END, 0xa_0000));
        reserved.push(GpaRange::between(0xe_0000, HIGH_RAM_START));
        let mut reserved = merge(reserved);
        if let Some(acpi) = acpi {
            reserved = subtract(&reserved, &acpi);
        }
        let entry = |kind| move |range: GpaRange| E820Entry { range, kind };
        let mut map: Vec<E820Entry> = self.usable_ram()?.into_iter().map(entry(E820Kind::Ram)).collect();
        map.extend(reserved.into_iter().map(entry(E820Kind::Reserved)));
        map.extend(acpi.map(entry(E820Kind::Acpi)));
        map.sort_unstable_by_key(|entry| entry.range);
        if map.len() > E820_MAX {
            return Err(LayoutError::TooManyEntries(map.len()));
        }
        Ok(map)
    }
}

/// What of `ranges` lies outside `taken`.
pub(crate) fn subtract(ranges: &[GpaRange], taken: &GpaRange) -> Vec<GpaRange> {
    let mut left = Vec::with_capacity(ranges.len() + 1);
    for range in ranges {
        if !range.overlaps(taken) {
            left.push(*range);
            continue;
        }
        let below = GpaRange::between(range.start, taken.start);
        let above = GpaRange::between(taken.end(), range.end());
        left.extend([below, above].into_iter().filter(|part| part.size != 0));
    }
    left
}

/// The same addresses as ranges that neither touch nor overlap, in order.
fn merge(mut ranges: Vec<GpaRange>) -> Vec<GpaRange> {
    ranges.retain(|range| range.size != 0);
    ranges.sort_unstable();
    let mut merged: Vec<GpaRange> = Vec::new();
    for range in ranges {
        match merged.last_mut() {
            Some(last) if range.start <= last.end() => {
                last.size = last.end().max(range.end()) - last.start;
            }
            _ => merged.push(range),
        }
    }
    merged
}

#[cfg(test)]
#[path = "memory_test.rs"]
mod memory_test;
