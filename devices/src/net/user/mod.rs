//! The user back end: a network inside of rvmm, whose gateway is the host.
//!
//! Nothing of it shows on the host but ordinary sockets of an ordinary program. The guest's TCP connections end in
//! [`tcp`] and go on by sockets of the host's; so do its datagrams ([`udp`]) and echo requests ([`echo`]). The gateway
//! is router, DHCP server and name server, and the host: a connection to its address reaches the host's loopback.
//!
//! ```text
//!            ┌ arp, ndp        who is where
//!   frame ─▶ ┤ dhcp            the guest's address ─▶ NetEvents
//!            │ resolver        questions ─▶ the host's name servers
//!            │ udp, echo       datagrams ─▶ one socket per conversation, and per port
//!            └ tcp             segments ─▶ a stack per connection ─▶ one socket each
//!   host's sockets (listeners) ─▶ tcp, udp ─▶ the guest
//! ```
//!
//! Everything is bounded: flows, bytes that wait for the guest, pieces of datagrams, questions under way. What the
//! guest's TCP stack does not take stays in the host's sockets.

mod arp;
mod dhcp;
mod echo;
mod emit;
mod link;
mod listeners;
mod ndp;
mod network;
mod packet;
mod reassembly;
mod resolver;
mod sockets;
mod tcp;
mod timers;
mod udp;

#[cfg(test)]
mod test;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::{Registry, Token};
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{EthernetProtocol, Icmpv6Packet, Icmpv6Repr, IpProtocol, UdpPacket};

use self::dhcp::DhcpServer;
use self::echo::{Echo, EchoFlows};
use self::emit::Unreachable;
use self::link::Link;
pub use self::listeners::ListenError;
use self::listeners::Listeners;
use self::ndp::Router;
use self::network::{Destination, Network};
use self::packet::{Datagram, Frame, Ip, parse_ip};
use self::reassembly::Reassembly;
use self::resolver::Resolver;
use self::sockets::{Sockets, Waiter};
use self::tcp::TcpFlows;
use self::udp::UdpFlows;
use super::{
    DEFAULT_MTU, Forward, FrameHeader, MacAddress, NetBackend, NetEvents, Offloads, Received, Sent,
    UserConfig,
};

/// How long a TCP connection may be silent until the guest is asked whether it is still there (RFC 5382, section 5, asks
/// for at least 2 h 4 min).
const TCP_IDLE: Duration = Duration::from_secs(2 * 3600 + 5 * 60);
/// How long a UDP conversation lives without a datagram (RFC 4787, section 4.3, asks for at least two minutes).
const UDP_IDLE: Duration = Duration::from_secs(180);

/// Room for one datagram.
const SCRATCH_BYTES: usize = 65_536;

/// What is given to a user back end beside its configuration.
#[derive(Clone)]
pub struct UserOptions {
    /// The guest's MAC address.
    pub mac: MacAddress,
    /// The largest IP datagram on the link, in bytes.
    pub mtu: u16,
    /// Who hears of the guest's address.
    pub events: Arc<dyn NetEvents>,
    /// The file that names the host's name servers.
    pub resolv_conf: PathBuf,
    /// How long a TCP connection may be silent until the guest is asked whether it is still there.
    pub tcp_idle: Duration,
    /// How long a UDP conversation lives without a datagram.
    pub udp_idle: Duration,
    /// Name servers with their ports, in place of the configuration's and the file's.
    pub name_servers: Vec<SocketAddr>,
}

impl UserOptions {
    /// What is usual, for a guest's device.
    pub fn new(mac: MacAddress, events: Arc<dyn NetEvents>) -> Self {
        Self {
            mac,
            mtu: DEFAULT_MTU,
            events,
            resolv_conf: PathBuf::from("/etc/resolv.conf"),
            tcp_idle: TCP_IDLE,
            udp_idle: UDP_IDLE,
            name_servers: Vec::new(),
        }
    }
}

/// The user back end.
pub struct UserNet {
    link: Link,
    sockets: Sockets,
    offloads: Offloads,
    router: Router,
    dhcp: DhcpServer,
    resolver: Resolver,
    reassembly: Reassembly,
    tcp: TcpFlows,
    udp: UdpFlows,
    echo: EchoFlows,
    listeners: Listeners,
    scratch: Vec<u8>,
    /// The time of this turn.
    now: Instant,
}

