//! Frames for the guest, put together. Each begins with room for an Ethernet header, which [`super::link`] fills in.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    Icmpv4DstUnreachable, Icmpv4Packet, Icmpv4Repr, Icmpv4TimeExceeded, Icmpv6DstUnreachable, Icmpv6Packet,
    Icmpv6Repr, Icmpv6TimeExceeded, IpProtocol, IpRepr, Ipv4Packet, Ipv4Repr, Ipv6Packet, Ipv6Repr,
    UdpPacket, UdpRepr,
};

use super::packet::{Datagram, Ends};

/// An Ethernet header in bytes.
pub(super) const ETHERNET_BYTES: usize = 14;

const IPV4_BYTES: usize = 20;
const IPV6_BYTES: usize = 40;
const FRAGMENT_BYTES: usize = 8;

/// Data of the offending datagram in an ICMP error: what RFC 792 asks for, and with it a TCP or UDP header.
const ICMP_QUOTE_BYTES: usize = 64;

/// An IP header; `None` for addresses of two families.
pub(super) fn ip_header(
    source: IpAddr,
    destination: IpAddr,
    protocol: IpProtocol,
    payload: usize,
) -> Option<IpRepr> {
    // What every host starts with nowadays.
    const HOP_LIMIT: u8 = 64;
    (source.is_ipv4() == destination.is_ipv4())
        .then(|| IpRepr::new(source.into(), destination.into(), protocol, payload, HOP_LIMIT))
}

/// A frame with an IP datagram; `fill` writes its payload of `bytes` bytes.
fn frame(ip: &IpRepr, bytes: usize, fill: impl FnOnce(&mut [u8])) -> Option<Vec<u8>> {
    let start = ETHERNET_BYTES + ip.header_len();
    if ip.header_len() + bytes > usize::from(u16::MAX) {
        return None;
    }
    let mut frame = vec![0; start + bytes];
    ip.emit(frame.get_mut(ETHERNET_BYTES..)?, &ChecksumCapabilities::default());
    fill(frame.get_mut(start..)?);
    Some(frame)
}

/// A UDP datagram; `None` when it is too large.
pub(super) fn udp(source: SocketAddr, destination: SocketAddr, payload: &[u8]) -> Option<Vec<u8>> {
    let repr = UdpRepr { src_port: source.port(), dst_port: destination.port() };
    let bytes = repr.header_len() + payload.len();
    let ip = ip_header(source.ip(), destination.ip(), IpProtocol::Udp, bytes)?;
    frame(&ip, bytes, |buffer| {
        repr.emit(
            &mut UdpPacket::new_unchecked(buffer),
            &ip.src_addr(),
            &ip.dst_addr(),
            payload.len(),
            |room| room.copy_from_slice(payload),
            &ChecksumCapabilities::default(),
        );
    })
}

/// An ICMP message.
pub(super) fn icmp_v4(ip: &Ipv4Repr, message: &Icmpv4Repr<'_>) -> Option<Vec<u8>> {
    let ip = IpRepr::Ipv4(Ipv4Repr { payload_len: message.buffer_len(), ..*ip });
    frame(&ip, message.buffer_len(), |buffer| {
        message.emit(&mut Icmpv4Packet::new_unchecked(buffer), &ChecksumCapabilities::default());
    })
}

/// An ICMPv6 message; `options` follow it.
pub(super) fn icmp_v6(ip: &Ipv6Repr, message: &Icmpv6Repr<'_>, options: &[u8]) -> Option<Vec<u8>> {
    let bytes = message.buffer_len() + options.len();
    let ip = Ipv6Repr { payload_len: bytes, ..*ip };
    frame(&IpRepr::Ipv6(ip), bytes, |buffer| {
        let (head, tail) = buffer.split_at_mut(message.buffer_len());
        let mut packet = Icmpv6Packet::new_unchecked(head);
        message.emit(&ip.src_addr, &ip.dst_addr, &mut packet, &ChecksumCapabilities::ignored());
        tail.copy_from_slice(options);
        Icmpv6Packet::new_unchecked(buffer).fill_checksum(&ip.src_addr, &ip.dst_addr);
    })
}

