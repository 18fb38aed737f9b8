//! One TCP connection of the guest and the host's socket it goes on to.
//!
//! ```text
//!   guest's SYN ──▶ Connecting ──connected──▶ Open ──both ends finished, all written──▶ over
//!                       │                      ▲ │
//!                     refused: reset           │ reset by either end, lost ──▶ over, the other end reset
//!   host's peer ───────────────────────────────┘ (we connect to the guest)
//! ```
//!
//! A flow may be silent for as long as both ends like, half closed or not: the client of a container that says nothing
//! for a day is still there. Now and then the guest is asked whether it still knows of a silent flow.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use smoltcp::socket::tcp::{RecvError, State};
use smoltcp::time::Instant as Timestamp;
use smoltcp::wire::TcpPacket;

use super::segment::{self, Syn, Told};
use super::stack::Stack;
use super::stream::HostStream;
use crate::net::user::emit::ETHERNET_BYTES;
use crate::net::user::link::{ip_protocol, write_ethernet};
use crate::net::user::packet::Ends;
use crate::net::{MacAddress, Offloads, Received};

/// How often at most a flow's timers are looked at: a bound on what a mistaken one costs.
const SHORTEST_WAIT: Duration = Duration::from_millis(1);

/// How often the guest is asked again about a silent flow, and how long an answer is waited for.
const PROBE_EVERY: Duration = Duration::from_secs(10);
const PROBE_PATIENCE: Duration = Duration::from_secs(60);

/// How long an acknowledgment may wait for more to acknowledge, or for an answer to go along with.
const ACKNOWLEDGE_WITHIN: Duration = Duration::from_millis(2);
/// Bytes that are acknowledged at once. A frame with nothing else in it costs the guest an interrupt.
const ACKNOWLEDGE_BYTES: usize = 32 << 10;
/// So many bytes at the start of a flow are acknowledged every second segment (RFC 9293, section 3.8.6.3): the guest's
/// congestion window grows by acknowledgments.
const QUICK_BYTES: usize = 256 << 10;

/// How long flows may be silent.
#[derive(Debug, Clone, Copy)]
pub(super) struct IdleTimes {
    /// Until a connection stands; it ends then.
    pub(super) opening: Duration,
    /// While it stands; the guest is asked then (RFC 5382, section 5: not before two hours and four minutes).
    pub(super) open: Duration,
    /// While the guest owes an acknowledgment of the end; it ends then.
    pub(super) closing: Duration,
    /// While the guest owes an answer to the question; it ends then.
    pub(super) probing: Duration,
}

impl IdleTimes {
    /// With the usual times, or shorter ones where `open` is shorter.
    pub(super) fn new(open: Duration) -> Self {
        Self {
            opening: OPENING.min(open),
            open,
            closing: CLOSING.min(open),
            probing: PROBE_PATIENCE.min(open),
        }
    }
}

/// How long a connection may take to stand.
const OPENING: Duration = Duration::from_secs(75);
/// How long the last acknowledgments may take.
const CLOSING: Duration = Duration::from_secs(4 * 60);

/// What happens to a flow that was silent for too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expiry {
    /// It was not: something moved meanwhile.
    NotYet,
    /// The guest is asked whether it knows of it.
    Probed,
    /// It ends.
    Ended,
}

/// Where a flow stands.
enum Stage {
    /// The host's socket is being connected; the guest's SYN waits.
    Connecting(Syn),
    /// Both ends are there, or the guest is being connected to.
    Open,
}

/// What is to become of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Lives,
    /// Both ends are through with each other.
    Over,
}

/// A flow.
pub(super) struct Flow {
    pub(super) ends: Ends,
    pub(super) stream: HostStream,
    /// Where else to connect to should the first refuse.
    pub(super) alternative: Option<SocketAddr>,
    stage: Stage,
    stack: Stack,
    /// The guest's station.
    station: MacAddress,
    /// The guest's maximum segment size.
    mss: u16,
    readable: bool,
    writable: bool,
    /// All the guest had to say was written, and the host's peer told so.
    guest_finished: bool,
    /// The host's peer has said all.
    host_finished: bool,
    /// The stack had nothing to say since the guest last did: its end, too, is acknowledged.
    said_all: bool,
    /// When something last moved.
    active: Instant,
    /// Since when an answer of the guest's is waited for.
    probed: Option<Instant>,
    /// Bytes of the guest's since the last frame for it, and by when they are acknowledged.
    unacknowledged: usize,
    acknowledge_by: Instant,
    /// Bytes of the guest's in all, as far as they count.
    taken: usize,
    /// What [`super::TcpFlows`] keeps with a flow.
    pub(super) timer: Option<Instant>,
    pub(super) queued: bool,
}

impl Flow {
    /// A flow the guest opens: `syn` waits for `stream` to be connected.
    pub(super) fn from_guest(
        ends: Ends,
        (stream, alternative): (HostStream, Option<SocketAddr>),
        (syn, stack): (Syn, Stack),
        station: MacAddress,
        now: Instant,
    ) -> Self {
        let mss = syn.mss;
        Self::new(ends, stream, alternative, Stage::Connecting(syn), stack, station, mss, now)
    }

