//! TCP: each connection of the guest ends here, and goes on by a socket of the host's.

mod flow;
mod segment;
mod stack;
mod stream;

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use mio::Interest;
use slab::Slab;
use smoltcp::time::Instant as Timestamp;
use smoltcp::wire::TcpPacket;

use self::flow::{Expiry, Fate, Flow, IdleTimes, micros_since};
use self::segment::Syn;
use self::stack::Stack;
pub(super) use self::stream::HostStream;
use super::emit::Unreachable;
use super::link::Link;
use super::network::Destination;
use super::packet::{Datagram, Ends};
use super::sockets::{Sockets, Waiter};
use super::timers::Timers;
use crate::net::{Offloads, Received};

/// Connections at a time; more are refused.
pub(super) const MAX_FLOWS: usize = 2048;

/// Buffer for each direction of a flow in bytes, by how many flows there are: few flows are fast, many are bounded.
const BUFFERS: [(usize, usize); 3] = [(16, 256 << 10), (128, 64 << 10), (MAX_FLOWS, 16 << 10)];

/// When a flow that was due is looked at again, unless it says otherwise.
const RETRY: Duration = Duration::from_secs(1);

/// Where ports for connections into the guest begin (RFC 6335: the dynamic ports).
const FIRST_DYNAMIC_PORT: u16 = 49_152;

/// All connections.
pub(super) struct TcpFlows {
    flows: Slab<Flow>,
    by_ends: HashMap<Ends, usize>,
    /// Flows with bytes to move or frames to give.
    busy: VecDeque<usize>,
    timers: Timers,
    idle: IdleTimes,
    offloads: Offloads,
    start: Instant,
    next_port: u16,
    /// Makes sequence numbers that the guest's neighbours cannot guess.
    secret: RandomState,
    opened: u64,
    warned: bool,
}

impl TcpFlows {
    pub(super) fn new(idle: Duration) -> Self {
        Self {
            flows: Slab::new(),
            by_ends: HashMap::new(),
            busy: VecDeque::new(),
            timers: Timers::default(),
            idle: IdleTimes::new(idle),
            offloads: Offloads::empty(),
            start: Instant::now(),
            next_port: FIRST_DYNAMIC_PORT,
            secret: RandomState::new(),
            opened: 0,
            warned: false,
        }
    }

    pub(super) fn set_offloads(&mut self, offloads: Offloads) {
        self.offloads = offloads;
    }

    fn timestamp(&self, now: Instant) -> Timestamp {
        Timestamp::from_micros(micros_since(self.start, now))
    }

    /// Takes a segment of the guest's. `dns` is where connections to the name server go.
    pub(super) fn handle(
        &mut self,
        link: &mut Link,
        sockets: &Sockets,
        dns: &mut dyn FnMut() -> Option<SocketAddr>,
        packet: &Datagram<'_>,
        now: Instant,
    ) {
        let Ok(segment) = TcpPacket::new_checked(packet.payload) else { return };
        if !packet.unsummed && !segment.verify_checksum(&packet.source.into(), &packet.destination.into()) {
            return;
        }
        let ends = packet.ends(segment.src_port(), segment.dst_port());
        if ends.guest.port() == 0 || ends.remote.port() == 0 || packet.source.is_unspecified() {
            return;
        }
        let timestamp = self.timestamp(now);
        let opens = segment.syn() && !segment.ack() && !segment.rst();
        if let Some(index) = self.by_ends.get(&ends).copied() {
            let large = segment::takes_large(self.offloads, packet.destination);
            let Some(flow) = self.flows.get_mut(index) else { return };
            if opens && let Some(told) = flow.stands() {
                if let Some(frame) = segment::challenge(packet, &segment, told) {
                    link.send_ip(packet.from.into(), frame);
                }
                return;
            }
            if flow.is_filling() {
                flow.pump(now);
            }
            if !flow.has_room(&segment) {
                return;
            }
            let answer = if segment.syn() {
                flow.take_syn(&Syn::new(packet, large), now, timestamp)
            } else {
                flow.take(packet.whole, now, timestamp)
            };
            if let Some(datagram) = answer {
                let mut frame = vec![0; super::emit::ETHERNET_BYTES];
                frame.extend_from_slice(&datagram);
                finish_checksum(&mut frame, packet);
                link.send_ip(packet.from.into(), frame);
            }
            self.set_busy(index);
        } else if opens {
            link.learn(packet.source, packet.from);
            if let Err(refusal) = self.open(link, sockets, dns, packet, ends, now) {
                refuse(link, packet, &segment, refusal);
            }
        } else {
            refuse(link, packet, &segment, Refusal::Reset);
        }
    }

