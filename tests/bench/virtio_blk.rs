//! What a disk costs beside the host's own reads: `cargo bench -p tests --bench virtio_blk`.
//!
//! A driver keeps 32 reads of 4 KiB in flight on a split ring, as a guest's would, against a device whose image is in the
//! host's page cache; plain `pread` reads the same places of the same file in the same process. Prints one line of JSON.
#![allow(clippy::print_stdout, clippy::unwrap_used)] // a program for developers

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use devices::disk::{DiskConfig, DiskImage};
use devices::virtio::blk::Block;
use devices::virtio::blk::spec::request;
use devices::virtio::{Activation, DeviceLink, Queue, QueueLayout, TransportInterrupt, VirtioDevice};
use guest_memory::GuestMemory;
use vm_memory::{Bytes, GuestAddress};

/// Bytes of the image: more than a processor's cache, less than the page cache.
const IMAGE_BYTES: u64 = 256 << 20;
const READ_BYTES: u64 = 4096;
const DEPTH: u16 = 32;
/// Reads between two looks at the clock: on a busy machine some such windows are free of others' work.
const READS: u64 = 4_000;
/// Each figure is the best of this many windows.
const ROUNDS: usize = 100;

const SIZE: u16 = 256;
const LAYOUT: QueueLayout = QueueLayout { size: SIZE, descriptors: 0x1000, driver: 0x3000, device: 0x5000 };
/// Headers, then status bytes, then data, one per request in flight.
const HEADERS: u64 = 0x1_0000;
const STATUSES: u64 = 0x2_0000;
const DATA: u64 = 0x10_0000;
/// VERSION_1, EVENT_IDX and what the device offers.
const RING_FEATURES: u64 = 1 << 32 | 1 << 29;

/// The driver sleeps here until the device interrupts.
#[derive(Default)]
struct Interrupt {
    count: AtomicU64,
    pending: Mutex<bool>,
    arrived: Condvar,
    reset: AtomicBool,
}

impl Interrupt {
    fn wait(&self) {
        let pending = self.pending.lock().unwrap();
        let limit = Duration::from_secs(10);
        *self.arrived.wait_timeout_while(pending, limit, |pending| !*pending).unwrap().0 = false;
    }
}

