//! ICMP echo: the gateway answers itself; others are asked through the host's unprivileged ping sockets, where it
//! offers them (Linux: sysctl `net.ipv4.ping_group_range`), else not at all.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use mio::Interest;
use mio::net::UdpSocket;
use rustix::net::ipproto;
use slab::Slab;
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{Icmpv4Packet, Icmpv4Repr, Icmpv6Packet, Icmpv6Repr, IpProtocol, Ipv4Repr, Ipv6Repr};

use super::emit::{self, Unreachable};
use super::link::Link;
use super::network::Destination;
use super::packet::Datagram;
use super::sockets::{Sockets, Waiter, datagram_socket};
use super::timers::Timers;

/// Conversations at a time; the longest idle gives way.
const MAX_FLOWS: usize = 64;
/// How long an answer is waited for.
const IDLE: Duration = Duration::from_secs(30);
/// The largest answer taken in bytes.
const MAX_ANSWER: usize = 65_535;

/// One station's echo requests to one host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    guest: IpAddr,
    host: IpAddr,
    ident: u16,
}

struct Flow {
    key: Key,
    socket: UdpSocket,
    timer: Option<Instant>,
    readable: bool,
}

/// Echo requests that went out of the guest's network.
#[derive(Default)]
pub(super) struct EchoFlows {
    flows: Slab<Flow>,
    by_key: HashMap<Key, usize>,
    timers: Timers,
    refused: bool,
}

/// An echo message of either version of ICMP.
#[derive(Clone, Copy)]
pub(super) struct Echo<'a> {
    pub(super) ident: u16,
    pub(super) sequence: u16,
    pub(super) data: &'a [u8],
}

/// A socket for echo requests of one's own (on Linux `icmp(7)` calls it a ping socket).
fn ping_socket(to: IpAddr) -> io::Result<UdpSocket> {
    let protocol = if to.is_ipv4() { ipproto::ICMP } else { ipproto::ICMPV6 };
    let socket = UdpSocket::from_std(datagram_socket(to, Some(protocol))?.into());
    socket.connect(SocketAddr::new(to, 0))?;
    Ok(socket)
}

/// The bytes of an echo request. The system puts an identifier of its own in.
fn request(to: IpAddr, echo: Echo<'_>) -> Vec<u8> {
    let Echo { sequence: seq_no, data, .. } = echo;
    let checksums = ChecksumCapabilities::default();
    match to {
        IpAddr::V4(_) => {
            let message = Icmpv4Repr::EchoRequest { ident: 0, seq_no, data };
            let mut bytes = vec![0; message.buffer_len()];
            message.emit(&mut Icmpv4Packet::new_unchecked(bytes.as_mut_slice()), &checksums);
            bytes
        }
        IpAddr::V6(_) => {
            // The system knows the source address and makes the checksum (RFC 3542, section 3.1).
            let message = Icmpv6Repr::EchoRequest { ident: 0, seq_no, data };
            let mut bytes = vec![0; message.buffer_len()];
            let (from, to) = (Ipv6Addr::UNSPECIFIED, Ipv6Addr::UNSPECIFIED);
            message.emit(&from, &to, &mut Icmpv6Packet::new_unchecked(bytes.as_mut_slice()), &checksums);
            bytes
        }
    }
}

/// Sequence number and data of an answer.
fn answer(from: IpAddr, bytes: &[u8]) -> Option<(u16, &[u8])> {
    match from {
        IpAddr::V4(_) => {
            // macOS hands over the IP header as well. An answer's own first byte is 0.
            let first = *bytes.first()?;
            let start = if first >> 4 == 4 { usize::from(first & 15) * 4 } else { 0 };
            let packet = Icmpv4Packet::new_checked(bytes.get(start..)?).ok()?;
            match Icmpv4Repr::parse(&packet, &ChecksumCapabilities::ignored()).ok()? {
                Icmpv4Repr::EchoReply { seq_no, data, .. } => Some((seq_no, data)),
                _ => None,
            }
        }
        IpAddr::V6(_) => {
            let packet = Icmpv6Packet::new_checked(bytes).ok()?;
            let any = Ipv6Addr::UNSPECIFIED;
            match Icmpv6Repr::parse(&any, &any, &packet, &ChecksumCapabilities::ignored()).ok()? {
                Icmpv6Repr::EchoReply { seq_no, data, .. } => Some((seq_no, data)),
                _ => None,
            }
        }
    }
}

/// The answer of `from` to `to`.
pub(super) fn reply(link: &mut Link, from: IpAddr, to: IpAddr, echo: Echo<'_>) {
    let Echo { ident, sequence: seq_no, data } = echo;
    let frame = match (from, to) {
        (IpAddr::V4(src_addr), IpAddr::V4(dst_addr)) => {
            let (next_header, payload_len) = (IpProtocol::Icmp, 0);
            let ip = Ipv4Repr { src_addr, dst_addr, next_header, payload_len, hop_limit: 64 };
            emit::icmp_v4(&ip, &Icmpv4Repr::EchoReply { ident, seq_no, data })
        }
        (IpAddr::V6(src_addr), IpAddr::V6(dst_addr)) => {
            let (next_header, payload_len) = (IpProtocol::Icmpv6, 0);
            let ip = Ipv6Repr { src_addr, dst_addr, next_header, payload_len, hop_limit: 64 };
            emit::icmp_v6(&ip, &Icmpv6Repr::EchoReply { ident, seq_no, data }, &[])
        }
        _ => None,
    };
    if let Some(frame) = frame {
        link.send_ip(link.station(to).into(), frame);
    }
}