    fn open(
        &mut self,
        link: &Link,
        sockets: &Sockets,
        dns: &mut dyn FnMut() -> Option<SocketAddr>,
        packet: &Datagram<'_>,
        ends: Ends,
        now: Instant,
    ) -> Result<(), Refusal> {
        let port = ends.remote.port();
        let (to, alternative) = match link.network.route(ends.remote.ip()) {
            // A program that listens on "localhost" may do so on the loopback of one family only.
            Destination::Gateway(IpAddr::V4(host)) => {
                (SocketAddr::new(host.into(), port), Some(SocketAddr::new(Ipv6Addr::LOCALHOST.into(), port)))
            }
            Destination::Gateway(host) | Destination::Outside(host) => (SocketAddr::new(host, port), None),
            Destination::Dns if port == super::resolver::PORT => (dns().ok_or(Refusal::Reset)?, None),
            Destination::Dns | Destination::ClosedGateway => return Err(Refusal::Reset),
            Destination::Nowhere => return Err(Refusal::Unreachable(Unreachable::Host)),
        };
        if self.flows.len() >= MAX_FLOWS {
            self.warn(&format!("the guest has {MAX_FLOWS} TCP connections: more are refused"));
            return Err(Refusal::Reset);
        }
        let stream = HostStream::connect(to).map_err(|error| self.refusal(&error))?;
        let large = segment::takes_large(self.offloads, packet.destination);
        let syn = Syn::new(packet, large);
        let stack = self.stack(ends, now);
        let flow = Flow::from_guest(ends, (stream, alternative), (syn, stack), packet.from, now);
        self.insert(sockets, flow).map_err(|_| Refusal::Reset)
    }

    /// Connects the host's `stream` to `guest`.
    pub(super) fn forward(
        &mut self,
        link: &Link,
        sockets: &Sockets,
        stream: HostStream,
        guest: SocketAddr,
        now: Instant,
    ) {
        let ends = if self.flows.len() < MAX_FLOWS { self.free_ends(link, guest) } else { None };
        let Some(ends) = ends else {
            stream.abort();
            return;
        };
        let mut stack = self.stack(ends, now);
        if stack.connect(ends).is_err() {
            stream.abort();
            return;
        }
        let flow = Flow::from_host(ends, stream, stack, link.station(guest.ip()), now);
        // Should it fail, the stream is dropped with the flow.
        let _ = self.insert(sockets, flow);
    }

    fn free_ends(&mut self, link: &Link, guest: SocketAddr) -> Option<Ends> {
        for _ in 0..=MAX_FLOWS {
            let port = self.next_port;
            self.next_port = port.checked_add(1).unwrap_or(FIRST_DYNAMIC_PORT);
            let ends = Ends { guest, remote: link.network.gateway_for(guest.ip(), port) };
            if !self.by_ends.contains_key(&ends) {
                return Some(ends);
            }
        }
        None
    }

    fn stack(&mut self, ends: Ends, now: Instant) -> Stack {
        let count = self.flows.len();
        let buffer = BUFFERS.iter().find(|(flows, _)| count < *flows).map_or(16 << 10, |(_, bytes)| *bytes);
        self.opened += 1;
        let seed = self.secret.hash_one((self.opened, ends));
        let finish_checksums = !self.offloads.contains(Offloads::GUEST_CSUM);
        Stack::new(ends, buffer, finish_checksums, seed, self.timestamp(now))
    }

