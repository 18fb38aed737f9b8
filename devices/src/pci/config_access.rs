//! The two ways to configuration space: ports and a memory window.

use std::sync::{Arc, Mutex};

use super::{ConfigAddress, PciRoot};
use crate::bus::{BusDevice, Unclaimed, Width};
use crate::lock;
use crate::power::ResetRegister;

/// Offset of the reset register, in the middle of the address register.
const RESET: u64 = 1;
/// Offset of the data register.
const DATA: u64 = 4;
/// Address register: the data register reaches configuration space.
const ENABLE: u32 = 1 << 31;
/// Address register: bits that keep what is written.
const WRITABLE: u32 = 0x80ff_fffc;

/// Configuration mechanism #1 at ports 0xcf8 and 0xcfc (PCI Local Bus Specification 3.0, section 3.2.2.3.2), with the
/// reset register at 0xcf9: the address register takes four bytes at once, so the chipset has a place for it there.
pub struct PciConfigPorts {
    root: Arc<Mutex<PciRoot>>,
    reset: ResetRegister,
    address: u32,
}

impl PciConfigPorts {
    /// The ports of `root`.
    pub fn new(root: Arc<Mutex<PciRoot>>, reset: ResetRegister) -> Self {
        Self { root, reset, address: 0 }
    }

    /// Power-up reset of the address and reset registers.
    pub fn reset(&mut self) {
        self.address = 0;
        self.reset.reset();
    }

    /// What the data register reaches at `offset`.
    fn target(&self, offset: u64) -> Option<ConfigAddress> {
        let address = self.address;
        (address & ENABLE != 0).then_some(ConfigAddress {
            // Fields of eight, five, three and eight bits.
            bus: (address >> 16) as u8,
            device: (address >> 11 & 0x1f) as u8,
            function: (address >> 8 & 7) as u8,
            offset: (address & 0xfc) as u16 | (offset & 3) as u16,
        })
    }
}

impl BusDevice for PciConfigPorts {
    fn read(&mut self, offset: u64, width: Width) -> Result<u64, Unclaimed> {
        match (offset, width) {
            (0, Width::Four) => Ok(self.address.into()),
            (RESET, Width::One) => Ok(self.reset.read().into()),
            (DATA.., _) => {
                let Some(target) = self.target(offset) else { return Ok(width.mask()) };
                Ok(lock(&self.root).read_config(target, width).into())
            }
            _ => Err(Unclaimed),
        }
    }

    fn write(&mut self, offset: u64, width: Width, value: u64) -> Result<(), Unclaimed> {
        match (offset, width) {
            (0, Width::Four) => self.address = value as u32 & WRITABLE,
            (RESET, Width::One) => self.reset.write((value & 0xff) as u8),
            (DATA.., _) => {
                if let Some(target) = self.target(offset) {
                    lock(&self.root).write_config(target, width, value as u32);
                }
            }
            _ => return Err(Unclaimed),
        }
        Ok(())
    }
}

/// The memory-mapped configuration space (PCI Express ECAM): 4 KiB per function, 1 MiB per bus.
pub struct PciEcam {
    root: Arc<Mutex<PciRoot>>,
}

impl PciEcam {
    /// The window of `root`.
    pub fn new(root: Arc<Mutex<PciRoot>>) -> Self {
        Self { root }
    }
}

fn ecam_address(offset: u64) -> ConfigAddress {
    ConfigAddress {
        // Fields of eight, five, three and twelve bits.
        bus: (offset >> 20) as u8,
        device: (offset >> 15 & 0x1f) as u8,
        function: (offset >> 12 & 7) as u8,
        offset: (offset & 0xfff) as u16,
    }
}

impl BusDevice for PciEcam {
    fn read(&mut self, offset: u64, width: Width) -> Result<u64, Unclaimed> {
        Ok(lock(&self.root).read_config(ecam_address(offset), width).into())
    }

    fn write(&mut self, offset: u64, width: Width, value: u64) -> Result<(), Unclaimed> {
        // The bus gives four bytes at most.
        lock(&self.root).write_config(ecam_address(offset), width, value as u32);
        Ok(())
    }
}
