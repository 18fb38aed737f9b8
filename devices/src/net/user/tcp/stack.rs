//! TCP towards the guest: one small smoltcp interface per flow, which stands for the host the guest talks to.
//!
//! A flow is found by its addresses and ports before its stack sees a segment, so that a segment costs the same with
//! one flow and with a thousand. The link does not lose frames and its ends share a machine: no congestion control,
//! no delayed acknowledgments, and segments as large as IP allows where the guest takes them.

use std::net::SocketAddr;

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Checksum, ChecksumCapabilities, Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp::{ConnectError, Socket, SocketBuffer};
use smoltcp::time::Instant as Timestamp;
use smoltcp::wire::{HardwareAddress, IpCidr, TcpPacket, TcpSeqNumber};

use super::segment::Told;
use crate::net::user::packet::Ends;

/// The largest IP datagram.
const MAX_DATAGRAM: usize = 65_535;

/// One flow's stack.
pub(super) struct Stack {
    interface: Interface,
    sockets: SocketSet<'static>,
    handle: SocketHandle,
    capabilities: DeviceCapabilities,
    window: Window,
    told: Option<Told>,
}

/// What the guest was told of the room there is for it.
///
/// smoltcp (0.14) takes the window in its own SYN for a scaled one, which it is not (RFC 7323, section 2.2), and until
/// it has sent another segment it accepts, and then trips over, more than its buffer holds.
enum Window {
    /// Nothing.
    Closed,
    /// The window of a SYN; the buffer ends at this sequence number.
    Opening(TcpSeqNumber),
    /// One that smoltcp reads right.
    Told,
}

/// Where a stack takes a datagram from and leaves one.
struct Port<'a> {
    capabilities: &'a DeviceCapabilities,
    incoming: Option<&'a [u8]>,
    /// Room for one datagram.
    room: Option<&'a mut [u8]>,
    /// What an incoming datagram is answered with at once.
    answer: Vec<u8>,
    /// Length of the datagram in `room`.
    emitted: usize,
}

struct Incoming<'a>(&'a [u8]);

impl RxToken for Incoming<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(self.0)
    }
}

enum Outgoing<'a> {
    Room(&'a mut [u8], &'a mut usize),
    Answer(&'a mut Vec<u8>),
}

impl TxToken for Outgoing<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, f: F) -> R {
        match self {
            Self::Room(room, emitted) => match room.get_mut(..length) {
                Some(buffer) => {
                    *emitted = length;
                    f(buffer)
                }
                // Nobody gives less room than the largest datagram takes; what does not fit is lost.
                None => f(&mut vec![0; length]),
            },
            Self::Answer(answer) => {
                answer.resize(length, 0);
                f(answer)
            }
        }
    }
}

impl Device for Port<'_> {
    type RxToken<'t>
        = Incoming<'t>
    where
        Self: 't;
    type TxToken<'t>
        = Outgoing<'t>
    where
        Self: 't;

    fn receive(&mut self, _: Timestamp) -> Option<(Incoming<'_>, Outgoing<'_>)> {
        Some((Incoming(self.incoming.take()?), Outgoing::Answer(&mut self.answer)))
    }

    fn transmit(&mut self, _: Timestamp) -> Option<Outgoing<'_>> {
        Some(Outgoing::Room(self.room.take()?, &mut self.emitted))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        self.capabilities.clone()
    }
}

