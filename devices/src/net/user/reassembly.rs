//! Datagrams that the guest sent in pieces (RFC 791, section 3.2; RFC 8200, section 4.5).

use std::collections::HashMap;
use std::time::{Duration, Instant};

use smoltcp::phy::ChecksumCapabilities;

use super::emit::ip_header;
use super::packet::{Fragment, FragmentKey};

/// Datagrams waiting for their rest at a time.
const MAX_DATAGRAMS: usize = 16;
/// Pieces of one datagram: as many as the largest has on a link of 576 bytes, with some to spare.
const MAX_PIECES: usize = 128;

/// The largest payload in bytes. What it comes out as, a datagram in one piece, has an IP header in front.
fn max_bytes(key: &FragmentKey) -> usize {
    65_535 - if key.source.is_ipv4() { 20 } else { 40 }
}
/// How long a datagram waits for its rest.
const PATIENCE: Duration = Duration::from_secs(15);

struct Partial {
    since: Instant,
    /// Offset and contents of each piece, without overlap.
    pieces: Vec<(usize, Vec<u8>)>,
    /// Length of the whole, once the last piece came.
    length: Option<usize>,
}

/// Datagrams that have not all their pieces.
#[derive(Default)]
pub(super) struct Reassembly {
    waiting: HashMap<FragmentKey, Partial>,
}

impl Reassembly {
    /// Takes a piece. With the last missing one the whole datagram comes out, under an IP header of its own.
    pub(super) fn add(&mut self, fragment: &Fragment<'_>, now: Instant) -> Option<Vec<u8>> {
        self.waiting.retain(|_, partial| now.saturating_duration_since(partial.since) < PATIENCE);
        if !self.waiting.contains_key(&fragment.key) && self.waiting.len() >= MAX_DATAGRAMS {
            let oldest = self.waiting.iter().min_by_key(|(_, partial)| partial.since).map(|(key, _)| *key)?;
            self.waiting.remove(&oldest);
        }
        let partial = self.waiting.entry(fragment.key).or_insert_with(|| Partial {
            since: now,
            pieces: Vec::new(),
            length: None,
        });
        if partial.add(fragment).is_none() {
            // A datagram with a contradiction is dropped as a whole (RFC 5722).
            self.waiting.remove(&fragment.key);
            return None;
        }
        if !partial.is_complete() {
            return None;
        }
        let partial = self.waiting.remove(&fragment.key)?;
        partial.datagram(&fragment.key)
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.waiting.clear();
    }
}

impl Partial {
    /// `None` when the piece contradicts the others.
    fn add(&mut self, fragment: &Fragment<'_>) -> Option<()> {
        let (start, end) = (fragment.offset, fragment.offset.checked_add(fragment.payload.len())?);
        if end > max_bytes(&fragment.key) || self.pieces.len() >= MAX_PIECES {
            return None;
        }
        // All pieces but the last are whole multiples of 8 bytes, and of some length.
        if fragment.more && (fragment.payload.is_empty() || !fragment.payload.len().is_multiple_of(8)) {
            return None;
        }
        match (fragment.more, self.length) {
            (false, Some(length)) if length != end => return None,
            (true, Some(length)) if end > length => return None,
            (false, None) => {
                if self.pieces.iter().any(|(offset, piece)| offset + piece.len() > end) {
                    return None;
                }
                self.length = Some(end);
            }
            _ => {}
        }
        let same = self.pieces.iter().any(|(offset, piece)| *offset == start && piece == fragment.payload);
        if same {
            return Some(());
        }
        if self.pieces.iter().any(|(offset, piece)| start < offset + piece.len() && *offset < end) {
            return None;
        }
        self.pieces.push((start, fragment.payload.to_vec()));
        Some(())
    }

    fn is_complete(&self) -> bool {
        let received: usize = self.pieces.iter().map(|(_, piece)| piece.len()).sum();
        self.length == Some(received)
    }

    fn datagram(mut self, key: &FragmentKey) -> Option<Vec<u8>> {
        self.pieces.sort_by_key(|(offset, _)| *offset);
        let length = self.length.unwrap_or_default();
        let repr = ip_header(key.source, key.destination, key.protocol.into(), length)?;
        let mut datagram = vec![0; repr.header_len()];
        repr.emit(&mut datagram, &ChecksumCapabilities::default());
        for (_, piece) in self.pieces {
            datagram.extend_from_slice(&piece);
        }
        Some(datagram)
    }
}
