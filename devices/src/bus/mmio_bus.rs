//! The memory-mapped bus.

use super::ranges::{Range, RangeTable};
use super::unclaimed::UnclaimedLog;
use super::{BusError, SharedDevice, UnclaimedReport, Width};

/// Where a device is seen in guest-physical memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MmioWindow {
    /// First guest-physical address.
    pub base: u64,
    /// Length in bytes.
    pub len: u64,
    /// The device's offset of `base`.
    pub first_offset: u64,
    /// The widest access the device takes at once; wider ones are split, low address first.
    pub native: Width,
}

/// Guest-physical addresses that are not memory. Shared by all vCPU threads (`&self` throughout).
pub struct MmioBus {
    table: RangeTable,
    unclaimed: UnclaimedLog,
}

impl Default for MmioBus {
    fn default() -> Self {
        Self::new()
    }
}

impl MmioBus {
    /// A bus with nothing on it.
    pub fn new() -> Self {
        Self { table: RangeTable::default(), unclaimed: UnclaimedLog::new("mmio") }
    }

    /// Makes `device` answer in `window`; `name` is for reports.
    ///
    /// # Errors
    /// The window is empty, wraps, or overlaps another.
    pub fn attach(&self, name: &str, window: MmioWindow, device: SharedDevice) -> Result<(), BusError> {
        let bad = || BusError::BadRange { name: name.to_owned(), base: window.base, len: window.len };
        let last = window.len.checked_sub(1).and_then(|l| window.base.checked_add(l)).ok_or_else(bad)?;
        let MmioWindow { base, first_offset, native, .. } = window;
        self.table.insert(Range { name: name.to_owned(), base, last, first_offset, native, device })
    }

    /// Takes the window that starts at `base` off the bus. An access already under way finishes.
    ///
    /// # Errors
    /// No window starts there.
    pub fn detach(&self, base: u64) -> Result<(), BusError> {
        self.table.remove(base).map(drop)
    }

    /// Reads `width` bytes at `address`. What nobody answers reads as all ones and is counted.
    pub fn read(&self, address: u64, width: Width) -> u64 {
        super::access::read(&self.table, &self.unclaimed, address, width)
    }

    /// Writes `width` bytes at `address`. What nobody answers is dropped and counted.
    pub fn write(&self, address: u64, width: Width, value: u64) {
        super::access::write(&self.table, &self.unclaimed, address, width, value & width.mask());
    }

    /// Whether a device answers at `address`.
    pub fn is_claimed(&self, address: u64) -> bool {
        self.table.find(address).is_some()
    }

    /// Name, first and last address of every window, ascending.
    pub fn windows(&self) -> Vec<(String, u64, u64)> {
        self.table.list()
    }

    /// What the guest touched that is not there.
    pub fn unclaimed(&self) -> UnclaimedReport {
        self.unclaimed.report()
    }
}
