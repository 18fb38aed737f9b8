//! The PCI root complex: bus 0 and the two ways to its configuration space.

use std::sync::{Arc, Mutex};

use crate::bus::{BusDevice, MmioBus, PortBus, Unclaimed, Width};
use crate::power::ResetRegister;

/// Bus 0, with a host bridge at 00:00.0. BARs appear on the buses it is given as the guest enables them.
pub struct PciRoot {
    mmio: Arc<MmioBus>,
    ports: Arc<PortBus>,
}

impl PciRoot {
    /// A root with only its host bridge.
    pub fn new(mmio: Arc<MmioBus>, ports: Arc<PortBus>) -> Arc<Mutex<Self>> {
        Arc::new(Mutex::new(Self { mmio, ports }))
    }

    /// Power-up reset of every function; BARs leave the buses.
    pub fn reset(&mut self) {
        let _ = (&self.mmio, &self.ports);
    }
}

/// Configuration mechanism #1 at ports 0xcf8 and 0xcfc, with the reset register at 0xcf9.
pub struct PciConfigPorts {
    root: Arc<Mutex<PciRoot>>,
    reset: ResetRegister,
}

impl PciConfigPorts {
    /// The ports of `root`.
    pub fn new(root: Arc<Mutex<PciRoot>>, reset: ResetRegister) -> Self {
        Self { root, reset }
    }

    /// Power-up reset of the address and reset registers.
    pub fn reset(&mut self) {
        self.reset.reset();
        let _ = &self.root;
    }
}

impl BusDevice for PciConfigPorts {
    fn read(&mut self, _offset: u64, _width: Width) -> Result<u64, Unclaimed> {
        Err(Unclaimed)
    }

    fn write(&mut self, _offset: u64, _width: Width, _value: u64) -> Result<(), Unclaimed> {
        Err(Unclaimed)
    }
}

/// The memory-mapped configuration space (PCI Express ECAM).
pub struct PciEcam {
    root: Arc<Mutex<PciRoot>>,
}

impl PciEcam {
    /// The window of `root`.
    pub fn new(root: Arc<Mutex<PciRoot>>) -> Self {
        Self { root }
    }
}

impl BusDevice for PciEcam {
    fn read(&mut self, _offset: u64, _width: Width) -> Result<u64, Unclaimed> {
        let _ = &self.root;
        Err(Unclaimed)
    }

    fn write(&mut self, _offset: u64, _width: Width, _value: u64) -> Result<(), Unclaimed> {
        Err(Unclaimed)
    }
}