    /// A flow from the host's `stream` into the guest, where `stack` is connecting.
    pub(super) fn from_host(
        ends: Ends,
        stream: HostStream,
        stack: Stack,
        station: MacAddress,
        now: Instant,
    ) -> Self {
        // The guest's SYN says how large its segments may be; until then the flow sends no data.
        Self::new(ends, stream, None, Stage::Open, stack, station, u16::MAX, now)
    }

    #[expect(clippy::too_many_arguments, reason = "private: the two constructors name what they give")]
    fn new(
        ends: Ends,
        stream: HostStream,
        alternative: Option<SocketAddr>,
        stage: Stage,
        stack: Stack,
        station: MacAddress,
        mss: u16,
        now: Instant,
    ) -> Self {
        Self {
            ends,
            stream,
            alternative,
            stage,
            stack,
            station,
            mss,
            readable: true,
            writable: true,
            guest_finished: false,
            host_finished: false,
            said_all: false,
            active: now,
            probed: None,
            unacknowledged: 0,
            acknowledge_by: now,
            taken: 0,
            timer: None,
            queued: false,
        }
    }

    /// The host's socket has news.
    pub(super) fn ready(&mut self, readable: bool, writable: bool) {
        self.readable |= readable;
        self.writable |= writable;
    }

    /// The SYN that waits for the host's socket, while it does.
    pub(super) fn waiting_syn(&self) -> Option<&Syn> {
        match &self.stage {
            Stage::Connecting(syn) => Some(syn),
            Stage::Open => None,
        }
    }

    /// The host's socket is connected: the guest gets its answer.
    pub(super) fn open(&mut self, now: Instant, timestamp: Timestamp) {
        if let Stage::Connecting(syn) = std::mem::replace(&mut self.stage, Stage::Open) {
            self.active = now;
            self.stack.listen(self.ends.remote);
            // A stack that listens answers a SYN when it is asked for a datagram.
            let _ = self.stack.take(&syn.datagram, timestamp);
        }
    }

    /// What the guest was told last, once both ends have agreed on the connection. A guest that opens it again has
    /// forgotten it, and says so when it is told of it; smoltcp (0.14) would not answer, and the guest try in vain.
    pub(super) fn stands(&mut self) -> Option<Told> {
        match self.stack.socket().state() {
            State::Closed | State::Listen | State::SynSent | State::SynReceived => None,
            _ => self.stack.told(),
        }
    }

    /// Whether there is room for what `segment`, of the guest's, carries.
    pub(super) fn has_room(&self, segment: &TcpPacket<&[u8]>) -> bool {
        self.stack.has_room(segment)
    }

    /// Takes a segment of the guest's; gives what it is answered with at once.
    pub(super) fn take(&mut self, datagram: &[u8], now: Instant, timestamp: Timestamp) -> Option<Vec<u8>> {
        if matches!(self.stage, Stage::Connecting(_)) {
            // The guest repeats its SYN: it has its answer when there is one.
            return None;
        }
        self.active = now;
        self.said_all = false;
        if self.probed.take().is_some() {
            self.stack.socket().set_keep_alive(None);
        }
        if self.unacknowledged == 0 {
            self.acknowledge_by = now + ACKNOWLEDGE_WITHIN;
        }
        let before = self.stack.socket().recv_queue();
        let answer = self.stack.take(datagram, timestamp);
        let new = self.stack.socket().recv_queue().saturating_sub(before);
        self.unacknowledged += new;
        self.taken = self.taken.saturating_add(new);
        answer
    }

    /// Whether all there is to say to the guest is an acknowledgment that may wait.
    fn may_wait(&mut self, now: Instant) -> bool {
        let enough = if self.taken < QUICK_BYTES { 2 * usize::from(self.mss) } else { ACKNOWLEDGE_BYTES };
        let socket = self.stack.socket();
        (1..enough).contains(&self.unacknowledged)
            && now < self.acknowledge_by
            && socket.state() == State::Established
            && socket.send_queue() == 0
            && self.probed.is_none()
    }

    /// The same for the SYN of a guest that was connected to.
    pub(super) fn take_syn(&mut self, syn: &Syn, now: Instant, timestamp: Timestamp) -> Option<Vec<u8>> {
        if self.stack.socket().state() == State::SynSent {
            self.mss = syn.mss;
        }
        self.take(&syn.datagram, now, timestamp)
    }

    /// Whether the stack's buffer for what the guest says is so full that it is to be emptied before the next segment.
    pub(super) fn is_filling(&mut self) -> bool {
        let socket = self.stack.socket();
        socket.recv_queue() > socket.recv_capacity() / 2
    }

