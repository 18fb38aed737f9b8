//! What virtio's offloads ask of single segments: sizes and checksums.

use std::net::IpAddr;

use smoltcp::wire::{
    IpProtocol, Ipv4Packet, Ipv6Packet, TcpControl, TcpOption, TcpPacket, TcpRepr, TcpSeqNumber, checksum,
};

use crate::net::user::emit::{ETHERNET_BYTES, ip_header};
use crate::net::user::packet::Datagram;
use crate::net::{FrameHeader, LargeSegment, Offloads, PartialChecksum, SegmentKind};

/// Offset of the checksum in a TCP header (RFC 9293, section 3.1).
const CHECKSUM_OFFSET: u16 = 16;
/// The smallest segment size that counts; Linux raises smaller ones to it as well.
const MIN_MSS: u16 = 48;
/// The maximum segment size of who names none (RFC 9293, section 3.7.1).
const DEFAULT_MSS: u16 = 536;
/// The largest payload of a segment: IPv6's header and TCP's, with room for options, in the largest datagram.
const LARGE_MSS: u16 = 65_535 - 40 - 60;

/// A SYN of the guest's, with which a flow can be given segments as large as IP allows.
pub(super) struct Syn {
    /// The datagram, its maximum segment size raised when the guest takes large segments.
    pub(super) datagram: Vec<u8>,
    /// The size the guest named, in bytes.
    pub(super) mss: u16,
}

impl Syn {
    /// Reads the maximum segment size out of a SYN, and raises it if `raise`.
    pub(super) fn new(packet: &Datagram<'_>, raise: bool) -> Self {
        let mut datagram = packet.whole.to_vec();
        let header_bytes = packet.whole.len() - packet.payload.len();
        let mut mss = DEFAULT_MSS;
        if let Some(place) = mss_option(packet.payload)
            && let Some(field) = datagram.get_mut(header_bytes + place..header_bytes + place + 2)
        {
            mss = u16::from_be_bytes([field[0], field[1]]).max(MIN_MSS);
            if raise {
                // Its checksum was checked before, and is not looked at again.
                field.copy_from_slice(&LARGE_MSS.to_be_bytes());
            }
        }
        Self { datagram, mss }
    }
}

/// Where the maximum segment size stands in a TCP header with one.
fn mss_option(segment: &[u8]) -> Option<usize> {
    let packet = TcpPacket::new_checked(segment).ok()?;
    let end = usize::from(packet.header_len());
    let mut options = packet.options();
    while !options.is_empty() {
        let place = end - options.len();
        let (rest, option) = TcpOption::parse(options).ok()?;
        match option {
            // Kind and length stand before the value.
            TcpOption::MaxSegmentSize(_) => return Some(place + 2),
            TcpOption::EndOfList => return None,
            _ => options = rest,
        }
    }
    None
}

/// What goes along with the TCP frame in `frame`, whose checksum is empty when the guest finishes it; its partial sum
/// is filled in then. `mss` is the guest's.
pub(super) fn header(frame: &mut [u8], offloads: Offloads, mss: u16) -> Option<FrameHeader> {
    let bytes = frame.get(ETHERNET_BYTES..)?;
    let (ip_bytes, kind, source, destination) = match bytes.first()? >> 4 {
        4 => {
            let ip = Ipv4Packet::new_unchecked(bytes);
            (20, SegmentKind::TcpV4, IpAddr::V4(ip.src_addr()), IpAddr::V4(ip.dst_addr()))
        }
        _ => {
            let ip = Ipv6Packet::new_unchecked(bytes);
            (40, SegmentKind::TcpV6, IpAddr::V6(ip.src_addr()), IpAddr::V6(ip.dst_addr()))
        }
    };
    let start = ETHERNET_BYTES + ip_bytes;
    let segment = frame.get_mut(start..)?;
    let mut tcp = TcpPacket::new_checked(segment).ok()?;
    let header_bytes = tcp.header_len();
    let payload = tcp.payload_mut().len();
    let length = usize::from(header_bytes) + payload;
    let mut header = FrameHeader::default();
    if offloads.contains(Offloads::GUEST_CSUM) {
        let sum = checksum::pseudo_header(
            &source.into(),
            &destination.into(),
            IpProtocol::Tcp,
            u32::try_from(length).ok()?,
        );
        tcp.set_checksum(sum);
        header.checksum = Some(PartialChecksum { start: start as u16, offset: CHECKSUM_OFFSET });
    }
    if payload > usize::from(mss) {
        let header_bytes = start as u16 + u16::from(header_bytes);
        header.segment = Some(LargeSegment { kind, size: mss, header_bytes });
    }
    Some(header)
}

