//! The host's ports that stand for the guest's: one of the guest's has the same one towards everybody (RFC 4787, REQ-1).
//!
//! Each conversation has a socket of its own there, connected to its peer: the system gives it what the peer sends, and
//! tells it of refusals. One more socket of the port is connected to nobody and hears the rest. Of that the guest gets
//! what comes from a host that it talks to from there (REQ-8, address-dependent filtering): a TFTP server, for one, answers
//! from another port than it was asked at.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket as StdUdpSocket};

use mio::Interest;
use mio::net::UdpSocket;
use rustix::net::sockopt;
use slab::Slab;

use super::super::sockets::{Sockets, Waiter, datagram_socket};
use crate::net::os;

/// One of the guest's ports.
pub(super) struct Port {
    pub(super) guest: SocketAddr,
    /// Connected to nobody.
    pub(super) socket: UdpSocket,
    number: u16,
    /// Hosts that the guest talks to from here: what it calls them, and in how many conversations.
    hosts: HashMap<IpAddr, (IpAddr, usize)>,
    /// Whether it is in the queue of those to read from.
    pub(super) queued: bool,
}

impl Port {
    /// What the guest calls `peer`, if it talks to its host.
    pub(super) fn seen(&self, peer: SocketAddr) -> Option<SocketAddr> {
        let (seen, _) = self.hosts.get(&peer.ip())?;
        Some(SocketAddr::new(*seen, peer.port()))
    }
}

/// All of them that have a conversation.
#[derive(Default)]
pub(super) struct Ports {
    ports: Slab<Port>,
    by_guest: HashMap<SocketAddr, usize>,
}

impl Ports {
    pub(super) fn get(&self, index: usize) -> Option<&Port> {
        self.ports.get(index)
    }

    pub(super) fn get_mut(&mut self, index: usize) -> Option<&mut Port> {
        self.ports.get_mut(index)
    }

    /// A socket for a conversation of `guest` with `peer`, which it calls `seen`; and the index of its port.
    ///
    /// # Errors
    /// The host's.
    pub(super) fn open(
        &mut self,
        sockets: &Sockets,
        guest: SocketAddr,
        peer: SocketAddr,
        seen: IpAddr,
    ) -> io::Result<(usize, UdpSocket)> {
        let known =
            self.by_guest.get(&guest).and_then(|index| Some((*index, self.ports.get(*index)?.number)));
        if let Some((index, number)) = known {
            let socket = connected(number, peer)?;
            if let Some(port) = self.ports.get_mut(index) {
                port.hosts.entry(peer.ip()).or_insert((seen, 0)).1 += 1;
            }
            return Ok((index, socket));
        }
        let shared = bound(0, peer)?;
        let number = shared.local_addr()?.port();
        let socket = connected(number, peer)?;
        let hosts = HashMap::from([(peer.ip(), (seen, 1))]);
        let entry = self.ports.vacant_entry();
        let index = entry.key();
        let port = Port { guest, socket: UdpSocket::from_std(shared), number, hosts, queued: false };
        let port = entry.insert(port);
        if let Err(error) = sockets.register(Waiter::UdpPort, index, &mut port.socket, Interest::READABLE) {
            self.ports.remove(index);
            return Err(error);
        }
        self.by_guest.insert(guest, index);
        Ok((index, socket))
    }

    /// A conversation with a peer at the host `peer` has ended; with the last one the port is given back.
    pub(super) fn close(&mut self, sockets: &Sockets, index: usize, peer: IpAddr) {
        let Some(port) = self.ports.get_mut(index) else { return };
        if let Some((_, count)) = port.hosts.get_mut(&peer) {
            *count -= 1;
            if *count == 0 {
                port.hosts.remove(&peer);
            }
        }
        if port.hosts.is_empty() {
            sockets.deregister(&mut port.socket);
            self.by_guest.remove(&port.guest);
            self.ports.remove(index);
        }
    }

    pub(super) fn attach(&mut self, sockets: &Sockets) -> io::Result<()> {
        for (index, port) in &mut self.ports {
            sockets.register(Waiter::UdpPort, index, &mut port.socket, Interest::READABLE)?;
        }
        Ok(())
    }

    pub(super) fn detach(&mut self, sockets: &Sockets) {
        for (_, port) in &mut self.ports {
            sockets.deregister(&mut port.socket);
        }
    }

    pub(super) fn clear(&mut self) {
        self.ports.clear();
        self.by_guest.clear();
    }
}

/// A socket at port `number` of all the host's addresses of the family of `like`; 0: at a port that nobody has.
fn bound(number: u16, like: SocketAddr) -> io::Result<StdUdpSocket> {
    let any: IpAddr =
        if like.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = datagram_socket(like.ip(), None)?;
    if like.is_ipv6() {
        // IPv4 has its own.
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    if number != 0 {
        os::let_port_be_shared(&socket)?;
    }
    rustix::net::bind(&socket, &SocketAddr::new(any, number))?;
    // Only now: ports that may be shared count as free where one is chosen.
    os::let_port_be_shared(&socket)?;
    Ok(socket.into())
}

/// A socket at port `number` that the system gives what `peer` sends there. What others send until it is connected, it has
/// as well.
fn connected(number: u16, peer: SocketAddr) -> io::Result<UdpSocket> {
    let socket = bound(number, peer)?;
    socket.connect(peer)?;
    Ok(UdpSocket::from_std(socket))
}
