//! What a disk costs beside the host's own reads: `cargo bench -p tests --bench virtio_blk`.
//!
//! A driver keeps 32 reads of 4 KiB in flight on a split ring, as a guest's would, against a device whose image is in the
//! host's page cache; plain `pread` reads the same places of the same file in the same process. Prints lines of text.
#![allow(clippy::print_stdout, clippy::unwrap_used)] // a program for developers

mod ring;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use devices::disk::{DiskConfig, DiskImage};
use devices::virtio::blk::Block;
use devices::virtio::blk::spec::request;
use devices::virtio::{QueueLayout, VirtioDevice};
use ring::{Aligned, Ring};

/// Bytes of the image: more than a processor's cache, less than the page cache.
const IMAGE_BYTES: u64 = 256 << 20;
const READ_BYTES: u64 = 4096;
const DEPTH: u16 = 32;
/// Reads between two looks at the clock.
const READS: u64 = 20_000;
/// Each figure is the median of this many windows; those of the ring are the best.
const ROUNDS: usize = 30;

const SIZE: u16 = 256;
const LAYOUT: QueueLayout = QueueLayout { size: SIZE, descriptors: 0x1000, driver: 0x3000, device: 0x5000 };
/// Headers, then status bytes, then data, one per request in flight.
const HEADERS: u64 = 0x1_0000;
const STATUSES: u64 = 0x2_0000;
const DATA: u64 = 0x10_0000;
/// The driver's side.
struct Driver(Ring);

impl Driver {
    fn new() -> Self {
        let ring = Ring::new(LAYOUT);
        for number in 0..u64::from(DEPTH) {
            let header = HEADERS + 16 * number;
            ring.describe(
                number,
                [
                    (header, 16, false),
                    (DATA + READ_BYTES * number, READ_BYTES, true),
                    (STATUSES + number, 1, true),
                ],
            );
            ring.store(header, u64::from(request::IN));
        }
        Self(ring)
    }

    /// Puts request `number` into the ring: a read of 4 KiB block `block`.
    fn ask(&mut self, number: u16, block: u64) {
        self.0.store(HEADERS + 16 * u64::from(number) + 8, block * (READ_BYTES / 512));
        self.0.put(number);
    }

    /// The next answered request.
    fn answered(&mut self) -> Option<u16> {
        let number = self.0.answered()?;
        assert_eq!(self.0.load::<u8>(STATUSES + u64::from(number)), 0);
        Some(number)
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
    let mut buffer = Aligned::new(READ_BYTES as usize * usize::from(DEPTH));
    let buffer = buffer.get();
    let since = Instant::now();
    for (number, block) in Places(1).take(READS as usize).enumerate() {
        let place = number % usize::from(DEPTH) * READ_BYTES as usize;
        let part = &mut buffer[place..place + READ_BYTES as usize];
        file.read_exact_at(part, block * READ_BYTES).unwrap();
    }
    since.elapsed().as_nanos() as f64 / READS as f64
}

/// The device, and the driver that keeps its ring full from window to window.
struct Through {
    device: Block,
    driver: Driver,
    places: Places,
    free: Vec<u16>,
}

impl Through {
    fn new(config: &DiskConfig) -> Self {
        let mut device = Block::new(DiskImage::open(config).unwrap(), 1);
        let driver = Driver::new();
        driver.0.activate(&mut device);
        device.start_queue(0, driver.0.queue());
        Self { device, driver, places: Places(1), free: (0..DEPTH).collect() }
    }

    /// Nanoseconds per read, in one window.
    fn window(&mut self) -> f64 {
        let mut done = 0;
        let since = Instant::now();
        while done < READS {
            let before = self.driver.0.available;
            while let Some(number) = self.free.pop() {
                self.driver.ask(number, self.places.next().unwrap_or_default());
            }
            if self.driver.0.available != before && self.driver.0.publish(before) {
                self.device.notify(0);
            }
            let answered_before = done;
            while let Some(number) = self.driver.answered() {
                self.free.push(number);
                done += 1;
            }
            if done == answered_before && !self.driver.0.enable_interrupts() {
                self.driver.0.interrupt.wait();
            }
        }
        since.elapsed().as_nanos() as f64 / done as f64
    }

    /// Waits until nothing is in flight.
    fn settle(&mut self) {
        while self.free.len() < usize::from(DEPTH) {
            match self.driver.answered() {
                Some(number) => self.free.push(number),
                None if self.driver.0.enable_interrupts() => {}
                None => self.driver.0.interrupt.wait(),
            }
        }
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Nanoseconds to pop a chain of three descriptors, and to complete it.
fn ring() -> (f64, f64) {
    const TURNS: u64 = 200;
    let mut driver = Driver::new();
    let mut queue = driver.0.queue();
    let (mut popping, mut completing) = (Duration::ZERO, Duration::ZERO);
    for _ in 0..TURNS {
        let before = driver.0.available;
        (0..DEPTH).for_each(|number| driver.ask(number, 0));
        driver.0.publish(before);
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
    let mut through = Through::new(&config);
    let (mut pread, mut device) = (Vec::new(), Vec::new());
    // In turns: what the machine does beside disturbs both alike.
    for _ in 0..ROUNDS {
        pread.push(plain(&file));
        device.push(through.window());
        // Before the next window of plain reads.
        through.settle();
    }
    let (pread_ns, device_ns) = (median(pread), median(device));
    let reads = (READS * ROUNDS as u64) as f64;
    let interrupts = through.driver.0.interrupt.count.load(Ordering::Relaxed).max(1);
    drop(through.device.stop_queue(0));
    let (pop_ns, complete_ns) =
        (0..ROUNDS).map(|_| ring()).fold((f64::MAX, f64::MAX), |(a, b), (c, d)| (a.min(c), b.min(d)));
    println!("virtio-blk, reads of 4 KiB, {DEPTH} in flight; pread: {pread_ns:.0} ns");
    println!("  a read      {device_ns:.0} ns, {:.2} of pread's speed", pread_ns / device_ns);
    println!("  reads for each interrupt: {:.1}", reads / interrupts as f64);
    println!("  ring        pop {pop_ns:.0} ns, completion {complete_ns:.0} ns");
}