/// Whether the guest takes large segments from a host of this family.
pub(super) fn takes_large(offloads: Offloads, remote: IpAddr) -> bool {
    let large = if remote.is_ipv4() { Offloads::GUEST_TSO4 } else { Offloads::GUEST_TSO6 };
    // A large segment goes with a partial checksum (virtio 1.2, section 5.1.3.1).
    offloads.contains(large | Offloads::GUEST_CSUM)
}

/// The reset that answers `packet`, a segment no flow wants (RFC 9293, section 3.10.7.1).
pub(super) fn reset(packet: &Datagram<'_>, segment: &TcpPacket<&[u8]>) -> Option<Vec<u8>> {
    if segment.rst() {
        return None;
    }
    let (sequence, acknowledged) = if segment.ack() {
        (segment.ack_number(), None)
    } else {
        (TcpSeqNumber(0), Some(segment.seq_number() + segment.segment_len()))
    };
    answer(packet, segment, TcpControl::Rst, (sequence, acknowledged), 0)
}

/// What a segment told the guest.
#[derive(Debug, Clone, Copy)]
pub(super) struct Told {
    /// The number of the byte behind it.
    pub(super) next: TcpSeqNumber,
    /// The number of the guest's byte that it asked for.
    pub(super) acknowledged: TcpSeqNumber,
    /// The window as it stood in it.
    pub(super) window: u16,
}

/// The answer to `packet`, a SYN for a connection that stands (RFC 9293, section 3.10.7.4): where the connection is. Who
/// does not know of it answers with a reset.
pub(super) fn challenge(packet: &Datagram<'_>, segment: &TcpPacket<&[u8]>, told: Told) -> Option<Vec<u8>> {
    let numbers = (told.next, Some(told.acknowledged));
    answer(packet, segment, TcpControl::None, numbers, told.window)
}

/// A segment without data that answers `packet`.
fn answer(
    packet: &Datagram<'_>,
    segment: &TcpPacket<&[u8]>,
    control: TcpControl,
    (seq_number, ack_number): (TcpSeqNumber, Option<TcpSeqNumber>),
    window_len: u16,
) -> Option<Vec<u8>> {
    let repr = TcpRepr {
        src_port: segment.dst_port(),
        dst_port: segment.src_port(),
        control,
        seq_number,
        ack_number,
        window_len,
        window_scale: None,
        max_seg_size: None,
        sack_permitted: false,
        sack_ranges: [None; 3],
        timestamp: None,
        payload: &[],
    };
    let checksums = smoltcp::phy::ChecksumCapabilities::default();
    let ip = ip_header(packet.destination, packet.source, IpProtocol::Tcp, repr.buffer_len())?;
    let start = ETHERNET_BYTES + ip.header_len();
    let mut frame = vec![0; start + repr.buffer_len()];
    ip.emit(frame.get_mut(ETHERNET_BYTES..)?, &checksums);
    let mut tcp = TcpPacket::new_unchecked(frame.get_mut(start..)?);
    repr.emit(&mut tcp, &ip.src_addr(), &ip.dst_addr(), &checksums);
    Some(frame)
}
