//! A unix stream socket: each frame behind its length in four bytes, the highest first. So speak passt, QEMU's
//! `-netdev stream` and socket_vmnet.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use mio::event::Event;
use mio::net::UnixStream;
use mio::{Interest, Registry, Token};

use super::backoff::Backoff;
use crate::net::{FrameHeader, MAX_FRAME_BYTES, NetBackend, Offloads, Received, Sent};

/// A frame's length in bytes, before it.
const LENGTH_BYTES: usize = 4;
/// What is read at once.
const INPUT_BYTES: usize = 2 * (LENGTH_BYTES + MAX_FRAME_BYTES);

/// A program that listens on a unix stream socket. When it goes away the link is down, and it is tried again.
pub struct StreamNet {
    path: PathBuf,
    stream: Option<UnixStream>,
    registry: Option<(Registry, Token)>,
    readable: bool,
    /// Bytes read; the next frame begins at `start`.
    input: Vec<u8>,
    start: usize,
    end: usize,
    /// The rest of a frame that was not taken whole.
    output: Vec<u8>,
    backoff: Backoff,
}

impl StreamNet {
    /// Connects to the program at `path`.
    ///
    /// # Errors
    /// Nobody listens there.
    pub fn new(path: &Path) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            stream: Some(UnixStream::connect(path)?),
            registry: None,
            readable: true,
            input: vec![0; INPUT_BYTES],
            start: 0,
            end: 0,
            output: Vec::new(),
            backoff: Backoff::new(),
        })
    }

    /// The peer is gone, or says what cannot be understood.
    fn lost(&mut self, why: &str) {
        log::warn!("{}: the network's other end {why}; trying again", self.path.display());
        if let (Some(mut stream), Some((registry, _))) = (self.stream.take(), &self.registry) {
            // It fails only for one that is not registered.
            let _ = registry.deregister(&mut stream);
        }
        (self.start, self.end) = (0, 0);
        self.output.clear();
        self.backoff.failed(Instant::now());
    }

    fn reconnect(&mut self, now: Instant) {
        let connected = UnixStream::connect(&self.path).and_then(|mut stream| {
            if let Some((registry, token)) = &self.registry {
                registry.register(&mut stream, *token, Interest::READABLE | Interest::WRITABLE)?;
            }
            Ok(stream)
        });
        match connected {
            Ok(stream) => {
                log::info!("{}: the network's other end is back", self.path.display());
                self.stream = Some(stream);
                self.readable = true;
                self.backoff.succeeded();
            }
            Err(_) => self.backoff.failed(now),
        }
    }

    /// Writes the rest of the last frame; whether there is nothing left of it.
    fn flush(&mut self) -> bool {
        while !self.output.is_empty() {
            let Some(stream) = &mut self.stream else { return true };
            match stream.write(&self.output) {
                Ok(length) => {
                    self.output.drain(..length);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Err(error) => {
                    self.lost(&format!("does not take frames ({error})"));
                    return true;
                }
            }
        }
        true
    }

    /// Reads more; whether there is more.
    fn fill(&mut self) -> bool {
        let Some(stream) = self.stream.as_mut().filter(|_| self.readable) else { return false };
        self.input.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        let Some(room) = self.input.get_mut(self.end..).filter(|room| !room.is_empty()) else { return false };
        loop {
            match stream.read(room) {
                Ok(0) => self.lost("has closed the connection"),
                Ok(length) => {
                    self.end += length;
                    return true;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.readable = false,
                Err(error) => self.lost(&format!("is gone ({error})")),
            }
            return false;
        }
    }

    /// Length of the next frame, when all of it was read.
    fn whole_frame(&mut self) -> Option<usize> {
        let read = self.input.get(self.start..self.end)?;
        let (length, rest) = read.split_first_chunk::<LENGTH_BYTES>()?;
        let length = u32::from_be_bytes(*length) as usize;
        if length > MAX_FRAME_BYTES {
            self.lost(&format!("announces a frame of {length} bytes, more than {MAX_FRAME_BYTES}"));
            return None;
        }
        (rest.len() >= length).then_some(length)
    }
}

impl NetBackend for StreamNet {
    fn offloads(&self) -> Offloads {
        Offloads::empty()
    }

    fn set_offloads(&mut self, _: Offloads) {}

    fn link_up(&self) -> bool {
        self.stream.is_some()
    }

    fn register(&mut self, registry: &Registry, first: Token) -> io::Result<()> {
        if let Some(stream) = &mut self.stream {
            registry.register(stream, first, Interest::READABLE | Interest::WRITABLE)?;
        }
        self.registry = Some((registry.try_clone()?, first));
        self.readable = true;
        Ok(())
    }

    fn deregister(&mut self) {
        if let (Some(stream), Some((registry, _))) = (&mut self.stream, self.registry.take()) {
            // It fails only for one that is not registered.
            let _ = registry.deregister(stream);
        }
    }

    fn ready(&mut self, event: &Event) {
        self.readable |= event.is_readable() || event.is_read_closed() || event.is_error();
    }

    fn send(&mut self, frame: &[u8], _: &FrameHeader) -> Sent {
        if frame.len() > MAX_FRAME_BYTES {
            return Sent::Done;
        }
        if !self.flush() {
            return Sent::Busy;
        }
        if self.stream.is_none() {
            // The cable is unplugged.
            return Sent::Done;
        }
        self.output.extend_from_slice(&(frame.len() as u32).to_be_bytes());
        self.output.extend_from_slice(frame);
        self.flush();
        Sent::Done
    }

    fn advance(&mut self, now: Instant) {
        if self.stream.is_none() && self.backoff.is_due(now) {
            self.reconnect(now);
        }
        self.flush();
    }

    fn receive(&mut self, frame: &mut [u8]) -> Option<Received> {
        loop {
            if let Some(bytes) = self.whole_frame() {
                let start = self.start + LENGTH_BYTES;
                self.start = start + bytes;
                if bytes == 0 {
                    continue;
                }
                frame.get_mut(..bytes)?.copy_from_slice(self.input.get(start..start + bytes)?);
                return Some(Received { bytes, header: FrameHeader::default() });
            }
            if !self.fill() {
                return None;
            }
        }
    }

    fn deadline(&self) -> Option<Instant> {
        if self.stream.is_none() { self.backoff.deadline() } else { None }
    }

    fn reset(&mut self) {
        // The peer does not know of the guest's resets: a frame begun is sent to its end.
    }
}
