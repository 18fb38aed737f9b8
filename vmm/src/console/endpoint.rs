//! The places a serial port or a console can be connected to.
//!
//! Nothing here blocks: before a descriptor shared with other processes is read or written it is asked whether it is ready,
//! because making it non-blocking would change it for them too.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mio::net::{UnixListener, UnixStream};
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};

use super::Terminal;
use super::terminal::may_read;
use crate::config::SerialBackend;

/// A console's back end that cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("{port} {what}")]
pub struct EndpointError {
    /// Whose it is: the setting's name.
    port: &'static str,
    /// The back end, with its path.
    what: String,
    /// The host's reason.
    source: io::Error,
}

/// What a read gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Received {
    /// So many bytes.
    Bytes(usize),
    /// Nothing now.
    Nothing,
    /// Nothing ever again.
    End,
}

/// What a write did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sent {
    /// So many bytes are gone.
    Bytes(usize),
    /// The reader does not keep up.
    Later,
    /// Nobody listens; what is written now is lost.
    Nobody,
    /// The reader is gone for good.
    Closed,
}

/// An open place.
pub(crate) enum Place {
    Stdio { terminal: Arc<Terminal>, has_events: bool },
    Pty { master: File, path: PathBuf },
    File { file: File, path: PathBuf },
    Socket { listener: UnixListener, path: PathBuf, client: Option<UnixStream> },
    Null,
}

/// Standard output is written in pieces that a ready pipe takes without blocking.
const PIECE: usize = rustix::pipe::PIPE_BUF;

/// Tokens of the console's descriptors.
const MAIN: Token = Token(1);
const CLIENT: Token = Token(2);

impl Place {
    /// Opens what the configuration names for `port`, the setting's name.
    ///
    /// # Errors
    /// [`EndpointError`] names the setting, the back end and the reason.
    pub(crate) fn open(port: &'static str, backend: &SerialBackend) -> Result<Self, EndpointError> {
        let fail = |what: String| move |source: io::Error| EndpointError { port, what, source };
        let named = |kind: &str, path: &Path| fail(format!("{kind}={}", path.display()));
        match backend {
            SerialBackend::Stdio => {
                Ok(Self::Stdio { terminal: Arc::new(Terminal::new()), has_events: false })
            }
            SerialBackend::Pty => open_pty().map_err(fail("pty".to_owned())),
            SerialBackend::File(path) => {
                let file = open_file(path).map_err(named("file", path))?;
                Ok(Self::File { file, path: path.clone() })
            }
            SerialBackend::Socket(path) => {
                let listener = listen(path).map_err(named("socket", path))?;
                Ok(Self::Socket { listener, path: path.clone(), client: None })
            }
            SerialBackend::Null => Ok(Self::Null),
        }
    }

    /// The run begins: a terminal becomes raw.
    ///
    /// # Errors
    /// The terminal refuses.
    pub(crate) fn attach(&mut self) -> io::Result<()> {
        if let Self::Stdio { terminal, .. } = self {
            terminal.enter()?;
        }
        Ok(())
    }

    /// May a person be typing at the other end?
    pub(crate) fn is_interactive(&self) -> bool {
        matches!(self, Self::Pty { .. } | Self::Socket { .. }) || self.has_escape_keys()
    }

    /// Asks for events.
    pub(crate) fn register(&mut self, registry: &Registry) -> io::Result<()> {
        match self {
            Self::Stdio { has_events, .. } => {
                let stdin = io::stdin();
                // Regular files and some terminals have no events; they are looked at from time to time.
                *has_events =
                    registry.register(&mut SourceFd(&stdin.as_raw_fd()), MAIN, Interest::READABLE).is_ok();
                Ok(())
            }
            Self::Pty { master, .. } => {
                let interest = Interest::READABLE | Interest::WRITABLE;
                registry.register(&mut SourceFd(&master.as_raw_fd()), MAIN, interest)
            }
            Self::Socket { listener, .. } => registry.register(listener, MAIN, Interest::READABLE),
            Self::File { .. } | Self::Null => Ok(()),
        }
    }

    /// Takes a waiting client, if a place has clients and has none.
    pub(crate) fn accept(&mut self, registry: &Registry) {
        let Self::Socket { listener, client, .. } = self else { return };
        while let Ok((mut stream, _)) = listener.accept() {
            if client.is_some() {
                // One at a time: the newcomer is closed.
                continue;
            }
            let interest = Interest::READABLE | Interest::WRITABLE;
            match registry.register(&mut stream, CLIENT, interest) {
                Ok(()) => *client = Some(stream),
                Err(error) => log::warn!("console client is not served: {error}"),
            }
        }
    }

    /// Must this place be looked at from time to time, because its input has no events?
    pub(crate) fn needs_polling(&self) -> bool {
        matches!(self, Self::Stdio { has_events: false, .. })
    }

    /// Does output wait for a slow reader? Else it is dropped.
    pub(crate) fn waits(&self) -> bool {
        matches!(self, Self::Stdio { .. } | Self::File { .. })
    }

    /// Is the input typed by a person at a terminal of ours?
    pub(crate) fn has_escape_keys(&self) -> bool {
        self.terminal().is_some_and(|terminal| terminal.is_attached())
    }

