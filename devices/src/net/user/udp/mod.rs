//! UDP: each conversation of the guest has a host socket of its own, connected to its peer ([`ports`]). Peers of a forward
//! share the socket that listens.

mod ports;

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::Interest;
use mio::net::UdpSocket;
use slab::Slab;

use self::ports::Ports;
use super::echo::is_unreachable;
use super::emit::{self, Unreachable};
use super::link::Link;
use super::listeners::Listeners;
use super::network::Destination;
use super::packet::{Datagram, Ends};
use super::sockets::{Sockets, Waiter};
use super::timers::Timers;

/// Conversations at a time; the longest idle gives way.
const MAX_FLOWS: usize = 512;
/// Datagrams read from one socket before another's turn.
const BURST: usize = 64;
/// Where ports for the peers of forwards begin (RFC 6335: the dynamic ports).
const FIRST_DYNAMIC_PORT: u16 = 49_152;

/// Whose socket a conversation uses.
enum Via {
    /// One of its own, at one of the guest's ports.
    Own { socket: UdpSocket, port: usize, peer: SocketAddr },
    /// That of a forward, whose peer is behind this address.
    Listener { listener: usize, peer: SocketAddr },
}

struct Flow {
    ends: Ends,
    via: Via,
    timer: Option<Instant>,
    /// Whether it is in the queue of those to read from.
    queued: bool,
}

/// Whose datagrams are read next.
#[derive(Clone, Copy)]
enum Turn {
    Flow(usize),
    Port(usize),
}

/// All conversations.
pub(super) struct UdpFlows {
    flows: Slab<Flow>,
    ports: Ports,
    by_ends: HashMap<Ends, usize>,
    by_peer: HashMap<(usize, SocketAddr), usize>,
    readable: VecDeque<Turn>,
    timers: Timers,
    idle: Duration,
    next_port: u16,
}

impl UdpFlows {
    pub(super) fn new(idle: Duration) -> Self {
        Self {
            flows: Slab::new(),
            ports: Ports::default(),
            by_ends: HashMap::new(),
            by_peer: HashMap::new(),
            readable: VecDeque::new(),
            timers: Timers::default(),
            idle,
            next_port: FIRST_DYNAMIC_PORT,
        }
    }

