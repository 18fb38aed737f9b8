//! What a device on PCI is to the root.

use std::sync::{Arc, Mutex};

use super::ConfigSpace;
use crate::bus::{BusDevice, Unclaimed, Width};
use crate::lock;

/// A PCI function: a configuration space and what is behind its windows.
///
/// Called with the function locked; it must not call the root.
pub trait PciFunction: Send {
    /// Its configuration space.
    fn config(&self) -> &ConfigSpace;

    /// The same, to change.
    fn config_mut(&mut self) -> &mut ConfigSpace;

    /// The guest reads configuration space. To be overridden where registers have effects.
    fn config_read(&mut self, offset: u16, width: Width) -> u32 {
        self.config().read(offset, width)
    }

    /// The guest writes configuration space. To be overridden where registers have effects; the root looks at BARs and
    /// command register afterwards.
    fn config_write(&mut self, offset: u16, width: Width, value: u32) {
        self.config_mut().write(offset, width, value);
    }

    /// The guest reads the window of register `bar`.
    ///
    /// # Errors
    /// Nothing answers there.
    fn bar_read(&mut self, bar: usize, offset: u64, width: Width) -> Result<u64, Unclaimed>;

    /// The guest writes the window of register `bar`.
    ///
    /// # Errors
    /// Nothing answers there.
    fn bar_write(&mut self, bar: usize, offset: u64, width: Width, value: u64) -> Result<(), Unclaimed>;

    /// Power-up reset: work under way is finished or given up, and nothing touches guest memory afterwards. The root
    /// resets the configuration space itself.
    fn reset(&mut self);
}

/// One window of a function, as a bus sees it.
pub(super) struct BarWindow {
    pub(super) function: Arc<Mutex<dyn PciFunction>>,
    pub(super) bar: usize,
}

impl BusDevice for BarWindow {
    fn read(&mut self, offset: u64, width: Width) -> Result<u64, Unclaimed> {
        lock(&self.function).bar_read(self.bar, offset, width)
    }

    fn write(&mut self, offset: u64, width: Width, value: u64) -> Result<(), Unclaimed> {
        lock(&self.function).bar_write(self.bar, offset, width, value)
    }
}
