//! Frames of the guest.

use std::time::{Duration, Instant};

use crate::net::{
    FrameHeader, MAX_FRAME_BYTES, NetBackend, Offloads, SegmentKind, Sent, VIRTIO_HEADER_BYTES,
};
use crate::virtio::{Chain, Queue};

/// Frames sent before the back end moves on, and the guest gets what is for it.
const BURST: usize = 64;

/// How far a queue was served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// It is empty, or the back end is full: something rings when there is more to do.
    Idle,
    /// There is more.
    More,
}

/// How long an interrupt for frames that were sent waits. A driver frees their buffers whenever it is called, so the
/// frame that answers them mostly spares it this interrupt.
const SIGNAL_WITHIN: Duration = Duration::from_millis(1);
/// So many frames are signalled at once: an eighth of the queue.
const SIGNAL_FRAMES: usize = 32;

/// The transmit queue's side.
pub(super) struct Transmitter {
    offloads: Offloads,
    frame: Vec<u8>,
    /// Frames sent and not signalled, and by when they are.
    unsignalled: usize,
    signal_by: Option<Instant>,
}

impl Transmitter {
    pub(super) fn new(offloads: Offloads) -> Self {
        Self { offloads, frame: vec![0; MAX_FRAME_BYTES], unsignalled: 0, signal_by: None }
    }

    /// Sends frames of `queue` to `backend`.
    pub(super) fn transmit(&mut self, queue: &mut Queue, backend: &mut dyn NetBackend) -> Progress {
        queue.disable_notifications();
        let mut sent = 0;
        let progress = loop {
            if sent == BURST {
                break Progress::More;
            }
            let Some(chain) = queue.pop() else {
                if queue.enable_notifications() {
                    queue.disable_notifications();
                    continue;
                }
                break Progress::Idle;
            };
            if self.send(&chain, backend) == Sent::Busy {
                // The back end's event or deadline brings us back here, not the driver.
                queue.undo_pop(chain);
                break Progress::Idle;
            }
            queue.complete(chain, 0);
            sent += 1;
        };
        self.unsignalled += sent;
        progress
    }

    /// Interrupts the driver for what was sent, when it is time or when it must be (`now`: `None`).
    pub(super) fn signal(&mut self, queue: &mut Queue, now: Option<Instant>) {
        if self.unsignalled == 0 {
            return;
        }
        if let Some(now) = now
            && self.unsignalled < SIGNAL_FRAMES
            && now < *self.signal_by.get_or_insert(now + SIGNAL_WITHIN)
        {
            return;
        }
        queue.signal();
        (self.unsignalled, self.signal_by) = (0, None);
    }

    /// When [`Self::signal`] is to be called again.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.signal_by
    }

    /// Sends the frame in a chain. What is none is dropped.
    fn send(&mut self, chain: &Chain, backend: &mut dyn NetBackend) -> Sent {
        let mut reader = chain.reader();
        let mut header = [0; VIRTIO_HEADER_BYTES];
        if reader.read_exact(&mut header).is_err() {
            return Sent::Done;
        }
        let bytes = usize::try_from(reader.remaining()).unwrap_or(usize::MAX);
        let Some(frame) = self.frame.get_mut(..bytes) else { return Sent::Done };
        if reader.read_exact(frame).is_err() {
            return Sent::Done;
        }
        match FrameHeader::from_virtio(&header, bytes) {
            Ok(header) if is_offered(&header, self.offloads) => backend.send(frame, &header),
            _ => Sent::Done,
        }
    }
}

/// Whether the driver may ask for what a header asks for.
fn is_offered(header: &FrameHeader, offloads: Offloads) -> bool {
    let checksum = header.checksum.is_none() || offloads.contains(Offloads::CSUM);
    let segment = header.segment.is_none_or(|segment| {
        offloads.contains(match segment.kind {
            SegmentKind::TcpV4 => Offloads::HOST_TSO4,
            SegmentKind::TcpV6 => Offloads::HOST_TSO6,
        })
    });
    checksum && segment
}
