//! Virtio over PCI (virtio 1.2, section 4.1): modern only, MSI-X.

use std::sync::Arc;

use guest_memory::GuestMemory;

use super::mmio::{read_config, write_config};
use super::pci_interrupt::PciInterrupt;
use super::pci_layout::{self as layout, add_capabilities};
use crate::bus::{Unclaimed, Width};
use crate::interrupt::{IrqLine, MsiTarget};
use crate::pci::{BarKind, ConfigError, ConfigSpace, InterruptPin, Msix, PciFunction, PciIdentity};
use crate::virtio::device::VirtioDevice;
use crate::virtio::registers::{Area, Registers};
use crate::virtio::spec::{PCI_DEVICE_BASE, PCI_VENDOR};

/// Common configuration (section 4.1.4.3).
mod common {
    pub(super) const DEVICE_FEATURE_SELECT: u64 = 0x00;
    pub(super) const DEVICE_FEATURE: u64 = 0x04;
    pub(super) const DRIVER_FEATURE_SELECT: u64 = 0x08;
    pub(super) const DRIVER_FEATURE: u64 = 0x0c;
    pub(super) const CONFIG_MSIX_VECTOR: u64 = 0x10;
    pub(super) const NUM_QUEUES: u64 = 0x12;
    pub(super) const DEVICE_STATUS: u64 = 0x14;
    pub(super) const CONFIG_GENERATION: u64 = 0x15;
    pub(super) const QUEUE_SELECT: u64 = 0x16;
    pub(super) const QUEUE_SIZE: u64 = 0x18;
    pub(super) const QUEUE_MSIX_VECTOR: u64 = 0x1a;
    pub(super) const QUEUE_ENABLE: u64 = 0x1c;
    pub(super) const QUEUE_NOTIFY_OFF: u64 = 0x1e;
    pub(super) const QUEUE_DESC: u64 = 0x20;
    pub(super) const QUEUE_DRIVER: u64 = 0x28;
    pub(super) const QUEUE_DEVICE: u64 = 0x30;
    pub(super) const QUEUE_NOTIFY_DATA: u64 = 0x38;
    pub(super) const QUEUE_RESET: u64 = 0x3a;
}

/// Offsets in the capability that is a window into the others (section 4.1.4.9).
const WINDOW_BAR: u16 = 4;
const WINDOW_OFFSET: u16 = 8;
const WINDOW_LENGTH: u16 = 12;
const WINDOW_DATA: u16 = 16;

/// A virtio device as a PCI function.
pub struct VirtioPci {
    config: ConfigSpace,
    registers: Registers,
    interrupt: Arc<PciInterrupt>,
    feature_select: u32,
    driver_feature_select: u32,
    queue_select: u16,
    /// Offset of the window capability.
    window: u16,
}

impl VirtioPci {
    /// Puts `device` on PCI: messages go to `messages`, INTA# is `line`; `packed` offers packed rings.
    ///
    /// # Errors
    /// The configuration space has no room, which it has for any device here.
    pub fn new(
        device: Box<dyn VirtioDevice>,
        memory: Arc<GuestMemory>,
        messages: Arc<dyn MsiTarget>,
        line: IrqLine,
        packed: bool,
    ) -> Result<Self, ConfigError> {
        let kind = device.kind();
        // Devices have a handful of queues.
        let queues = device.queue_sizes().len() as u16;
        let mut config = ConfigSpace::new(PciIdentity {
            vendor: PCI_VENDOR,
            device: PCI_DEVICE_BASE + kind.id(),
            class: kind.pci_class(),
            revision: 1,
            subsystem_vendor: PCI_VENDOR,
            subsystem: 0x40 + kind.id(),
        });
        config.add_bar(layout::BAR.into(), BarKind::Memory32, layout::BAR_BYTES)?;
        config.set_interrupt_pin(InterruptPin::A);
        // A vector per queue, and one for the configuration.
        let vectors = queues.saturating_add(1);
        let msix = Msix::new(vectors, layout::MSIX_TABLE, layout::MSIX_PENDING, &mut config, messages)?;
        let window = add_capabilities(&mut config)?;
        let interrupt = Arc::new(PciInterrupt::new(msix, line, queues));
        let registers = Registers::new(device, memory, interrupt.clone(), packed);
        Ok(Self {
            config,
            registers,
            interrupt,
            feature_select: 0,
            driver_feature_select: 0,
            queue_select: 0,
            window,
        })
    }

