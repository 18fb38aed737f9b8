//! The event loop's side of the console: bytes out, bytes in, and what is seen on the way.

use std::sync::Arc;

use mio::Registry;

use super::endpoint::{Received, Sent};
use super::escape::{Escape, Key};
use super::expect::{ExpectPattern, Matcher};
use super::milestones::{LineReader, Milestone};
use super::output::HIGH_WATER;
use super::{OutputQueue, Place};

/// Output kept for a reader that is there but slow, where the guest does not wait for it.
const MAX_BACKLOG: usize = 64 << 10;
/// Input kept for a guest that does not take it; more is left with the sender.
const MAX_INPUT: usize = 4 << 10;

/// What new output showed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// The expected pattern.
    pub(crate) expected: bool,
    /// The kernel's words.
    pub(crate) milestones: Vec<Milestone>,
    /// The reader is gone for good; told once.
    pub(crate) closed: bool,
}

/// One console of a machine.
pub(crate) struct Console {
    place: Place,
    queue: Arc<OutputQueue>,
    outgoing: Vec<u8>,
    incoming: Vec<u8>,
    matcher: Option<Matcher>,
    lines: LineReader,
    escape: Escape,
    /// More may come from the place.
    input_open: bool,
    /// Output has somewhere to go.
    output_open: bool,
    /// Output came a moment ago, so more is likely.
    attended: bool,
    bytes: u64,
    dropped: u64,
}

impl Console {
    pub(crate) fn new(place: Place, queue: Arc<OutputQueue>, expect: Option<ExpectPattern>) -> Self {
        Self {
            place,
            queue,
            outgoing: Vec::new(),
            incoming: Vec::new(),
            matcher: expect.map(Matcher::new),
            lines: LineReader::default(),
            escape: Escape::default(),
            input_open: true,
            output_open: true,
            attended: false,
            bytes: 0,
            dropped: 0,
        }
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    pub(crate) fn attach(&mut self) -> std::io::Result<()> {
        self.place.attach()
    }

    pub(crate) fn register(&mut self, registry: &Registry) -> std::io::Result<()> {
        self.place.register(registry)
    }

    /// Moves output on, and looks at it.
    pub(crate) fn pump_output(&mut self) -> Seen {
        let mut seen = Seen::default();
        if self.outgoing.len() < HIGH_WATER {
            let from = self.outgoing.len();
            self.queue.take(&mut self.outgoing, true);
            self.attended = self.outgoing.len() > from;
            if !self.attended {
                // Quiet: from here on the sender wakes the loop. What came meanwhile is taken too.
                self.queue.take(&mut self.outgoing, false);
            }
            let fresh = self.outgoing.get(from..).unwrap_or_default();
            self.bytes += fresh.len() as u64;
            seen.milestones = self.lines.feed(fresh);
            seen.expected = self.matcher.as_mut().is_some_and(|matcher| matcher.feed(fresh));
        }
        seen.closed = self.send();
        seen
    }

    /// True once, when the reader has gone.
    fn send(&mut self) -> bool {
        let mut sent = 0;
        let mut closed = false;
        while let Some(rest) = self.outgoing.get(sent..).filter(|rest| !rest.is_empty()) {
            if !self.output_open {
                self.dropped += rest.len() as u64;
                sent = self.outgoing.len();
                break;
            }
            match self.place.write(rest) {
                Sent::Bytes(count) => sent += count,
                Sent::Later if self.place.waits() || rest.len() <= MAX_BACKLOG => break,
                Sent::Later | Sent::Nobody => {
                    self.dropped += rest.len() as u64;
                    sent = self.outgoing.len();
                }
                Sent::Closed => {
                    self.output_open = false;
                    closed = true;
                }
            }
        }
        self.outgoing.drain(..sent.min(self.outgoing.len()));
        closed
    }

    /// Moves input on: `offer` is the device and says how much it took. Keys for the VMM are the answer.
    pub(crate) fn pump_input(
        &mut self,
        registry: &Registry,
        mut offer: impl FnMut(&[u8]) -> usize,
    ) -> Vec<Key> {
        self.place.accept(registry);
        let mut keys = Vec::new();
        loop {
            if !self.incoming.is_empty() {
                let taken = offer(&self.incoming).min(self.incoming.len());
                self.incoming.drain(..taken);
            }
            let room = MAX_INPUT.saturating_sub(self.incoming.len());
            // With escape keys input is always read: they must work when the guest does not.
            let escape = self.place.has_escape_keys();
            if !self.input_open || (room == 0 && !escape) {
                return keys;
            }
            let mut buffer = [0; MAX_INPUT];
            let limit = if room == 0 { MAX_INPUT } else { room };
            let buffer = buffer.get_mut(..limit).unwrap_or_default();
            match self.place.read(buffer) {
                Received::Bytes(count) => {
                    let read = buffer.get(..count).unwrap_or_default();
                    if escape {
                        keys.extend(self.escape.filter(read, &mut self.incoming));
                        self.incoming.truncate(MAX_INPUT);
                    } else {
                        self.incoming.extend_from_slice(read);
                    }
                }
                Received::Nothing => return keys,
                Received::End => self.input_open = false,
            }
        }
    }

    /// Must the loop come back by itself soon?
    pub(crate) fn wants_attention(&self) -> Attention {
        if self.attended || !self.outgoing.is_empty() {
            Attention::Soon
        } else if self.input_open && self.place.needs_polling() && self.incoming.len() < MAX_INPUT {
            Attention::Sometimes
        } else {
            Attention::OnEvents
        }
    }

    /// Has the reader caught up, so that a guest held back may go on?
    pub(crate) fn has_room(&self) -> bool {
        self.outgoing.len() < HIGH_WATER / 4
    }

    /// Is there output that its reader has not taken?
    pub(crate) fn has_output(&self) -> bool {
        self.attended || !self.outgoing.is_empty()
    }

    /// Bytes seen, and bytes nobody took.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.bytes, self.dropped)
    }

    /// When the first byte came.
    pub(crate) fn first_byte(&self) -> Option<std::time::Instant> {
        self.queue.first_byte()
    }
}

/// When the event loop looks at the console again without an event; what is sooner is less.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Attention {
    /// Output flows or waits for its reader.
    Soon,
    /// Input that has no events.
    Sometimes,
    /// Not at all.
    OnEvents,
}

#[cfg(test)]
#[path = "pump_test.rs"]
mod pump_test;
