//! One connection: what is still to be said to the guest, credit both ways, and how it ends.

use std::collections::VecDeque;
use std::io::{ErrorKind, Write};
use std::net::Shutdown;
use std::num::Wrapping;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use guest_memory::vectored;
use mio::net::UnixStream;

use super::listener::{Greeting, Heard};
use super::spec::{HEADER_BYTES, HOST_CID, Header, TYPE_STREAM, op, shutdown};
use crate::virtio::{Chain, Reader};

/// What a guest may send before its host program takes it, bytes; what a connection buffers at most.
pub(super) const BUFFER_BYTES: u32 = 256 << 10;

/// The guest is told of its credit when this much of it has come back.
const CREDIT_STEP: u32 = BUFFER_BYTES / 4;

/// Most data of one packet to the guest, bytes.
const MAX_DATA: u64 = 64 << 10;

/// A host program asks, and the guest answers, within this time.
const OPENING_TIME: Duration = Duration::from_secs(if cfg!(test) { 3 } else { 10 });

/// A guest that was told of the end may take what is buffered at its side for this long.
const CLOSING_TIME: Duration = Duration::from_secs(if cfg!(test) { 3 } else { 8 });

/// A host program may take the last of a guest that is gone for this long.
const LINGER_TIME: Duration = Duration::from_secs(30);

/// The connection cannot go on.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Broken;

/// How far it is.
enum Phase {
    /// A host program is connected and has yet to say where to.
    Greeting(Greeting),
    /// The guest has yet to answer.
    Asked,
    /// Data goes both ways.
    Open,
    /// The guest is done with it; the host program takes the rest.
    Lingering,
}

/// What the guest is still to be told, in this order. Data comes last.
#[derive(Default)]
struct Pending {
    request: bool,
    response: bool,
    credit_update: bool,
    credit_request: bool,
    shutdown: bool,
}

/// How writing a packet to the guest went.
pub(super) enum Said {
    /// So many bytes.
    Bytes(u32),
    /// There was nothing to say.
    Nothing,
}

pub(super) struct Connection {
    pub(super) host_port: u32,
    pub(super) guest_port: u32,
    stream: UnixStream,
    phase: Phase,
    pending: Pending,
    /// The host may have data: so until it says that it has none.
    readable: bool,
    /// Who will send or receive no more: as the guest says, and as it was told of the host.
    guest_ended: u32,
    host_ended: u32,
    /// From the guest, not yet taken by the host.
    to_host: VecDeque<u8>,
    /// Bytes taken by the host, and what of that the guest knows.
    forwarded: Wrapping<u32>,
    told: Wrapping<u32>,
    /// Bytes sent to the guest; what it has taken, and its buffer.
    sent: Wrapping<u32>,
    taken: Wrapping<u32>,
    guest_buffer: u32,
    /// The guest was asked for credit since it last gave any.
    asked_for_credit: bool,
    pub(super) deadline: Option<Instant>,
    /// Waits for its turn to speak to the guest.
    pub(super) queued: bool,
}

impl Connection {
    fn new(stream: UnixStream, phase: Phase) -> Self {
        Self {
            host_port: 0,
            guest_port: 0,
            stream,
            phase,
            pending: Pending::default(),
            readable: true,
            guest_ended: 0,
            host_ended: 0,
            to_host: VecDeque::new(),
            forwarded: Wrapping(0),
            told: Wrapping(0),
            sent: Wrapping(0),
            taken: Wrapping(0),
            guest_buffer: 0,
            asked_for_credit: false,
            deadline: None,
            queued: false,
        }
    }

    /// A host program has connected.
    pub(super) fn from_host(stream: UnixStream) -> Self {
        let mut new = Self::new(stream, Phase::Greeting(Greeting::default()));
        new.deadline = Some(Instant::now() + OPENING_TIME);
        new
    }

    /// The guest has asked for a connection, and `stream` is it.
    pub(super) fn from_guest(stream: UnixStream, request: &Header) -> Self {
        let mut new = Self::new(stream, Phase::Open);
        (new.host_port, new.guest_port) = (request.dst_port, request.src_port);
        new.pending.response = true;
        new.note_credit(request);
        new
    }

    /// What is watched.
    pub(super) fn stream_mut(&mut self) -> &mut UnixStream {
        &mut self.stream
    }

    /// The port a host program asks for, as soon as it has.
    pub(super) fn greet(&mut self) -> Result<Option<u32>, Broken> {
        let Phase::Greeting(greeting) = &mut self.phase else { return Ok(None) };
        match greeting.read(&mut self.stream) {
            Heard::Part => Ok(None),
            Heard::Port(port) => Ok(Some(port)),
            Heard::Nonsense => Err(Broken),
        }
    }