    /// The terminal that standard input may be.
    pub(crate) fn terminal(&self) -> Option<&Arc<Terminal>> {
        match self {
            Self::Stdio { terminal, .. } => Some(terminal),
            _ => None,
        }
    }

    /// Reads what is there.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Received {
        match self {
            Self::Stdio { .. } => read_stdin(buffer),
            Self::Pty { master, .. } => match master.read(buffer) {
                Ok(count) if count > 0 => Received::Bytes(count),
                // Nobody has the other side open now.
                _ => Received::Nothing,
            },
            Self::Socket { client, .. } => {
                let Some(stream) = client else { return Received::Nothing };
                match stream.read(buffer) {
                    Ok(count) if count > 0 => Received::Bytes(count),
                    Err(error) if is_later(&error) => Received::Nothing,
                    _ => {
                        *client = None;
                        Received::Nothing
                    }
                }
            }
            Self::File { .. } | Self::Null => Received::End,
        }
    }

    /// Writes some of `bytes`.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Sent {
        match self {
            Self::Stdio { .. } => write_stdout(bytes),
            Self::Pty { master, .. } => match master.write(bytes) {
                Ok(count) => Sent::Bytes(count),
                Err(error) if is_later(&error) && !ready(master.as_fd(), PollFlags::HUP) => Sent::Later,
                Err(_) => Sent::Nobody,
            },
            Self::Socket { client, .. } => {
                let Some(stream) = client else { return Sent::Nobody };
                match stream.write(bytes) {
                    Ok(count) => Sent::Bytes(count),
                    Err(error) if is_later(&error) => Sent::Later,
                    Err(_) => {
                        *client = None;
                        Sent::Nobody
                    }
                }
            }
            Self::File { file, path } => match file.write(bytes) {
                Ok(count) => Sent::Bytes(count),
                Err(error) if is_later(&error) => Sent::Later,
                Err(error) => {
                    log::warn!("console output to {} is lost: {error}", path.display());
                    Sent::Closed
                }
            },
            Self::Null => Sent::Bytes(bytes.len()),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        match self {
            // Ours since it was bound; if somebody removed it, all is well.
            Self::Socket { path, .. } => drop(std::fs::remove_file(path)),
            // Others may hold it too, to restore it in a panic.
            Self::Stdio { terminal, .. } => terminal.restore(),
            Self::Pty { .. } | Self::File { .. } | Self::Null => {}
        }
    }
}

fn read_stdin(buffer: &mut [u8]) -> Received {
    let stdin = io::stdin();
    if !may_read(stdin.as_fd()) {
        return Received::Nothing;
    }
    if !ready(stdin.as_fd(), PollFlags::IN | PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL) {
        return Received::Nothing;
    }
    // Not through the standard library's buffer: what it holds back would be lost to readiness.
    match rustix::io::read(&stdin, buffer) {
        Ok(0) => Received::End,
        Ok(count) => Received::Bytes(count),
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Received::Nothing,
        Err(_) => Received::End,
    }
}

fn write_stdout(bytes: &[u8]) -> Sent {
    let stdout = io::stdout();
    if !ready(stdout.as_fd(), PollFlags::OUT | PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL) {
        return Sent::Later;
    }
    let piece = bytes.get(..PIECE.min(bytes.len())).unwrap_or(bytes);
    match rustix::io::write(&stdout, piece) {
        Ok(count) => Sent::Bytes(count),
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Sent::Later,
        Err(_) => Sent::Closed,
    }
}

/// Does one of `flags` hold now?
fn ready(fd: BorrowedFd<'_>, flags: PollFlags) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(fd, flags)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut fds, Some(&now)).is_ok_and(|count| count > 0)
        && fds.first().is_some_and(|fd| fd.revents().intersects(flags))
}

fn is_later(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

fn open_pty() -> io::Result<Place> {
    let master: OwnedFd = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    let name = ptsname(&master, Vec::new())?;
    let path = PathBuf::from(std::ffi::OsStr::from_bytes(name.as_bytes()));
    // Raw from the start: an echo would send the guest's output back as its input.
    let flags = i32::try_from((OFlags::NOCTTY).bits()).unwrap_or(0);
    let other = OpenOptions::new().read(true).write(true).custom_flags(flags).open(&path)?;
    let mut modes = tcgetattr(&other)?;
    modes.make_raw();
    tcsetattr(&other, OptionalActions::Now, &modes)?;
    rustix::io::ioctl_fionbio(&master, true)?;
    Ok(Place::Pty { master: File::from(master), path })
}

fn open_file(path: &Path) -> io::Result<File> {
    // A named pipe without a reader is an error at once instead of a wait.
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or(0);
    OpenOptions::new().write(true).create(true).truncate(true).custom_flags(flags).open(path)
}

fn listen(path: &Path) -> io::Result<UnixListener> {
    match UnixListener::bind(path) {
        Err(error) if error.kind() == ErrorKind::AddrInUse && is_stale(path) => {
            std::fs::remove_file(path)?;
            UnixListener::bind(path)
        }
        other => other,
    }
}

/// A socket left behind by a process that is gone: nobody accepts.
fn is_stale(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|data| data.file_type().is_socket())
        && std::os::unix::net::UnixStream::connect(path)
            .is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
}

#[cfg(test)]
#[path = "endpoint_test.rs"]
mod endpoint_test;
