//! The registers of a virtio device, as both transports show them: status, features, queues.

use std::sync::Arc;

use guest_memory::GuestMemory;

use super::device::{Activation, DeviceLink, VirtioDevice};
use super::queue::{Queue, QueueLayout};
use super::spec::{feature, status};

/// What a device tells its driver besides what is in queues. Called by workers, never with the transport locked by them.
pub trait TransportInterrupt: Send + Sync {
    /// Queue `queue` has used buffers the driver wants to know of.
    fn queue_used(&self, queue: u16);
    /// The configuration has changed.
    fn config_changed(&self);
    /// DEVICE_NEEDS_RESET is set from now on until a reset; the driver is told.
    fn needs_reset(&self);
    /// Is DEVICE_NEEDS_RESET set?
    fn reset_needed(&self) -> bool;
    /// The device was reset: nothing is pending.
    fn clear(&self);
}

/// One queue's settings, before and after it is enabled.
#[derive(Debug, Clone, Copy)]
struct QueueRegisters {
    max_size: u16,
    layout: QueueLayout,
    enabled: bool,
}

impl QueueRegisters {
    fn new(max_size: u16) -> Self {
        Self { max_size, layout: QueueLayout { size: max_size, ..QueueLayout::default() }, enabled: false }
    }
}

/// Which of a queue's three addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Area {
    Descriptors,
    Driver,
    Device,
}

/// A device, and what its driver has set.
///
/// The order a driver must keep (section 3.1.1) is enforced: features are fixed when FEATURES_OK is set, a queue's
/// settings when it is enabled, and the device works from DRIVER_OK until it is reset.
pub struct Registers {
    device: Box<dyn VirtioDevice>,
    memory: Arc<GuestMemory>,
    interrupt: Arc<dyn TransportInterrupt>,
    link: DeviceLink,
    offered: u64,
    status: u8,
    driver_features: u64,
    queues: Vec<QueueRegisters>,
    active: bool,
    /// Queues taken from the device while the machine is paused.
    paused: Option<Vec<Queue>>,
}

impl Registers {
    /// The registers of `device` after power-up. `packed` offers packed rings.
    pub fn new(
        device: Box<dyn VirtioDevice>,
        memory: Arc<GuestMemory>,
        interrupt: Arc<dyn TransportInterrupt>,
        packed: bool,
    ) -> Self {
        let rings = feature::INDIRECT_DESC | feature::EVENT_IDX | feature::VERSION_1 | feature::RING_RESET;
        let rings = rings | if packed { feature::RING_PACKED } else { 0 };
        let queues = device.queue_sizes().iter().copied().map(QueueRegisters::new).collect();
        Self {
            offered: device.features() | rings,
            device,
            memory,
            link: DeviceLink::new(interrupt.clone()),
            interrupt,
            status: 0,
            driver_features: 0,
            queues,
            active: false,
            paused: None,
        }
    }

    /// The device behind the registers.
    pub fn device(&self) -> &dyn VirtioDevice {
        &*self.device
    }

    /// The same, to change.
    pub fn device_mut(&mut self) -> &mut dyn VirtioDevice {
        &mut *self.device
    }

    pub(super) fn queue_count(&self) -> u16 {
        // Devices have a handful.
        u16::try_from(self.queues.len()).unwrap_or(u16::MAX)
    }

    pub(super) fn status(&self) -> u8 {
        self.status | if self.interrupt.reset_needed() { status::NEEDS_RESET } else { 0 }
    }

    /// The driver writes the status: 0 resets the device, other bits can only be added.
    pub(super) fn set_status(&mut self, value: u8) {
        if value == 0 {
            self.reset();
            return;
        }
        let added = value & !self.status & !status::NEEDS_RESET;
        self.status |= added & !(status::FEATURES_OK | status::DRIVER_OK);
        if added & status::FEATURES_OK != 0 && self.features_fit() {
            self.status |= status::FEATURES_OK;
        }
        if added & status::DRIVER_OK != 0 && self.status & status::FEATURES_OK != 0 {
            self.status |= status::DRIVER_OK;
            self.activate();
        }
    }

    /// May the driver have the features it chose? Version 1 is not optional: there is no legacy interface.
    fn features_fit(&self) -> bool {
        let chosen = self.driver_features;
        let fit = chosen & !self.offered == 0 && chosen & feature::VERSION_1 != 0;
        if !fit {
            let (name, offered) = (self.device.kind().name(), self.offered);
            self.link
                .warn(format_args!("virtio-{name}: the driver chose features {chosen:#x} of {offered:#x}"));
        }
        fit
    }

    fn activate(&mut self) {
        let (memory, link) = (self.memory.clone(), self.link.clone());
        let activation = Activation { features: self.driver_features, memory, link };
        if let Err(error) = self.device.activate(activation) {
            self.link.needs_reset(format_args!("virtio-{}: {error}", self.device.kind().name()));
            return;
        }
        self.active = true;
        for index in 0..self.queue_count() {
            self.start(index);
        }
    }

    /// Hands queue `index` to the device, if it is enabled and the device works; when the machine is paused, later.
    fn start(&mut self, index: u16) {
        let Some(queue) = self.queues.get(usize::from(index)) else { return };
        if !queue.enabled || !self.active {
            return;
        }
        let link = self.link.clone();
        match Queue::new(index, queue.layout, self.driver_features, self.memory.clone(), link) {
            Ok(queue) => match &mut self.paused {
                Some(paused) => paused.push(queue),
                None => self.device.start_queue(index, queue),
            },
            Err(error) => {
                let name = self.device.kind().name();
                self.link.needs_reset(format_args!("virtio-{name} queue {index}: {error}"));
            }
        }
    }

