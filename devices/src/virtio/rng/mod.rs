//! Random bytes for the guest (virtio 1.2, section 5.4).

use super::worker::{Serve, Serving, WorkerSlot};
use super::{Activation, ActivationError, Chain, DeviceKind, Queue, VirtioDevice, copy_config};

/// Entries of the queue.
const QUEUE_SIZE: u16 = 64;

/// Most bytes given to one request; a driver that wants more asks again.
const MAX_BYTES: u64 = 64 << 10;

/// Fills a buffer with random bytes; false if the host has none.
pub type Entropy = Box<dyn FnMut(&mut [u8]) -> bool + Send>;

/// An entropy device.
pub struct Rng {
    /// `None` while a worker has it.
    source: Option<Entropy>,
    worker: WorkerSlot<Server>,
}

struct Server {
    source: Entropy,
}

impl Rng {
    /// An entropy device that takes its bytes from `source`.
    pub fn new(source: Entropy) -> Self {
        Self { source: Some(source), worker: WorkerSlot::default() }
    }
}

impl Server {
    /// Bytes written to the chain.
    fn fill(&mut self, chain: &Chain) -> u32 {
        let mut writer = chain.writer();
        let mut bytes = [0; 4096];
        while writer.remaining() != 0 && writer.position() < MAX_BYTES {
            let count = writer.remaining().min(bytes.len() as u64) as usize;
            let part = bytes.get_mut(..count).unwrap_or_default();
            if !(self.source)(part) || writer.write_all(part).is_err() {
                break;
            }
        }
        // At most `MAX_BYTES` and a piece.
        writer.position() as u32
    }
}

impl Serve for Server {
    fn serve(&mut self, queues: &mut Serving, index: u16) {
        let Some(queue) = queues.queue(index) else { return };
        loop {
            queue.disable_notifications();
            while let Some(chain) = queue.pop() {
                let written = self.fill(&chain);
                queue.complete(chain, written);
                queue.signal();
            }
            if !queue.enable_notifications() {
                return;
            }
        }
    }
}

impl VirtioDevice for Rng {
    fn kind(&self) -> DeviceKind {
        DeviceKind::Entropy
    }

    fn features(&self) -> u64 {
        0
    }

    fn queue_sizes(&self) -> &[u16] {
        &[QUEUE_SIZE]
    }

    fn read_config(&self, offset: u64, bytes: &mut [u8]) {
        copy_config(&[], offset, bytes);
    }

    fn activate(&mut self, _: Activation) -> Result<(), ActivationError> {
        let source = self.source.take().ok_or_else(|| ActivationError("its worker was lost".to_owned()))?;
        self.worker.start("virtio-rng", Server { source })
    }

    fn start_queue(&mut self, _: u16, queue: Queue) {
        self.worker.start_queue(queue);
    }

    fn stop_queue(&mut self, index: u16) -> Option<Queue> {
        self.worker.stop_queue(index)
    }

    fn notify(&mut self, index: u16) {
        self.worker.notify(index);
    }

    fn deactivate(&mut self) {
        self.source = self.worker.end().map(|server| server.source);
    }
}

#[cfg(test)]
#[path = "rng_test.rs"]
mod rng_test;