    /// Takes a datagram of the guest. `listeners` are the sockets of the forwards.
    pub(super) fn handle(
        &mut self,
        link: &mut Link,
        sockets: &Sockets,
        listeners: &Listeners,
        packet: &Datagram<'_>,
        (ends, payload): (Ends, &[u8]),
        now: Instant,
    ) {
        link.learn(packet.source, packet.from);
        let index = match self.by_ends.get(&ends) {
            Some(index) => *index,
            None => match self.open(link, sockets, ends) {
                Ok(index) => index,
                Err(why) => {
                    if let Some(why) = why {
                        link.send_unreachable(packet, why);
                    }
                    return;
                }
            },
        };
        let Some(flow) = self.flows.get_mut(index) else { return };
        self.timers.set(index, &mut flow.timer, Some(now + self.idle));
        let sent = match &flow.via {
            Via::Own { socket, .. } => socket.send(payload).map(|_| ()),
            Via::Listener { listener, peer } => listeners.send_to(*listener, payload, *peer),
        };
        match sent {
            // The answer to an earlier datagram: nobody is there.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                link.send_unreachable(packet, Unreachable::Port);
            }
            Err(error) if is_unreachable(&error) => link.send_unreachable(packet, Unreachable::Network),
            // A full socket loses datagrams, as networks do.
            _ => {}
        }
    }

    fn open(&mut self, link: &Link, sockets: &Sockets, ends: Ends) -> Result<usize, Option<Unreachable>> {
        let peer = match link.network.route(ends.remote.ip()) {
            Destination::Gateway(host) | Destination::Outside(host) => {
                SocketAddr::new(host, ends.remote.port())
            }
            Destination::ClosedGateway | Destination::Dns => return Err(Some(Unreachable::Port)),
            Destination::Nowhere => return Err(Some(Unreachable::Host)),
        };
        let failed = |error: io::Error| is_unreachable(&error).then_some(Unreachable::Network);
        let opened = self.ports.open(sockets, ends.guest, peer, ends.remote.ip());
        let (port, socket) = opened.map_err(failed)?;
        let index = self.insert(sockets, ends, Via::Own { socket, port, peer });
        if let Some(Flow { via: Via::Own { socket, .. }, .. }) = self.flows.get_mut(index)
            && let Err(error) = sockets.register(Waiter::Udp, index, socket, Interest::READABLE)
        {
            self.remove(sockets, index);
            return Err(failed(error));
        }
        Ok(index)
    }

    fn insert(&mut self, sockets: &Sockets, ends: Ends, via: Via) -> usize {
        if self.flows.len() >= MAX_FLOWS
            && let Some(oldest) = self.timers.first()
        {
            self.remove(sockets, oldest);
        }
        let index = self.flows.insert(Flow { ends, via, timer: None, queued: false });
        self.by_ends.insert(ends, index);
        index
    }

    fn remove(&mut self, sockets: &Sockets, index: usize) {
        let Some(mut flow) = self.flows.try_remove(index) else { return };
        self.timers.set(index, &mut flow.timer, None);
        self.by_ends.remove(&flow.ends);
        match &mut flow.via {
            Via::Own { socket, port, peer } => {
                sockets.deregister(socket);
                self.ports.close(sockets, *port, peer.ip());
            }
            Via::Listener { listener, peer } => {
                self.by_peer.remove(&(*listener, *peer));
            }
        }
    }

    /// A datagram came from `peer` to a forward's socket, for `guest`.
    pub(super) fn forward(
        &mut self,
        link: &mut Link,
        sockets: &Sockets,
        (listener, peer): (usize, SocketAddr),
        guest: SocketAddr,
        payload: &[u8],
        now: Instant,
    ) {
        let index = match self.by_peer.get(&(listener, peer)) {
            Some(index) => *index,
            None => {
                let Some(remote) = self.free_end(link, guest) else { return };
                let ends = Ends { guest, remote };
                let index = self.insert(sockets, ends, Via::Listener { listener, peer });
                self.by_peer.insert((listener, peer), index);
                index
            }
        };
        let Some(flow) = self.flows.get_mut(index) else { return };
        self.timers.set(index, &mut flow.timer, Some(now + self.idle));
        link.send_udp(flow.ends.remote, flow.ends.guest, payload);
    }

    /// An end at the gateway that `guest` does not talk to yet.
    fn free_end(&mut self, link: &Link, guest: SocketAddr) -> Option<SocketAddr> {
        for _ in 0..=MAX_FLOWS {
            let port = self.next_port;
            self.next_port = port.checked_add(1).unwrap_or(FIRST_DYNAMIC_PORT);
            let remote = link.network.gateway_for(guest.ip(), port);
            if !self.by_ends.contains_key(&Ends { guest, remote }) {
                return Some(remote);
            }
        }
        None
    }

    /// Registers the sockets there are.
    pub(super) fn attach(&mut self, sockets: &Sockets) -> io::Result<()> {
        for (index, flow) in &mut self.flows {
            if let Via::Own { socket, .. } = &mut flow.via {
                sockets.register(Waiter::Udp, index, socket, Interest::READABLE)?;
            }
        }
        self.ports.attach(sockets)
    }

    /// Takes them out again.
    pub(super) fn detach(&mut self, sockets: &Sockets) {
        for (_, flow) in &mut self.flows {
            if let Via::Own { socket, .. } = &mut flow.via {
                sockets.deregister(socket);
            }
        }
        self.ports.detach(sockets);
    }

    pub(super) fn ready(&mut self, index: usize) {
        if let Some(flow) = self.flows.get_mut(index)
            && !flow.queued
        {
            flow.queued = true;
            self.readable.push_back(Turn::Flow(index));
        }
    }

    pub(super) fn port_ready(&mut self, index: usize) {
        if let Some(port) = self.ports.get_mut(index)
            && !port.queued
        {
            port.queued = true;
            self.readable.push_back(Turn::Port(index));
        }
    }

    /// Reads what peers sent, as far as the guest has room, and ends idle conversations.
    pub(super) fn advance(&mut self, link: &mut Link, sockets: &Sockets, now: Instant, scratch: &mut [u8]) {
        while let Some(index) = self.timers.due(now) {
            self.remove(sockets, index);
        }
        for _ in 0..self.readable.len() {
            if link.is_full() {
                return;
            }
            let Some(turn) = self.readable.pop_front() else { return };
            let more = match turn {
                Turn::Flow(index) => self.read_flow(link, index, scratch, now),
                Turn::Port(index) => self.read_port(link, index, scratch),
            };
            if more {
                self.readable.push_back(turn);
            }
        }
    }

    /// Reads a few datagrams of a conversation; whether there may be more.
    fn read_flow(&mut self, link: &mut Link, index: usize, scratch: &mut [u8], now: Instant) -> bool {
        let Some(flow) = self.flows.get_mut(index).filter(|flow| flow.queued) else { return false };
        let Via::Own { socket, port, peer } = &flow.via else { return false };
        let (ends, port) = (flow.ends, self.ports.get(*port));
        let remote = |from: SocketAddr| {
            let is_peer = (from.ip(), from.port()) == (peer.ip(), peer.port());
            if is_peer { Some(ends.remote) } else { port?.seen(from) }
        };
        let more = read(link, socket, ends.guest, Some(ends), remote, scratch);
        flow.queued = more;
        self.timers.set(index, &mut flow.timer, Some(now + self.idle));
        more
    }

    /// Reads a few datagrams that belong to no conversation; whether there may be more.
    fn read_port(&mut self, link: &mut Link, index: usize, scratch: &mut [u8]) -> bool {
        let Some(port) = self.ports.get_mut(index).filter(|port| port.queued) else { return false };
        let more = read(link, &port.socket, port.guest, None, |from| port.seen(from), scratch);
        port.queued = more;
        more
    }

    /// Whether there is more to read than was read.
    pub(super) fn is_pending(&self) -> bool {
        !self.readable.is_empty()
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// The guest starts anew.
    pub(super) fn clear(&mut self, sockets: &Sockets) {
        self.detach(sockets);
        self.flows.clear();
        self.ports.clear();
        self.by_ends.clear();
        self.by_peer.clear();
        self.readable.clear();
        self.timers.clear();
    }
}

