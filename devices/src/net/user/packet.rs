//! Frames from the guest, taken apart.

use std::net::{IpAddr, SocketAddr};

use smoltcp::wire::{EthernetFrame, EthernetProtocol, IpProtocol, Ipv4Packet, Ipv6Packet, Ipv6Repr};

use super::network::GATEWAY_MAC;
use crate::net::MacAddress;

/// Extension headers looked behind before a packet is given up.
const MAX_EXTENSION_HEADERS: usize = 8;

/// An Ethernet frame.
pub(super) struct Frame<'a> {
    /// The station that sent it.
    pub(super) from: MacAddress,
    /// What it carries.
    pub(super) protocol: EthernetProtocol,
    /// The contents, padding included.
    pub(super) payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Takes a frame apart; `None` when it is none, or for another station: a bridge in the guest lets us see those it
    /// looks for.
    pub(super) fn parse(frame: &'a [u8]) -> Option<Self> {
        let frame = EthernetFrame::new_checked(frame).ok()?;
        let to = frame.dst_addr();
        if to.is_unicast() && to.0 != GATEWAY_MAC {
            return None;
        }
        let from = MacAddress::of_sender(frame.src_addr())?;
        Some(Self { from, protocol: frame.ethertype(), payload: frame.payload() })
    }
}

/// Where a piece of a datagram belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct FragmentKey {
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    pub(super) protocol: u8,
    pub(super) ident: u32,
}

/// A piece of a datagram.
pub(super) struct Fragment<'a> {
    pub(super) key: FragmentKey,
    /// In bytes from the start of the whole payload.
    pub(super) offset: usize,
    /// Whether it is not the last.
    pub(super) more: bool,
    pub(super) payload: &'a [u8],
}

/// An IP datagram for somebody behind the gateway.
pub(super) struct Datagram<'a> {
    /// The station it came from.
    pub(super) from: MacAddress,
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    pub(super) protocol: IpProtocol,
    /// From the IP header on, without padding.
    pub(super) whole: &'a [u8],
    /// Behind the IP header and its extensions.
    pub(super) payload: &'a [u8],
    /// That checksums within the payload are not finished: the guest left that to us.
    pub(super) unsummed: bool,
}

/// A datagram or a piece of one.
pub(super) enum Ip<'a> {
    Whole(Datagram<'a>),
    Piece(Fragment<'a>),
}

/// Takes an IP datagram apart; `None` when it is malformed or its source is no host.
pub(super) fn parse_ip<'a>(from: MacAddress, bytes: &'a [u8], unsummed: bool) -> Option<Ip<'a>> {
    match bytes.first()? >> 4 {
        4 => parse_v4(from, bytes, unsummed),
        6 => parse_v6(from, bytes, unsummed),
        _ => None,
    }
}

fn parse_v4<'a>(from: MacAddress, bytes: &'a [u8], unsummed: bool) -> Option<Ip<'a>> {
    let packet = Ipv4Packet::new_checked(bytes).ok().filter(Ipv4Packet::verify_checksum)?;
    if packet.src_addr().is_multicast() || packet.src_addr().is_broadcast() {
        return None;
    }
    let (source, destination) = (IpAddr::V4(packet.src_addr()), IpAddr::V4(packet.dst_addr()));
    let protocol = packet.next_header();
    let whole = bytes.get(..usize::from(packet.total_len()))?;
    let payload = whole.get(usize::from(packet.header_len())..)?;
    if packet.more_frags() || packet.frag_offset() != 0 {
        let ident = packet.ident().into();
        return Some(Ip::Piece(Fragment {
            key: FragmentKey { source, destination, protocol: protocol.into(), ident },
            offset: packet.frag_offset().into(),
            more: packet.more_frags(),
            payload,
        }));
    }
    Some(Ip::Whole(Datagram { from, source, destination, protocol, whole, payload, unsummed }))
}

fn parse_v6<'a>(from: MacAddress, bytes: &'a [u8], unsummed: bool) -> Option<Ip<'a>> {
    let packet = Ipv6Packet::new_checked(bytes).ok()?;
    let repr = Ipv6Repr::parse(&packet).ok()?;
    let (source, destination) = (IpAddr::V6(repr.src_addr), IpAddr::V6(repr.dst_addr));
    if repr.src_addr.is_multicast() {
        return None;
    }
    let whole = bytes.get(..packet.total_len())?;
    let mut payload = whole.get(40..)?;
    let mut protocol = repr.next_header;
    for behind in 0..MAX_EXTENSION_HEADERS {
        match protocol {
            IpProtocol::HopByHop | IpProtocol::Ipv6Opts => {
                let (next, length) = (*payload.first()?, *payload.get(1)?);
                protocol = next.into();
                payload = payload.get(8 + usize::from(length) * 8..)?;
            }
            // RFC 8200, section 4.5. With headers before it, it would be put together without them: not taken.
            IpProtocol::Ipv6Frag if behind == 0 => return parse_v6_fragment(source, destination, payload),
            IpProtocol::Ipv6Frag => return None,
            _ => break,
        }
    }
    Some(Ip::Whole(Datagram { from, source, destination, protocol, whole, payload, unsummed }))
}

fn parse_v6_fragment(source: IpAddr, destination: IpAddr, bytes: &[u8]) -> Option<Ip<'_>> {
    let (header, payload) = bytes.split_first_chunk::<8>()?;
    let [protocol, _, offset_high, offset_low, ident @ ..] = *header;
    let offset = u16::from_be_bytes([offset_high, offset_low]);
    Some(Ip::Piece(Fragment {
        key: FragmentKey { source, destination, protocol, ident: u32::from_be_bytes(ident) },
        offset: usize::from(offset & !7),
        more: offset & 1 != 0,
        payload,
    }))
}

/// The ends of a conversation, as the guest's packets name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Ends {
    /// The guest's end.
    pub(super) guest: SocketAddr,
    /// The other.
    pub(super) remote: SocketAddr,
}

impl Datagram<'_> {
    /// How many routers it may yet pass, this one included.
    pub(super) fn hop_limit(&self) -> u8 {
        let place = if self.source.is_ipv4() { 8 } else { 7 };
        self.whole.get(place).copied().unwrap_or_default()
    }

    /// The ends of a packet with these ports.
    pub(super) fn ends(&self, source_port: u16, destination_port: u16) -> Ends {
        Ends {
            guest: SocketAddr::new(self.source, source_port),
            remote: SocketAddr::new(self.destination, destination_port),
        }
    }
}
