//! Numbers of the network device (virtio 1.2, section 5.1).

/// Queues (section 5.1.2).
pub(super) const RECEIVE: u16 = 0;
pub(super) const TRANSMIT: u16 = 1;

/// Features (section 5.1.3).
pub(super) mod feature {
    /// Frames from the guest may have a partial checksum.
    pub(in super::super) const CSUM: u64 = 1 << 0;
    /// Frames for the guest may.
    pub(in super::super) const GUEST_CSUM: u64 = 1 << 1;
    /// The MTU is in the configuration.
    pub(in super::super) const MTU: u64 = 1 << 3;
    /// The MAC address is in the configuration.
    pub(in super::super) const MAC: u64 = 1 << 5;
    /// Frames for the guest may be large segments of TCP over IPv4.
    pub(in super::super) const GUEST_TSO4: u64 = 1 << 7;
    /// The same over IPv6.
    pub(in super::super) const GUEST_TSO6: u64 = 1 << 8;
    /// Frames from the guest may be large segments of TCP over IPv4.
    pub(in super::super) const HOST_TSO4: u64 = 1 << 11;
    /// The same over IPv6.
    pub(in super::super) const HOST_TSO6: u64 = 1 << 12;
    /// A frame for the guest may fill several buffers.
    pub(in super::super) const MRG_RXBUF: u64 = 1 << 15;
    /// The link's status is in the configuration.
    pub(in super::super) const STATUS: u64 = 1 << 16;
}

/// Status: the link is up (section 5.1.4).
pub(super) const LINK_UP: u16 = 1;

/// Where the number of buffers stands in the packet header (section 5.1.6).
pub(super) const NUM_BUFFERS: std::ops::Range<usize> = 10..12;
