//! The host's end of a TCP flow.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};

use mio::event::Source;
use mio::net::{TcpStream, UnixStream};
use mio::{Interest, Registry, Token};

/// A stream socket of the host's.
pub(in crate::net::user) enum HostStream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl HostStream {
    /// Begins to connect to `to`. Whether that worked out, [`Self::connected`] tells after an event.
    pub(super) fn connect(to: SocketAddr) -> io::Result<Self> {
        TcpStream::connect(to).map(Self::Tcp)
    }

    /// A connection that was accepted.
    pub(in crate::net::user) fn accepted(stream: TcpStream) -> Self {
        set_options(&stream);
        Self::Tcp(stream)
    }

    /// Whether the connection stands: `None` while it is under way.
    pub(super) fn connected(&self) -> Option<io::Result<()>> {
        let Self::Tcp(stream) = self else { return Some(Ok(())) };
        match stream.take_error() {
            Ok(None) => {}
            Ok(Some(error)) | Err(error) => return Some(Err(error)),
        }
        match stream.peer_addr() {
            Ok(_) => {
                set_options(stream);
                Some(Ok(()))
            }
            Err(error) if error.kind() == io::ErrorKind::NotConnected => None,
            Err(error) => Some(Err(error)),
        }
    }

    /// Ends what we send: the peer reads to the end.
    pub(super) fn finish(&self) {
        // It fails for a connection that is gone, which reading will say.
        let _ = match self {
            Self::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Self::Unix(stream) => stream.shutdown(Shutdown::Write),
        };
    }

    /// Makes dropping it a reset instead of an orderly end.
    pub(in crate::net::user) fn abort(&self) {
        if let Self::Tcp(stream) = self {
            // Should it fail the peer sees an orderly end.
            let _ = rustix::net::sockopt::set_socket_linger(stream, Some(std::time::Duration::ZERO));
        }
    }
}

/// Without these a connection works as well, only slower or for longer than its peer.
fn set_options(stream: &TcpStream) {
    // Segments are the guest's to make up; ours go out as they come.
    let _ = stream.set_nodelay(true);
    // Urgent bytes stay where they are in the stream: the guest's connection has no other place for them.
    let _ = rustix::net::sockopt::set_socket_oobinline(stream, true);
    // A peer that is gone without a word is noticed.
    let _ = rustix::net::sockopt::set_socket_keepalive(stream, true);
}

impl Read for HostStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Unix(stream) => stream.read(buffer),
        }
    }
}

impl Write for HostStream {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(buffer),
            Self::Unix(stream) => stream.write(buffer),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Source for HostStream {
    fn register(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.register(registry, token, interests),
            Self::Unix(stream) => stream.register(registry, token, interests),
        }
    }

    fn reregister(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.reregister(registry, token, interests),
            Self::Unix(stream) => stream.reregister(registry, token, interests),
        }
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.deregister(registry),
            Self::Unix(stream) => stream.deregister(registry),
        }
    }
}