impl TransportInterrupt for Interrupt {
    fn queue_used(&self, _: u16) {
        self.count.fetch_add(1, Ordering::Relaxed);
        *self.pending.lock().unwrap() = true;
        self.arrived.notify_one();
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

/// The driver's side: request `n` always uses descriptors `3 * n` to `3 * n + 2`.
struct Driver {
    memory: Arc<GuestMemory>,
    interrupt: Arc<Interrupt>,
    available: u16,
    used: u16,
}

impl Driver {
    fn new() -> Self {
        let memory = Arc::new(GuestMemory::from_ranges(&[(GuestAddress(0), 16 << 20)]).unwrap());
        let driver = Self { memory, interrupt: Arc::default(), available: 0, used: 0 };
        for number in 0..u64::from(DEPTH) {
            let (next, write) = (1_u64 << 32, 2_u64 << 32);
            let link = |to: u64| (3 * number + to) << 48;
            let buffers = [
                (HEADERS + 16 * number, 16 | next | link(1)),
                (DATA + READ_BYTES * number, READ_BYTES | next | write | link(2)),
                (STATUSES + number, 1 | write),
            ];
            for (at, (gpa, rest)) in (3 * number..).zip(buffers) {
                driver.store(LAYOUT.descriptors + 16 * at, [gpa, rest]);
            }
            driver.store(HEADERS + 16 * number, u64::from(request::IN));
        }
        driver
    }

    fn store<T: vm_memory::ByteValued>(&self, at: u64, value: T) {
        self.memory.write_obj(value, GuestAddress(at)).unwrap();
    }

    fn load(&self, at: u64) -> u16 {
        self.memory.load(GuestAddress(at), Ordering::Acquire).unwrap()
    }

    /// Puts request `number` into the ring: a read of 4 KiB block `block`.
    fn ask(&mut self, number: u16, block: u64) {
        self.store(HEADERS + 16 * u64::from(number) + 8, block * (READ_BYTES / 512));
        let at = LAYOUT.driver + 4 + 2 * u64::from(self.available % SIZE);
        self.store(at, 3 * number);
        self.available = self.available.wrapping_add(1);
    }

    /// Makes what was put there visible; whether the device wants to be told.
    fn publish(&self, before: u16) -> bool {
        let at = GuestAddress(LAYOUT.driver + 2);
        self.memory.store(self.available, at, Ordering::Release).unwrap();
        fence(Ordering::SeqCst);
        let event = self.load(LAYOUT.device + 4 + 8 * u64::from(SIZE));
        self.available.wrapping_sub(event).wrapping_sub(1) < self.available.wrapping_sub(before)
    }

    /// The next answered request.
    fn answered(&mut self) -> Option<u16> {
        if self.load(LAYOUT.device + 2) == self.used {
            return None;
        }
        let at = LAYOUT.device + 4 + 8 * u64::from(self.used % SIZE);
        let head: u32 = self.memory.read_obj(GuestAddress(at)).unwrap();
        self.used = self.used.wrapping_add(1);
        let number = head as u16 / 3;
        let status: u8 = self.memory.read_obj(GuestAddress(STATUSES + u64::from(number))).unwrap();
        assert_eq!(status, 0);
        Some(number)
    }

    /// Asks for an interrupt at the next answer; whether there is one already.
    fn enable_interrupts(&self) -> bool {
        self.store(LAYOUT.driver + 4 + 2 * u64::from(SIZE), self.used);
        fence(Ordering::SeqCst);
        self.load(LAYOUT.device + 2) != self.used
    }

    fn queue(&self) -> Queue {
        let link = DeviceLink::new(self.interrupt.clone());
        Queue::new(0, LAYOUT, RING_FEATURES, self.memory.clone(), link).unwrap()
    }
}

/// Places to read, the same for all.
struct Places(u64);

impl Iterator for Places {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        // A linear congruence (Knuth's MMIX), its upper bits.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        Some((self.0 >> 33) % (IMAGE_BYTES / READ_BYTES))
    }
}

/// Nanoseconds per read of plain `pread`.
fn plain(file: &File) -> f64 {
    let mut buffer = vec![0; READ_BYTES as usize * usize::from(DEPTH)];
    let since = Instant::now();
    for (number, block) in Places(1).take(READS as usize).enumerate() {
        let place = number % usize::from(DEPTH) * READ_BYTES as usize;
        let part = &mut buffer[place..place + READ_BYTES as usize];
        file.read_exact_at(part, block * READ_BYTES).unwrap();
    }
    since.elapsed().as_nanos() as f64 / READS as f64
}

/// Processor time of the device's threads so far, nanoseconds: what this thread, the driver, has not taken.
fn device_processor_ns() -> f64 {
    let read = |clock| {
        let time = rustix::time::clock_gettime(clock);
        time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
    };
    read(rustix::time::ClockId::ProcessCPUTime) - read(rustix::time::ClockId::ThreadCPUTime)
}

/// Through the device, per read: nanoseconds of the best window, processor time of the device's threads in nanoseconds
/// (which the machine's other work disturbs less), and reads per interrupt.
fn through_device(config: &DiskConfig) -> (f64, f64, f64) {
    let mut device = Block::new(DiskImage::open(config).unwrap(), 1);
    let mut driver = Driver::new();
    let features = device.features() | RING_FEATURES;
    let link = DeviceLink::new(driver.interrupt.clone());
    device.activate(Activation { features, memory: driver.memory.clone(), link }).unwrap();
    device.start_queue(0, driver.queue());
    let mut places = Places(1);
    let mut free: Vec<u16> = (0..DEPTH).collect();
    let mut best = f64::MAX;
    let processor = device_processor_ns();
    // The ring stays full from window to window.
    for _ in 0..ROUNDS {
        let mut done = 0;
        let since = Instant::now();
        while done < READS {
            let before = driver.available;
            while let Some(number) = free.pop() {
                driver.ask(number, places.next().unwrap_or_default());
            }
            if driver.available != before && driver.publish(before) {
                device.notify(0);
            }
            let answered_before = done;
            while let Some(number) = driver.answered() {
                free.push(number);
                done += 1;
            }
            if done == answered_before && !driver.enable_interrupts() {
                driver.interrupt.wait();
            }
        }
        best = best.min(since.elapsed().as_nanos() as f64 / done as f64);
    }
    let reads = (READS * ROUNDS as u64) as f64;
    let processor = (device_processor_ns() - processor) / reads;
    drop(device.stop_queue(0));
    let interrupts = driver.interrupt.count.load(Ordering::Relaxed).max(1);
    (best, processor, reads / interrupts as f64)
}

/// Nanoseconds to pop a chain of three descriptors, and to complete it.
fn ring() -> (f64, f64) {
    const TURNS: u64 = 200;
    let mut driver = Driver::new();
    let mut queue = driver.queue();
    let (mut popping, mut completing) = (Duration::ZERO, Duration::ZERO);
    for _ in 0..TURNS {
        let before = driver.available;
        (0..DEPTH).for_each(|number| driver.ask(number, 0));
        driver.publish(before);
        let mut chains = Vec::with_capacity(usize::from(DEPTH));
        let since = Instant::now();
        while let Some(chain) = queue.pop() {
            chains.push(chain);
        }
        popping += since.elapsed();
        assert_eq!(chains.len(), usize::from(DEPTH));
        let since = Instant::now();
        for chain in chains {
            queue.complete(chain, 4097);
        }
        completing += since.elapsed();
        while driver.answered().is_some() {}
    }
    let each = |time: Duration| time.as_nanos() as f64 / (TURNS * u64::from(DEPTH)) as f64;
    (each(popping), each(completing))
}

fn main() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("disk.img");
    let block: Vec<u8> = (0..1 << 20).map(|at| (at % 251) as u8).collect();
    let file = File::create_new(&path).unwrap();
    for piece in 0..IMAGE_BYTES >> 20 {
        file.write_all_at(&block, piece << 20).unwrap();
    }
    let config = DiskConfig::new(&path);
    let file = File::open(&path).unwrap();
    let pread_ns = (0..ROUNDS).map(|_| plain(&file)).fold(f64::MAX, f64::min);
    let (device_ns, processor_ns, per_interrupt) = through_device(&config);
    let (pop_ns, complete_ns) =
        (0..ROUNDS).map(|_| ring()).fold((f64::MAX, f64::MAX), |(a, b), (c, d)| (a.min(c), b.min(d)));
    println!(
        "{{\"pread_ns\": {pread_ns:.0}, \"virtio_blk_ns\": {device_ns:.0}, \"of_pread\": {:.2}, \
         \"device_processor_ns\": {processor_ns:.0}, \"reads_per_interrupt\": {per_interrupt:.1}, \
         \"pop_ns\": {pop_ns:.0}, \"complete_ns\": {complete_ns:.0}}}",
        pread_ns / device_ns
    );
}
