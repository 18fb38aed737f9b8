//! A unix datagram socket: each frame a datagram. So speak gvproxy (`-listen-vfkit`) and what else serves vfkit.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::net::UnixDatagram;
use mio::{Interest, Registry, Token};
use rustix::io::Errno;
use rustix::net::sockopt;

use super::backoff::Backoff;
use crate::net::{FrameHeader, MAX_FRAME_BYTES, NetBackend, Offloads, Received, Sent};

/// What vfkit says first; gvproxy waits for it to learn where to send to. Others see a frame too short to be one.
const HELLO: &[u8] = b"VFKT";
/// Room asked for in the socket's queues, in bytes: macOS gives unix datagrams two kilobytes otherwise.
const QUEUE_BYTES: usize = 1 << 20;
/// How long to wait when the system says that it is out of buffers: no event tells when it has some again.
const BUFFER_WAIT: Duration = Duration::from_millis(1);

/// A program that listens on a unix datagram socket. When it goes away the link is down, and it is tried again.
pub struct DatagramNet {
    path: PathBuf,
    own: PathBuf,
    socket: Option<UnixDatagram>,
    registry: Option<(Registry, Token)>,
    readable: bool,
    backoff: Backoff,
    /// When sending is tried again.
    wait: Option<Instant>,
}

impl DatagramNet {
    /// Connects to the program at `path`. Its answers come to a socket of our own in the folder for temporary files,
    /// which goes with the back end.
    ///
    /// # Errors
    /// Nobody listens there, or no socket can be made.
    pub fn new(path: &Path) -> io::Result<Self> {
        let number = RandomState::new().hash_one(path);
        let own = std::env::temp_dir().join(format!("rvmm-{}-{number:016x}.sock", std::process::id()));
        let socket = connect(path, &own)?;
        Ok(Self {
            path: path.to_owned(),
            own,
            socket: Some(socket),
            registry: None,
            readable: true,
            backoff: Backoff::new(),
            wait: None,
        })
    }

    fn lost(&mut self, error: &io::Error) {
        log::warn!("{}: the network's other end is gone ({error}); trying again", self.path.display());
        if let (Some(mut socket), Some((registry, _))) = (self.socket.take(), &self.registry) {
            // It fails only for one that is not registered.
            let _ = registry.deregister(&mut socket);
        }
        self.backoff.failed(Instant::now());
    }

    fn reconnect(&mut self, now: Instant) {
        let connected = connect(&self.path, &self.own).and_then(|mut socket| {
            if let Some((registry, token)) = &self.registry {
                registry.register(&mut socket, *token, Interest::READABLE | Interest::WRITABLE)?;
            }
            Ok(socket)
        });
        match connected {
            Ok(socket) => {
                log::info!("{}: the network's other end is back", self.path.display());
                self.socket = Some(socket);
                self.readable = true;
                self.backoff.succeeded();
            }
            Err(_) => self.backoff.failed(now),
        }
    }
}

fn connect(path: &Path, own: &Path) -> io::Result<UnixDatagram> {
    // Ours, from a connection before.
    let _ = std::fs::remove_file(own);
    let socket = UnixDatagram::bind(own)?;
    let connected = socket.connect(path).and_then(|()| socket.send(HELLO));
    if let Err(error) = connected {
        let _ = std::fs::remove_file(own);
        return Err(error);
    }
    // What the system does not grant, it does not need to.
    let _ = sockopt::set_socket_send_buffer_size(&socket, QUEUE_BYTES);
    let _ = sockopt::set_socket_recv_buffer_size(&socket, QUEUE_BYTES);
    Ok(socket)
}

impl Drop for DatagramNet {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = std::fs::remove_file(&self.own);
    }
}

impl NetBackend for DatagramNet {
    fn offloads(&self) -> Offloads {
        Offloads::empty()
    }

    fn set_offloads(&mut self, _: Offloads) {}

    fn link_up(&self) -> bool {
        self.socket.is_some()
    }

    fn register(&mut self, registry: &Registry, first: Token) -> io::Result<()> {
        if let Some(socket) = &mut self.socket {
            registry.register(socket, first, Interest::READABLE | Interest::WRITABLE)?;
        }
        self.registry = Some((registry.try_clone()?, first));
        self.readable = true;
        Ok(())
    }

    fn deregister(&mut self) {
        if let (Some(socket), Some((registry, _))) = (&mut self.socket, self.registry.take()) {
            // It fails only for one that is not registered.
            let _ = registry.deregister(socket);
        }
    }

    fn ready(&mut self, event: &Event) {
        self.readable |= event.is_readable() || event.is_read_closed() || event.is_error();
    }

    fn send(&mut self, frame: &[u8], _: &FrameHeader) -> Sent {
        let Some(socket) = &self.socket else { return Sent::Done };
        match socket.send(frame) {
            Ok(_) => Sent::Done,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Sent::Busy,
            Err(error) if error.raw_os_error() == Some(Errno::NOBUFS.raw_os_error()) => {
                self.wait = Some(Instant::now() + BUFFER_WAIT);
                Sent::Busy
            }
            // A frame larger than the peer's socket takes is lost; others would be as well.
            Err(error) if error.raw_os_error() == Some(Errno::MSGSIZE.raw_os_error()) => Sent::Done,
            Err(error) => {
                self.lost(&error);
                Sent::Done
            }
        }
    }

    fn advance(&mut self, now: Instant) {
        self.wait = self.wait.filter(|until| *until > now);
        if self.socket.is_none() && self.backoff.is_due(now) {
            self.reconnect(now);
        }
    }

    fn receive(&mut self, frame: &mut [u8]) -> Option<Received> {
        let room = frame.get_mut(..MAX_FRAME_BYTES)?;
        while self.readable {
            let socket = self.socket.as_ref()?;
            match socket.recv(room) {
                Ok(0) => {}
                Ok(bytes) => return Some(Received { bytes, header: FrameHeader::default() }),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.readable = false,
                Err(error) => self.lost(&error),
            }
        }
        None
    }

    fn deadline(&self) -> Option<Instant> {
        if self.socket.is_none() { self.backoff.deadline() } else { self.wait }
    }

    fn reset(&mut self) {}
}
