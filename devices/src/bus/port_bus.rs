//! The x86 I/O port bus.

use super::ranges::{Range, RangeTable};
use super::unclaimed::UnclaimedLog;
use super::{BusError, SharedDevice, UnclaimedReport, Width};

/// Where a device is seen among the ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortWindow {
    /// First port.
    pub base: u16,
    /// Number of ports.
    pub len: u16,
    /// The device's offset of `base`.
    pub first_offset: u64,
    /// The widest access the device takes at once. Wider ones are split, low port first, as a chipset does for
    /// eight-bit devices on its ISA side.
    pub native: Width,
}

impl PortWindow {
    /// A window onto an eight-bit device whose offset of `base` is `first_offset`.
    pub const fn bytes(base: u16, len: u16, first_offset: u64) -> Self {
        Self { base, len, first_offset, native: Width::One }
    }
}

/// The 65,536 I/O ports. Shared by all vCPU threads (`&self` throughout).
pub struct PortBus {
    table: RangeTable,
    unclaimed: UnclaimedLog,
}

impl Default for PortBus {
    fn default() -> Self {
        Self::new()
    }
}

impl PortBus {
    /// A bus with nothing on it.
    pub fn new() -> Self {
        Self { table: RangeTable::default(), unclaimed: UnclaimedLog::new("ports") }
    }

    /// Makes `device` answer in all of `windows`; `name` is for reports. All or none.
    ///
    /// # Errors
    /// A window is empty, runs past port 0xffff, or overlaps another.
    pub fn attach(&self, name: &str, windows: &[PortWindow], device: SharedDevice) -> Result<(), BusError> {
        for (done, window) in windows.iter().enumerate() {
            if let Err(error) = self.attach_one(name, *window, device.clone()) {
                for attached in windows.iter().take(done) {
                    // Attached a moment ago, so it is there.
                    let _ = self.table.remove(u64::from(attached.base));
                }
                return Err(error);
            }
        }
        Ok(())
    }

    fn attach_one(&self, name: &str, window: PortWindow, device: SharedDevice) -> Result<(), BusError> {
        let PortWindow { base, len, first_offset, native } = window;
        let bad = || BusError::BadRange { name: name.to_owned(), base: base.into(), len: len.into() };
        let last = len.checked_sub(1).and_then(|l| base.checked_add(l)).ok_or_else(bad)?;
        let (base, last) = (u64::from(base), u64::from(last));
        self.table.insert(Range { name: name.to_owned(), base, last, first_offset, native, device })
    }

    /// Takes the window that starts at port `base` off the bus. An access already under way finishes.
    ///
    /// # Errors
    /// No window starts there.
    pub fn detach(&self, base: u16) -> Result<(), BusError> {
        self.table.remove(base.into()).map(drop)
    }

    /// Reads `width` bytes (at most four) at `port`. What nobody answers reads as all ones and is counted.
    pub fn read(&self, port: u16, width: Width) -> u32 {
        let value = super::access::read(&self.table, &self.unclaimed, port.into(), width.min(Width::Four));
        // At most four bytes were read.
        value as u32
    }

    /// Writes `width` bytes (at most four) at `port`. What nobody answers is dropped and counted.
    pub fn write(&self, port: u16, width: Width, value: u32) {
        let width = width.min(Width::Four);
        let value = u64::from(value) & width.mask();
        super::access::write(&self.table, &self.unclaimed, port.into(), width, value);
    }

    /// Whether a device answers at `port`.
    pub fn is_claimed(&self, port: u16) -> bool {
        self.table.find(port.into()).is_some()
    }

    /// Name, first and last port of every window, ascending.
    pub fn windows(&self) -> Vec<(String, u64, u64)> {
        self.table.list()
    }

    /// What the guest touched that is not there.
    pub fn unclaimed(&self) -> UnclaimedReport {
        self.unclaimed.report()
    }
}
