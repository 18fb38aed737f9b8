//! Sockets of the host's that lead into the guest.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener as StdTcpListener, UdpSocket as StdUdpSocket};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener as StdUnixListener, UnixStream as StdUnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mio::Interest;
use mio::net::{TcpListener, UdpSocket, UnixListener};
use rustix::fs::Mode;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketType};

use super::link::Link;
use super::sockets::{Sockets, Waiter};
use super::tcp::{HostStream, TcpFlows};
use super::udp::UdpFlows;
use crate::net::{Forward, ForwardFrom};

/// Connections accepted before others have their turn.
const BURST: usize = 64;
/// How long nothing is accepted after the host ran out of descriptors or memory.
const PAUSE: Duration = Duration::from_millis(100);
/// Connections the system keeps for us.
const BACKLOG: i32 = 128;

/// Why a forward cannot be.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The address is taken.
    #[error("{0}: the address is in use; stop what listens there or choose another")]
    InUse(ForwardFrom),
    /// Another program listens at the path.
    #[error("{0}: another program listens there; stop it or choose another path")]
    PathInUse(ForwardFrom),
    /// Something that is no socket stands at the path.
    #[error("{0}: there is a file that is no socket; remove it or choose another path")]
    NoSocket(ForwardFrom),
    /// What the system said.
    #[error("{0}: cannot listen: {1}")]
    Io(ForwardFrom, io::Error),
}

enum Socket {
    Tcp(TcpListener),
    Udp(UdpSocket),
    Unix { socket: UnixListener, _file: SocketFile },
}

/// A socket in the file system, removed when it is let go: it, and not what stands there by then.
struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|identity| identity == self.identity) {
            // It is gone already, or it stays.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|metadata| (metadata.dev(), metadata.ino()))
}

/// One forward's socket.
struct Listener {
    socket: Socket,
    forward: Forward,
    ready: bool,
    /// Nothing is accepted before.
    pause: Option<Instant>,
}

/// The sockets of all forwards.
pub(super) struct Listeners(Vec<Listener>);

impl Listeners {
    /// Opens the sockets of `forwards`.
    pub(super) fn open(forwards: &[Forward]) -> Result<Self, ListenError> {
        forwards.iter().map(Listener::open).collect::<Result<_, _>>().map(Self)
    }

    /// The forwards with the addresses they really have, where port 0 was asked for.
    pub(super) fn bound(&self) -> Vec<Forward> {
        let bound = |listener: &Listener| {
            let from = match &listener.socket {
                Socket::Tcp(socket) => socket.local_addr().ok().map(ForwardFrom::Tcp),
                Socket::Udp(socket) => socket.local_addr().ok().map(ForwardFrom::Udp),
                Socket::Unix { .. } => None,
            };
            let from = from.unwrap_or_else(|| listener.forward.from.clone());
            Forward { from, ..listener.forward.clone() }
        };
        self.0.iter().map(bound).collect()
    }

    /// Sends a datagram to `peer` from the socket of forward `index`.
    pub(super) fn send_to(&self, index: usize, payload: &[u8], peer: SocketAddr) -> io::Result<()> {
        match self.0.get(index).map(|listener| &listener.socket) {
            Some(Socket::Udp(socket)) => socket.send_to(payload, peer).map(|_| ()),
            _ => Ok(()),
        }
    }

    pub(super) fn attach(&mut self, sockets: &Sockets) -> io::Result<()> {
        self.0.iter_mut().enumerate().try_for_each(|(index, listener)| {
            listener.ready = true;
            let (waiter, interest) = (Waiter::Listener, Interest::READABLE);
            match &mut listener.socket {
                Socket::Tcp(socket) => sockets.register(waiter, index, socket, interest),
                Socket::Udp(socket) => sockets.register(waiter, index, socket, interest),
                Socket::Unix { socket, .. } => sockets.register(waiter, index, socket, interest),
            }
        })
    }

    pub(super) fn detach(&mut self, sockets: &Sockets) {
        for listener in &mut self.0 {
            match &mut listener.socket {
                Socket::Tcp(socket) => sockets.deregister(socket),
                Socket::Udp(socket) => sockets.deregister(socket),
                Socket::Unix { socket, .. } => sockets.deregister(socket),
            }
        }
    }

    pub(super) fn ready(&mut self, index: usize) {
        if let Some(listener) = self.0.get_mut(index) {
            listener.ready = true;
        }
    }