    /// Asks the guest, after the greeting.
    pub(super) fn ask(&mut self, host_port: u32, guest_port: u32) {
        (self.host_port, self.guest_port) = (host_port, guest_port);
        self.phase = Phase::Asked;
        self.pending.request = true;
    }

    /// Does the guest know of it?
    pub(super) fn is_known_to_guest(&self) -> bool {
        match self.phase {
            Phase::Greeting(_) | Phase::Lingering => false,
            Phase::Asked => !self.pending.request,
            Phase::Open => true,
        }
    }

    /// The host's end has news.
    pub(super) fn host_event(&mut self, receives: bool) -> Result<(), Broken> {
        self.readable = true;
        if !receives {
            if !matches!(self.phase, Phase::Open) {
                return Err(Broken);
            }
            self.host_receives_no_more();
        }
        self.flush()
    }

    /// A packet of the guest on this connection.
    pub(super) fn guest_packet(&mut self, header: &Header, data: Reader<'_>) -> Result<(), Broken> {
        self.note_credit(header);
        match (&self.phase, header.op) {
            (Phase::Asked, op::RESPONSE) if !self.pending.request => self.opened(),
            (Phase::Open, op::RW) => self.take(data),
            (Phase::Open, op::CREDIT_UPDATE) => Ok(()),
            (Phase::Open, op::CREDIT_REQUEST) => {
                self.pending.credit_update = true;
                Ok(())
            }
            (Phase::Open, op::SHUTDOWN) => {
                self.guest_ended |= header.flags & shutdown::BOTH;
                if self.guest_ended & shutdown::RECEIVE != 0 {
                    // The host program learns it when it writes. It may be gone.
                    let _ = self.stream.shutdown(Shutdown::Read);
                }
                self.flush()
            }
            _ => Err(Broken),
        }
    }

    /// The guest will neither send nor receive.
    pub(super) fn guest_is_done(&self) -> bool {
        self.guest_ended == shutdown::BOTH
    }

    /// The guest forgets the connection; true if there is something left for the host program.
    pub(super) fn linger(&mut self) -> bool {
        self.phase = Phase::Lingering;
        self.deadline = Some(Instant::now() + LINGER_TIME);
        !self.to_host.is_empty()
    }