impl UserNet {
    /// Opens the sockets of the forwards.
    ///
    /// # Errors
    /// A forward's address is taken, or cannot be listened at.
    pub fn new(config: &UserConfig, options: UserOptions) -> Result<Self, ListenError> {
        let configured = config.dns.iter().map(|server| SocketAddr::new(*server, resolver::PORT));
        let servers = options.name_servers.into_iter().chain(configured).collect();
        Ok(Self {
            link: Link::new(Network::new(config, options.mac), options.mtu),
            sockets: Sockets::default(),
            offloads: Offloads::empty(),
            router: Router::default(),
            dhcp: DhcpServer::new(options.mac, options.events),
            resolver: Resolver::new(servers, &options.resolv_conf),
            reassembly: Reassembly::default(),
            tcp: TcpFlows::new(options.tcp_idle),
            udp: UdpFlows::new(options.udp_idle),
            echo: EchoFlows::default(),
            listeners: Listeners::open(&config.forward)?,
            scratch: vec![0; SCRATCH_BYTES],
            now: Instant::now(),
        })
    }

    /// The forwards with the addresses they really have, where port 0 was asked for.
    pub fn forwards(&self) -> Vec<Forward> {
        self.listeners.bound()
    }

    /// How many TCP connections there are.
    pub fn tcp_connections(&self) -> usize {
        self.tcp.len()
    }

    fn ip(&mut self, from: MacAddress, bytes: &[u8], unsummed: bool) {
        match parse_ip(from, bytes, unsummed) {
            Some(Ip::Whole(packet)) => self.datagram(&packet),
            Some(Ip::Piece(piece)) => {
                if let Some(whole) = self.reassembly.add(&piece, self.now)
                    && let Some(Ip::Whole(packet)) = parse_ip(from, &whole, unsummed)
                {
                    self.datagram(&packet);
                }
            }
            None => {}
        }
    }

    fn datagram(&mut self, packet: &Datagram<'_>) {
        let (link, sockets, now) = (&mut self.link, &self.sockets, self.now);
        if packet.hop_limit() <= 1
            && matches!(link.network.route(packet.destination), Destination::Outside(_))
        {
            link.send_time_exceeded(packet);
            return;
        }
        match packet.protocol {
            IpProtocol::Tcp => {
                let resolver = &mut self.resolver;
                self.tcp.handle(link, sockets, &mut || resolver.tcp_server(now), packet, now);
            }
            IpProtocol::Udp => self.udp_datagram(packet),
            IpProtocol::Icmp => {
                if let Some(echo) = echo::parse_v4(packet.payload) {
                    self.echo.handle(link, sockets, packet, echo, now);
                }
            }
            IpProtocol::Icmpv6 => self.icmp_v6(packet),
            _ => link.send_unreachable(packet, Unreachable::Protocol),
        }
    }

    fn udp_datagram(&mut self, packet: &Datagram<'_>) {
        let Ok(datagram) = UdpPacket::new_checked(packet.payload) else { return };
        // Over IPv4 a sender may do without a checksum (RFC 768).
        let unsummed = packet.unsummed || (packet.source.is_ipv4() && datagram.checksum() == 0);
        if !unsummed && !datagram.verify_checksum(&packet.source.into(), &packet.destination.into()) {
            return;
        }
        let ends = packet.ends(datagram.src_port(), datagram.dst_port());
        let payload = datagram.payload();
        let (link, sockets, now) = (&mut self.link, &self.sockets, self.now);
        let for_server = match packet.destination {
            IpAddr::V4(to) => to.is_broadcast() || to == link.network.gateway,
            IpAddr::V6(_) => false,
        };
        if for_server && ends.remote.port() == dhcp::SERVER_PORT {
            self.dhcp.handle(link, packet, payload);
        } else if packet.source.is_unspecified() || ends.guest.port() == 0 || ends.remote.port() == 0 {
            // Nobody to answer to, or nobody to send to.
        } else if link.network.route(packet.destination) == Destination::Dns
            && ends.remote.port() == resolver::PORT
        {
            self.resolver.handle(link, sockets, packet, (ends, payload), now);
        } else {
            self.udp.handle(link, sockets, &self.listeners, packet, (ends, payload), now);
        }
    }