    /// Whether there is more to take in than was taken.
    pub(super) fn is_pending(&self) -> bool {
        self.0.iter().any(|listener| listener.ready && listener.pause.is_none())
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.0.iter().filter_map(|listener| listener.pause).min()
    }

    /// Takes in what came to the sockets.
    pub(super) fn advance(
        &mut self,
        link: &mut Link,
        sockets: &Sockets,
        (tcp, udp): (&mut TcpFlows, &mut UdpFlows),
        now: Instant,
        scratch: &mut [u8],
    ) {
        for (index, listener) in self.0.iter_mut().enumerate() {
            if listener.pause.is_some_and(|until| until <= now) {
                listener.pause = None;
            }
            let to = listener.forward.guest.unwrap_or(link.network.guest);
            let guest = SocketAddr::new(to.into(), listener.forward.port);
            for _ in 0..BURST {
                if !listener.ready || listener.pause.is_some() || link.is_full() {
                    break;
                }
                let accepted = match &listener.socket {
                    Socket::Tcp(socket) => socket.accept().map(|(stream, _)| {
                        tcp.forward(link, sockets, HostStream::accepted(stream), guest, now);
                    }),
                    Socket::Unix { socket, .. } => socket.accept().map(|(stream, _)| {
                        tcp.forward(link, sockets, HostStream::Unix(stream), guest, now);
                    }),
                    Socket::Udp(socket) => socket.recv_from(scratch).map(|(length, peer)| {
                        let payload = scratch.get(..length).unwrap_or_default();
                        udp.forward(link, sockets, (index, peer), guest, payload, now);
                    }),
                };
                match accepted {
                    Ok(()) => {}
                    Err(error) => listener.failed(&error, now),
                }
            }
        }
    }
}

impl Listener {
    fn open(forward: &Forward) -> Result<Self, ListenError> {
        let from = &forward.from;
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::AddrInUse => ListenError::InUse(from.clone()),
            _ => ListenError::Io(from.clone(), error),
        };
        let socket = match from {
            ForwardFrom::Tcp(address) => {
                let socket = StdTcpListener::bind(address).map_err(failed)?;
                socket.set_nonblocking(true).map_err(failed)?;
                Socket::Tcp(TcpListener::from_std(socket))
            }
            ForwardFrom::Udp(address) => {
                let socket = StdUdpSocket::bind(address).map_err(failed)?;
                socket.set_nonblocking(true).map_err(failed)?;
                Socket::Udp(UdpSocket::from_std(socket))
            }
            ForwardFrom::Unix(path) => {
                remove_stale(from, path)?;
                let socket = listen_unix(path).map_err(failed)?;
                let identity = identity(path).map_err(failed)?;
                let _file = SocketFile { path: path.clone(), identity };
                Socket::Unix { socket: UnixListener::from_std(socket), _file }
            }
        };
        Ok(Self { socket, forward: forward.clone(), ready: false, pause: None })
    }

    fn failed(&mut self, error: &io::Error, now: Instant) {
        match error.kind() {
            io::ErrorKind::WouldBlock => self.ready = false,
            // The peer went away before it was accepted, or another peer refused a datagram of ours.
            io::ErrorKind::Interrupted
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused => {}
            _ => {
                log::warn!("{}: cannot accept: {error}", self.forward.from);
                self.pause = Some(now + PAUSE);
            }
        }
    }
}

/// Removes a socket that a program left behind.
fn remove_stale(from: &ForwardFrom, path: &Path) -> Result<(), ListenError> {
    let Ok(metadata) = fs::symlink_metadata(path) else { return Ok(()) };
    if !metadata.file_type().is_socket() {
        return Err(ListenError::NoSocket(from.clone()));
    }
    match StdUnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(|error| ListenError::Io(from.clone(), error))
        }
        Ok(_) => Err(ListenError::PathInUse(from.clone())),
        Err(error) => Err(ListenError::Io(from.clone(), error)),
    }
}

/// Listens at `path`. Only the user can connect: the mode is set before anybody can.
fn listen_unix(path: &Path) -> io::Result<StdUnixListener> {
    let socket = rustix::net::socket(AddressFamily::UNIX, SocketType::STREAM, None)?;
    rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC)?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
    rustix::fs::chmod(path, Mode::RUSR | Mode::WUSR)?;
    rustix::net::listen(&socket, BACKLOG)?;
    rustix::io::ioctl_fionbio(&socket, true)?;
    Ok(socket.into())
}
