//! The guest's network: who has which address, and where the others lead.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use smoltcp::wire::Ipv4Cidr;

use crate::net::{MacAddress, UserConfig};

/// Addresses of the guest's network.
pub(super) struct Network {
    /// The IPv4 network.
    pub(super) subnet: Ipv4Cidr,
    /// The host's address.
    pub(super) gateway: Ipv4Addr,
    /// The name server's.
    pub(super) dns: Ipv4Addr,
    /// The address DHCP gives the guest itself.
    pub(super) guest: Ipv4Addr,
    /// The guest's device.
    pub(super) guest_mac: MacAddress,
    /// The addresses of IPv6, when the guest has it.
    pub(super) v6: Option<NetworkV6>,
    /// Whether the gateway's address leads to the host's loopback.
    host: bool,
    /// Whether anything else is reached.
    outside: bool,
}

/// Addresses of the guest's IPv6 network.
#[derive(Clone, Copy)]
pub(super) struct NetworkV6 {
    /// A /64.
    pub(super) prefix: Ipv6Addr,
    /// The host's address.
    pub(super) gateway: Ipv6Addr,
    /// The name server's.
    pub(super) dns: Ipv6Addr,
}

/// The gateway's link-local address: the router's.
pub(super) const GATEWAY_LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2);

/// The MAC address everything in the network has but the guest; locally administered.
pub(super) const GATEWAY_MAC: [u8; 6] = [0x52, 0x55, 0x0a, 0x00, 0x02, 0x02];

/// Where a destination leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Destination {
    /// To the host: its loopback of the same family, unless it is closed to the guest.
    Gateway(IpAddr),
    /// To the gateway, whose services are closed to the guest.
    ClosedGateway,
    /// To the name server.
    Dns,
    /// Out of the guest's network.
    Outside(IpAddr),
    /// To nobody, or not from here.
    Nowhere,
}

impl Network {
    pub(super) fn new(config: &UserConfig, guest_mac: MacAddress) -> Self {
        let base = config.subnet.network.to_bits();
        let [a, b, c, d, ..] = config.prefix.segments();
        let in_prefix = |host| Ipv6Addr::new(a, b, c, d, 0, 0, 0, host);
        Self {
            subnet: Ipv4Cidr::new(config.subnet.network, config.subnet.prefix.min(32)),
            gateway: Ipv4Addr::from_bits(base | 2),
            dns: Ipv4Addr::from_bits(base | 3),
            guest: Ipv4Addr::from_bits(base | 15),
            guest_mac,
            v6: config.ipv6.then(|| NetworkV6 {
                prefix: in_prefix(0),
                gateway: in_prefix(2),
                dns: in_prefix(3),
            }),
            host: config.host,
            outside: config.outside,
        }
    }

    /// Whether `address` is one of ours: the gateway's or the name server's.
    pub(super) fn is_ours(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => address == self.gateway || address == self.dns,
            IpAddr::V6(address) => self.v6.is_some_and(|v6| {
                address == v6.gateway || address == v6.dns || address == GATEWAY_LINK_LOCAL
            }),
        }
    }

    /// Whether `address` is no host's: that of a group, of all stations, or of the network itself.
    pub(super) fn is_for_many(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => {
                let network = self.subnet.network().address();
                address.is_multicast()
                    || address.is_broadcast()
                    || address == network
                    || Some(address) == self.subnet.broadcast()
            }
            IpAddr::V6(address) => address.is_multicast(),
        }
    }

    fn gateway(&self, loopback: IpAddr) -> Destination {
        if self.host { Destination::Gateway(loopback) } else { Destination::ClosedGateway }
    }

    fn outside(&self, address: IpAddr) -> Destination {
        if self.outside { Destination::Outside(address) } else { Destination::Nowhere }
    }

    /// Where `address` leads. What would reach the host's own network past [`Destination::Gateway`] leads nowhere.
    pub(super) fn route(&self, address: IpAddr) -> Destination {
        match address {
            IpAddr::V4(v4) => {
                if v4 == self.gateway {
                    self.gateway(Ipv4Addr::LOCALHOST.into())
                } else if v4 == self.dns {
                    Destination::Dns
                } else if self.subnet.contains_addr(&v4)
                    || v4.is_loopback()
                    || v4.is_multicast()
                    || matches!(v4.octets()[0], 0 | 240..)
                {
                    Destination::Nowhere
                } else {
                    self.outside(address)
                }
            }
            IpAddr::V6(v6) => self.route_v6(v6),
        }
    }

    fn route_v6(&self, address: Ipv6Addr) -> Destination {
        let Some(v6) = self.v6 else { return Destination::Nowhere };
        if address == v6.gateway || address == GATEWAY_LINK_LOCAL {
            self.gateway(Ipv6Addr::LOCALHOST.into())
        } else if address == v6.dns {
            Destination::Dns
        } else if address.segments()[..4] == v6.prefix.segments()[..4]
            || address.is_multicast()
            || address.is_unicast_link_local()
            // ::, ::1, IPv4-compatible and IPv4-mapped addresses: the host would take them for its own, or for IPv4.
            || address.segments()[..5] == [0; 5]
        {
            Destination::Nowhere
        } else {
            self.outside(address.into())
        }
    }

    /// The gateway's address of the family of `like`, with `port`.
    pub(super) fn gateway_for(&self, like: IpAddr, port: u16) -> SocketAddr {
        match (like, self.v6) {
            (IpAddr::V6(_), Some(v6)) => SocketAddr::new(v6.gateway.into(), port),
            _ => SocketAddr::new(self.gateway.into(), port),
        }
    }
}
