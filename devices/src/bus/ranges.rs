//! The table of ranges both buses are made of.

use std::sync::{PoisonError, RwLock};

use super::{SharedDevice, Width};

/// Why a range could not be claimed or given up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BusError {
    /// The range shares addresses with one that is already there.
    #[error("{name} at {base:#x}..={last:#x} overlaps {other} at {other_base:#x}..={other_last:#x}")]
    Overlap {
        /// The newcomer.
        name: String,
        /// Its first address.
        base: u64,
        /// Its last address.
        last: u64,
        /// The range already there.
        other: String,
        /// First address of the range already there.
        other_base: u64,
        /// Last address of the range already there.
        other_last: u64,
    },
    /// A range without addresses, or one that runs past the end of the address space.
    #[error("{name} at {base:#x} with length {len:#x} does not fit the bus")]
    BadRange {
        /// The newcomer.
        name: String,
        /// Its first address.
        base: u64,
        /// Its length in bytes.
        len: u64,
    },
    /// No range starts at this address.
    #[error("no range starts at {base:#x}")]
    NoSuchRange {
        /// The address asked for.
        base: u64,
    },
}

/// One claimed range.
pub(super) struct Range {
    pub(super) name: String,
    pub(super) base: u64,
    /// Inclusive, so that a range may end at the top of the address space.
    pub(super) last: u64,
    pub(super) first_offset: u64,
    pub(super) native: Width,
    pub(super) device: SharedDevice,
}

/// The device that answers at an address.
pub(super) struct Hit {
    pub(super) device: SharedDevice,
    /// The device's offset of the address.
    pub(super) offset: u64,
    pub(super) native: Width,
    /// The range's last address.
    pub(super) last: u64,
}

/// Ranges by address, none overlapping.
#[derive(Default)]
pub(super) struct RangeTable {
    // Held only to look up or change the table, never while a device is called.
    sorted: RwLock<Vec<Range>>,
}

impl RangeTable {
    pub(super) fn insert(&self, range: Range) -> Result<(), BusError> {
        let mut sorted = self.sorted.write().unwrap_or_else(PoisonError::into_inner);
        insert_sorted(&mut sorted, range)
    }

    pub(super) fn remove(&self, base: u64) -> Result<Range, BusError> {
        let mut sorted = self.sorted.write().unwrap_or_else(PoisonError::into_inner);
        let index =
            sorted.binary_search_by_key(&base, |r| r.base).map_err(|_| BusError::NoSuchRange { base })?;
        Ok(sorted.remove(index))
    }

    /// Who answers at `address`.
    pub(super) fn find(&self, address: u64) -> Option<Hit> {
        let sorted = self.sorted.read().unwrap_or_else(PoisonError::into_inner);
        let after = sorted.partition_point(|r| r.base <= address);
        let range = sorted.get(after.checked_sub(1)?).filter(|r| address <= r.last)?;
        Some(Hit {
            device: range.device.clone(),
            offset: (address - range.base).wrapping_add(range.first_offset),
            native: range.native,
            last: range.last,
        })
    }

    /// Whether any address of `first..=last` is claimed.
    pub(super) fn any_in(&self, first: u64, last: u64) -> bool {
        let sorted = self.sorted.read().unwrap_or_else(PoisonError::into_inner);
        let after = sorted.partition_point(|r| r.base <= last);
        after.checked_sub(1).and_then(|i| sorted.get(i)).is_some_and(|r| r.last >= first)
    }

    /// Name, first and last address of each range, ascending.
    pub(super) fn list(&self) -> Vec<(String, u64, u64)> {
        let sorted = self.sorted.read().unwrap_or_else(PoisonError::into_inner);
        sorted.iter().map(|r| (r.name.clone(), r.base, r.last)).collect()
    }
}

fn insert_sorted(sorted: &mut Vec<Range>, range: Range) -> Result<(), BusError> {
    let at = sorted.partition_point(|r| r.base <= range.last);
    if let Some(other) = at.checked_sub(1).and_then(|i| sorted.get(i)).filter(|o| o.last >= range.base) {
        return Err(BusError::Overlap {
            name: range.name,
            base: range.base,
            last: range.last,
            other: other.name.clone(),
            other_base: other.base,
            other_last: other.last,
        });
    }
    sorted.insert(at, range);
    Ok(())
}
