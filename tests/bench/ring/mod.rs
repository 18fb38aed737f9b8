//! The driver's side of a split ring, as a guest's would be, for benches.
#![allow(clippy::unwrap_used)] // a bench that cannot set itself up has failed
#![allow(dead_code)] // each bench uses its part

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use devices::Patience;
use devices::virtio::{Activation, DeviceLink, Queue, QueueLayout, TransportInterrupt, VirtioDevice};
use guest_memory::GuestMemory;
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend};

/// VERSION_1 and EVENT_IDX.
const RING_FEATURES: u64 = 1 << 32 | 1 << 29;

/// The driver waits here until the device interrupts: as a vCPU of ours does at HLT, it looks out before it sleeps.
#[derive(Default)]
pub(crate) struct Interrupt {
    pub(crate) count: AtomicU64,
    pending: AtomicBool,
    patience: Mutex<Patience>,
    /// Whether the driver sleeps.
    bed: Mutex<bool>,
    arrived: Condvar,
    reset: AtomicBool,
}

impl Interrupt {
    pub(crate) fn wait(&self) {
        let mut patience = self.patience.lock().unwrap();
        let since = Instant::now();
        let is_pending = || self.pending.load(Ordering::SeqCst);
        if !patience.look_out(None, is_pending) {
            let mut bed = self.bed.lock().unwrap();
            *bed = true;
            let limit = Duration::from_secs(10);
            (bed, _) = self.arrived.wait_timeout_while(bed, limit, |_| !is_pending()).unwrap();
            *bed = false;
        }
        patience.learn(since.elapsed());
        self.pending.store(false, Ordering::SeqCst);
    }
}

impl TransportInterrupt for Interrupt {
    fn queue_used(&self, _: u16) {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.pending.store(true, Ordering::SeqCst);
        if *self.bed.lock().unwrap() {
            self.arrived.notify_one();
        }
    }

    fn config_changed(&self) {}

    fn needs_reset(&self) {
        self.reset.store(true, Ordering::SeqCst);
    }

    fn reset_needed(&self) -> bool {
        self.reset.load(Ordering::SeqCst)
    }

    fn clear(&self) {}
}

/// One buffer of a request: where, how long, and whether the device writes it.
pub(crate) type Buffer = (u64, u64, bool);

/// A ring, and how far the driver is in it. Request `n` has descriptors `3 * n` to `3 * n + 2`.
pub(crate) struct Ring {
    pub(crate) memory: Arc<GuestMemory>,
    pub(crate) interrupt: Arc<Interrupt>,
    layout: QueueLayout,
    pub(crate) available: u16,
    used: u16,
}

impl Ring {
    pub(crate) fn new(layout: QueueLayout) -> Self {
        let memory = Arc::new(GuestMemory::from_ranges(&[(GuestAddress(0), 16 << 20)]).unwrap());
        Self { memory, interrupt: Arc::default(), layout, available: 0, used: 0 }
    }

    /// Activates a device; its queue is not started.
    pub(crate) fn activate(&self, device: &mut dyn VirtioDevice) {
        let link = DeviceLink::new(self.interrupt.clone());
        let features = device.features() | RING_FEATURES;
        device.activate(Activation { features, memory: self.memory.clone(), link }).unwrap();
    }

    /// The device's side.
    pub(crate) fn queue(&self) -> Queue {
        let link = DeviceLink::new(self.interrupt.clone());
        Queue::new(0, self.layout, RING_FEATURES, self.memory.clone(), link).unwrap()
    }

    /// A place in one region: general accesses look for borders of regions each time.
    fn place<T>(&self, at: u64) -> guest_memory::Slice<'_> {
        self.memory.get_slice(GuestAddress(at), size_of::<T>()).unwrap()
    }

    pub(crate) fn store<T: vm_memory::ByteValued>(&self, at: u64, value: T) {
        self.place::<T>(at).write_obj(value, 0).unwrap();
    }

    pub(crate) fn load<T: vm_memory::ByteValued>(&self, at: u64) -> T {
        self.place::<T>(at).read_obj(0).unwrap()
    }

    fn index(&self, at: u64) -> u16 {
        self.memory.load(GuestAddress(at), Ordering::Acquire).unwrap()
    }

    /// Writes the descriptors of request `number`.
    pub(crate) fn describe(&self, number: u64, buffers: [Buffer; 3]) {
        for (at, (gpa, len, device_writes)) in (0..).zip(buffers) {
            let next = if at < 2 { 1_u64 << 32 | (3 * number + at + 1) << 48 } else { 0 };
            let write = u64::from(device_writes) << 33;
            self.store(self.layout.descriptors + 16 * (3 * number + at), [gpa, len | next | write]);
        }
    }

    /// Puts request `number` into the ring.
    pub(crate) fn put(&mut self, number: u16) {
        let at = self.layout.driver + 4 + 2 * u64::from(self.available % self.layout.size);
        self.store(at, 3 * number);
        self.available = self.available.wrapping_add(1);
    }

    /// Makes what was put there since `before` visible; whether the device wants to be told.
    pub(crate) fn publish(&self, before: u16) -> bool {
        self.memory.store(self.available, GuestAddress(self.layout.driver + 2), Ordering::Release).unwrap();
        fence(Ordering::SeqCst);
        let event = self.index(self.layout.device + 4 + 8 * u64::from(self.layout.size));
        self.available.wrapping_sub(event).wrapping_sub(1) < self.available.wrapping_sub(before)
    }

    /// The next answered request.
    pub(crate) fn answered(&mut self) -> Option<u16> {
        if self.index(self.layout.device + 2) == self.used {
            return None;
        }
        let at = self.layout.device + 4 + 8 * u64::from(self.used % self.layout.size);
        self.used = self.used.wrapping_add(1);
        Some(self.load::<u32>(at) as u16 / 3)
    }

    /// Asks for an interrupt at the next answer; whether there is one already.
    pub(crate) fn enable_interrupts(&self) -> bool {
        self.store(self.layout.driver + 4 + 2 * u64::from(self.layout.size), self.used);
        fence(Ordering::SeqCst);
        self.index(self.layout.device + 2) != self.used
    }
}

/// A buffer of the host's that begins at a page, as a guest's do: copies to others are slower.
pub(crate) struct Aligned {
    bytes: Vec<u8>,
    start: usize,
    len: usize,
}

impl Aligned {
    pub(crate) fn new(len: usize) -> Self {
        let bytes = vec![0; len + 4096];
        let start = bytes.as_ptr().align_offset(4096);
        Self { bytes, start, len }
    }

    pub(crate) fn get(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.start + self.len]
    }
}