    fn insert(&mut self, sockets: &Sockets, mut flow: Flow) -> io::Result<()> {
        let entry = self.flows.vacant_entry();
        let index = entry.key();
        sockets.register(Waiter::Tcp, index, &mut flow.stream, Interest::READABLE | Interest::WRITABLE)?;
        self.by_ends.insert(flow.ends, index);
        let expires = flow.expires(&self.idle);
        self.timers.set(index, &mut flow.timer, Some(expires));
        entry.insert(flow);
        self.set_busy(index);
        Ok(())
    }

    fn remove(&mut self, sockets: &Sockets, index: usize) {
        if let Some(mut flow) = self.flows.try_remove(index) {
            self.timers.set(index, &mut flow.timer, None);
            self.by_ends.remove(&flow.ends);
            sockets.deregister(&mut flow.stream);
        }
    }

    fn set_busy(&mut self, index: usize) {
        if let Some(flow) = self.flows.get_mut(index)
            && !flow.queued
        {
            flow.queued = true;
            self.busy.push_back(index);
        }
    }

    /// Registers the sockets there are.
    pub(super) fn attach(&mut self, sockets: &Sockets) -> io::Result<()> {
        for (index, flow) in &mut self.flows {
            let interest = Interest::READABLE | Interest::WRITABLE;
            sockets.register(Waiter::Tcp, index, &mut flow.stream, interest)?;
        }
        Ok(())
    }

    /// Takes them out again.
    pub(super) fn detach(&mut self, sockets: &Sockets) {
        self.flows.iter_mut().for_each(|(_, flow)| sockets.deregister(&mut flow.stream));
    }

    /// A host's socket has news.
    pub(super) fn ready(
        &mut self,
        link: &mut Link,
        sockets: &Sockets,
        index: usize,
        (readable, writable): (bool, bool),
        now: Instant,
    ) {
        let Some(flow) = self.flows.get_mut(index) else { return };
        flow.ready(readable, writable);
        if flow.waiting_syn().is_some() {
            match flow.stream.connected() {
                None => return,
                Some(Ok(())) => {
                    let timestamp = Timestamp::from_micros(micros_since(self.start, now));
                    flow.open(now, timestamp);
                }
                Some(Err(error)) => self.not_connected(link, sockets, index, &error),
            }
        }
        self.set_busy(index);
    }

    /// The host's socket could not be connected: the guest is told, unless there is another address to try.
    fn not_connected(&mut self, link: &mut Link, sockets: &Sockets, index: usize, error: &io::Error) {
        let refusal = self.refusal(error);
        let Some(flow) = self.flows.get_mut(index) else { return };
        if let (Refusal::Reset, Some(to)) = (refusal, flow.alternative.take())
            && let Ok(mut stream) = HostStream::connect(to)
        {
            sockets.deregister(&mut flow.stream);
            let interest = Interest::READABLE | Interest::WRITABLE;
            if sockets.register(Waiter::Tcp, index, &mut stream, interest).is_ok() {
                flow.stream = stream;
                return;
            }
        }
        if let Some(syn) = flow.waiting_syn()
            && let Some(super::packet::Ip::Whole(packet)) =
                super::packet::parse_ip(link.station(flow.ends.guest.ip()), &syn.datagram, true)
            && let Ok(segment) = TcpPacket::new_checked(packet.payload)
        {
            refuse(link, &packet, &segment, refusal);
        }
        self.remove(sockets, index);
    }