    fn icmp_v6(&mut self, packet: &Datagram<'_>) {
        let (IpAddr::V6(source), IpAddr::V6(destination)) = (packet.source, packet.destination) else {
            return;
        };
        let Ok(message) = Icmpv6Packet::new_checked(packet.payload) else { return };
        let checksums = ChecksumCapabilities::default();
        match Icmpv6Repr::parse(&source, &destination, &message, &checksums) {
            // With another hop limit it may come from elsewhere (RFC 4861, section 7.1).
            Ok(Icmpv6Repr::Ndisc(message)) if packet.hop_limit() == 255 => {
                self.router.handle(&mut self.link, packet, &message, self.now);
            }
            Ok(Icmpv6Repr::EchoRequest { ident, seq_no, data })
                if self.link.network.v6.is_some() && !source.is_unspecified() =>
            {
                let echo = Echo { ident, sequence: seq_no, data };
                self.echo.handle(&mut self.link, &self.sockets, packet, echo, self.now);
            }
            _ => {}
        }
    }
}

impl NetBackend for UserNet {
    fn offloads(&self) -> Offloads {
        Offloads::all()
    }

    fn set_offloads(&mut self, offloads: Offloads) {
        self.offloads = offloads;
        self.tcp.set_offloads(offloads);
    }

    fn register(&mut self, registry: &Registry, first: Token) -> io::Result<()> {
        self.sockets.attach(registry, first)?;
        self.listeners.attach(&self.sockets)?;
        self.tcp.attach(&self.sockets)?;
        self.udp.attach(&self.sockets)?;
        self.echo.attach(&self.sockets)?;
        self.resolver.attach(&self.sockets)
    }

    fn deregister(&mut self) {
        self.listeners.detach(&self.sockets);
        self.tcp.detach(&self.sockets);
        self.udp.detach(&self.sockets);
        self.echo.detach(&self.sockets);
        self.resolver.detach(&self.sockets);
        self.sockets.detach();
    }

    fn ready(&mut self, event: &Event) {
        let Some((waiter, index)) = self.sockets.waiter(event.token()) else { return };
        match waiter {
            Waiter::Listener => self.listeners.ready(index),
            Waiter::Udp => self.udp.ready(index),
            Waiter::UdpPort => self.udp.port_ready(index),
            Waiter::Echo => self.echo.ready(index),
            Waiter::Resolver => self.resolver.ready(index),
            Waiter::Tcp => {
                let readable = event.is_readable() || event.is_read_closed() || event.is_error();
                let writable = event.is_writable() || event.is_write_closed() || event.is_error();
                let now = self.now;
                self.tcp.ready(&mut self.link, &self.sockets, index, (readable, writable), now);
            }
        }
    }

    fn send(&mut self, frame: &[u8], header: &FrameHeader) -> Sent {
        if let Some(frame) = Frame::parse(frame) {
            let unsummed = header.checksum.is_some();
            match frame.protocol {
                EthernetProtocol::Arp => arp::handle(&mut self.link, &frame),
                EthernetProtocol::Ipv4 | EthernetProtocol::Ipv6 => {
                    self.ip(frame.from, frame.payload, unsummed);
                }
                _ => {}
            }
        }
        Sent::Done
    }

    fn advance(&mut self, now: Instant) {
        self.now = now;
        let (link, sockets, scratch) = (&mut self.link, &self.sockets, self.scratch.as_mut_slice());
        self.listeners.advance(link, sockets, (&mut self.tcp, &mut self.udp), now, scratch);
        self.tcp.advance(sockets, now);
        self.udp.advance(link, sockets, now, scratch);
        self.echo.advance(link, sockets, now, scratch);
        self.resolver.advance(link, sockets, now, scratch);
        self.router.advance(link, now);
    }

    fn receive(&mut self, frame: &mut [u8]) -> Option<Received> {
        if let Some(received) = self.link.take(frame) {
            return Some(received);
        }
        if let Some(received) = self.tcp.give(&self.sockets, frame, self.now) {
            return Some(received);
        }
        // There is room again for what had to wait for it.
        if self.udp.is_pending() || self.listeners.is_pending() {
            self.advance(self.now);
        }
        self.link.take(frame)
    }

    fn deadline(&self) -> Option<Instant> {
        let deadlines = [
            self.tcp.deadline(),
            self.udp.deadline(),
            self.echo.deadline(),
            self.resolver.deadline(),
            self.router.deadline(),
            self.listeners.deadline(),
        ];
        deadlines.into_iter().flatten().min()
    }

    fn reset(&mut self) {
        self.link.clear();
        self.reassembly.clear();
        self.router.clear();
        self.tcp.clear(&self.sockets);
        self.udp.clear(&self.sockets);
        self.echo.clear(&self.sockets);
        self.resolver.clear(&self.sockets);
    }
}
