//! A console that moves many bytes at a time (virtio 1.2, section 5.3): Linux's `hvc0`. One port.
//!
//! Its surroundings are a serial port's: output goes to a [`ByteSink`], input is offered and taken as there is room, and
//! [`InputReady`] tells of room after a refusal.

pub mod spec;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use self::spec::{RX, TX, config, feature};
use super::worker::{Serve, Serving, SharedWorker};
use super::{Activation, ActivationError, Chain, DeviceKind, DeviceLink, Queue, VirtioDevice, copy_config};
use crate::lock;
use crate::serial::{ByteSink, InputReady};

/// Entries of the queues.
const QUEUE_SIZES: [u16; 2] = [64, 64];

/// Input kept for a guest that does not read, bytes: as much as a terminal's line discipline keeps.
const INPUT_BYTES: usize = 4096;

/// Most output taken of one request, bytes; drivers send 32 KiB at most. The rest is dropped: a reader that does not keep up
/// finds so much for each entry of the queue, and no more.
const MAX_OUTPUT_BYTES: u64 = 64 << 10;

/// Output is passed on in pieces of this size.
const PIECE_BYTES: usize = 4096;

/// What the device, its worker and its handles share.
struct Shared {
    output: Mutex<Box<dyn ByteSink>>,
    input: Mutex<Input>,
    /// Columns in the low half, rows in the high one; how often they changed.
    size: AtomicU32,
    changes: AtomicU32,
    worker: SharedWorker<Server>,
}

struct Input {
    bytes: VecDeque<u8>,
    /// Somebody was refused and waits to be told of room.
    refused: bool,
    ready: Box<dyn InputReady>,
}

impl Input {
    fn tell_ready(&mut self) {
        if std::mem::take(&mut self.refused) {
            self.ready.input_ready();
        }
    }
}

/// A console device.
pub struct Console {
    shared: Arc<Shared>,
}

/// The host's side of a console. Cheap to clone, usable from any thread, also when the device is gone.
#[derive(Clone)]
pub struct ConsoleHandle(Arc<Shared>);

impl ConsoleHandle {
    /// Offers input; gives how many bytes were taken. The rest is to be offered again after [`InputReady::input_ready`]. Input
    /// is kept for a guest that does not read yet.
    #[must_use = "bytes that were not taken must be offered again"]
    pub fn enqueue(&self, bytes: &[u8]) -> usize {
        let mut input = lock(&self.0.input);
        let room = INPUT_BYTES.saturating_sub(input.bytes.len()).min(bytes.len());
        input.bytes.extend(bytes.iter().take(room));
        input.refused |= room < bytes.len();
        drop(input);
        self.0.worker.notify(RX);
        room
    }

    /// Tells the guest the size of the screen, in characters.
    pub fn set_size(&self, columns: u16, rows: u16) {
        let size = u32::from(rows) << 16 | u32::from(columns);
        if self.0.size.swap(size, Ordering::SeqCst) == size {
            return;
        }
        self.0.changes.fetch_add(1, Ordering::SeqCst);
        self.0.worker.config_changed();
    }
}

