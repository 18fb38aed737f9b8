//! Whose events have which tokens.

use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;

use mio::event::Source;
use mio::{Interest, Registry, Token};
use rustix::net::{AddressFamily, Protocol, SocketType};

/// Who waits for a socket. Each kind has tokens of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waiter {
    Listener,
    Tcp,
    Udp,
    UdpPort,
    Echo,
    Resolver,
}

const WAITERS: [Waiter; 6] =
    [Waiter::Listener, Waiter::Tcp, Waiter::Udp, Waiter::UdpPort, Waiter::Echo, Waiter::Resolver];

/// Tokens of each kind; more than any table has entries.
const TOKENS_EACH: usize = 1 << 16;

/// A datagram socket of the family of `like`, bound and connected to nothing, that never makes its caller wait.
pub(super) fn datagram_socket(like: IpAddr, protocol: Option<Protocol>) -> io::Result<OwnedFd> {
    let family = if like.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = rustix::net::socket(family, SocketType::DGRAM, protocol)?;
    rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(&socket, true)?;
    Ok(socket)
}

/// The registry the worker polls, when there is one.
#[derive(Default)]
pub(super) struct Sockets {
    registry: Option<(Registry, usize)>,
}

impl Sockets {
    pub(super) fn attach(&mut self, registry: &Registry, first: Token) -> io::Result<()> {
        self.registry = Some((registry.try_clone()?, first.0));
        Ok(())
    }

    pub(super) fn detach(&mut self) {
        self.registry = None;
    }

    /// Who waits for `token`, and the index in its table.
    pub(super) fn waiter(&self, token: Token) -> Option<(Waiter, usize)> {
        let (_, first) = self.registry.as_ref()?;
        let offset = token.0.checked_sub(*first)?;
        WAITERS.get(offset / TOKENS_EACH).map(|waiter| (*waiter, offset % TOKENS_EACH))
    }

    /// Registers a socket of entry `index`. Without a registry it is a no-op: [`Self::attach`]'s caller does it then.
    pub(super) fn register(
        &self,
        waiter: Waiter,
        index: usize,
        source: &mut impl Source,
        interest: Interest,
    ) -> io::Result<()> {
        match &self.registry {
            Some((registry, first)) => {
                let token = first + waiter as usize * TOKENS_EACH + index;
                registry.register(source, Token(token), interest)
            }
            None => Ok(()),
        }
    }

    /// Takes a socket out of the registry.
    pub(super) fn deregister(&self, source: &mut impl Source) {
        if let Some((registry, _)) = &self.registry {
            // It fails only for one that is not registered.
            let _ = registry.deregister(source);
        }
    }
}