    /// Moves bytes of all busy flows, and ends those that are over or out of time.
    pub(super) fn advance(&mut self, sockets: &Sockets, now: Instant) {
        while let Some(index) = self.timers.due(now) {
            let Some(flow) = self.flows.get_mut(index) else { return };
            if flow.expire(&self.idle, now) == Expiry::Ended && flow.waiting_syn().is_some() {
                self.remove(sockets, index);
                continue;
            }
            // What is to be said, the flow gives as its next frame; the deadline is set after that. Should the guest
            // have no room for it, there is one all the same.
            self.timers.set(index, &mut flow.timer, Some(now + RETRY));
            self.set_busy(index);
        }
        for position in 0..self.busy.len() {
            let Some(index) = self.busy.get(position).copied() else { return };
            if let Some(flow) = self.flows.get_mut(index)
                && flow.pump(now) == Fate::Over
            {
                self.remove(sockets, index);
            }
        }
    }

    /// Writes the next frame for the guest into `frame`.
    pub(super) fn give(&mut self, sockets: &Sockets, frame: &mut [u8], now: Instant) -> Option<Received> {
        let timestamp = self.timestamp(now);
        while let Some(index) = self.busy.pop_front() {
            let Some(flow) = self.flows.get_mut(index).filter(|flow| flow.queued) else { continue };
            if flow.waiting_syn().is_none()
                && let Some(received) = flow.give(frame, self.offloads, now, timestamp)
            {
                // Others have their turn before its next.
                self.busy.push_back(index);
                return Some(received);
            }
            flow.queued = false;
            if flow.pump(now) == Fate::Over {
                self.remove(sockets, index);
            } else {
                let deadline = flow.deadline(&self.idle, self.start, now);
                self.timers.set(index, &mut flow.timer, Some(deadline));
            }
        }
        None
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// How many connections there are.
    pub(super) fn len(&self) -> usize {
        self.flows.len()
    }

    /// The guest starts anew.
    pub(super) fn clear(&mut self, sockets: &Sockets) {
        for (_, flow) in &mut self.flows {
            flow.stream.abort();
            sockets.deregister(&mut flow.stream);
        }
        self.flows.clear();
        self.by_ends.clear();
        self.busy.clear();
        self.timers.clear();
    }

    fn warn(&mut self, text: &str) {
        if !self.warned {
            log::warn!("{text}");
            self.warned = true;
        }
    }

    /// What the guest is told about a connection that did not come about.
    fn refusal(&mut self, error: &io::Error) -> Refusal {
        match error.kind() {
            io::ErrorKind::NetworkUnreachable | io::ErrorKind::NetworkDown => {
                Refusal::Unreachable(Unreachable::Network)
            }
            io::ErrorKind::HostUnreachable | io::ErrorKind::TimedOut | io::ErrorKind::AddrNotAvailable => {
                Refusal::Unreachable(Unreachable::Host)
            }
            io::ErrorKind::PermissionDenied => Refusal::Unreachable(Unreachable::Prohibited),
            io::ErrorKind::ConnectionRefused => Refusal::Reset,
            _ => {
                self.warn(&format!("a TCP connection of the guest's is refused: {error}"));
                Refusal::Reset
            }
        }
    }
}

/// How a connection is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    Reset,
    Unreachable(Unreachable),
}

fn refuse(link: &mut Link, packet: &Datagram<'_>, segment: &TcpPacket<&[u8]>, refusal: Refusal) {
    match refusal {
        Refusal::Reset => {
            if let Some(frame) = segment::reset(packet, segment) {
                link.send_ip(packet.from.into(), frame);
            }
        }
        Refusal::Unreachable(why) => link.send_unreachable(packet, why),
    }
}

/// Fills in the TCP checksum of an answer to `packet`; a stack leaves it empty when the guest finishes others.
fn finish_checksum(frame: &mut [u8], packet: &Datagram<'_>) {
    let ip_bytes = if packet.source.is_ipv4() { 20 } else { 40 };
    if let Some(segment) = frame.get_mut(super::emit::ETHERNET_BYTES + ip_bytes..)
        && let Ok(mut segment) = TcpPacket::new_checked(segment)
    {
        segment.fill_checksum(&packet.destination.into(), &packet.source.into());
    }
}