/// Why a datagram did not arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unreachable {
    Port,
    Host,
    Network,
    Prohibited,
    Protocol,
}

impl Unreachable {
    fn v4(self) -> Icmpv4DstUnreachable {
        match self {
            Self::Port => Icmpv4DstUnreachable::PortUnreachable,
            Self::Host => Icmpv4DstUnreachable::HostUnreachable,
            Self::Network => Icmpv4DstUnreachable::NetUnreachable,
            Self::Prohibited => Icmpv4DstUnreachable::CommProhibited,
            Self::Protocol => Icmpv4DstUnreachable::ProtoUnreachable,
        }
    }

    fn v6(self) -> Icmpv6DstUnreachable {
        match self {
            Self::Port => Icmpv6DstUnreachable::PortUnreachable,
            Self::Host => Icmpv6DstUnreachable::AddrUnreachable,
            Self::Network => Icmpv6DstUnreachable::NoRoute,
            Self::Prohibited | Self::Protocol => Icmpv6DstUnreachable::AdminProhibit,
        }
    }
}

/// What an ICMP error says.
#[derive(Clone, Copy)]
enum Complaint {
    Unreachable(Unreachable),
    Expired,
}

/// The ICMP error for `packet`, in its destination's name.
pub(super) fn unreachable(packet: &Datagram<'_>, why: Unreachable) -> Option<Vec<u8>> {
    complain(packet, packet.destination, Complaint::Unreachable(why))
}

/// The ICMP error for `packet`, whose time to live ended at the router `router` (RFC 1812, section 5.3.1).
pub(super) fn time_exceeded(packet: &Datagram<'_>, router: IpAddr) -> Option<Vec<u8>> {
    complain(packet, router, Complaint::Expired)
}

/// The ICMP error for a UDP datagram that is not at hand any more: its addresses and ports are quoted.
pub(super) fn udp_unreachable(ends: Ends, why: Unreachable) -> Option<Vec<u8>> {
    let mut quote = [0; 8];
    let lengths = quote.len() as u16;
    for (field, value) in quote.chunks_mut(2).zip([ends.guest.port(), ends.remote.port(), lengths, 0]) {
        field.copy_from_slice(&value.to_be_bytes());
    }
    let (next_header, payload_len, hop_limit) = (IpProtocol::Udp, quote.len(), 64);
    let complaint = Complaint::Unreachable(why);
    match (ends.guest.ip(), ends.remote.ip()) {
        (IpAddr::V4(src_addr), IpAddr::V4(dst_addr)) => {
            let header = Ipv4Repr { src_addr, dst_addr, next_header, payload_len, hop_limit };
            complaint_v4(header, dst_addr, complaint, &quote)
        }
        (IpAddr::V6(src_addr), IpAddr::V6(dst_addr)) => {
            let header = Ipv6Repr { src_addr, dst_addr, next_header, payload_len, hop_limit };
            complaint_v6(header, dst_addr, complaint, &quote)
        }
        _ => None,
    }
}

/// The ICMP error about `packet`, sent by `from`.
fn complain(packet: &Datagram<'_>, from: IpAddr, complaint: Complaint) -> Option<Vec<u8>> {
    let quote = packet.payload.get(..packet.payload.len().min(ICMP_QUOTE_BYTES))?;
    match from {
        IpAddr::V4(from) => {
            let packet = Ipv4Packet::new_checked(packet.whole).ok()?;
            let header = Ipv4Repr::parse(&packet, &ChecksumCapabilities::ignored()).ok()?;
            complaint_v4(header, from, complaint, quote)
        }
        IpAddr::V6(from) => {
            let packet = Ipv6Packet::new_checked(packet.whole).ok()?;
            complaint_v6(Ipv6Repr::parse(&packet).ok()?, from, complaint, quote)
        }
    }
}

