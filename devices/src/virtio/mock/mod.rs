//! A driver for tests, benches and fuzzing: it sets a device up without a transport and plays the guest.
#![allow(clippy::unwrap_used, clippy::missing_panics_doc)] // a test that cannot set itself up has failed

mod driver_queue;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use guest_memory::GuestMemory;
use vm_memory::GuestAddress;

pub use self::driver_queue::{DriverQueue, Used};
use super::device::{Activation, DeviceLink, VirtioDevice};
use super::queue::Queue;
use super::registers::TransportInterrupt;
use super::spec::feature;

/// Guest memory of a [`Driver`], bytes.
pub const MEMORY_BYTES: usize = 64 << 20;

/// Each queue has this much of it: rings first, then buffers.
const QUEUE_BYTES: u64 = 8 << 20;

/// Counts what a device tells its driver.
#[derive(Default)]
pub struct MockInterrupt {
    /// Interrupts of each of the first 16 queues.
    queues: [AtomicU64; 16],
    configs: AtomicU64,
    needs_reset: AtomicBool,
    changed: Condvar,
    lock: Mutex<()>,
}

impl MockInterrupt {
    /// Interrupts of queue `index` so far.
    pub fn count(&self, index: u16) -> u64 {
        self.queues[usize::from(index)].load(Ordering::SeqCst)
    }

    /// Changes of the configuration so far.
    pub fn config_changes(&self) -> u64 {
        self.configs.load(Ordering::SeqCst)
    }

    fn wake(&self) {
        drop(self.lock.lock().unwrap());
        self.changed.notify_all();
    }

    /// Waits until `holds`, at most ten seconds; whether it does.
    pub fn wait(&self, mut holds: impl FnMut() -> bool) -> bool {
        let until = Instant::now() + Duration::from_secs(10);
        let mut guard = self.lock.lock().unwrap();
        while !holds() {
            if Instant::now() >= until {
                return false;
            }
            // Not every change rings: look again now and then.
            guard = self.changed.wait_timeout(guard, Duration::from_millis(2)).unwrap().0;
        }
        true
    }
}

impl TransportInterrupt for MockInterrupt {
    fn queue_used(&self, queue: u16) {
        self.queues[usize::from(queue)].fetch_add(1, Ordering::SeqCst);
        self.wake();
    }

    fn config_changed(&self) {
        self.configs.fetch_add(1, Ordering::SeqCst);
        self.wake();
    }

    fn needs_reset(&self) {
        self.needs_reset.store(true, Ordering::SeqCst);
        self.wake();
    }

    fn reset_needed(&self) -> bool {
        self.needs_reset.load(Ordering::SeqCst)
    }

    fn clear(&self) {
        self.needs_reset.store(false, Ordering::SeqCst);
    }
}

/// How a [`Driver`] sets its device up.
#[derive(Debug, Clone, Copy)]
pub struct Setup {
    /// Features it accepts of those the device offers.
    pub features: u64,
    /// Entries of each queue, at most what the device can.
    pub queue_size: u16,
    /// Packed rings.
    pub packed: bool,
    /// Notifications by index.
    pub event_idx: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self { features: u64::MAX, queue_size: 256, packed: false, event_idx: true }
    }
}

/// A device, activated, and the driver's side of its queues.
pub struct Driver<D: VirtioDevice> {
    /// The device.
    pub device: D,
    /// The guest's memory.
    pub memory: Arc<GuestMemory>,
    /// What the device told.
    pub interrupt: Arc<MockInterrupt>,
    /// The driver's side of each queue.
    pub queues: Vec<DriverQueue>,
    /// The features agreed on.
    pub features: u64,
}

impl<D: VirtioDevice> Driver<D> {
    /// Activates `device` with all its queues, as `setup` says.
    pub fn new(mut device: D, setup: Setup) -> Self {
        let memory = Arc::new(GuestMemory::from_ranges(&[(GuestAddress(0), MEMORY_BYTES)]).unwrap());
        let interrupt = Arc::new(MockInterrupt::default());
        let mut features = device.features() & setup.features | feature::VERSION_1 | feature::INDIRECT_DESC;
        features |= if setup.packed { feature::RING_PACKED } else { 0 };
        features |= if setup.event_idx { feature::EVENT_IDX } else { 0 };
        let link = DeviceLink::new(interrupt.clone());
        device.activate(Activation { features, memory: memory.clone(), link }).unwrap();
        let sizes: Vec<u16> = device.queue_sizes().to_vec();
        let queues = (0..)
            .zip(&sizes)
            .map(|(index, max)| {
                let base = u64::from(index) * QUEUE_BYTES;
                let size = setup.queue_size.min(*max);
                DriverQueue::new(memory.clone(), index, base, QUEUE_BYTES, size, features)
            })
            .collect();
        let mut driver = Self { device, memory, interrupt, queues, features };
        (0..sizes.len() as u16).for_each(|index| driver.start(index));
        driver
    }

    /// Hands queue `index`, as set up, to the device.
    pub fn start(&mut self, index: u16) {
        let link = DeviceLink::new(self.interrupt.clone());
        let layout = self.queues[usize::from(index)].layout();
        let queue = Queue::new(index, layout, self.features, self.memory.clone(), link).unwrap();
        self.device.start_queue(index, queue);
    }

    /// Puts a request into queue `index`: bytes to read, then room to write. Rings if the device wants it. Answers the
    /// request's number.
    pub fn send(&mut self, index: u16, readable: &[&[u8]], writable: &[u32]) -> u16 {
        let queue = &mut self.queues[usize::from(index)];
        let id = queue.add(readable, writable);
        if queue.publish() {
            self.device.notify(index);
        }
        id
    }

    /// Waits for the next answer in queue `index`; `None` after ten seconds.
    pub fn wait(&mut self, index: u16) -> Option<Used> {
        let queue = &mut self.queues[usize::from(index)];
        let mut used = None;
        self.interrupt.wait(|| {
            used = used.take().or_else(|| queue.used());
            used.is_some()
        });
        used
    }

    /// Sends a request and waits for its answer, which must be the next one.
    pub fn request(&mut self, index: u16, readable: &[&[u8]], writable: &[u32]) -> Option<Used> {
        let id = self.send(index, readable, writable);
        self.wait(index).filter(|used| used.id == id)
    }
}

impl<D: VirtioDevice> Drop for Driver<D> {
    fn drop(&mut self) {
        for index in 0..self.queues.len() as u16 {
            drop(self.device.stop_queue(index));
        }
        self.device.deactivate();
    }
}