    /// Nothing is left to do.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Lingering) && self.to_host.is_empty()
    }

    fn note_credit(&mut self, header: &Header) {
        (self.guest_buffer, self.taken) = (header.buf_alloc, Wrapping(header.fwd_cnt));
        if self.credit() > 0 {
            self.asked_for_credit = false;
        }
    }

    /// Bytes the guest has room for.
    fn credit(&self) -> u32 {
        self.guest_buffer.saturating_sub((self.sent - self.taken).0)
    }

    fn opened(&mut self) -> Result<(), Broken> {
        self.phase = Phase::Open;
        self.deadline = None;
        // The first bytes of a fresh socket have room, unless its reader is gone.
        let line = format!("OK {}\n", self.host_port);
        match self.stream.write(line.as_bytes()) {
            Ok(count) if count == line.len() => Ok(()),
            _ => Err(Broken),
        }
    }

    /// Data for the host: at once what it takes, the rest into the buffer.
    fn take(&mut self, mut data: Reader<'_>) -> Result<(), Broken> {
        let room = u64::from(BUFFER_BYTES) - self.to_host.len() as u64;
        if self.guest_ended & shutdown::SEND != 0 || data.remaining() > room {
            return Err(Broken);
        }
        while self.to_host.is_empty() && data.remaining() > 0 && self.host_ended & shutdown::RECEIVE == 0 {
            match vectored::write(self.stream.as_fd(), &data.slices(u64::MAX)) {
                Ok(0) => break,
                Ok(count) => {
                    data.skip(count as u64);
                    self.forward(count);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => self.host_receives_no_more(),
            }
        }
        // At most `BUFFER_BYTES`.
        let mut rest = vec![0; data.remaining() as usize];
        data.read_exact(&mut rest).map_err(|_| Broken)?;
        if self.host_ended & shutdown::RECEIVE != 0 {
            // Nobody will take it; the guest knows, or will soon.
            self.forward(rest.len());
        } else {
            self.to_host.extend(rest);
        }
        Ok(())
    }

    fn forward(&mut self, bytes: usize) {
        // At most `BUFFER_BYTES`.
        self.forwarded += bytes as u32;
        if (self.forwarded - self.told).0 >= CREDIT_STEP {
            self.pending.credit_update = true;
        }
    }

    /// Writes what waits for the host, then the end if the guest has ended.
    fn flush(&mut self) -> Result<(), Broken> {
        while !self.to_host.is_empty() {
            let (front, _) = self.to_host.as_slices();
            match self.stream.write(front) {
                Ok(count) => {
                    self.to_host.drain(..count);
                    self.forward(count);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => self.host_receives_no_more(),
            }
        }
        // An idle connection holds no buffer.
        self.to_host = VecDeque::new();
        if self.guest_ended & shutdown::SEND != 0 {
            // It may be gone, or have been told already.
            let _ = self.stream.shutdown(Shutdown::Write);
        }
        Ok(())
    }

    fn host_receives_no_more(&mut self) {
        let lost = self.to_host.len();
        self.to_host.clear();
        self.forward(lost);
        // A guest that sends no more need not know.
        if self.guest_ended & shutdown::SEND == 0 {
            self.host_ends(shutdown::RECEIVE);
        }
    }

    fn host_ends(&mut self, which: u32) {
        if self.host_ended & which != which {
            self.host_ended |= which;
            self.pending.shutdown = true;
        }
    }

    /// Is there anything to say to the guest, as far as is known?
    pub(super) fn has_something_to_say(&mut self) -> bool {
        let pending = &self.pending;
        match self.phase {
            Phase::Greeting(_) | Phase::Lingering => false,
            Phase::Asked => pending.request,
            Phase::Open if pending.response || pending.credit_update || pending.shutdown => true,
            Phase::Open if !self.reads() => pending.credit_request,
            Phase::Open if self.credit() > 0 => true,
            Phase::Open => {
                // There may be data and there is no credit.
                if !self.asked_for_credit {
                    (self.asked_for_credit, self.pending.credit_request) = (true, true);
                }
                self.pending.credit_request
            }
        }
    }

    fn reads(&self) -> bool {
        let ended = self.host_ended & shutdown::SEND | self.guest_ended & shutdown::RECEIVE;
        self.readable && ended == 0
    }

    /// Says the next thing to the guest.
    pub(super) fn say(&mut self, cid: u64, chain: &Chain) -> Result<Said, Broken> {
        let take = |flag: &mut bool| std::mem::take(flag);
        let data = self.reads() && self.credit() > 0;
        let pending = &mut self.pending;
        let (op, flags) = if take(&mut pending.request) {
            (op::REQUEST, 0)
        } else if take(&mut pending.response) {
            (op::RESPONSE, 0)
        } else if take(&mut pending.credit_request) {
            (op::CREDIT_REQUEST, 0)
        } else if take(&mut pending.shutdown) {
            if self.host_ended == shutdown::BOTH {
                self.deadline = Some(Instant::now() + CLOSING_TIME);
            }
            (op::SHUTDOWN, self.host_ended)
        } else if data {
            return self.say_data(cid, chain);
        } else if pending.credit_update {
            (op::CREDIT_UPDATE, 0)
        } else {
            return Ok(Said::Nothing);
        };
        let header = self.header(cid, op, flags, 0);
        let wrote = chain.writer().write_all(&header);
        // A buffer without room for a header is the guest's mistake, and what it would have said is lost.
        Ok(Said::Bytes(if wrote.is_ok() { HEADER_BYTES as u32 } else { 0 }))
    }

    fn say_data(&mut self, cid: u64, chain: &Chain) -> Result<Said, Broken> {
        let mut data = chain.writer();
        let mut head = data.split(HEADER_BYTES as u64);
        let slices = data.slices(MAX_DATA.min(self.credit().into()));
        if slices.is_empty() {
            return Ok(Said::Bytes(0));
        }
        match vectored::read(self.stream.as_fd(), &slices) {
            Ok(0) => {
                self.host_ends(shutdown::SEND);
                Ok(Said::Nothing)
            }
            Ok(count) => {
                // At most `MAX_DATA`.
                let count = count as u32;
                self.sent += count;
                let header = self.header(cid, op::RW, 0, count);
                head.write_all(&header).map_err(|_| Broken)?;
                Ok(Said::Bytes(HEADER_BYTES as u32 + count))
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.readable = false;
                Ok(Said::Nothing)
            }
            Err(_) => Err(Broken),
        }
    }

    /// Each packet tells the guest its credit.
    fn header(&mut self, cid: u64, op: u16, flags: u32, len: u32) -> [u8; HEADER_BYTES] {
        self.told = self.forwarded;
        self.pending.credit_update = false;
        let header = Header {
            src_cid: HOST_CID,
            dst_cid: cid,
            src_port: self.host_port,
            dst_port: self.guest_port,
            len,
            kind: TYPE_STREAM,
            op,
            flags,
            buf_alloc: BUFFER_BYTES,
            fwd_cnt: self.forwarded.0,
        };
        header.bytes()
    }
}
