//! The seam between a network device and what its frames go to.

use std::io;
use std::time::Instant;

use mio::event::Event;
use mio::{Registry, Token};

bitflags::bitflags! {
    /// Work on frames that one side leaves to the other, named as virtio does, from the guest's side
    /// (virtio 1.2, section 5.1.3).
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct Offloads: u8 {
        /// `VIRTIO_NET_F_CSUM`: the guest may send frames with a partial checksum.
        const CSUM = 1 << 0;
        /// `VIRTIO_NET_F_HOST_TSO4`: the guest may send TCP over IPv4 in large segments.
        const HOST_TSO4 = 1 << 1;
        /// `VIRTIO_NET_F_HOST_TSO6`: the same over IPv6.
        const HOST_TSO6 = 1 << 2;
        /// `VIRTIO_NET_F_GUEST_CSUM`: the guest takes frames with a partial checksum.
        const GUEST_CSUM = 1 << 3;
        /// `VIRTIO_NET_F_GUEST_TSO4`: the guest takes TCP over IPv4 in large segments.
        const GUEST_TSO4 = 1 << 4;
        /// `VIRTIO_NET_F_GUEST_TSO6`: the same over IPv6.
        const GUEST_TSO6 = 1 << 5;
    }
}

/// The largest frame either side may hand over, in bytes: an Ethernet header and the largest IP datagram.
pub const MAX_FRAME_BYTES: usize = 14 + 65_535;

/// Which checksum of a frame is still to be finished (virtio 1.2, section 5.1.6: `VIRTIO_NET_HDR_F_NEEDS_CSUM`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartialChecksum {
    /// Where the sum begins, in bytes from the start of the frame.
    pub start: u16,
    /// Where it belongs, in bytes from `start`. The sum over the pseudo header is there already.
    pub offset: u16,
}

/// What a large segment carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SegmentKind {
    /// TCP over IPv4.
    TcpV4,
    /// TCP over IPv6.
    TcpV6,
}

/// A TCP segment larger than the link carries, to be cut by who needs it cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LargeSegment {
    /// What is in it.
    pub kind: SegmentKind,
    /// TCP payload of each piece in bytes.
    pub size: u16,
    /// All headers together in bytes.
    pub header_bytes: u16,
}

/// What goes along with a frame: the contents of virtio's packet header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FrameHeader {
    /// A checksum to be finished; without one all checksums in the frame are as they should be.
    pub checksum: Option<PartialChecksum>,
    /// That the frame is a large segment.
    pub segment: Option<LargeSegment>,
}

/// What became of a frame from the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Sent {
    /// It is on its way, or lost as a network may lose it.
    Done,
    /// The back end is full and has not taken it: try again after an event of the back end.
    Busy,
}

/// A frame for the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received {
    /// Length of the frame in bytes.
    pub bytes: usize,
    /// What goes along with it.
    pub header: FrameHeader,
}

/// Where a network device's frames go to and come from.
///
/// A back end belongs to one worker thread, which polls for it:
///
/// ```text
///   register ─▶ ┌─ wait for events, until deadline() ─▶ ready(event)…                  ─┐
///               │  send(frame)… for what the guest gave      (Busy: keep it, go on)     │
///               │  advance(now)      bytes move on, timers run out                      │
///               └─ receive(buffer)… while the guest has room, until None               ◀┘
/// ```
///
/// Frames are Ethernet's, without the check sequence. Nothing here blocks. Every frame and every peer may be hostile:
/// what is malformed is dropped.
pub trait NetBackend: Send {
    /// What the back end can do for the guest and take from it.
    fn offloads(&self) -> Offloads;

    /// The guest took up these of [`Self::offloads`]. Called before the first frame and after each reset.
    fn set_offloads(&mut self, offloads: Offloads);

    /// Whether the link is up. A device looks after each turn and tells the guest of a change.
    fn link_up(&self) -> bool {
        true
    }

    /// Registers what the back end waits for, under `first` and higher tokens, which are all its own. A back end may
    /// register more in `registry` at any time until [`Self::deregister`].
    ///
    /// # Errors
    /// What the system said.
    fn register(&mut self, registry: &Registry, first: Token) -> io::Result<()>;

    /// Takes everything out of the registry again; connections stay. Called when the device stops or moves.
    fn deregister(&mut self);

    /// An event under one of the back end's tokens. Spurious and stale ones are allowed.
    fn ready(&mut self, event: &Event);

    /// Takes a frame of at most [`MAX_FRAME_BYTES`] from the guest.
    fn send(&mut self, frame: &[u8], header: &FrameHeader) -> Sent;

    /// Moves on what [`Self::ready`] and [`Self::send`] brought, and what is due at `now`. Called once a turn.
    fn advance(&mut self, now: Instant);

    /// Writes the next frame for the guest into `frame`, which has [`MAX_FRAME_BYTES`]; `None` when there is none.
    fn receive(&mut self, frame: &mut [u8]) -> Option<Received>;

    /// When [`Self::advance`] is to be called again, should nothing happen before.
    fn deadline(&self) -> Option<Instant>;

    /// The guest's network starts anew (its device was reset): what belonged to the old one is dropped.
    fn reset(&mut self);
}
