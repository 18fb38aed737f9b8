//! ARP (RFC 826): we answer for the gateway and the name server, and learn from all that is said.

use std::net::IpAddr;

use smoltcp::wire::{ArpOperation, ArpPacket, ArpRepr, EthernetAddress, EthernetProtocol};

use super::emit::ETHERNET_BYTES;
use super::link::Link;
use super::network::GATEWAY_MAC;
use super::packet::Frame;
use crate::net::MacAddress;

/// Answers an ARP message.
pub(super) fn handle(link: &mut Link, frame: &Frame<'_>) {
    let Ok(packet) = ArpPacket::new_checked(frame.payload) else { return };
    let Ok(ArpRepr::EthernetIpv4 {
        operation,
        source_hardware_addr,
        source_protocol_addr,
        target_protocol_addr,
        ..
    }) = ArpRepr::parse(&packet)
    else {
        return;
    };
    let Some(sender) = MacAddress::of_sender(source_hardware_addr) else { return };
    if link.network.subnet.contains_addr(&source_protocol_addr) {
        link.learn(IpAddr::V4(source_protocol_addr), sender);
    }
    if operation != ArpOperation::Request || !link.network.is_ours(IpAddr::V4(target_protocol_addr)) {
        return;
    }
    let reply = ArpRepr::EthernetIpv4 {
        operation: ArpOperation::Reply,
        source_hardware_addr: EthernetAddress(GATEWAY_MAC),
        source_protocol_addr: target_protocol_addr,
        target_hardware_addr: source_hardware_addr,
        target_protocol_addr: source_protocol_addr,
    };
    let mut answer = vec![0; ETHERNET_BYTES + reply.buffer_len()];
    if let Some(room) = answer.get_mut(ETHERNET_BYTES..) {
        reply.emit(&mut ArpPacket::new_unchecked(room));
        link.send(frame.from.into(), EthernetProtocol::Arp, answer);
    }
}