fn complaint_v4(header: Ipv4Repr, from: Ipv4Addr, complaint: Complaint, data: &[u8]) -> Option<Vec<u8>> {
    let ip = Ipv4Repr {
        src_addr: from,
        dst_addr: header.src_addr,
        next_header: IpProtocol::Icmp,
        payload_len: 0,
        hop_limit: 64,
    };
    let message = match complaint {
        Complaint::Unreachable(why) => Icmpv4Repr::DstUnreachable { reason: why.v4(), header, data },
        Complaint::Expired => {
            Icmpv4Repr::TimeExceeded { reason: Icmpv4TimeExceeded::TtlExpired, header, data }
        }
    };
    icmp_v4(&ip, &message)
}

fn complaint_v6(header: Ipv6Repr, from: Ipv6Addr, complaint: Complaint, data: &[u8]) -> Option<Vec<u8>> {
    let ip = Ipv6Repr {
        src_addr: from,
        dst_addr: header.src_addr,
        next_header: IpProtocol::Icmpv6,
        payload_len: 0,
        hop_limit: 64,
    };
    let message = match complaint {
        Complaint::Unreachable(why) => Icmpv6Repr::DstUnreachable { reason: why.v6(), header, data },
        Complaint::Expired => {
            Icmpv6Repr::TimeExceeded { reason: Icmpv6TimeExceeded::HopLimitExceeded, header, data }
        }
    };
    icmp_v6(&ip, &message, &[])
}

/// Cuts a frame whose datagram is larger than `mtu` bytes into frames that are not (RFC 791, section 3.2; RFC 8200,
/// section 4.5). A smaller one comes out as it is. All take frames made here: without IP options.
pub(super) fn fragment(frame: Vec<u8>, mtu: usize, ident: u32) -> Vec<Vec<u8>> {
    if frame.len() <= ETHERNET_BYTES + mtu {
        return vec![frame];
    }
    let v4 = frame.get(ETHERNET_BYTES).is_some_and(|version| version >> 4 == 4);
    let (ip_bytes, extra) = if v4 { (IPV4_BYTES, 0) } else { (IPV6_BYTES, FRAGMENT_BYTES) };
    let Some((header, payload)) = frame.split_at_checked(ETHERNET_BYTES + ip_bytes) else {
        return Vec::new();
    };
    let room = mtu.saturating_sub(ip_bytes + extra) & !7;
    if room == 0 {
        return Vec::new();
    }
    let last = payload.len().div_ceil(room) - 1;
    let piece = |(index, piece): (usize, &[u8])| {
        let mut frame = header.to_vec();
        let (offset, more) = (index * room, index != last);
        if v4 {
            frame.extend_from_slice(piece);
            let mut ip = Ipv4Packet::new_unchecked(frame.get_mut(ETHERNET_BYTES..)?);
            ip.set_total_len(u16::try_from(ip_bytes + piece.len()).ok()?);
            ip.set_ident(ident as u16);
            ip.clear_flags();
            ip.set_more_frags(more);
            ip.set_frag_offset(u16::try_from(offset).ok()?);
            ip.fill_checksum();
        } else {
            let mut ip = Ipv6Packet::new_unchecked(frame.get_mut(ETHERNET_BYTES..)?);
            let protocol = ip.next_header().into();
            ip.set_next_header(IpProtocol::Ipv6Frag);
            ip.set_payload_len(u16::try_from(extra + piece.len()).ok()?);
            let place = u16::try_from(offset).ok()? | u16::from(more);
            frame.extend_from_slice(&[protocol, 0]);
            frame.extend_from_slice(&place.to_be_bytes());
            frame.extend_from_slice(&ident.to_be_bytes());
            frame.extend_from_slice(piece);
        }
        Some(frame)
    };
    payload.chunks(room).enumerate().filter_map(piece).collect()
}