    /// The registers, and the device behind them.
    pub fn registers_mut(&mut self) -> &mut Registers {
        &mut self.registers
    }

    fn read_common(&self, offset: u64) -> u64 {
        let (registers, queue) = (&self.registers, self.queue_select);
        match offset {
            common::DEVICE_FEATURE_SELECT => self.feature_select.into(),
            common::DEVICE_FEATURE => registers.device_features(self.feature_select).into(),
            common::DRIVER_FEATURE_SELECT => self.driver_feature_select.into(),
            common::DRIVER_FEATURE => registers.driver_features(self.driver_feature_select).into(),
            common::CONFIG_MSIX_VECTOR => self.interrupt.config_vector().into(),
            common::NUM_QUEUES => registers.queue_count().into(),
            common::DEVICE_STATUS => registers.status().into(),
            common::CONFIG_GENERATION => (registers.device().config_generation() & 0xff).into(),
            common::QUEUE_SELECT => queue.into(),
            common::QUEUE_SIZE => registers.queue_size(queue).into(),
            common::QUEUE_MSIX_VECTOR => self.interrupt.queue_vector(queue).into(),
            common::QUEUE_ENABLE => registers.queue_enabled(queue).into(),
            common::QUEUE_NOTIFY_OFF | common::QUEUE_NOTIFY_DATA => queue.into(),
            common::QUEUE_DESC => registers.area(queue, Area::Descriptors),
            common::QUEUE_DRIVER => registers.area(queue, Area::Driver),
            common::QUEUE_DEVICE => registers.area(queue, Area::Device),
            // A queue is reset when this has been written.
            _ => 0,
        }
    }

    /// Registers can be read in other widths than their own: a part of one, or several.
    fn read_common_part(&self, offset: u64, width: Width) -> u64 {
        let end = (offset + width.bytes()).min(layout::COMMON_BYTES.into());
        let mut value = 0;
        let mut at = offset;
        while at < end {
            let (start, bytes) = register_at(at);
            // Both distances are below eight bytes.
            value |= (self.read_common(start) >> ((at - start) * 8)) << ((at - offset) * 8);
            at = start + bytes;
        }
        value & width.mask()
    }

    fn write_common(&mut self, offset: u64, width: Width, value: u64) {
        let (registers, queue) = (&mut self.registers, self.queue_select);
        // The bus has cleared what is above the width, so that narrowing loses nothing a register has.
        let (word, half) = (value as u32, value as u16);
        match offset {
            common::DEVICE_FEATURE_SELECT => self.feature_select = word,
            common::DRIVER_FEATURE_SELECT => self.driver_feature_select = word,
            common::DRIVER_FEATURE => registers.set_driver_features(self.driver_feature_select, word),
            common::CONFIG_MSIX_VECTOR => self.interrupt.set_config_vector(half),
            common::DEVICE_STATUS => registers.set_status(value as u8),
            common::QUEUE_SELECT => self.queue_select = half,
            common::QUEUE_SIZE => registers.set_queue_size(queue, half),
            common::QUEUE_MSIX_VECTOR => self.interrupt.set_queue_vector(queue, half),
            common::QUEUE_ENABLE if half == 1 => registers.enable_queue(queue),
            common::QUEUE_RESET if half == 1 => registers.reset_queue(queue),
            common::QUEUE_DESC..common::QUEUE_NOTIFY_DATA if offset.is_multiple_of(4) => {
                let area = match offset & !7 {
                    common::QUEUE_DESC => Area::Descriptors,
                    common::QUEUE_DRIVER => Area::Driver,
                    _ => Area::Device,
                };
                registers.set_area(queue, area, offset & 4 != 0, word);
                if width == Width::Eight && offset & 4 == 0 {
                    registers.set_area(queue, area, true, (value >> 32) as u32);
                }
            }
            // Read-only, or between registers.
            _ => {}
        }
    }

    /// The window capability's place and width, if they make sense.
    fn window_target(&self) -> Option<(u64, Width)> {
        let read = |at: u16| self.config.read(self.window + at, Width::Four);
        let bar = self.config.read(self.window + WINDOW_BAR, Width::One);
        let width = Width::from_bytes(read(WINDOW_LENGTH).into()).filter(|width| *width != Width::Eight)?;
        let offset = u64::from(read(WINDOW_OFFSET));
        let inside = offset.is_multiple_of(width.bytes()) && offset + width.bytes() <= layout::BAR_BYTES;
        (bar == u32::from(layout::BAR) && inside).then_some((offset, width))
    }

