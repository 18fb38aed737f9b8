//! The host's ends: the socket that host programs connect to, and those that the guest's ports stand for.

use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net;
use std::path::{Path, PathBuf};

use mio::net::{UnixListener, UnixStream};

/// Longest request line: `CONNECT 4294967295` and the line feed.
const LINE_BYTES: usize = 19;

/// The socket that host programs connect to. Removed with the device.
pub(super) struct Listener {
    socket: net::UnixListener,
    path: PathBuf,
}

impl Listener {
    pub(super) fn new(path: &Path) -> io::Result<Self> {
        let socket = match net::UnixListener::bind(path) {
            Err(error) if error.kind() == ErrorKind::AddrInUse && is_stale(path) => {
                std::fs::remove_file(path)?;
                net::UnixListener::bind(path)?
            }
            other => other?,
        };
        socket.set_nonblocking(true)?;
        Ok(Self { socket, path: path.to_owned() })
    }

    /// The same socket, to be watched: one for each time the device is activated.
    pub(super) fn watched(&self) -> io::Result<UnixListener> {
        Ok(UnixListener::from_std(self.socket.try_clone()?))
    }

    /// Connects to whoever stands for the host's `port`.
    pub(super) fn connect(&self, port: u32) -> io::Result<UnixStream> {
        let mut path = self.path.clone().into_os_string();
        path.push(format!("_{port}"));
        // Does not block: a listener whose queue is full counts as none.
        UnixStream::connect(Path::new(&path))
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // Ours since it was bound; if somebody removed it, all is well.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// A socket left behind by a process that is gone: nobody accepts.
fn is_stale(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|data| data.file_type().is_socket())
        && net::UnixStream::connect(path).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
}

/// What a host program says first.
#[derive(Default)]
pub(super) struct Greeting {
    line: Vec<u8>,
}

/// How far a greeting is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    /// Not all of it is there.
    Part,
    /// It asks for this port.
    Port(u32),
    /// It is none, or its sender is gone.
    Nonsense,
}

impl Greeting {
    /// Reads what is there of the line, and nothing behind it.
    pub(super) fn read(&mut self, stream: &mut impl Read) -> Heard {
        while self.line.len() < LINE_BYTES {
            let mut byte = [0];
            match stream.read(&mut byte) {
                Ok(1) if byte == *b"\n" => return self.port().map_or(Heard::Nonsense, Heard::Port),
                Ok(1) => self.line.extend(byte),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Heard::Part,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                _ => return Heard::Nonsense,
            }
        }
        Heard::Nonsense
    }

    fn port(&self) -> Option<u32> {
        let (word, port) = std::str::from_utf8(&self.line).ok()?.split_once(' ')?;
        // `parse` would take a sign.
        let digits = port.bytes().all(|byte| byte.is_ascii_digit());
        (word.eq_ignore_ascii_case("connect") && digits).then(|| port.parse().ok()).flatten()
    }
}