impl EchoFlows {
    /// Takes an echo request of the guest.
    pub(super) fn handle(
        &mut self,
        link: &mut Link,
        sockets: &Sockets,
        packet: &Datagram<'_>,
        echo: Echo<'_>,
        now: Instant,
    ) {
        link.learn(packet.source, packet.from);
        if link.network.is_ours(packet.destination) {
            reply(link, packet.destination, packet.source, echo);
            return;
        }
        let Destination::Outside(host) = link.network.route(packet.destination) else {
            link.send_unreachable(packet, Unreachable::Host);
            return;
        };
        let key = Key { guest: packet.source, host, ident: echo.ident };
        let Some(index) = self.flow(sockets, key) else { return };
        let Some(flow) = self.flows.get_mut(index) else { return };
        self.timers.set(index, &mut flow.timer, Some(now + IDLE));
        match flow.socket.send(&request(host, echo)) {
            Err(error) if is_unreachable(&error) => link.send_unreachable(packet, Unreachable::Network),
            // A lost request is as good as any other.
            _ => {}
        }
    }

    fn flow(&mut self, sockets: &Sockets, key: Key) -> Option<usize> {
        if let Some(index) = self.by_key.get(&key) {
            return Some(*index);
        }
        let mut socket = match ping_socket(key.host) {
            Ok(socket) => socket,
            Err(error) => {
                if !self.refused {
                    log::info!(
                        "the host gives no ping sockets ({error}): the guest's echo requests go nowhere"
                    );
                    self.refused = true;
                }
                return None;
            }
        };
        if self.flows.len() >= MAX_FLOWS
            && let Some(oldest) = self.timers.first()
        {
            self.remove(sockets, oldest);
        }
        let entry = self.flows.vacant_entry();
        let index = entry.key();
        sockets.register(Waiter::Echo, index, &mut socket, Interest::READABLE).ok()?;
        entry.insert(Flow { key, socket, timer: None, readable: false });
        self.by_key.insert(key, index);
        Some(index)
    }

    fn remove(&mut self, sockets: &Sockets, index: usize) {
        if let Some(mut flow) = self.flows.try_remove(index) {
            self.timers.set(index, &mut flow.timer, None);
            self.by_key.remove(&flow.key);
            sockets.deregister(&mut flow.socket);
        }
    }

    /// Registers the sockets there are.
    pub(super) fn attach(&mut self, sockets: &Sockets) -> io::Result<()> {
        self.flows.iter_mut().try_for_each(|(index, flow)| {
            flow.readable = true;
            sockets.register(Waiter::Echo, index, &mut flow.socket, Interest::READABLE)
        })
    }

    /// Takes them out again.
    pub(super) fn detach(&mut self, sockets: &Sockets) {
        self.flows.iter_mut().for_each(|(_, flow)| sockets.deregister(&mut flow.socket));
    }

    pub(super) fn ready(&mut self, index: usize) {
        if let Some(flow) = self.flows.get_mut(index) {
            flow.readable = true;
        }
    }

    /// Reads answers and ends idle conversations.
    pub(super) fn advance(&mut self, link: &mut Link, sockets: &Sockets, now: Instant, scratch: &mut [u8]) {
        while let Some(index) = self.timers.due(now) {
            self.remove(sockets, index);
        }
        for (_, flow) in &mut self.flows {
            while flow.readable && !link.is_full() {
                let room = scratch.len().min(MAX_ANSWER);
                let Some(buffer) = scratch.get_mut(..room) else { return };
                match flow.socket.recv(buffer) {
                    Ok(length) => {
                        let key = flow.key;
                        let bytes = buffer.get(..length).unwrap_or_default();
                        if let Some((sequence, data)) = answer(key.host, bytes) {
                            reply(link, key.host, key.guest, Echo { ident: key.ident, sequence, data });
                        }
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    // Errors about earlier requests are taken off by reading them.
                    Err(_) => flow.readable = false,
                }
            }
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// The guest starts anew.
    pub(super) fn clear(&mut self, sockets: &Sockets) {
        self.detach(sockets);
        self.flows.clear();
        self.by_key.clear();
        self.timers.clear();
    }
}

/// Whether the host knows no way to where a packet should go.
pub(super) fn is_unreachable(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable)
}

/// The echo request in an ICMP message, if it is one.
pub(super) fn parse_v4<'a>(payload: &'a [u8]) -> Option<Echo<'a>> {
    let packet = Icmpv4Packet::new_checked(payload).ok()?;
    match Icmpv4Repr::parse(&packet, &ChecksumCapabilities::default()).ok()? {
        Icmpv4Repr::EchoRequest { ident, seq_no, data } => Some(Echo { ident, sequence: seq_no, data }),
        _ => None,
    }
}