    fn touches_window(&self, offset: u16) -> bool {
        offset & !3 == self.window + WINDOW_DATA
    }
}

/// The register that `offset` of the common configuration lies in: where it starts, and its bytes.
fn register_at(offset: u64) -> (u64, u64) {
    match offset {
        common::DEVICE_STATUS | common::CONFIG_GENERATION => (offset, 1),
        common::CONFIG_MSIX_VECTOR..common::QUEUE_DESC => (offset & !1, 2),
        common::QUEUE_DESC..common::QUEUE_NOTIFY_DATA => (offset & !7, 8),
        common::QUEUE_NOTIFY_DATA.. => (offset & !1, 2),
        _ => (offset & !3, 4),
    }
}

impl PciFunction for VirtioPci {
    fn config(&self) -> &ConfigSpace {
        &self.config
    }

    fn config_mut(&mut self) -> &mut ConfigSpace {
        &mut self.config
    }

    fn config_read(&mut self, offset: u16, width: Width) -> u32 {
        if self.touches_window(offset)
            && let Some((at, width)) = self.window_target()
        {
            // At most four bytes.
            let value = self.bar_read(layout::BAR.into(), at, width).unwrap_or(u64::MAX) as u32;
            self.config.set(self.window + WINDOW_DATA, &value.to_le_bytes());
        }
        self.config.set_interrupt_status(self.interrupt.intx_raised());
        self.config.read(offset, width)
    }

    fn config_write(&mut self, offset: u16, width: Width, value: u32) {
        self.config.write(offset, width, value);
        self.interrupt.follow(&self.config);
        if self.touches_window(offset)
            && let Some((at, width)) = self.window_target()
        {
            let value = u64::from(self.config.read(self.window + WINDOW_DATA, Width::Four)) & width.mask();
            // Nothing there: as on the bus, the write is dropped.
            let _ = self.bar_write(layout::BAR.into(), at, width, value);
        }
    }

    fn bar_read(&mut self, bar: usize, offset: u64, width: Width) -> Result<u64, Unclaimed> {
        if bar != usize::from(layout::BAR) {
            return Err(Unclaimed);
        }
        let page = offset & !0xfff;
        let at = offset & 0xfff;
        match u32::try_from(page).map_err(|_| Unclaimed)? {
            layout::COMMON if at < layout::COMMON_BYTES.into() => Ok(self.read_common_part(at, width)),
            layout::ISR if at == 0 => Ok(self.interrupt.take_status().into()),
            layout::DEVICE => Ok(read_config(&self.registers, at, width)),
            // Doorbells read as zero.
            layout::NOTIFY => Ok(0),
            _ if in_pending(offset) => {
                self.interrupt.msix().read_pending(offset - u64::from(layout::MSIX_PENDING.offset), width)
            }
            _ if in_table(offset) => {
                self.interrupt.msix().read_table(offset - u64::from(layout::MSIX_TABLE.offset), width)
            }
            _ => Err(Unclaimed),
        }
    }

    fn bar_write(&mut self, bar: usize, offset: u64, width: Width, value: u64) -> Result<(), Unclaimed> {
        if bar != usize::from(layout::BAR) {
            return Err(Unclaimed);
        }
        let page = offset & !0xfff;
        let at = offset & 0xfff;
        match u32::try_from(page).map_err(|_| Unclaimed)? {
            layout::COMMON if at < layout::COMMON_BYTES.into() => self.write_common(at, width, value),
            layout::DEVICE => write_config(&mut self.registers, at, width, value),
            layout::NOTIFY => {
                // The page has room for 1,024 queues.
                self.registers.notify((at / u64::from(layout::NOTIFY_MULTIPLIER)) as u16);
            }
            _ if in_table(offset) => {
                let at = offset - u64::from(layout::MSIX_TABLE.offset);
                self.interrupt.msix().write_table(at, width, value)?;
            }
            _ => return Err(Unclaimed),
        }
        Ok(())
    }

    fn reset(&mut self) {
        self.registers.reset();
        self.interrupt.power_up();
        (self.feature_select, self.driver_feature_select, self.queue_select) = (0, 0, 0);
    }
}

fn in_table(offset: u64) -> bool {
    (layout::MSIX_TABLE.offset.into()..layout::MSIX_PENDING.offset.into()).contains(&offset)
}

fn in_pending(offset: u64) -> bool {
    offset >= layout::MSIX_PENDING.offset.into()
}

#[cfg(test)]
#[path = "pci_test.rs"]
mod pci_test;
