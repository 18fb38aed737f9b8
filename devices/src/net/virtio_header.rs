//! Virtio's packet header as bytes (virtio 1.2, section 5.1.6): before each frame in a queue, and on a tap interface.

use super::{FrameHeader, LargeSegment, PartialChecksum, SegmentKind};

/// Length of the header of a modern device in bytes.
pub const VIRTIO_HEADER_BYTES: usize = 12;

const NEEDS_CSUM: u8 = 1;
const GSO_NONE: u8 = 0;
const GSO_TCPV4: u8 = 1;
const GSO_TCPV6: u8 = 4;
/// Set beside the kind when the segment carries congestion marks; they are the segment's own then.
const GSO_ECN: u8 = 0x80;

/// A header that asks for what was not offered, or points out of its frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a virtio packet header asks for what does not exist (flags {flags:#x}, segmentation {segmentation:#x})"
)]
pub struct HeaderError {
    flags: u8,
    segmentation: u8,
}

impl FrameHeader {
    /// The header as bytes, `num_buffers` being 1.
    pub fn to_virtio(&self) -> [u8; VIRTIO_HEADER_BYTES] {
        let flags = if self.checksum.is_some() { NEEDS_CSUM } else { 0 };
        let (kind, header_bytes, size) = match self.segment {
            None => (GSO_NONE, 0, 0),
            Some(segment) => {
                let kind = match segment.kind {
                    SegmentKind::TcpV4 => GSO_TCPV4,
                    SegmentKind::TcpV6 => GSO_TCPV6,
                };
                (kind, segment.header_bytes, segment.size)
            }
        };
        let (start, offset) = self.checksum.map_or((0, 0), |checksum| (checksum.start, checksum.offset));
        let mut bytes = [0; VIRTIO_HEADER_BYTES];
        bytes[0] = flags;
        bytes[1] = kind;
        for (field, value) in bytes[2..].chunks_mut(2).zip([header_bytes, size, start, offset, 1]) {
            field.copy_from_slice(&value.to_le_bytes());
        }
        bytes
    }

    /// The header of a frame of `frame_bytes` bytes. `num_buffers` is not looked at.
    ///
    /// # Errors
    /// It asks for segmentation that is not offered or without a checksum, or its checksum is not in the frame.
    pub fn from_virtio(bytes: &[u8; VIRTIO_HEADER_BYTES], frame_bytes: usize) -> Result<Self, HeaderError> {
        let error = || HeaderError { flags: bytes[0], segmentation: bytes[1] };
        let field = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        let (header_bytes, size, start, offset) = (field(2), field(4), field(6), field(8));
        let checksum = (bytes[0] & NEEDS_CSUM != 0).then_some(PartialChecksum { start, offset });
        if checksum.is_some() && usize::from(start) + usize::from(offset) + 2 > frame_bytes {
            return Err(error());
        }
        let kind = match bytes[1] & !GSO_ECN {
            GSO_NONE => None,
            GSO_TCPV4 => Some(SegmentKind::TcpV4),
            GSO_TCPV6 => Some(SegmentKind::TcpV6),
            _ => return Err(error()),
        };
        let segment = kind.map(|kind| LargeSegment { kind, size, header_bytes });
        // Section 5.1.6.2.2: a driver that has a frame cut leaves its checksum as well.
        if segment.is_some() && (checksum.is_none() || size == 0) {
            return Err(error());
        }
        Ok(Self { checksum, segment })
    }
}
