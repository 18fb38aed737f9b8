//! One request: what the driver asks, and the disk's answer.
//!
//! Everything in a request comes from the driver. Each is answered with a status in the last byte that the device may write,
//! if there is such a byte; what is not within the limits that the configuration tells is an error.

use std::io;

use super::limits;
use super::spec::{HEADER_BYTES, ID_BYTES, SEGMENT_BYTES, UNMAP, feature, request, status};
use crate::disk::{DiskImage, SECTOR_BYTES};
use crate::virtio::{Chain, Reader, ShortChain, Writer};

/// Why a request is not carried out.
#[derive(Debug)]
enum Failure {
    /// The driver asked for what there is not.
    Unsupported,
    /// The driver's numbers do not fit together or the disk.
    Malformed(&'static str),
    /// The host's answer.
    Host(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Host(error)
    }
}

impl From<ShortChain> for Failure {
    fn from(_: ShortChain) -> Self {
        Self::Malformed("too few bytes")
    }
}

/// How requests are to be understood.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    /// The features agreed on.
    pub(super) features: u64,
    /// The driver does not flush: a write is answered when it is safe.
    pub(super) write_through: bool,
}

/// What a request is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Header {
    kind: u32,
    sector: u64,
}

impl Header {
    fn read(reader: &mut Reader<'_>) -> Result<Self, ShortChain> {
        let mut bytes = [0; HEADER_BYTES];
        reader.read_exact(&mut bytes)?;
        let [a, b, c, d, _, _, _, _, sector @ ..] = bytes;
        Ok(Self { kind: u32::from_le_bytes([a, b, c, d]), sector: u64::from_le_bytes(sector) })
    }
}

/// A chain, and what its header says.
pub(super) struct Request {
    pub(super) chain: Chain,
    /// An error until it is read.
    header: Result<Header, ShortChain>,
    /// Bytes that the device may have written to it.
    pub(super) written: u32,
}

impl Request {
    pub(super) fn new(chain: Chain) -> Self {
        Self { chain, header: Err(ShortChain), written: 0 }
    }

    pub(super) fn read_header(&mut self) {
        self.header = Header::read(&mut self.chain.reader());
    }

    /// Whether it may take long on the host: more than moving some data.
    pub(super) fn may_take_long(&self) -> bool {
        self.header.is_ok_and(|header| !matches!(header.kind, request::IN | request::OUT | request::GET_ID))
    }
}

/// Carries a request out and writes its status; answers the bytes that the device may have written.
pub(super) fn serve(request: &Request, image: &DiskImage, terms: Terms) -> u32 {
    let mut answer = request.chain.writer();
    let Some(room) = answer.remaining().checked_sub(1) else {
        log::debug!("virtio-blk: a request without a place for its status");
        return 0;
    };
    let data = answer.split(room);
    let (status, why) = match carry_out(request, data, image, terms) {
        Ok(()) => (status::OK, None),
        Err(Failure::Unsupported) => (status::UNSUPPORTED, None),
        Err(Failure::Malformed(why)) => (status::IO_ERROR, Some(why.to_owned())),
        Err(Failure::Host(error)) => (status::IO_ERROR, Some(error.to_string())),
    };
    if let Some(why) = why {
        log::debug!("virtio-blk: a request fails: {why}");
    }
    // There is room for one byte.
    let _ = answer.write_all(&[status]);
    u32::try_from(room + 1).unwrap_or(u32::MAX)
}

fn carry_out(
    request: &Request,
    mut data: Writer<'_>,
    image: &DiskImage,
    terms: Terms,
) -> Result<(), Failure> {
    let header = request.header?;
    let mut said = request.chain.reader();
    said.skip(HEADER_BYTES as u64);
    match header.kind {
        request::IN => {
            let offset = checked_offset(&header, data.remaining())?;
            image.read_vectored_at(&data.slices(u64::MAX), offset)?;
        }
        request::OUT => {
            let offset = checked_offset(&header, said.remaining())?;
            image.write_vectored_at(&said.slices(u64::MAX), offset)?;
            if terms.write_through {
                image.flush()?;
            }
        }
        request::FLUSH => image.flush()?,
        request::GET_ID => {
            let mut id = [0; ID_BYTES];
            let serial = image.serial().unwrap_or_default().bytes();
            id.iter_mut().zip(serial).for_each(|(to, from)| *to = from);
            let room = data.remaining().min(ID_BYTES as u64) as usize;
            data.write_all(id.get(..room).unwrap_or_default())?;
        }
        request::DISCARD if terms.features & feature::DISCARD != 0 => {
            for segment in segments(&mut said, &limits::DISCARD)? {
                image.discard(segment.offset, segment.len)?;
            }
        }
        request::WRITE_ZEROES if terms.features & feature::WRITE_ZEROES != 0 => {
            for segment in segments(&mut said, &limits::WRITE_ZEROES)? {
                image.write_zeroes(segment.offset, segment.len, segment.flags & UNMAP != 0)?;
            }
            if terms.write_through {
                image.flush()?;
            }
        }
        _ => return Err(Failure::Unsupported),
    }
    Ok(())
}

/// Where on the disk, in bytes, `len` bytes of data begin. That they end on it is the image's to check.
fn checked_offset(header: &Header, len: u64) -> Result<u64, Failure> {
    if !len.is_multiple_of(SECTOR_BYTES) {
        return Err(Failure::Malformed("data that is not whole sectors"));
    }
    if len > limits::DATA_BYTES {
        return Err(Failure::Malformed("more data than a request may have"));
    }
    header.sector.checked_mul(SECTOR_BYTES).ok_or(Failure::Malformed("a sector beyond all disks"))
}

/// A range to be discarded or zeroed, bytes.
struct Segment {
    offset: u64,
    len: u64,
    flags: u32,
}

/// All segments, each within its limits.
fn segments(said: &mut Reader<'_>, limits: &limits::Segments) -> Result<Vec<Segment>, Failure> {
    let bytes = said.remaining();
    let most = u64::from(limits.count) * SEGMENT_BYTES as u64;
    if bytes == 0 || bytes > most || !bytes.is_multiple_of(SEGMENT_BYTES as u64) {
        return Err(Failure::Malformed("segments that are not whole, or too many"));
    }
    let mut segments = Vec::new();
    while said.remaining() > 0 {
        let mut raw = [0; SEGMENT_BYTES];
        said.read_exact(&mut raw)?;
        let [sector @ .., a, b, c, d, e, f, g, h] = raw;
        let sectors = u32::from_le_bytes([a, b, c, d]);
        let flags = u32::from_le_bytes([e, f, g, h]);
        if flags & !limits.flags != 0 {
            return Err(Failure::Unsupported);
        }
        if sectors > limits.sectors {
            return Err(Failure::Malformed("a segment that is too long"));
        }
        let offset = u64::from_le_bytes(sector).checked_mul(SECTOR_BYTES);
        let offset = offset.ok_or(Failure::Malformed("a sector beyond all disks"))?;
        segments.push(Segment { offset, len: u64::from(sectors) * SECTOR_BYTES, flags });
    }
    Ok(segments)
}
