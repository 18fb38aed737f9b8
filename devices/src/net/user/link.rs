//! The way back to the guest: frames that wait for it, and which station has which address.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use smoltcp::wire::{EthernetAddress, EthernetFrame, EthernetProtocol, IpProtocol};

use super::emit::{self, ETHERNET_BYTES, Unreachable};
use super::network::{GATEWAY_MAC, Network};
use super::packet::Datagram;
use crate::net::{FrameHeader, MacAddress, Received};

/// Frames that wait for the guest; more are lost, as on any network.
const MAX_WAITING: usize = 512;
/// Bytes that wait for the guest.
const MAX_WAITING_BYTES: usize = 1 << 20;
/// From here on, no more is read from sockets for the guest.
const FULL_BYTES: usize = 256 << 10;
/// Stations remembered.
const MAX_NEIGHBOURS: usize = 256;

/// The link to the guest.
pub(super) struct Link {
    /// The network it is in.
    pub(super) network: Network,
    waiting: VecDeque<Vec<u8>>,
    waiting_bytes: usize,
    neighbours: HashMap<IpAddr, MacAddress>,
    mtu: u16,
    ident: u32,
}

impl Link {
    pub(super) fn new(network: Network, mtu: u16) -> Self {
        Self {
            network,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            neighbours: HashMap::new(),
            mtu,
            ident: 0,
        }
    }

    /// The largest IP datagram in bytes.
    pub(super) fn mtu(&self) -> u16 {
        self.mtu
    }

    /// Remembers that `address` is at `station`.
    pub(super) fn learn(&mut self, address: IpAddr, station: MacAddress) {
        if address.is_unspecified() || self.network.is_ours(address) {
            return;
        }
        if self.neighbours.len() >= MAX_NEIGHBOURS && !self.neighbours.contains_key(&address) {
            // They will be heard of again.
            self.neighbours.clear();
        }
        self.neighbours.insert(address, station);
    }

    /// The station of `address`: the guest's own device where none is known.
    pub(super) fn station(&self, address: IpAddr) -> MacAddress {
        self.neighbours.get(&address).copied().unwrap_or(self.network.guest_mac)
    }

    /// Sends a frame whose Ethernet header is still empty.
    pub(super) fn send(&mut self, to: EthernetAddress, protocol: EthernetProtocol, mut frame: Vec<u8>) {
        if self.waiting.len() >= MAX_WAITING || self.waiting_bytes + frame.len() > MAX_WAITING_BYTES {
            return;
        }
        if write_ethernet(&mut frame, to, protocol).is_some() {
            self.waiting_bytes += frame.len();
            self.waiting.push_back(frame);
        }
    }

    /// Sends a frame with an IP datagram, in pieces when it is too large.
    pub(super) fn send_ip(&mut self, to: EthernetAddress, frame: Vec<u8>) {
        let Some(protocol) = ip_protocol(&frame) else { return };
        self.ident = self.ident.wrapping_add(1);
        for frame in emit::fragment(frame, self.mtu.into(), self.ident) {
            self.send(to, protocol, frame);
        }
    }

    /// Sends a UDP datagram to a station of the guest's network.
    pub(super) fn send_udp(&mut self, from: SocketAddr, to: SocketAddr, payload: &[u8]) {
        if let Some(frame) = emit::udp(from, to, payload) {
            self.send_ip(self.station(to.ip()).into(), frame);
        }
    }

    /// Tells the sender of `packet` that it did not arrive, unless it was meant for many (RFC 1122, section 3.2.2) or the
    /// sender has no address yet (RFC 4443, section 2.4).
    pub(super) fn send_unreachable(&mut self, packet: &Datagram<'_>, why: Unreachable) {
        if self.network.is_for_many(packet.destination) || packet.source == IpAddr::V6(Ipv6Addr::UNSPECIFIED)
        {
            return;
        }
        if let Some(frame) = emit::unreachable(packet, why) {
            self.send_ip(packet.from.into(), frame);
        }
    }

    /// Tells the sender of `packet`, which would have gone out of the network, that it had come far enough.
    pub(super) fn send_time_exceeded(&mut self, packet: &Datagram<'_>) {
        let echo = match packet.protocol {
            IpProtocol::Icmp => Some(8),
            IpProtocol::Icmpv6 => Some(128),
            _ => None,
        };
        // There are no errors about errors (RFC 1122, section 3.2.2).
        if echo.is_some() && packet.payload.first().copied() != echo {
            return;
        }
        let router = self.network.gateway_for(packet.source, 0).ip();
        if let Some(frame) = emit::time_exceeded(packet, router) {
            self.send_ip(packet.from.into(), frame);
        }
    }

    /// Whether so much waits that no more is to be read from sockets.
    pub(super) fn is_full(&self) -> bool {
        self.waiting_bytes >= FULL_BYTES || self.waiting.len() >= MAX_WAITING / 2
    }

    /// Moves the next frame into `buffer`.
    pub(super) fn take(&mut self, buffer: &mut [u8]) -> Option<Received> {
        let frame = self.waiting.pop_front()?;
        self.waiting_bytes -= frame.len();
        buffer.get_mut(..frame.len())?.copy_from_slice(&frame);
        Some(Received { bytes: frame.len(), header: FrameHeader::default() })
    }

    /// The guest starts anew.
    pub(super) fn clear(&mut self) {
        self.waiting.clear();
        self.waiting_bytes = 0;
        self.neighbours.clear();
    }
}

/// The Ethernet protocol of a frame with an IP datagram.
pub(super) fn ip_protocol(frame: &[u8]) -> Option<EthernetProtocol> {
    match frame.get(ETHERNET_BYTES)? >> 4 {
        4 => Some(EthernetProtocol::Ipv4),
        6 => Some(EthernetProtocol::Ipv6),
        _ => None,
    }
}

/// Fills in the header of `frame`; `None` when there is no room for it.
pub(super) fn write_ethernet(
    frame: &mut [u8],
    to: EthernetAddress,
    protocol: EthernetProtocol,
) -> Option<()> {
    let mut frame = EthernetFrame::new_checked(frame).ok()?;
    frame.set_dst_addr(to);
    frame.set_src_addr(EthernetAddress(GATEWAY_MAC));
    frame.set_ethertype(protocol);
    Some(())
}
