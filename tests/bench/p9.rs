//! What a shared folder costs beside the host's own calls: `cargo bench -p tests --bench p9`.
//!
//! A large file that is in the host's page cache is read through the device, with one and with four requests of 512 KiB in
//! flight, and by plain `pread` in the same process. Small files are created, listed, looked at and removed
//! through the server, without a queue, and directly. Prints lines of text.
#![allow(clippy::print_stdout, clippy::unwrap_used)] // a program for developers

mod ring;

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Instant;

use devices::p9::{ByteReply, IdMode, Server, ShareConfig};
use devices::virtio::p9::P9;
use devices::virtio::{QueueLayout, VirtioDevice};
use ring::{Aligned, Ring};
use vm_memory::{Bytes, GuestAddress};

/// Bytes of the large file: more than a processor's cache, less than the page cache.
const FILE_BYTES: u64 = 256 << 20;
/// Bytes of data in one message.
const READ_BYTES: u64 = 512 << 10;
const DEPTH: u64 = 4; // what a guest's read-ahead has
const SMALL_FILES: usize = 10_000;
/// Each figure is the best of this many.
const ROUNDS: usize = 5;

const SIZE: u16 = 16;
const LAYOUT: QueueLayout = QueueLayout { size: SIZE, descriptors: 0x1000, driver: 0x2000, device: 0x3000 };
/// Requests, a page each; reply headers, likewise; data.
const REQUESTS: u64 = 0x1_0000;
const HEADERS: u64 = 0x2_0000;
const DATA: u64 = 0x10_0000;
/// The driver's side.
struct Driver(Ring);

impl Driver {
    fn new() -> Self {
        Self(Ring::new(LAYOUT))
    }

    /// Puts a message into place `number` of the ring.
    fn ask(&mut self, number: u64, message: &[u8]) {
        let (request, header) = (REQUESTS + 4096 * number, HEADERS + 4096 * number);
        self.0.memory.write_slice(message, GuestAddress(request)).unwrap();
        let data = (DATA + READ_BYTES * number, READ_BYTES, true);
        self.0.describe(number, [(request, message.len() as u64, false), (header, 11, true), data]);
        self.0.put(number as u16);
    }

    /// The place of the next answered request, and the type of its reply.
    fn answered(&mut self) -> Option<(u64, u8)> {
        let number = u64::from(self.0.answered()?);
        Some((number, self.0.load(HEADERS + 4096 * number + 4)))
    }

    /// Sends a message and waits for its reply of type `reply`.
    fn call(&mut self, device: &mut P9, message: &[u8], reply: u8) {
        let before = self.0.available;
        self.ask(0, message);
        if self.0.publish(before) {
            device.notify(0);
        }
        assert_eq!(self.wait(), (0, reply));
    }

    fn wait(&mut self) -> (u64, u8) {
        loop {
            if let Some(answer) = self.answered() {
                return answer;
            }
            if !self.0.enable_interrupts() {
                self.0.interrupt.wait();
            }
        }
    }

    /// Reads the whole file of fid 1, so many requests in flight.
    fn read_file(&mut self, device: &mut P9, depth: u64) {
        let mut offset = 0;
        for number in 0..depth {
            self.read_next(device, number, &mut offset);
        }
        let mut left = FILE_BYTES / READ_BYTES;
        while left > 0 {
            let (number, kind) = self.wait();
            assert_eq!(kind, 117);
            let count: u32 = self.0.load(HEADERS + 4096 * number + 7);
            assert_eq!(u64::from(count), READ_BYTES);
            left -= 1;
            if offset < FILE_BYTES {
                self.read_next(device, number, &mut offset);
            }
        }
    }

    fn read_next(&mut self, device: &mut P9, number: u64, offset: &mut u64) {
        let before = self.0.available;
        let count = READ_BYTES as u32;
        self.ask(number, &message(116, &[&[1, 0, 0, 0], &offset.to_le_bytes(), &count.to_le_bytes()]));
        *offset += READ_BYTES;
        if self.0.publish(before) {
            device.notify(0);
        }
    }
}

fn message(kind: u8, fields: &[&[u8]]) -> Vec<u8> {
    let body = fields.concat();
    let size = body.len() as u32 + 7;
    [&size.to_le_bytes()[..], &[kind], &[1, 0], &body].concat()
}

fn version() -> Vec<u8> {
    message(100, &[&(1u32 << 20).to_le_bytes(), &[8, 0], b"9P2000.L"])
}

fn attach() -> Vec<u8> {
    message(104, &[&[0; 4], &[255; 4], &[0; 8]])
}

fn string(text: &str) -> Vec<u8> {
    [&(text.len() as u16).to_le_bytes(), text.as_bytes()].concat()
}

fn server(dir: &Path) -> Server {
    let mut config = ShareConfig::new(dir);
    config.ids = IdMode::Passthrough;
    Server::new(&config).unwrap()
}

