//! The name server of the guest's network: questions go on to the host's name servers as they are.

mod answer;
mod resolv_conf;

#[cfg(test)]
#[path = "resolver_test.rs"]
mod resolver_test;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

use mio::Interest;
use mio::net::UdpSocket;
use slab::Slab;

use self::answer::{Verdict, question};
use self::resolv_conf::{ResolvConf, Servers};
use super::link::Link;
use super::packet::{Datagram, Ends};
use super::sockets::{Sockets, Waiter};
use super::timers::Timers;

/// DNS's port.
pub(super) const PORT: u16 = 53;
/// Questions under way; the oldest is answered with a failure when there are more.
const MAX_PENDING: usize = 256;
/// How long a server may think before the next is asked.
const PATIENCE: Duration = Duration::from_secs(2);
/// Rounds through all servers.
const ROUNDS: usize = 2;

/// A question on its way.
struct Pending {
    ends: Ends,
    query: Vec<u8>,
    id: u16,
    /// Servers not asked yet, the next one last.
    servers: Vec<SocketAddr>,
    socket: Option<UdpSocket>,
    timer: Option<Instant>,
    readable: bool,
}

/// The name server.
pub(super) struct Resolver {
    servers: Servers,
    pending: Slab<Pending>,
    timers: Timers,
}

impl Resolver {
    /// Asks `fixed`, or the servers of the file at `resolv_conf` when there are none.
    pub(super) fn new(fixed: Vec<SocketAddr>, resolv_conf: &Path) -> Self {
        let servers = if fixed.is_empty() {
            Servers::File(ResolvConf::new(resolv_conf))
        } else {
            Servers::Fixed(fixed)
        };
        Self { servers, pending: Slab::new(), timers: Timers::default() }
    }

    /// The server a TCP connection to the name server goes to.
    pub(super) fn tcp_server(&mut self, now: Instant) -> Option<SocketAddr> {
        self.servers.now(now).first().copied()
    }

    /// Takes a question.
    pub(super) fn handle(
        &mut self,
        link: &mut Link,
        sockets: &Sockets,
        packet: &Datagram<'_>,
        (ends, payload): (Ends, &[u8]),
        now: Instant,
    ) {
        link.learn(packet.source, packet.from);
        let Some(asked) = question(payload) else { return };
        if let Some(verdict) = asked.verdict(&link.network) {
            link.send_udp(ends.remote, ends.guest, &asked.response(verdict));
            return;
        }
        // The guest asks again when it has no answer: one question is enough.
        if self.pending.iter().any(|(_, pending)| pending.ends == ends && pending.id == asked.id) {
            return;
        }
        let known = self.servers.now(now);
        let servers: Vec<_> = (0..ROUNDS).flat_map(|_| known).rev().copied().collect();
        if self.pending.len() >= MAX_PENDING
            && let Some(oldest) = self.timers.first()
        {
            self.fail(link, sockets, oldest);
        }
        let (id, query) = (asked.id, payload.to_vec());
        let index = self.pending.insert(Pending {
            ends,
            query,
            id,
            servers,
            socket: None,
            timer: None,
            readable: false,
        });
        self.ask(link, sockets, index, now);
    }

    /// Asks the next server that can be asked, or fails.
    fn ask(&mut self, link: &mut Link, sockets: &Sockets, index: usize, now: Instant) {
        loop {
            let Some(pending) = self.pending.get_mut(index) else { return };
            if let Some(mut socket) = pending.socket.take() {
                sockets.deregister(&mut socket);
            }
            let Some(server) = pending.servers.pop() else {
                self.fail(link, sockets, index);
                return;
            };
            let opened = connect(server).and_then(|mut socket| {
                sockets.register(Waiter::Resolver, index, &mut socket, Interest::READABLE)?;
                socket.send(&pending.query)?;
                Ok(socket)
            });
            if let Ok(socket) = opened {
                pending.socket = Some(socket);
                self.timers.set(index, &mut pending.timer, Some(now + PATIENCE));
                return;
            }
        }
    }

    fn fail(&mut self, link: &mut Link, sockets: &Sockets, index: usize) {
        if let Some(pending) = self.remove(sockets, index)
            && let Some(asked) = question(&pending.query)
        {
            link.send_udp(pending.ends.remote, pending.ends.guest, &asked.response(Verdict::Failed));
        }
    }

    fn remove(&mut self, sockets: &Sockets, index: usize) -> Option<Pending> {
        let mut pending = self.pending.try_remove(index)?;
        self.timers.set(index, &mut pending.timer, None);
        if let Some(socket) = &mut pending.socket {
            sockets.deregister(socket);
        }
        Some(pending)
    }

    pub(super) fn attach(&mut self, sockets: &Sockets) -> io::Result<()> {
        for (index, pending) in &mut self.pending {
            if let Some(socket) = &mut pending.socket {
                sockets.register(Waiter::Resolver, index, socket, Interest::READABLE)?;
            }
        }
        Ok(())
    }

    pub(super) fn detach(&mut self, sockets: &Sockets) {
        for (_, pending) in &mut self.pending {
            if let Some(socket) = &mut pending.socket {
                sockets.deregister(socket);
            }
        }
    }

    pub(super) fn ready(&mut self, index: usize) {
        if let Some(pending) = self.pending.get_mut(index) {
            pending.readable = true;
        }
    }

    /// Passes answers on, and asks the next server where one was silent.
    pub(super) fn advance(&mut self, link: &mut Link, sockets: &Sockets, now: Instant, scratch: &mut [u8]) {
        let readable: Vec<usize> =
            self.pending.iter().filter(|(_, pending)| pending.readable).map(|(index, _)| index).collect();
        for index in readable {
            self.read(link, sockets, index, now, scratch);
        }
        while let Some(index) = self.timers.due(now) {
            self.ask(link, sockets, index, now);
        }
    }

    fn read(&mut self, link: &mut Link, sockets: &Sockets, index: usize, now: Instant, scratch: &mut [u8]) {
        let Some(pending) = self.pending.get_mut(index) else { return };
        pending.readable = false;
        loop {
            let Some(socket) = &pending.socket else { return };
            match socket.recv(scratch) {
                Ok(length) => {
                    let answer = scratch.get(..length).unwrap_or_default();
                    // A late answer to another question is not one to this.
                    if answer.get(..2) == Some(&pending.id.to_be_bytes()) {
                        link.send_udp(pending.ends.remote, pending.ends.guest, answer);
                        self.remove(sockets, index);
                        return;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // No name server is there.
                Err(_) => {
                    self.ask(link, sockets, index, now);
                    return;
                }
            }
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// The guest starts anew.
    pub(super) fn clear(&mut self, sockets: &Sockets) {
        self.detach(sockets);
        self.pending.clear();
        self.timers.clear();
    }
}

/// A socket that talks to `server` only, from a port nobody can guess.
fn connect(server: SocketAddr) -> io::Result<UdpSocket> {
    let any: IpAddr =
        if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0))?;
    socket.connect(server)?;
    Ok(socket)
}
