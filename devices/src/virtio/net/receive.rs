//! Frames for the guest.

use std::collections::VecDeque;

use super::spec::NUM_BUFFERS;
use crate::net::{MAX_FRAME_BYTES, NetBackend, Received, VIRTIO_HEADER_BYTES};
use crate::virtio::{Chain, Queue};

/// The receive queue's side.
pub(super) struct Receiver {
    /// A frame may fill several chains.
    mergeable: bool,
    frame: Vec<u8>,
    /// The frame in `frame`, which waits for room.
    waiting: Option<Received>,
    /// Chains of the driver's that are taken and not filled, the oldest first, and the bytes of each.
    room: VecDeque<(Chain, u64)>,
    room_bytes: u64,
    warned: bool,
}

impl Receiver {
    pub(super) fn new(mergeable: bool) -> Self {
        let frame = vec![0; MAX_FRAME_BYTES];
        Self { mergeable, frame, waiting: None, room: VecDeque::new(), room_bytes: 0, warned: false }
    }

    /// Gives frames of `backend` to the driver, as far as it has room. Where it has none it is asked to notify of more;
    /// as long as it has, it need not.
    pub(super) fn receive(&mut self, queue: &mut Queue, backend: &mut dyn NetBackend) {
        queue.disable_notifications();
        let mut given = false;
        while let Some(received) = self.waiting.take().or_else(|| backend.receive(&mut self.frame)) {
            if !self.fetch_room(queue, received.bytes) {
                self.waiting = Some(received);
                break;
            }
            given |= self.give(queue, received);
        }
        if given {
            queue.signal();
        }
    }

    /// Takes chains until a frame of `bytes` fits; whether it does. A driver without room notifies when it has some.
    fn fetch_room(&mut self, queue: &mut Queue, bytes: usize) -> bool {
        let wanted = (VIRTIO_HEADER_BYTES + bytes) as u64;
        loop {
            if self.room_bytes >= wanted || (!self.mergeable && !self.room.is_empty()) {
                return true;
            }
            match queue.pop() {
                Some(chain) => {
                    let bytes = chain.writer().remaining();
                    self.room_bytes += bytes;
                    self.room.push_back((chain, bytes));
                }
                None if queue.enable_notifications() => queue.disable_notifications(),
                None => return false,
            }
        }
    }

    /// Writes a frame for which there is room; whether the driver got something.
    fn give(&mut self, queue: &mut Queue, received: Received) -> bool {
        let wanted = (VIRTIO_HEADER_BYTES + received.bytes) as u64;
        let mut header = received.header.to_virtio();
        let (mut count, mut bytes) = (0_u16, 0);
        for (_, room) in &self.room {
            if bytes >= wanted || (count == 1 && !self.mergeable) {
                break;
            }
            bytes += room;
            count += 1;
        }
        if bytes < wanted {
            // Only without mergeable buffers: the driver gives less room than it has to (section 5.1.6.3.1).
            if !self.warned {
                log::warn!("a frame of {} bytes is lost: the driver's buffers have {bytes}", received.bytes);
                self.warned = true;
            }
            return false;
        }
        if let Some(field) = header.get_mut(NUM_BUFFERS) {
            field.copy_from_slice(&count.to_le_bytes());
        }
        let mut frame = self.frame.get(..received.bytes).unwrap_or_default();
        let mut header = header.as_slice();
        let chains = self.room.drain(..usize::from(count)).map(|(chain, _)| {
            let mut writer = chain.writer();
            for source in [&mut header, &mut frame] {
                let length = usize::try_from(writer.remaining()).unwrap_or(usize::MAX).min(source.len());
                let (part, rest) = source.split_at(length);
                // As many as there is room for.
                let _ = writer.write_all(part);
                *source = rest;
            }
            // No more than a header and a frame.
            let written = writer.position() as u32;
            (chain, written)
        });
        queue.complete_all(chains);
        self.room_bytes -= bytes;
        true
    }

    /// Gives the chains that were taken and not filled back to the queue: it is to stop.
    pub(super) fn give_back(&mut self, queue: &mut Queue) {
        while let Some((chain, _)) = self.room.pop_back() {
            queue.undo_pop(chain);
        }
        self.room_bytes = 0;
    }
}
