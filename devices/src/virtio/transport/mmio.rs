//! Virtio over MMIO (virtio 1.2, section 4.2), version 2: no legacy interface.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use guest_memory::GuestMemory;

use crate::bus::{BusDevice, Unclaimed, Width};
use crate::interrupt::IrqLine;
use crate::lock;
use crate::virtio::device::VirtioDevice;
use crate::virtio::registers::{Area, Registers, TransportInterrupt};
use crate::virtio::spec::{MMIO_MAGIC, isr};

/// Bytes of the register window: 256 of registers, then the device's configuration.
pub const MMIO_BYTES: u64 = 0x1000;

/// "RVMM", as the vendor.
const VENDOR: u32 = u32::from_le_bytes(*b"RVMM");
const VERSION: u32 = 2;

/// Register offsets (table 4.1).
mod reg {
    pub(super) const MAGIC: u64 = 0x000;
    pub(super) const VERSION: u64 = 0x004;
    pub(super) const DEVICE_ID: u64 = 0x008;
    pub(super) const VENDOR_ID: u64 = 0x00c;
    pub(super) const DEVICE_FEATURES: u64 = 0x010;
    pub(super) const DEVICE_FEATURES_SEL: u64 = 0x014;
    pub(super) const DRIVER_FEATURES: u64 = 0x020;
    pub(super) const DRIVER_FEATURES_SEL: u64 = 0x024;
    pub(super) const QUEUE_SEL: u64 = 0x030;
    pub(super) const QUEUE_NUM_MAX: u64 = 0x034;
    pub(super) const QUEUE_NUM: u64 = 0x038;
    pub(super) const QUEUE_READY: u64 = 0x044;
    pub(super) const QUEUE_NOTIFY: u64 = 0x050;
    pub(super) const INTERRUPT_STATUS: u64 = 0x060;
    pub(super) const INTERRUPT_ACK: u64 = 0x064;
    pub(super) const STATUS: u64 = 0x070;
    pub(super) const QUEUE_DESC_LOW: u64 = 0x080;
    pub(super) const QUEUE_DESC_HIGH: u64 = 0x084;
    pub(super) const QUEUE_DRIVER_LOW: u64 = 0x090;
    pub(super) const QUEUE_DRIVER_HIGH: u64 = 0x094;
    pub(super) const QUEUE_DEVICE_LOW: u64 = 0x0a0;
    pub(super) const QUEUE_DEVICE_HIGH: u64 = 0x0a4;
    pub(super) const SHM_LEN_LOW: u64 = 0x0b0;
    pub(super) const SHM_BASE_HIGH: u64 = 0x0bc;
    pub(super) const QUEUE_RESET: u64 = 0x0c0;
    pub(super) const CONFIG_GENERATION: u64 = 0x0fc;
    pub(super) const CONFIG: u64 = 0x100;
}

/// The interrupt status register and the line it drives.
struct LineInterrupt {
    // Held while the line is driven, so that levels arrive in the order of the bits.
    status: Mutex<u8>,
    line: IrqLine,
    needs_reset: AtomicBool,
}

impl LineInterrupt {
    fn raise(&self, bits: u8) {
        let mut status = lock(&self.status);
        *status |= bits;
        self.line.set_level(*status != 0);
    }

    fn acknowledge(&self, bits: u8) {
        let mut status = lock(&self.status);
        *status &= !bits;
        self.line.set_level(*status != 0);
    }
}

impl TransportInterrupt for LineInterrupt {
    fn queue_used(&self, _queue: u16) {
        self.raise(isr::QUEUE);
    }

    fn config_changed(&self) {
        self.raise(isr::CONFIG);
    }

    fn needs_reset(&self) {
        self.needs_reset.store(true, Ordering::SeqCst);
        self.raise(isr::CONFIG);
    }

    fn reset_needed(&self) -> bool {
        self.needs_reset.load(Ordering::SeqCst)
    }

    fn clear(&self) {
        self.needs_reset.store(false, Ordering::SeqCst);
        self.acknowledge(u8::MAX);
    }
}

/// A virtio device in a window of memory, with one level-triggered interrupt line.
pub struct VirtioMmio {
    registers: Registers,
    interrupt: Arc<LineInterrupt>,
    features_sel: u32,
    driver_features_sel: u32,
    queue_sel: u16,
}

impl VirtioMmio {
    /// Puts `device` behind registers; `packed` offers packed rings.
    pub fn new(device: Box<dyn VirtioDevice>, memory: Arc<GuestMemory>, line: IrqLine, packed: bool) -> Self {
        let interrupt =
            Arc::new(LineInterrupt { status: Mutex::new(0), line, needs_reset: AtomicBool::new(false) });
        let registers = Registers::new(device, memory, interrupt.clone(), packed);
        Self { registers, interrupt, features_sel: 0, driver_features_sel: 0, queue_sel: 0 }
    }

    /// The registers, and the device behind them.
    pub fn registers_mut(&mut self) -> &mut Registers {
        &mut self.registers
    }

