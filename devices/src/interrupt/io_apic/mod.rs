//! The I/O APIC.

pub mod spec;

use std::sync::{Arc, Mutex};

use super::{EoiListener, InterruptFabric, IrqInput, IrqLine};
use crate::bus::{BusDevice, Unclaimed, Width};
use crate::lock;

/// An I/O APIC with 24 pins. Behind `Arc<Mutex<_>>`: on the MMIO bus, and as the receiver of lines and EOIs.
pub struct IoApic {
    fabric: Arc<InterruptFabric>,
}

impl IoApic {
    /// An I/O APIC after reset, which sends its messages through `fabric` and hears of EOIs from it.
    pub fn new(id: u8, fabric: Arc<InterruptFabric>) -> Arc<Mutex<Self>> {
        let _ = id;
        let io_apic = Arc::new(Mutex::new(Self { fabric: fabric.clone() }));
        let listener: Arc<dyn EoiListener> = io_apic.clone();
        fabric.attach_eoi_listener(Arc::downgrade(&listener));
        io_apic
    }

    /// The line into `pin`, for devices that are not on ISA interrupts.
    pub fn line(io_apic: &Arc<Mutex<Self>>, pin: u8) -> IrqLine {
        IrqLine::new(io_apic.clone(), pin.into())
    }

    /// Drives input `pin`.
    pub fn set_pin(&mut self, _pin: u8, _level: bool) {
        let _ = &self.fabric;
    }

    /// Power-up reset: all pins masked. Lines keep their levels.
    pub fn reset(&mut self) {}
}

impl BusDevice for IoApic {
    fn read(&mut self, _offset: u64, _width: Width) -> Result<u64, Unclaimed> {
        Err(Unclaimed)
    }

    fn write(&mut self, _offset: u64, _width: Width, _value: u64) -> Result<(), Unclaimed> {
        Err(Unclaimed)
    }
}

impl IrqInput for Mutex<IoApic> {
    fn set_level(&self, pin: u32, level: bool) {
        if let Ok(pin) = u8::try_from(pin) {
            lock(self).set_pin(pin, level);
        }
    }
}

impl EoiListener for Mutex<IoApic> {
    fn end_of_interrupt(&self, _vector: u8) {}
}