/// Reads a few datagrams for `guest` that come from whom `remote` has a name for; whether there may be more. Errors are
/// about what was sent in the conversation `sent`.
fn read(
    link: &mut Link,
    socket: &UdpSocket,
    guest: SocketAddr,
    sent: Option<Ends>,
    remote: impl Fn(SocketAddr) -> Option<SocketAddr>,
    scratch: &mut [u8],
) -> bool {
    for _ in 0..BURST {
        if link.is_full() {
            return true;
        }
        let error = match socket.recv_from(scratch) {
            Ok((length, from)) => {
                if let Some(remote) = remote(from) {
                    link.send_udp(remote, guest, scratch.get(..length).unwrap_or_default());
                }
                continue;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
            Err(error) => error,
        };
        // Errors about earlier datagrams are taken off by reading them; what came since is behind them.
        match sent {
            // Nobody is there.
            Some(ends) if error.kind() == io::ErrorKind::ConnectionRefused => {
                tell(link, ends, Unreachable::Port);
            }
            Some(ends) if is_unreachable(&error) => tell(link, ends, Unreachable::Host),
            _ => {}
        }
    }
    true
}

/// Tells the guest that a datagram, which is not at hand any more, did not arrive.
fn tell(link: &mut Link, ends: Ends, why: Unreachable) {
    if let Some(frame) = emit::udp_unreachable(ends, why) {
        link.send_ip(link.station(ends.guest.ip()).into(), frame);
    }
}