impl Console {
    /// A console whose output goes to `output`. Its screen has 80 columns and 25 rows until told otherwise.
    pub fn new(output: Box<dyn ByteSink>, ready: Box<dyn InputReady>) -> Self {
        let input = Input { bytes: VecDeque::new(), refused: false, ready };
        let shared = Shared {
            output: Mutex::new(output),
            input: Mutex::new(input),
            size: AtomicU32::new(25 << 16 | 80),
            changes: AtomicU32::new(0),
            worker: SharedWorker::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// The host's side.
    pub fn handle(&self) -> ConsoleHandle {
        ConsoleHandle(self.shared.clone())
    }
}

struct Server {
    shared: Arc<Shared>,
    link: DeviceLink,
    /// When the driver is told of the screen's size, and how much later again; nothing before its first output.
    tell_size: Option<(Instant, Duration)>,
}

/// Linux reads the screen's size only when it is told of a change, and forgets it before its terminal is made, which is some
/// time after the first output. So it is told at first after this time, and then after twice the time, up to the longest.
const FIRST_SIZE: Duration = Duration::from_millis(125);
const LAST_SIZE: Duration = Duration::from_secs(4);

impl Server {
    fn output(&self, chain: &Chain) {
        let mut reader = chain.reader().split(MAX_OUTPUT_BYTES);
        let mut bytes = [0; PIECE_BYTES];
        while reader.remaining() > 0 {
            let count = reader.remaining().min(PIECE_BYTES as u64) as usize;
            let piece = bytes.get_mut(..count).unwrap_or_default();
            if reader.read_exact(piece).is_err() {
                return;
            }
            lock(&self.shared.output).write(piece);
        }
    }

    /// Writes what there is of input; answers its bytes.
    fn input(&self, chain: &Chain) -> u32 {
        let mut input = lock(&self.shared.input);
        let mut writer = chain.writer();
        // At most `INPUT_BYTES`.
        let count = writer.remaining().min(input.bytes.len() as u64) as usize;
        let bytes: Vec<u8> = input.bytes.drain(..count).collect();
        if writer.write_all(&bytes).is_err() {
            return 0;
        }
        if count > 0 {
            input.tell_ready();
        }
        count as u32
    }

    fn has_input(&self) -> bool {
        !lock(&self.shared.input).bytes.is_empty()
    }
}

impl Serve for Server {
    fn serve(&mut self, queues: &mut Serving, index: u16) {
        let Some(queue) = queues.queue(index) else { return };
        loop {
            queue.disable_notifications();
            // Buffers for input wait in the queue until there is some.
            while index != RX || self.has_input() {
                let Some(chain) = queue.pop() else { break };
                let written = match index {
                    RX => self.input(&chain),
                    _ => 0,
                };
                if index == TX {
                    self.output(&chain);
                    self.tell_size.get_or_insert_with(|| (Instant::now() + FIRST_SIZE, FIRST_SIZE));
                }
                queue.complete(chain, written);
            }
            queue.signal();
            // Without input there is nothing to be notified of: new input looks by itself.
            if index == RX && !self.has_input() || !queue.enable_notifications() {
                return;
            }
        }
    }

    fn deadline(&mut self) -> Option<Instant> {
        self.tell_size.and_then(|(at, after)| (after <= LAST_SIZE).then_some(at))
    }

    fn tick(&mut self, _: &mut Serving) {
        if let Some((at, after)) = &mut self.tell_size {
            *after *= 2;
            *at = Instant::now() + *after;
            self.link.config_changed();
        }
    }
}

impl VirtioDevice for Console {
    fn kind(&self) -> DeviceKind {
        DeviceKind::Console
    }

    fn features(&self) -> u64 {
        feature::SIZE | feature::EMERG_WRITE
    }

    fn queue_sizes(&self) -> &[u16] {
        &QUEUE_SIZES
    }

    fn read_config(&self, offset: u64, bytes: &mut [u8]) {
        let mut all = [0; config::BYTES];
        let size = self.shared.size.load(Ordering::SeqCst).to_le_bytes();
        all.iter_mut().skip(config::COLS).zip(size).for_each(|(to, from)| *to = from);
        all.iter_mut().skip(config::MAX_PORTS).zip(1_u32.to_le_bytes()).for_each(|(to, from)| *to = from);
        copy_config(&all, offset, bytes);
    }

    fn write_config(&mut self, offset: u64, bytes: &[u8]) {
        // The low byte is the character (section 5.3.4). It works before the driver does.
        if offset == config::EMERG_WR
            && let Some(byte) = bytes.first()
        {
            lock(&self.shared.output).write(&[*byte]);
        }
    }

    fn config_generation(&self) -> u32 {
        self.shared.changes.load(Ordering::SeqCst)
    }

    fn activate(&mut self, activation: Activation) -> Result<(), ActivationError> {
        let link = activation.link;
        let server = Server { shared: self.shared.clone(), link: link.clone(), tell_size: None };
        self.shared.worker.start("virtio-console", server, link)
    }

    fn start_queue(&mut self, _: u16, queue: Queue) {
        self.shared.worker.start_queue(queue);
    }

    fn stop_queue(&mut self, index: u16) -> Option<Queue> {
        self.shared.worker.stop_queue(index)
    }

    fn notify(&mut self, index: u16) {
        self.shared.worker.notify(index);
    }

    fn deactivate(&mut self) {
        self.shared.worker.end();
        // What was typed for a guest that is gone is not for the next one.
        let mut input = lock(&self.shared.input);
        input.bytes.clear();
        input.tell_ready();
    }
}

#[cfg(test)]
#[path = "console_test.rs"]
mod console_test;