    /// Power-up reset.
    pub fn reset(&mut self) {
        self.registers.reset();
        (self.features_sel, self.driver_features_sel, self.queue_sel) = (0, 0, 0);
    }

    fn read_register(&self, offset: u64) -> Result<u32, Unclaimed> {
        let (registers, queue) = (&self.registers, self.queue_sel);
        Ok(match offset {
            reg::MAGIC => MMIO_MAGIC,
            reg::VERSION => VERSION,
            reg::DEVICE_ID => registers.device().kind().id().into(),
            reg::VENDOR_ID => VENDOR,
            reg::DEVICE_FEATURES => registers.device_features(self.features_sel),
            reg::QUEUE_NUM_MAX => registers.max_queue_size(queue).into(),
            reg::QUEUE_READY => registers.queue_enabled(queue).into(),
            reg::INTERRUPT_STATUS => u32::from(*lock(&self.interrupt.status)),
            reg::STATUS => registers.status().into(),
            // There is no shared memory: its length reads as all ones (section 4.2.2).
            reg::SHM_LEN_LOW..=reg::SHM_BASE_HIGH => u32::MAX,
            // A queue is reset when this has been written.
            reg::QUEUE_RESET => 0,
            reg::CONFIG_GENERATION => registers.device().config_generation(),
            // Write-only ones read as zero.
            reg::DEVICE_FEATURES_SEL..reg::CONFIG => 0,
            _ => return Err(Unclaimed),
        })
    }

    fn write_register(&mut self, offset: u64, value: u32) -> Result<(), Unclaimed> {
        let (registers, queue) = (&mut self.registers, self.queue_sel);
        match offset {
            reg::DEVICE_FEATURES_SEL => self.features_sel = value,
            reg::DRIVER_FEATURES => registers.set_driver_features(self.driver_features_sel, value),
            reg::DRIVER_FEATURES_SEL => self.driver_features_sel = value,
            // Queues have 16-bit numbers; those beyond do not exist.
            reg::QUEUE_SEL => self.queue_sel = value.try_into().unwrap_or(u16::MAX),
            reg::QUEUE_NUM => registers.set_queue_size(queue, value.try_into().unwrap_or(0)),
            reg::QUEUE_READY if value & 1 != 0 => registers.enable_queue(queue),
            reg::QUEUE_READY => registers.disable_queue(queue),
            reg::QUEUE_NOTIFY => registers.notify(value.try_into().unwrap_or(u16::MAX)),
            reg::INTERRUPT_ACK => self.interrupt.acknowledge(value as u8),
            reg::STATUS => registers.set_status(value as u8),
            reg::QUEUE_DESC_LOW => registers.set_area(queue, Area::Descriptors, false, value),
            reg::QUEUE_DESC_HIGH => registers.set_area(queue, Area::Descriptors, true, value),
            reg::QUEUE_DRIVER_LOW => registers.set_area(queue, Area::Driver, false, value),
            reg::QUEUE_DRIVER_HIGH => registers.set_area(queue, Area::Driver, true, value),
            reg::QUEUE_DEVICE_LOW => registers.set_area(queue, Area::Device, false, value),
            reg::QUEUE_DEVICE_HIGH => registers.set_area(queue, Area::Device, true, value),
            reg::QUEUE_RESET if value & 1 != 0 => registers.reset_queue(queue),
            // Read-only ones ignore it.
            reg::MAGIC..reg::CONFIG => {}
            _ => return Err(Unclaimed),
        }
        Ok(())
    }
}

impl BusDevice for VirtioMmio {
    fn read(&mut self, offset: u64, width: Width) -> Result<u64, Unclaimed> {
        match offset.checked_sub(reg::CONFIG) {
            Some(offset) => Ok(read_config(&self.registers, offset, width)),
            None if width == Width::Four && offset.is_multiple_of(4) => {
                self.read_register(offset).map(u64::from)
            }
            None => Err(Unclaimed),
        }
    }

    fn write(&mut self, offset: u64, width: Width, value: u64) -> Result<(), Unclaimed> {
        match offset.checked_sub(reg::CONFIG) {
            Some(offset) => write_config(&mut self.registers, offset, width, value),
            // The bus has cleared what is above the width.
            None if width == Width::Four && offset.is_multiple_of(4) => {
                self.write_register(offset, value as u32)?;
            }
            None => return Err(Unclaimed),
        }
        Ok(())
    }
}

/// Reads the device-specific configuration.
pub(super) fn read_config(registers: &Registers, offset: u64, width: Width) -> u64 {
    let mut bytes = [0; 8];
    let part = bytes.get_mut(..width.bytes() as usize).unwrap_or_default();
    registers.read_config(offset, part);
    u64::from_le_bytes(bytes)
}

/// Writes the device-specific configuration.
pub(super) fn write_config(registers: &mut Registers, offset: u64, width: Width, value: u64) {
    let bytes = value.to_le_bytes();
    registers.write_config(offset, bytes.get(..width.bytes() as usize).unwrap_or_default());
}

#[cfg(test)]
#[path = "mmio_test.rs"]
mod mmio_test;
