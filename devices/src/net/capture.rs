//! A copy of every frame, in a file.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use mio::event::Event;
use mio::{Registry, Token};
use smoltcp::phy::{PcapLinkType, PcapSink};
use smoltcp::time::Instant as Timestamp;

use super::{FrameHeader, NetBackend, Offloads, Received, Sent};

/// A back end whose frames are all written to a pcap file as well, as the device passes them: large segments whole,
/// with the checksums that are still to be finished.
pub struct Capture {
    backend: Box<dyn NetBackend>,
    sink: Sink,
}

/// A file that is given up at its first error.
struct Sink {
    path: PathBuf,
    file: Option<BufWriter<File>>,
}

impl Sink {
    fn attempt(&mut self, work: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) {
        let Some(file) = &mut self.file else { return };
        if let Err(error) = work(file) {
            log::warn!("{}: the packet capture ends here: {error}", self.path.display());
            self.file = None;
        }
    }
}

impl PcapSink for Sink {
    fn write(&mut self, data: &[u8]) {
        self.attempt(|file| file.write_all(data));
    }
}

impl Capture {
    /// Captures `backend`'s frames to a new file at `path`; what it held is lost.
    ///
    /// # Errors
    /// The file cannot be made.
    pub fn new(backend: Box<dyn NetBackend>, path: &Path) -> io::Result<Self> {
        let mut sink = Sink { path: path.to_owned(), file: Some(BufWriter::new(File::create(path)?)) };
        sink.global_header(PcapLinkType::Ethernet);
        Ok(Self { backend, sink })
    }

    fn note(&mut self, frame: &[u8]) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let micros = i64::try_from(now.as_micros()).unwrap_or(i64::MAX);
        self.sink.packet_header(Timestamp::from_micros(micros), frame.len());
        self.sink.write(frame);
    }
}

impl NetBackend for Capture {
    fn offloads(&self) -> Offloads {
        self.backend.offloads()
    }

    fn set_offloads(&mut self, offloads: Offloads) {
        self.backend.set_offloads(offloads);
    }

    fn link_up(&self) -> bool {
        self.backend.link_up()
    }

    fn register(&mut self, registry: &Registry, first: Token) -> io::Result<()> {
        self.backend.register(registry, first)
    }

    fn deregister(&mut self) {
        self.backend.deregister();
        self.sink.attempt(Write::flush);
    }

    fn ready(&mut self, event: &Event) {
        self.backend.ready(event);
    }

    fn send(&mut self, frame: &[u8], header: &FrameHeader) -> Sent {
        let sent = self.backend.send(frame, header);
        if sent == Sent::Done {
            self.note(frame);
        }
        sent
    }

    fn advance(&mut self, now: Instant) {
        self.backend.advance(now);
        // What a debugger sees is what was passed up to now.
        self.sink.attempt(Write::flush);
    }

    fn receive(&mut self, frame: &mut [u8]) -> Option<Received> {
        let received = self.backend.receive(frame)?;
        if let Some(frame) = frame.get(..received.bytes) {
            self.note(frame);
        }
        Some(received)
    }

    fn deadline(&self) -> Option<Instant> {
        self.backend.deadline()
    }

    fn reset(&mut self) {
        self.backend.reset();
    }
}