    /// Moves bytes between the guest and the host, as far as they go.
    pub(super) fn pump(&mut self, now: Instant) -> Fate {
        if matches!(self.stage, Stage::Connecting(_)) {
            return Fate::Lives;
        }
        if self.carry_out(now).and_then(|()| self.carry_in(now)).is_err() {
            // The host's connection is broken: so is the guest's.
            self.stack.socket().abort();
        }
        let state = self.stack.socket().state();
        let silent = self.stack.socket().local_endpoint().is_none();
        match state {
            // A reset by the guest, one that is sent, or the last acknowledgment of an orderly end.
            State::Closed if silent && self.host_finished && self.guest_finished => Fate::Over,
            State::Closed if silent && self.host_finished && self.stack.socket().can_recv() => Fate::Lives,
            State::Closed if silent => {
                self.stream.abort();
                Fate::Over
            }
            State::TimeWait if self.guest_finished && self.said_all => Fate::Over,
            _ => Fate::Lives,
        }
    }

    /// From the guest to the host.
    fn carry_out(&mut self, now: Instant) -> io::Result<()> {
        while self.writable && !self.guest_finished {
            let stream = &mut self.stream;
            let written = self.stack.socket().recv(|bytes| {
                if bytes.is_empty() {
                    return (0, Ok(0));
                }
                match stream.write(bytes) {
                    Ok(length) => (length, Ok(length)),
                    Err(error) => (0, Err(error)),
                }
            });
            match written {
                Ok(Ok(0)) | Err(RecvError::InvalidState) => return Ok(()),
                Ok(Ok(_)) => self.active = now,
                Ok(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => self.writable = false,
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(Err(error)) => return Err(error),
                Err(RecvError::Finished) => {
                    self.stream.finish();
                    self.guest_finished = true;
                }
            }
        }
        Ok(())
    }

    /// From the host to the guest.
    fn carry_in(&mut self, now: Instant) -> io::Result<()> {
        while self.readable && !self.host_finished && self.stack.socket().can_send() {
            let stream = &mut self.stream;
            let read = self.stack.socket().send(|room| match stream.read(room) {
                Ok(length) => (length, Ok(length)),
                Err(error) => (0, Err(error)),
            });
            match read {
                Err(_) => return Ok(()),
                Ok(Ok(0)) => {
                    self.host_finished = true;
                    self.stack.socket().close();
                }
                Ok(Ok(_)) => self.active = now,
                Ok(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => self.readable = false,
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(Err(error)) => return Err(error),
            }
        }
        Ok(())
    }

    /// Writes the next frame for the guest into `frame`.
    pub(super) fn give(
        &mut self,
        frame: &mut [u8],
        offloads: Offloads,
        now: Instant,
        timestamp: Timestamp,
    ) -> Option<Received> {
        if self.may_wait(now) {
            return None;
        }
        let length = self.stack.give(frame.get_mut(ETHERNET_BYTES..)?, timestamp);
        self.said_all = length.is_none();
        let length = length?;
        self.unacknowledged = 0;
        let bytes = ETHERNET_BYTES + length;
        let frame = frame.get_mut(..bytes)?;
        let header = segment::header(frame, offloads, self.mss)?;
        write_ethernet(frame, self.station.into(), ip_protocol(frame)?)?;
        Some(Received { bytes, header })
    }

    /// When the flow is to be looked at again, `start` being the time of timestamp 0.
    pub(super) fn deadline(&mut self, idle: &IdleTimes, start: Instant, now: Instant) -> Instant {
        let expires = self.expires(idle);
        if self.may_wait(now) {
            return expires.min(self.acknowledge_by);
        }
        let timestamp = Timestamp::from_micros(micros_since(start, now));
        match self.stack.next(timestamp) {
            Some(next) => {
                let micros = u64::try_from(next.total_micros()).unwrap_or(0);
                let next = start + Duration::from_micros(micros);
                expires.min(next.max(now + SHORTEST_WAIT))
            }
            None => expires,
        }
    }

    /// When the flow has been silent for too long.
    pub(super) fn expires(&mut self, idle: &IdleTimes) -> Instant {
        if let Some(probed) = self.probed {
            return probed + idle.probing;
        }
        let patience = match (&self.stage, self.stack.socket().state()) {
            (Stage::Connecting(_), _) | (_, State::Listen | State::SynSent | State::SynReceived) => {
                idle.opening
            }
            (_, State::Established | State::CloseWait | State::FinWait2) => idle.open,
            _ => idle.closing,
        };
        self.active + patience
    }

    /// The time that [`Self::expires`] said is there.
    pub(super) fn expire(&mut self, idle: &IdleTimes, now: Instant) -> Expiry {
        if self.expires(idle) > now {
            return Expiry::NotYet;
        }
        let socket = self.stack.socket();
        let stands = matches!(socket.state(), State::Established | State::CloseWait | State::FinWait2);
        if self.probed.is_none() && stands {
            self.probed = Some(now);
            socket.set_keep_alive(Some(PROBE_EVERY.into()));
            return Expiry::Probed;
        }
        self.stream.abort();
        socket.abort();
        Expiry::Ended
    }
}

/// Microseconds from `start` to `now`, as smoltcp counts time.
pub(super) fn micros_since(start: Instant, now: Instant) -> i64 {
    i64::try_from(now.saturating_duration_since(start).as_micros()).unwrap_or(i64::MAX)
}
