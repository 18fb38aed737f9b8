//! The DHCP server (RFC 2131): every station gets one address for as long as the guest runs, the first of them the
//! guest's.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use smoltcp::wire::{DhcpMessageType, DhcpOption, DhcpPacket, DhcpRepr, EthernetAddress};

use super::emit;
use super::link::Link;
use super::packet::Datagram;
use crate::net::{MacAddress, NetEvents};

/// The ports of RFC 2131.
pub(super) const SERVER_PORT: u16 = 67;
const CLIENT_PORT: u16 = 68;

/// Stations with an address. The subnet has room for more.
const MAX_LEASES: usize = 16;

/// A lease in seconds. Nobody else ever gets the address, so the length only decides how often the guest asks.
const LEASE_SECONDS: u32 = 86_400;

/// DHCP option 26, interface MTU (RFC 2132, section 5.1).
const OPTION_MTU: u8 = 26;

/// DHCP option 61, client identifier (RFC 2132, section 9.14).
const OPTION_CLIENT: u8 = 61;
/// The first option of the kinds that are for local use (RFC 3942).
const OPTION_LOCAL: u8 = 224;
/// Where a message's options begin, behind the magic number.
const OPTIONS: usize = 240;
/// The shortest message that clients must take, and some insist on (RFC 1542, section 2.1).
const MIN_MESSAGE: usize = 300;

/// The server.
pub(super) struct DhcpServer {
    /// The stations in the order of their addresses.
    leases: Vec<MacAddress>,
    events: Arc<dyn NetEvents>,
}

impl DhcpServer {
    pub(super) fn new(guest: MacAddress, events: Arc<dyn NetEvents>) -> Self {
        // The guest's device has the guest's address, whoever asks first.
        Self { leases: vec![guest], events }
    }

    /// The address of a station; a new one gets the next free.
    fn lease(&mut self, link: &Link, station: MacAddress) -> Option<Ipv4Addr> {
        let index = match self.leases.iter().position(|known| *known == station) {
            Some(index) => index,
            None if self.leases.len() < MAX_LEASES => {
                self.leases.push(station);
                self.leases.len() - 1
            }
            None => return None,
        };
        // A prefix of at most 27 bits has 31 addresses, the guest's is the 15th: there are 16 of them.
        Some(Ipv4Addr::from_bits(link.network.guest.to_bits() + index as u32))
    }

    /// Answers a message.
    pub(super) fn handle(&mut self, link: &mut Link, packet: &Datagram<'_>, payload: &[u8]) {
        let mut message = payload.to_vec();
        let identifier = take_identifier(&mut message);
        let Ok(message) = DhcpPacket::new_checked(message.as_slice()) else { return };
        let Ok(request) = DhcpRepr::parse(&message) else { return };
        let Some(station) = MacAddress::of_sender(request.client_hardware_address) else { return };
        let gateway = link.network.gateway;
        // A client that has chosen another server is none of ours.
        if request.server_identifier.is_some_and(|server| server != gateway) {
            return;
        }
        let answer = match request.message_type {
            DhcpMessageType::Discover => DhcpMessageType::Offer,
            DhcpMessageType::Request | DhcpMessageType::Inform => DhcpMessageType::Ack,
            _ => return,
        };
        let Some(address) = self.lease(link, station) else { return };
        let inform = request.message_type == DhcpMessageType::Inform;
        // RFC 2131, section 4.3.2: selecting and rebooting clients name the address in an option, others in ciaddr.
        let wanted = request.requested_ip.unwrap_or(request.client_ip);
        let refused = request.message_type == DhcpMessageType::Request && wanted != address;
        let answer = if refused { DhcpMessageType::Nak } else { answer };
        let identifier = identifier.as_deref();
        reply(link, packet, (&request, identifier), answer, (!inform && !refused).then_some(address));
        if answer == DhcpMessageType::Ack && !inform {
            link.learn(IpAddr::V4(address), station);
            self.events.guest_address(station, IpAddr::V4(address));
        }
    }
}

/// The client's identifier. In `message` its option becomes one of a local kind: to smoltcp (0.14) it is a MAC address, and
/// a message with another of that length is none.
fn take_identifier(message: &mut [u8]) -> Option<Vec<u8>> {
    let mut place = OPTIONS;
    loop {
        match *message.get(place)? {
            0 => place += 1,
            u8::MAX => return None,
            kind => {
                let length = usize::from(*message.get(place + 1)?);
                if kind == OPTION_CLIENT {
                    let identifier = message.get(place + 2..place + 2 + length)?.to_vec();
                    *message.get_mut(place)? = OPTION_LOCAL;
                    return Some(identifier);
                }
                place += 2 + length;
            }
        }
    }
}

fn reply(
    link: &mut Link,
    packet: &Datagram<'_>,
    (request, identifier): (&DhcpRepr<'_>, Option<&[u8]>),
    answer: DhcpMessageType,
    address: Option<Ipv4Addr>,
) {
    let network = &link.network;
    let gateway = network.gateway;
    let refused = answer == DhcpMessageType::Nak;
    let told = !refused;
    let mtu = link.mtu().to_be_bytes();
    // A client that says who it is finds its answers by that (RFC 6842, section 3).
    let identifier = identifier.map(|data| DhcpOption { kind: OPTION_CLIENT, data });
    let mtu = told.then_some(DhcpOption { kind: OPTION_MTU, data: &mtu });
    let options: Vec<_> = identifier.into_iter().chain(mtu).collect();
    let message = DhcpRepr {
        message_type: answer,
        transaction_id: request.transaction_id,
        secs: 0,
        client_hardware_address: request.client_hardware_address,
        client_ip: if refused { Ipv4Addr::UNSPECIFIED } else { request.client_ip },
        your_ip: address.unwrap_or(Ipv4Addr::UNSPECIFIED),
        server_ip: Ipv4Addr::UNSPECIFIED,
        router: told.then_some(gateway),
        subnet_mask: told.then(|| network.subnet.netmask()),
        relay_agent_ip: Ipv4Addr::UNSPECIFIED,
        broadcast: request.broadcast,
        requested_ip: None,
        client_identifier: None,
        server_identifier: Some(gateway),
        parameter_request_list: None,
        dns_servers: told.then(|| [network.dns].into_iter().collect()),
        max_size: None,
        lease_duration: address.map(|_| LEASE_SECONDS),
        renew_duration: None,
        rebind_duration: None,
        additional_options: &options,
    };
    let mut bytes = vec![0; message.buffer_len()];
    if message.emit(&mut DhcpPacket::new_unchecked(bytes.as_mut_slice())).is_err() {
        return;
    }
    bytes.resize(bytes.len().max(MIN_MESSAGE), 0);
    // RFC 2131, section 4.1: to whom has no address yet, the answer goes to the one being assigned, or to all.
    let (to, station) = if refused || request.broadcast {
        (Ipv4Addr::BROADCAST, EthernetAddress::BROADCAST)
    } else if !request.client_ip.is_unspecified() {
        (request.client_ip, packet.from.into())
    } else {
        (address.unwrap_or(Ipv4Addr::BROADCAST), request.client_hardware_address)
    };
    let from = SocketAddr::new(gateway.into(), SERVER_PORT);
    if let Some(frame) = emit::udp(from, SocketAddr::new(to.into(), CLIENT_PORT), &bytes) {
        link.send_ip(station, frame);
    }
}
