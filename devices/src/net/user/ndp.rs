//! Neighbour discovery (RFC 4861) and what a guest configures itself by (RFC 4862, RFC 8106).

use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use smoltcp::wire::{
    EthernetAddress, Icmpv6Repr, IpProtocol, Ipv6Repr, NdiscNeighborFlags, NdiscPrefixInfoFlags,
    NdiscPrefixInformation, NdiscRepr, NdiscRouterFlags, RawHardwareAddress,
};

use super::emit;
use super::link::Link;
use super::network::{GATEWAY_LINK_LOCAL, GATEWAY_MAC};
use super::packet::Datagram;
use crate::net::MacAddress;

/// How long the guest may use us as its router (RFC 4861, section 6.2.1: three times the interval).
const ROUTER_LIFETIME: Duration = Duration::from_secs(1800);
/// How often we say so unasked.
const ADVERTISE_EVERY: Duration = Duration::from_secs(600);
/// How long an address made from the prefix is good; renewed with each advertisement.
const PREFIX_LIFETIME: Duration = Duration::from_secs(86_400);

const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// Where frames to all nodes go (RFC 2464, section 7).
const ALL_NODES_MAC: EthernetAddress = EthernetAddress([0x33, 0x33, 0, 0, 0, 1]);

/// When the router speaks next; not before the guest has spoken IPv6.
#[derive(Default)]
pub(super) struct Router {
    next: Option<Instant>,
}

fn gateway_mac() -> RawHardwareAddress {
    EthernetAddress(GATEWAY_MAC).into()
}

fn header(source: Ipv6Addr, destination: Ipv6Addr) -> Ipv6Repr {
    // Neighbour discovery is believed with this hop limit only: nobody else can have sent it.
    let hop_limit = 255;
    Ipv6Repr {
        src_addr: source,
        dst_addr: destination,
        next_header: IpProtocol::Icmpv6,
        payload_len: 0,
        hop_limit,
    }
}

impl Router {
    /// Answers a message of neighbour discovery.
    pub(super) fn handle(
        &mut self,
        link: &mut Link,
        packet: &Datagram<'_>,
        message: &NdiscRepr<'_>,
        now: Instant,
    ) {
        if link.network.v6.is_none() {
            return;
        }
        match *message {
            NdiscRepr::NeighborSolicit { target_addr, .. } => {
                link.learn(packet.source, packet.from);
                solicited(link, packet, target_addr);
            }
            NdiscRepr::NeighborAdvert { target_addr, lladdr, .. } => {
                let named = lladdr.and_then(|address| <[u8; 6]>::try_from(address.as_bytes()).ok());
                let station = named.and_then(MacAddress::new).unwrap_or(packet.from);
                link.learn(IpAddr::V6(target_addr), station);
            }
            NdiscRepr::RouterSolicit { .. } => {
                link.learn(packet.source, packet.from);
                self.advertise(link, now);
            }
            NdiscRepr::RouterAdvert { .. } | NdiscRepr::Redirect { .. } => {}
        }
    }

    /// When [`Self::advance`] has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.next
    }

    /// Advertises when it is time.
    pub(super) fn advance(&mut self, link: &mut Link, now: Instant) {
        if self.next.is_some_and(|next| next <= now) {
            self.advertise(link, now);
        }
    }

    /// The guest starts anew.
    pub(super) fn clear(&mut self) {
        self.next = None;
    }

    fn advertise(&mut self, link: &mut Link, now: Instant) {
        let Some(v6) = link.network.v6 else { return };
        self.next = Some(now + ADVERTISE_EVERY);
        let advert = NdiscRepr::RouterAdvert {
            hop_limit: 64,
            flags: NdiscRouterFlags::empty(),
            router_lifetime: ROUTER_LIFETIME.into(),
            reachable_time: smoltcp::time::Duration::ZERO,
            retrans_time: smoltcp::time::Duration::ZERO,
            lladdr: Some(gateway_mac()),
            mtu: Some(link.mtu().into()),
            prefix_info: Some(NdiscPrefixInformation {
                prefix_len: 64,
                flags: NdiscPrefixInfoFlags::ON_LINK | NdiscPrefixInfoFlags::ADDRCONF,
                valid_lifetime: PREFIX_LIFETIME.into(),
                preferred_lifetime: PREFIX_LIFETIME.into(),
                prefix: v6.prefix,
            }),
        };
        // RFC 8106, section 5.1: recursive DNS server; type 25, three units of eight bytes.
        let mut name_server = vec![25, 3, 0, 0];
        name_server.extend_from_slice(&(ROUTER_LIFETIME.as_secs() as u32).to_be_bytes());
        name_server.extend_from_slice(&v6.dns.octets());
        let ip = header(GATEWAY_LINK_LOCAL, ALL_NODES);
        if let Some(frame) = emit::icmp_v6(&ip, &Icmpv6Repr::Ndisc(advert), &name_server) {
            link.send_ip(ALL_NODES_MAC, frame);
        }
    }
}

fn solicited(link: &mut Link, packet: &Datagram<'_>, target: Ipv6Addr) {
    let IpAddr::V6(source) = packet.source else { return };
    if !link.network.is_ours(IpAddr::V6(target)) {
        return;
    }
    let mut flags = NdiscNeighborFlags::ROUTER | NdiscNeighborFlags::OVERRIDE;
    // A guest that checks whether an address is taken has none to be answered at.
    let (to, station) = if source.is_unspecified() {
        (ALL_NODES, ALL_NODES_MAC)
    } else {
        flags |= NdiscNeighborFlags::SOLICITED;
        (source, packet.from.into())
    };
    let advert = NdiscRepr::NeighborAdvert { flags, target_addr: target, lladdr: Some(gateway_mac()) };
    if let Some(frame) = emit::icmp_v6(&header(target, to), &Icmpv6Repr::Ndisc(advert), &[]) {
        link.send_ip(station, frame);
    }
}