impl Stack {
    /// A stack with `buffer_bytes` for each direction, that stands for `ends.remote`. `finish_checksums`: whether TCP
    /// checksums are to be complete, or are left to be filled in. `seed` makes sequence numbers unpredictable.
    ///
    /// `ends.remote` is a host's address, not a group's.
    pub(super) fn new(
        ends: Ends,
        buffer_bytes: usize,
        finish_checksums: bool,
        seed: u64,
        now: Timestamp,
    ) -> Self {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = MAX_DATAGRAM;
        // What comes in was checked already.
        capabilities.checksum = ChecksumCapabilities::ignored();
        capabilities.checksum.ipv4 = Checksum::Tx;
        capabilities.checksum.tcp = if finish_checksums { Checksum::Tx } else { Checksum::None };

        let mut config = Config::new(HardwareAddress::Ip);
        config.random_seed = seed;
        let mut port =
            Port { capabilities: &capabilities, incoming: None, room: None, answer: Vec::new(), emitted: 0 };
        let mut interface = Interface::new(config, &mut port, now);
        // With a prefix of no bits everybody is on the link: no routes are needed.
        let address = IpCidr::new(ends.remote.ip().into(), 0);
        interface.update_ip_addrs(|addresses| {
            // The capacity is more than one.
            let _ = addresses.push(address);
        });

        let buffer = || SocketBuffer::new(vec![0; buffer_bytes]);
        let mut socket = Socket::new(buffer(), buffer());
        socket.set_nagle_enabled(false);
        socket.set_ack_delay(None);
        let mut sockets = SocketSet::new(Vec::with_capacity(1));
        let handle = sockets.add(socket);
        Self { interface, sockets, handle, capabilities, window: Window::Closed, told: None }
    }

    /// The socket.
    pub(super) fn socket(&mut self) -> &mut Socket<'static> {
        self.sockets.get_mut(self.handle)
    }

    /// Waits for the guest to connect to `at`.
    pub(super) fn listen(&mut self, at: SocketAddr) {
        // It fails for port 0 only, which no SYN that got here names; the flow ends by its time-out then.
        let _ = self.socket().listen(at);
    }

    /// Connects to the guest.
    pub(super) fn connect(&mut self, ends: Ends) -> Result<(), ConnectError> {
        let socket = self.sockets.get_mut::<Socket<'static>>(self.handle);
        socket.connect(self.interface.context(), ends.guest, ends.remote)
    }

    /// Whether there is room for what `segment`, which came from the guest, carries.
    pub(super) fn has_room(&self, segment: &TcpPacket<&[u8]>) -> bool {
        let payload = segment.payload().len();
        payload == 0
            || match self.window {
                Window::Closed => false,
                Window::Opening(end) => segment.seq_number() + payload <= end,
                Window::Told => true,
            }
    }

    /// What the guest was told last.
    pub(super) fn told(&self) -> Option<Told> {
        self.told
    }

    /// Notes what the guest learns from `datagram`, on its way there.
    fn note(&mut self, datagram: &[u8]) {
        let header_bytes = if datagram.first().is_some_and(|byte| byte >> 4 == 4) { 20 } else { 40 };
        let Some(Ok(segment)) = datagram.get(header_bytes..).map(TcpPacket::new_checked) else { return };
        if segment.rst() || !segment.ack() {
            return;
        }
        self.told = Some(Told {
            next: segment.seq_number() + segment.segment_len(),
            acknowledged: segment.ack_number(),
            window: segment.window_len(),
        });
        self.window = if segment.syn() {
            Window::Opening(segment.ack_number() + self.socket().recv_capacity())
        } else {
            Window::Told
        };
    }

    /// Takes a datagram from the guest; gives what it is answered with at once, if anything.
    pub(super) fn take(&mut self, datagram: &[u8], now: Timestamp) -> Option<Vec<u8>> {
        let mut port = Port {
            capabilities: &self.capabilities,
            incoming: Some(datagram),
            room: None,
            answer: Vec::new(),
            emitted: 0,
        };
        self.interface.poll_ingress_single(now, &mut port, &mut self.sockets);
        let answer = (!port.answer.is_empty()).then_some(port.answer)?;
        self.note(&answer);
        Some(answer)
    }

    /// Writes the next datagram for the guest into `room`, of 65,535 bytes, and gives its length.
    pub(super) fn give(&mut self, room: &mut [u8], now: Timestamp) -> Option<usize> {
        let mut port = Port {
            capabilities: &self.capabilities,
            incoming: None,
            room: Some(&mut *room),
            answer: Vec::new(),
            emitted: 0,
        };
        self.interface.poll_egress(now, &mut port, &mut self.sockets);
        let emitted = (port.emitted != 0).then_some(port.emitted)?;
        self.note(room.get(..emitted)?);
        Some(emitted)
    }

    /// When [`Self::give`] has something again, should nothing come in.
    pub(super) fn next(&mut self, now: Timestamp) -> Option<Timestamp> {
        self.interface.poll_at(now, &self.sockets)
    }
}
