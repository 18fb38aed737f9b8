//! The host bridge at 00:00.0, by which a guest recognises a PCI bus.

use super::{ConfigSpace, PciFunction, PciIdentity};
use crate::bus::{Unclaimed, Width};

/// A host bridge without registers of its own. Its ID is that of a virtual host bridge, for which guests have no quirks.
const IDENTITY: PciIdentity = PciIdentity {
    vendor: 0x8086,
    device: 0x0d57,
    class: [0x06, 0x00, 0x00],
    revision: 0,
    subsystem_vendor: 0,
    subsystem: 0,
};

pub(super) struct HostBridge {
    config: ConfigSpace,
}

impl HostBridge {
    pub(super) fn new() -> Self {
        Self { config: ConfigSpace::new(IDENTITY) }
    }
}

impl PciFunction for HostBridge {
    fn config(&self) -> &ConfigSpace {
        &self.config
    }

    fn config_mut(&mut self) -> &mut ConfigSpace {
        &mut self.config
    }

    fn bar_read(&mut self, _bar: usize, _offset: u64, _width: Width) -> Result<u64, Unclaimed> {
        Err(Unclaimed)
    }

    fn bar_write(&mut self, _bar: usize, _offset: u64, _width: Width, _value: u64) -> Result<(), Unclaimed> {
        Err(Unclaimed)
    }

    fn reset(&mut self) {}
}
