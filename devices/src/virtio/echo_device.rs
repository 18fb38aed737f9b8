//! A device for tests: answers each request with the bytes it reads, backwards.

use std::io::Read;

use super::worker::{Serve, Serving, WorkerSlot};
use super::{Activation, ActivationError, Chain, DeviceKind, Queue, VirtioDevice, copy_config};

pub(super) struct Echo {
    pub(super) config: [u8; 12],
    worker: WorkerSlot<EchoServer>,
}

struct EchoServer;

fn answer(chain: &Chain) -> u32 {
    let mut bytes = Vec::new();
    chain.reader().read_to_end(&mut bytes).unwrap();
    bytes.reverse();
    let mut writer = chain.writer();
    let room = writer.remaining().min(bytes.len() as u64) as usize;
    writer.write_all(&bytes[..room]).unwrap();
    writer.position() as u32
}

impl Serve for EchoServer {
    fn serve(&mut self, queues: &mut Serving, index: u16) {
        let Some(queue) = queues.queue(index) else { return };
        loop {
            queue.disable_notifications();
            while let Some(chain) = queue.pop() {
                let written = answer(&chain);
                queue.complete(chain, written);
            }
            queue.signal();
            if !queue.enable_notifications() {
                return;
            }
        }
    }
}

impl Echo {
    pub(super) fn new() -> Self {
        Self { config: *b"hello config", worker: WorkerSlot::default() }
    }
}

impl VirtioDevice for Echo {
    fn kind(&self) -> DeviceKind {
        DeviceKind::Entropy
    }

    fn features(&self) -> u64 {
        1 << 3
    }

    fn queue_sizes(&self) -> &[u16] {
        &[256, 64]
    }

    fn read_config(&self, offset: u64, bytes: &mut [u8]) {
        copy_config(&self.config, offset, bytes);
    }

    fn write_config(&mut self, offset: u64, bytes: &[u8]) {
        for (at, byte) in (offset as usize..).zip(bytes) {
            if let Some(slot) = self.config.get_mut(at) {
                *slot = *byte;
            }
        }
    }

    fn activate(&mut self, _: Activation) -> Result<(), ActivationError> {
        self.worker.start("echo", EchoServer)
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
        self.worker = WorkerSlot::default();
    }
}
