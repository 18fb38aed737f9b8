//! What a driver does in the same way over either transport.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use guest_memory::GuestMemory;
use vm_memory::GuestAddress;

use crate::virtio::mock::DriverQueue;

/// Memory of each queue.
pub(super) const QUEUE_BYTES: u64 = 1 << 20;

/// Room for two queues.
pub(super) fn memory() -> Arc<GuestMemory> {
    Arc::new(GuestMemory::from_ranges(&[(GuestAddress(0), 2 * QUEUE_BYTES as usize)]).unwrap())
}

/// The driver's side of both queues, to be enabled, with the features agreed on.
pub(super) fn queues(memory: &Arc<GuestMemory>, features: u64) -> [DriverQueue; 2] {
    [0, 1].map(|index| {
        let base = u64::from(index) * QUEUE_BYTES;
        DriverQueue::new(memory.clone(), index, base, QUEUE_BYTES, 64, features)
    })
}

/// Puts a request with room for as long an answer into a queue; whether the device wants to be told.
pub(super) fn put(queue: &mut DriverQueue, text: &[u8]) -> bool {
    queue.add(&[text], &[text.len() as u32]);
    queue.publish()
}

/// Waits, at most ten seconds.
pub(super) fn eventually(mut holds: impl FnMut() -> bool) -> bool {
    for _ in 0..10_000 {
        if holds() {
            return true;
        }
        thread::sleep(Duration::from_millis(1));
    }
    false
}

/// Waits for the next answer of a queue.
pub(super) fn answer(queue: &mut DriverQueue) -> Vec<u8> {
    let mut used = None;
    assert!(eventually(|| {
        used = used.take().or_else(|| queue.used());
        used.is_some()
    }));
    used.unwrap().bytes
}