/// Bytes per second of a large read: by pread, by the device with one request in flight and with several.
fn large(dir: &Path) -> [f64; 3] {
    let path = dir.join("large");
    let mut file = File::create(&path).unwrap();
    let block = vec![0x5a; 1 << 20];
    (0..FILE_BYTES >> 20).for_each(|_| file.write_all(&block).unwrap());
    let file = File::open(&path).unwrap();
    let mut buffer = Aligned::new(READ_BYTES as usize);
    let mut driver = Driver::new();
    let mut device = P9::new("bench", server(dir)).unwrap();
    driver.0.activate(&mut device);
    device.start_queue(0, driver.0.queue());
    driver.call(&mut device, &version(), 101);
    driver.call(&mut device, &attach(), 105);
    driver.call(&mut device, &message(110, &[&[0; 4], &[1, 0, 0, 0], &[1, 0], &string("large")]), 111);
    driver.call(&mut device, &message(12, &[&[1, 0, 0, 0], &[0; 4]]), 13);
    let mut best = [f64::MAX; 3];
    for _ in 0..ROUNDS {
        let start = Instant::now();
        for offset in (0..FILE_BYTES).step_by(READ_BYTES as usize) {
            file.read_exact_at(buffer.get(), offset).unwrap();
        }
        best[0] = best[0].min(start.elapsed().as_secs_f64());
        for (best, depth) in best[1..].iter_mut().zip([1, DEPTH]) {
            let start = Instant::now();
            driver.read_file(&mut device, depth);
            *best = best.min(start.elapsed().as_secs_f64());
        }
    }
    drop(device.stop_queue(0));
    device.deactivate();
    best.map(|seconds| FILE_BYTES as f64 / seconds)
}

fn call(server: &Server, message: &[u8], reply: &mut ByteReply) {
    let length = server.handle(&mut &*message, reply);
    assert_ne!(length, 0);
}

/// Nanoseconds per small file to create, look at and remove: directly, by the server.
fn small(dir: &Path) -> [(f64, f64); 3] {
    let dir = dir.join("small");
    let server = server(dir.parent().unwrap());
    let reply = &mut ByteReply::new(1 << 20);
    call(&server, &version(), reply);
    call(&server, &attach(), reply);
    let name = |index: usize| format!("file{index}");
    let clone = |from: [u8; 4], to: [u8; 4]| message(110, &[&from, &to, &[0, 0]]);
    let (root, parent, fid) = ([0; 4], [1, 0, 0, 0], [2, 0, 0, 0]);
    let mut best = [(f64::MAX, f64::MAX); 3];
    let mut record = |step: usize, server: bool, start: Instant| {
        let each = start.elapsed().as_nanos() as f64 / SMALL_FILES as f64;
        let best = if server { &mut best[step].1 } else { &mut best[step].0 };
        *best = best.min(each);
    };
    for _ in 0..ROUNDS {
        fs::create_dir(&dir).unwrap();
        let start = Instant::now();
        for index in 0..SMALL_FILES {
            File::create_new(dir.join(name(index))).unwrap();
        }
        record(0, false, start);
        let start = Instant::now();
        for index in 0..SMALL_FILES {
            fs::symlink_metadata(dir.join(name(index))).unwrap();
        }
        record(1, false, start);
        let start = Instant::now();
        for index in 0..SMALL_FILES {
            fs::remove_file(dir.join(name(index))).unwrap();
        }
        record(2, false, start);
        // As Linux's client does it: a fid per file, given back when done.
        call(&server, &message(110, &[&root, &parent, &[1, 0], &string("small")]), reply);
        let start = Instant::now();
        for index in 0..SMALL_FILES {
            call(&server, &clone(parent, fid), reply);
            let fields: [&[u8]; 4] =
                [&fid, &string(&name(index)), &[0xc1, 0, 0, 0, 0xa4, 1, 0, 0], &[255; 4]];
            call(&server, &message(14, &fields), reply);
            call(&server, &message(120, &[&fid]), reply);
        }
        record(0, true, start);
        let start = Instant::now();
        for index in 0..SMALL_FILES {
            call(&server, &message(110, &[&parent, &fid, &[1, 0], &string(&name(index))]), reply);
            call(&server, &message(24, &[&fid, &[255; 8]]), reply);
            call(&server, &message(120, &[&fid]), reply);
        }
        record(1, true, start);
        let start = Instant::now();
        for index in 0..SMALL_FILES {
            call(&server, &message(110, &[&parent, &fid, &[1, 0], &string(&name(index))]), reply);
            call(&server, &message(76, &[&parent, &string(&name(index)), &[0; 4]]), reply);
            call(&server, &message(120, &[&fid]), reply);
        }
        record(2, true, start);
        call(&server, &message(120, &[&parent]), reply);
        fs::remove_dir(&dir).unwrap();
    }
    best
}

fn main() {
    let dir = tempfile::tempdir().unwrap();
    let [plain, one, several] = large(dir.path());
    let [create, look, remove] = small(dir.path());
    let rate = |rate: f64| rate / 1048576.0;
    println!("9p, a large file in pieces of 512 KiB; pread: {:.0} MiB/s", rate(plain));
    for (depth, through) in [(1, one), (DEPTH, several)] {
        println!("  {depth} in flight   {:6.0} MiB/s, {:.2} of pread", rate(through), through / plain);
    }
    println!("9p, small files; by the server, and directly:");
    for (what, (direct, server)) in [("create", create), ("look", look), ("remove", remove)] {
        println!("  {what:11} {server:6.0} ns, {direct:6.0} ns");
    }
}