    /// Word 0 or 1 of the features offered; others are zero.
    pub(super) fn device_features(&self, word: u32) -> u32 {
        half(self.offered, word)
    }

    pub(super) fn driver_features(&self, word: u32) -> u32 {
        half(self.driver_features, word)
    }

    pub(super) fn set_driver_features(&mut self, word: u32, value: u32) {
        if self.status & status::FEATURES_OK != 0 {
            return;
        }
        match word {
            0 => set_low(&mut self.driver_features, value),
            1 => set_high(&mut self.driver_features, value),
            // Features beyond 64: what is not offered cannot be chosen, and a zero says nothing.
            _ => {}
        }
    }

    pub(super) fn max_queue_size(&self, index: u16) -> u16 {
        self.queue(index).map_or(0, |queue| queue.max_size)
    }

    pub(super) fn queue_size(&self, index: u16) -> u16 {
        self.queue(index).map_or(0, |queue| queue.layout.size)
    }

    /// Sizes a queue cannot have are ignored.
    pub(super) fn set_queue_size(&mut self, index: u16, size: u16) {
        let packed = self.driver_features & feature::RING_PACKED != 0;
        if let Some(queue) = self.settable(index)
            && (1..=queue.max_size).contains(&size)
            && (packed || size.is_power_of_two())
        {
            queue.layout.size = size;
        }
    }

    pub(super) fn area(&self, index: u16, area: Area) -> u64 {
        self.queue(index).map_or(0, |queue| match area {
            Area::Descriptors => queue.layout.descriptors,
            Area::Driver => queue.layout.driver,
            Area::Device => queue.layout.device,
        })
    }

    /// Sets the low or high half of one of a queue's addresses.
    pub(super) fn set_area(&mut self, index: u16, area: Area, high: bool, value: u32) {
        let Some(queue) = self.settable(index) else { return };
        let address = match area {
            Area::Descriptors => &mut queue.layout.descriptors,
            Area::Driver => &mut queue.layout.driver,
            Area::Device => &mut queue.layout.device,
        };
        if high { set_high(address, value) } else { set_low(address, value) }
    }

    pub(super) fn queue_enabled(&self, index: u16) -> bool {
        self.queue(index).is_some_and(|queue| queue.enabled)
    }

    /// The driver has set up a queue; its settings are fixed from now on.
    pub(super) fn enable_queue(&mut self, index: u16) {
        if self.status & status::FEATURES_OK == 0 {
            return;
        }
        if let Some(queue) = self.settable(index) {
            queue.enabled = true;
            self.start(index);
        }
    }

    /// Resets one queue (section 2.6.1): what is in flight is finished, its settings can be changed again.
    pub(super) fn reset_queue(&mut self, index: u16) {
        if self.driver_features & feature::RING_RESET == 0 {
            return;
        }
        self.disable_queue(index);
    }

    /// Takes a queue out of use and forgets its settings.
    pub(super) fn disable_queue(&mut self, index: u16) {
        if self.active {
            drop(self.device.stop_queue(index));
        }
        if let Some(paused) = &mut self.paused {
            paused.retain(|queue| queue.index() != index);
        }
        if let Some(queue) = self.queues.get_mut(usize::from(index)) {
            *queue = QueueRegisters::new(queue.max_size);
        }
    }

    /// The doorbell of a queue was rung.
    pub(super) fn notify(&mut self, index: u16) {
        if self.active && self.queue_enabled(index) {
            self.device.notify(index);
        }
    }

    pub(super) fn read_config(&self, offset: u64, bytes: &mut [u8]) {
        self.device.read_config(offset, bytes);
    }

    pub(super) fn write_config(&mut self, offset: u64, bytes: &[u8]) {
        self.device.write_config(offset, bytes);
    }

    /// Stops the queues, everything in flight finished, until [`Registers::resume`]. Twice is once.
    pub fn pause(&mut self) {
        if self.paused.is_none() {
            self.paused = Some(self.stop_all());
        }
    }

    /// Gives the queues back to the device.
    pub fn resume(&mut self) {
        for queue in self.paused.take().unwrap_or_default() {
            self.device.start_queue(queue.index(), queue);
        }
    }

    fn stop_all(&mut self) -> Vec<Queue> {
        if !self.active {
            return Vec::new();
        }
        (0..self.queue_count()).filter_map(|index| self.device.stop_queue(index)).collect()
    }

    /// As after power-up. Nothing is in flight when this returns.
    pub fn reset(&mut self) {
        drop(self.stop_all());
        // A paused machine stays paused, with nothing to give back.
        self.paused.iter_mut().for_each(Vec::clear);
        if self.active {
            self.device.deactivate();
        }
        self.active = false;
        self.status = 0;
        self.driver_features = 0;
        for queue in &mut self.queues {
            *queue = QueueRegisters::new(queue.max_size);
        }
        self.interrupt.clear();
    }

    fn queue(&self, index: u16) -> Option<&QueueRegisters> {
        self.queues.get(usize::from(index))
    }

    /// A queue whose settings can still be changed.
    fn settable(&mut self, index: u16) -> Option<&mut QueueRegisters> {
        self.queues.get_mut(usize::from(index)).filter(|queue| !queue.enabled)
    }
}

impl Drop for Registers {
    fn drop(&mut self) {
        self.reset();
    }
}

fn half(value: u64, word: u32) -> u32 {
    match word {
        0 => value as u32,
        1 => (value >> 32) as u32,
        _ => 0,
    }
}

fn set_low(value: &mut u64, low: u32) {
    *value = *value & !0xffff_ffff | u64::from(low);
}

fn set_high(value: &mut u64, high: u32) {
    *value = *value & 0xffff_ffff | u64::from(high) << 32;
}

#[cfg(test)]
#[path = "registers_test.rs"]
mod registers_test;
