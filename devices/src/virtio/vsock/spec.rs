//! Packets of virtio-vsock (virtio 1.2, section 5.10.6).

/// The receive, transmit and event queues.
pub const RX: u16 = 0;
/// From the guest.
pub const TX: u16 = 1;
/// Events.
pub const EVENT: u16 = 2;

/// Streams can be had.
pub const F_STREAM: u64 = 1 << 0;

/// The host's context identifier; a guest's are larger.
pub const HOST_CID: u64 = 2;

/// The only kind of socket: a stream.
pub const TYPE_STREAM: u16 = 1;

/// What a packet is for.
pub mod op {
    /// Asks for a connection.
    pub const REQUEST: u16 = 1;
    /// Grants it.
    pub const RESPONSE: u16 = 2;
    /// There is no such connection, or no longer.
    pub const RST: u16 = 3;
    /// The sender will not receive, or not send; see [`super::shutdown`].
    pub const SHUTDOWN: u16 = 4;
    /// Data.
    pub const RW: u16 = 5;
    /// Nothing but the credit that each packet carries.
    pub const CREDIT_UPDATE: u16 = 6;
    /// Asks for the receiver's credit.
    pub const CREDIT_REQUEST: u16 = 7;
}

/// Flags of a shutdown.
pub mod shutdown {
    /// The sender will receive no more.
    pub const RECEIVE: u32 = 1;
    /// The sender will send no more.
    pub const SEND: u32 = 2;
    /// Neither.
    pub const BOTH: u32 = RECEIVE | SEND;
}

/// The event that all connections are gone.
pub const EVENT_TRANSPORT_RESET: u32 = 0;

/// Bytes of a packet's header.
pub const HEADER_BYTES: usize = 44;

/// A packet's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Header {
    /// The sender's context.
    pub src_cid: u64,
    /// The receiver's context.
    pub dst_cid: u64,
    /// The sender's port.
    pub src_port: u32,
    /// The receiver's port.
    pub dst_port: u32,
    /// Bytes of data.
    pub len: u32,
    /// Kind of socket.
    pub kind: u16,
    /// What it is for: [`op`].
    pub op: u16,
    /// Depends on `op`.
    pub flags: u32,
    /// Bytes of the sender's receive buffer.
    pub buf_alloc: u32,
    /// Bytes that have left the sender's receive buffer, modulo 2^32.
    pub fwd_cnt: u32,
}

impl Header {
    /// From its bytes.
    pub fn parse(bytes: &[u8; HEADER_BYTES]) -> Self {
        let mut rest = bytes.as_slice();
        let mut next = |count: usize| {
            let mut word = [0; 8];
            let (field, behind) = rest.split_at_checked(count).unwrap_or_default();
            word.iter_mut().zip(field).for_each(|(to, from)| *to = *from);
            rest = behind;
            u64::from_le_bytes(word)
        };
        // Each field has as many bytes as it takes.
        Self {
            src_cid: next(8),
            dst_cid: next(8),
            src_port: next(4) as u32,
            dst_port: next(4) as u32,
            len: next(4) as u32,
            kind: next(2) as u16,
            op: next(2) as u16,
            flags: next(4) as u32,
            buf_alloc: next(4) as u32,
            fwd_cnt: next(4) as u32,
        }
    }

    /// As bytes.
    pub fn bytes(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        let fields: [&[u8]; 10] = [
            &self.src_cid.to_le_bytes(),
            &self.dst_cid.to_le_bytes(),
            &self.src_port.to_le_bytes(),
            &self.dst_port.to_le_bytes(),
            &self.len.to_le_bytes(),
            &self.kind.to_le_bytes(),
            &self.op.to_le_bytes(),
            &self.flags.to_le_bytes(),
            &self.buf_alloc.to_le_bytes(),
            &self.fwd_cnt.to_le_bytes(),
        ];
        let all = fields.iter().flat_map(|field| field.iter());
        bytes.iter_mut().zip(all).for_each(|(to, from)| *to = *from);
        bytes
    }
}
