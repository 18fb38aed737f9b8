//! What stands in single frames.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token};
use proptest::prelude::*;
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::*;

use super::guest::{DNS, GATEWAY, GUEST, Guest, mac, pattern};
use crate::net::user::emit::{self, ETHERNET_BYTES};
use crate::net::user::packet::{Ip, parse_ip};
use crate::net::user::reassembly::Reassembly;
use crate::net::{
    FrameHeader, LargeSegment, MAX_FRAME_BYTES, NetBackend, Offloads, PartialChecksum, Received, SegmentKind,
    Sent, UserConfig, UserNet, UserOptions,
};

/// A back end to which single frames are given.
pub(super) struct Bench {
    pub(super) net: UserNet,
    poll: Poll,
    events: Events,
    buffer: Vec<u8>,
}

impl Bench {
    pub(super) fn new(offloads: Offloads) -> Self {
        let mut options = UserOptions::new(mac(), Arc::new(()));
        options.resolv_conf = "/nonexistent/resolv.conf".into();
        let mut net = UserNet::new(&UserConfig::default(), options).unwrap();
        net.set_offloads(offloads);
        let poll = Poll::new().unwrap();
        net.register(poll.registry(), Token(0)).unwrap();
        Self { net, poll, events: Events::with_capacity(64), buffer: vec![0; MAX_FRAME_BYTES] }
    }

    pub(super) fn send(&mut self, frame: &[u8], header: FrameHeader) {
        assert_eq!(self.net.send(frame, &header), Sent::Done);
    }

    /// The next frame, waited for.
    #[track_caller]
    pub(super) fn next(&mut self) -> (Vec<u8>, Received) {
        self.next_within(Duration::from_secs(10)).expect("no frame came")
    }

    pub(super) fn next_within(&mut self, time: Duration) -> Option<(Vec<u8>, Received)> {
        let begin = Instant::now();
        while begin.elapsed() < time {
            self.poll.poll(&mut self.events, Some(Duration::from_millis(1))).unwrap();
            for event in &self.events {
                self.net.ready(event);
            }
            self.net.advance(Instant::now());
            if let Some(received) = self.net.receive(&mut self.buffer) {
                return Some((self.buffer[..received.bytes].to_vec(), received));
            }
        }
        None
    }

    #[track_caller]
    pub(super) fn silent(&mut self) {
        assert_eq!(self.next_within(Duration::from_millis(30)), None);
    }
}

pub(super) fn ethernet(protocol: EthernetProtocol, mut frame: Vec<u8>) -> Vec<u8> {
    let mut header = EthernetFrame::new_unchecked(frame.as_mut_slice());
    header.set_src_addr(mac().into());
    header.set_dst_addr(EthernetAddress([0x52, 0x55, 10, 0, 2, 2]));
    header.set_ethertype(protocol);
    frame
}

pub(super) fn ip_frame(frame: Vec<u8>) -> Vec<u8> {
    let protocol =
        if frame[ETHERNET_BYTES] >> 4 == 4 { EthernetProtocol::Ipv4 } else { EthernetProtocol::Ipv6 };
    ethernet(protocol, frame)
}

/// A TCP segment of the guest's.
pub(super) struct Segment<'a> {
    pub(super) to: IpAddr,
    pub(super) port: u16,
    pub(super) control: TcpControl,
    pub(super) sequence: i32,
    pub(super) acknowledged: Option<i32>,
    pub(super) mss: Option<u16>,
    pub(super) payload: &'a [u8],
}

impl Segment<'_> {
    pub(super) fn frame(&self) -> Vec<u8> {
        let from: IpAddr = match self.to {
            IpAddr::V4(_) => GUEST.into(),
            IpAddr::V6(_) => GUEST_V6.into(),
        };
        let repr = TcpRepr {
            src_port: 3333,
            dst_port: self.port,
            control: self.control,
            seq_number: TcpSeqNumber(self.sequence),
            ack_number: self.acknowledged.map(TcpSeqNumber),
            window_len: u16::MAX,
            window_scale: (self.control == TcpControl::Syn).then_some(7),
            max_seg_size: self.mss,
            sack_permitted: false,
            sack_ranges: [None; 3],
            timestamp: None,
            payload: self.payload,
        };
        let ip = emit::ip_header(from, self.to, IpProtocol::Tcp, repr.buffer_len()).unwrap();
        let start = ETHERNET_BYTES + ip.header_len();
        let mut frame = vec![0; start + repr.buffer_len()];
        let checksums = ChecksumCapabilities::default();
        ip.emit(&mut frame[ETHERNET_BYTES..], &checksums);
        let mut tcp = TcpPacket::new_unchecked(&mut frame[start..]);
        repr.emit(&mut tcp, &ip.src_addr(), &ip.dst_addr(), &checksums);
        ip_frame(frame)
    }
}

const GUEST_V6: Ipv6Addr = Ipv6Addr::new(0xfd72, 0x766d, 0x6d00, 0, 0x50, 0, 0, 0x15);
const GATEWAY_V6: Ipv6Addr = Ipv6Addr::new(0xfd72, 0x766d, 0x6d00, 0, 0, 0, 0, 2);

pub(super) fn syn(to: impl Into<IpAddr>, port: u16) -> Segment<'static> {
    Segment {
        to: to.into(),
        port,
        control: TcpControl::Syn,
        sequence: 1000,
        acknowledged: None,
        mss: Some(1460),
        payload: &[],
    }
}

/// The TCP segment in a frame.
pub(super) fn tcp(frame: &[u8]) -> TcpPacket<&[u8]> {
    let ip = if frame[ETHERNET_BYTES] >> 4 == 4 { 20 } else { 40 };
    TcpPacket::new_checked(&frame[ETHERNET_BYTES + ip..]).unwrap()
}

#[test]
fn arp_is_answered_for_gateway_and_name_server_only() {
    let mut bench = Bench::new(Offloads::empty());
    for (asked, ours) in [(GATEWAY, true), (DNS, true), (GUEST, false), (Ipv4Addr::new(10, 0, 2, 77), false)]
    {
        let request = ArpRepr::EthernetIpv4 {
            operation: ArpOperation::Request,
            source_hardware_addr: mac().into(),
            source_protocol_addr: GUEST,
            target_hardware_addr: EthernetAddress([0; 6]),
            target_protocol_addr: asked,
        };
        let mut frame = vec![0; ETHERNET_BYTES + request.buffer_len()];
        request.emit(&mut ArpPacket::new_unchecked(&mut frame[ETHERNET_BYTES..]));
        bench.send(&ethernet(EthernetProtocol::Arp, frame), FrameHeader::default());
        if !ours {
            bench.silent();
            continue;
        }
        let (answer, _) = bench.next();
        let frame = EthernetFrame::new_checked(answer.as_slice()).unwrap();
        assert_eq!(frame.dst_addr(), mac().into());
        let arp = ArpRepr::parse(&ArpPacket::new_checked(frame.payload()).unwrap()).unwrap();
        let ArpRepr::EthernetIpv4 { operation, source_hardware_addr, source_protocol_addr, .. } = arp else {
            panic!("{arp:?}")
        };
        assert_eq!((operation, source_protocol_addr), (ArpOperation::Reply, asked));
        assert_eq!(source_hardware_addr, frame.src_addr());
    }
}

#[test]
fn a_router_advertises_itself_with_prefix_and_name_server() {
    let mut bench = Bench::new(Offloads::empty());
    let link_local = Ipv6Addr::new(0xfe80, 0, 0, 0, 0x5054, 0, 0, 1);
    let ip = Ipv6Repr {
        src_addr: link_local,
        dst_addr: Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2),
        next_header: IpProtocol::Icmpv6,
        payload_len: 0,
        hop_limit: 255,
    };
    let solicit = Icmpv6Repr::Ndisc(NdiscRepr::RouterSolicit { lladdr: None });
    bench.send(&ip_frame(emit::icmp_v6(&ip, &solicit, &[]).unwrap()), FrameHeader::default());
    let (answer, _) = bench.next();
    let ip = Ipv6Packet::new_checked(&answer[ETHERNET_BYTES..]).unwrap();
    assert_eq!(ip.hop_limit(), 255);
    let message = Icmpv6Packet::new_checked(ip.payload()).unwrap();
    let repr = Icmpv6Repr::parse(&ip.src_addr(), &ip.dst_addr(), &message, &ChecksumCapabilities::default())
        .unwrap();
    let Icmpv6Repr::Ndisc(NdiscRepr::RouterAdvert { prefix_info, mtu, router_lifetime, .. }) = repr else {
        panic!("{repr:?}")
    };
    let prefix = prefix_info.unwrap();
    assert_eq!((prefix.prefix, prefix.prefix_len), (UserConfig::default().prefix, 64));
    assert!(prefix.flags.contains(NdiscPrefixInfoFlags::ADDRCONF));
    assert_eq!((mtu, router_lifetime.secs()), (Some(1500), 1800));
    let dns: Ipv6Addr = "fd72:766d:6d00::3".parse().unwrap();
    assert!(ip.payload().ends_with(&dns.octets()), "RDNSS");
    assert!(bench.net.deadline().is_some(), "it will say so again");
}

#[test]
fn neighbours_are_answered_for_our_addresses() {
    let mut bench = Bench::new(Offloads::empty());
    for (target, ours) in [(GATEWAY_V6, true), ("fe80::2".parse().unwrap(), true), (GUEST_V6, false)] {
        let ip = Ipv6Repr {
            src_addr: GUEST_V6,
            dst_addr: "ff02::1:ff00:2".parse().unwrap(),
            next_header: IpProtocol::Icmpv6,
            payload_len: 0,
            hop_limit: 255,
        };
        let solicit = Icmpv6Repr::Ndisc(NdiscRepr::NeighborSolicit { target_addr: target, lladdr: None });
        bench.send(&ip_frame(emit::icmp_v6(&ip, &solicit, &[]).unwrap()), FrameHeader::default());
        if !ours {
            bench.silent();
            continue;
        }
        let (answer, _) = bench.next();
        let ip = Ipv6Packet::new_checked(&answer[ETHERNET_BYTES..]).unwrap();
        assert_eq!((ip.src_addr(), ip.dst_addr(), ip.hop_limit()), (target, GUEST_V6, 255));
    }
}

#[test]
fn addresses_of_the_host_itself_are_out_of_reach() {
    let (listener, port) = Guest::listener();
    let mut bench = Bench::new(Offloads::empty());
    let addresses = [
        "127.0.0.1",
        "127.1.2.3",
        "0.0.0.0",
        "10.0.2.99",
        "240.0.0.1",
        "::1",
        "::",
        "::ffff:127.0.0.1",
        "::127.0.0.1",
        "fe80::1",
        "fd72:766d:6d00::99",
    ];
    for address in addresses {
        let to: IpAddr = address.parse().unwrap();
        bench.send(&syn(to, port).frame(), FrameHeader::default());
        if let Some((answer, _)) = bench.next_within(Duration::from_millis(20)) {
            let protocol = if to.is_ipv4() { answer[ETHERNET_BYTES + 9] } else { answer[ETHERNET_BYTES + 6] };
            assert!(matches!(protocol, 1 | 58), "{address}: an ICMP error, or nothing");
        }
        assert!(listener.accept().is_err(), "{address} led to the host");
    }
    assert_eq!(bench.net.tcp_connections(), 0);
}

#[test]
fn segments_of_no_connection_are_reset() {
    let mut bench = Bench::new(Offloads::empty());
    let mut segment = syn(GATEWAY, 80);
    (segment.control, segment.acknowledged, segment.mss) = (TcpControl::None, Some(77), None);
    bench.send(&segment.frame(), FrameHeader::default());
    let (answer, _) = bench.next();
    assert!(tcp(&answer).rst());
    assert_eq!(tcp(&answer).seq_number(), TcpSeqNumber(77));
    assert!(tcp(&answer).verify_checksum(&GATEWAY.into(), &GUEST.into()));
    // A reset is not answered.
    segment.control = TcpControl::Rst;
    bench.send(&segment.frame(), FrameHeader::default());
    bench.silent();
}

#[test]
fn damaged_segments_are_dropped_unless_the_checksum_is_ours_to_finish() {
    let (listener, port) = Guest::listener();
    let mut bench = Bench::new(Offloads::empty());
    let mut frame = syn(GATEWAY, port).frame();
    frame[ETHERNET_BYTES + 20 + 16] ^= 0xff;
    bench.send(&frame, FrameHeader::default());
    bench.silent();
    let checksum = Some(PartialChecksum { start: 34, offset: 16 });
    bench.send(&frame, FrameHeader { checksum, segment: None });
    let (answer, _) = bench.next();
    assert!(tcp(&answer).syn() && tcp(&answer).ack());
    assert!(listener.accept().is_ok());
}

/// Opens a connection by hand; what the other side sends next comes back, with the host's end.
pub(super) fn handshake(bench: &mut Bench, to: IpAddr, mss: Option<u16>) -> (std::net::TcpStream, i32) {
    let bind: IpAddr = if to.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
    let listener = std::net::TcpListener::bind((bind, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut segment = syn(to, port);
    segment.mss = mss;
    bench.send(&segment.frame(), FrameHeader::default());
    let (answer, received) = bench.next();
    assert!(tcp(&answer).syn() && tcp(&answer).ack());
    assert_eq!(received.header.segment, None);
    let theirs = tcp(&answer).seq_number().0.wrapping_add(1);
    segment.control = TcpControl::None;
    (segment.sequence, segment.acknowledged, segment.mss) = (1001, Some(theirs), None);
    bench.send(&segment.frame(), FrameHeader::default());
    let (stream, _) = listener.accept().unwrap();
    (stream, theirs)
}

#[test]
fn large_segments_go_to_a_guest_that_takes_them() {
    use std::io::Write;
    for to in [IpAddr::V4(GATEWAY), IpAddr::V6(GATEWAY_V6)] {
        let mut bench = Bench::new(Offloads::all());
        let (mut stream, _) = handshake(&mut bench, to, Some(1400));
        let bytes = pattern(40_000);
        stream.write_all(&bytes).unwrap();
        std::thread::sleep(Duration::from_millis(20));
        let (frame, received) = bench.next();
        let (start, kind) = if to.is_ipv4() { (34, SegmentKind::TcpV4) } else { (54, SegmentKind::TcpV6) };
        let header = FrameHeader {
            checksum: Some(PartialChecksum { start, offset: 16 }),
            segment: Some(LargeSegment { kind, size: 1400, header_bytes: start + 20 }),
        };
        assert_eq!(received.header, header);
        let payload = &frame[usize::from(start) + 20..];
        assert!(payload.len() > 1400 && bytes.starts_with(payload), "{} bytes", payload.len());
        // The partial sum is the pseudo header's: finishing it makes the checksum right.
        let mut frame = frame.clone();
        let start = usize::from(start);
        let sum = !checksum::data(&frame[start..]);
        frame[start + 16..start + 18].copy_from_slice(&sum.to_be_bytes());
        let from: IpAddress = if to.is_ipv4() { GUEST.into() } else { GUEST_V6.into() };
        assert!(tcp(&frame).verify_checksum(&to.into(), &from));
    }
}

#[test]
fn other_guests_get_segments_of_their_size() {
    use std::io::Write;
    for offloads in [Offloads::empty(), Offloads::GUEST_CSUM, Offloads::GUEST_TSO4] {
        for (mss, size) in [(Some(1400), 1400), (None, 536)] {
            let mut bench = Bench::new(offloads);
            let (mut stream, _) = handshake(&mut bench, GATEWAY.into(), mss);
            stream.write_all(&pattern(40_000)).unwrap();
            std::thread::sleep(Duration::from_millis(20));
            let (frame, received) = bench.next();
            assert_eq!(frame.len(), 54 + size, "{offloads:?}");
            assert_eq!(received.header.segment, None);
            assert_eq!(received.header.checksum.is_some(), offloads.contains(Offloads::GUEST_CSUM));
            let right = tcp(&frame).verify_checksum(&GATEWAY.into(), &GUEST.into());
            assert_eq!(right, !offloads.contains(Offloads::GUEST_CSUM));
        }
    }
}

/// The window in a SYN is not scaled: a guest that scales it sends more than the buffer holds.
#[test]
fn bytes_beyond_the_first_window_are_left_out() {
    use std::io::Read;
    let mut bench = Bench::new(Offloads::all());
    let (mut stream, theirs) = handshake(&mut bench, GATEWAY.into(), Some(1460));
    let port = stream.local_addr().unwrap().port();
    let bytes = pattern(480_000);
    let segment = |at: usize, length: usize| Segment {
        control: TcpControl::None,
        sequence: 1001 + at as i32,
        acknowledged: Some(theirs),
        mss: None,
        payload: &bytes[at..at + length],
        ..syn(GATEWAY, port)
    };
    for at in (60_000..480_000).step_by(60_000).rev() {
        bench.send(&segment(at, 60_000).frame(), FrameHeader::default());
    }
    bench.send(&segment(0, 60_000).frame(), FrameHeader::default());
    let mut read = vec![0; 60_000];
    while let Some((answer, _)) = bench.next_within(Duration::from_millis(30)) {
        assert!(tcp(&answer).ack_number() <= TcpSeqNumber(1001 + (256 << 10)));
    }
    stream.read_exact(&mut read).unwrap();
    assert!(bytes.starts_with(&read));
}

#[test]
fn large_segments_come_from_the_guest() {
    use std::io::Read;
    let mut bench = Bench::new(Offloads::all());
    let (mut stream, theirs) = handshake(&mut bench, GATEWAY.into(), Some(1460));
    let bytes = pattern(60_000);
    let port = stream.local_addr().unwrap().port();
    let segment = Segment {
        control: TcpControl::Psh,
        sequence: 1001,
        acknowledged: Some(theirs),
        mss: None,
        payload: &bytes,
        ..syn(GATEWAY, port)
    };
    let mut frame = segment.frame();
    frame[ETHERNET_BYTES + 20 + 16] ^= 1;
    let header = FrameHeader {
        checksum: Some(PartialChecksum { start: 34, offset: 16 }),
        segment: Some(LargeSegment { kind: SegmentKind::TcpV4, size: 1460, header_bytes: 54 }),
    };
    bench.send(&frame, header);
    let (answer, _) = bench.next();
    assert_eq!(tcp(&answer).ack_number(), TcpSeqNumber(1001 + 60_000));
    let mut read = vec![0; bytes.len()];
    stream.read_exact(&mut read).unwrap();
    assert!(read == bytes);
}

#[test]
fn datagrams_in_pieces_are_put_together() {
    let host = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    host.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let port = host.local_addr().unwrap().port();
    let mut bench = Bench::new(Offloads::empty());
    let payload = pattern(9000);
    let frame = emit::udp((GUEST, 999).into(), (GATEWAY, port).into(), &payload).unwrap();
    let mut pieces = emit::fragment(frame, 1500, 42);
    assert_eq!(pieces.len(), 7);
    // In any order, and one of them twice.
    pieces.swap(0, 6);
    pieces.push(pieces[3].clone());
    pieces.swap(5, 7);
    for piece in pieces {
        bench.send(&ip_frame(piece), FrameHeader::default());
    }
    let mut read = vec![0; 65_536];
    let (length, from) = host.recv_from(&mut read).unwrap();
    assert!(read[..length] == payload);
    // And back: pieces that fit the link.
    host.send_to(&payload, from).unwrap();
    let mut together = Reassembly::default();
    let whole = loop {
        let (frame, received) = bench.next();
        assert!(received.bytes <= 1514);
        let Some(Ip::Piece(piece)) = parse_ip(mac(), &frame[ETHERNET_BYTES..], false) else {
            panic!("whole")
        };
        if let Some(whole) = together.add(&piece, Instant::now()) {
            break whole;
        }
    };
    let Some(Ip::Whole(packet)) = parse_ip(mac(), &whole, false) else { panic!("no datagram") };
    let datagram = UdpPacket::new_checked(packet.payload).unwrap();
    assert!(datagram.verify_checksum(&GATEWAY.into(), &GUEST.into()));
    assert!(datagram.payload() == payload);
}

#[test]
fn unknown_protocols_are_said_to_be() {
    let mut bench = Bench::new(Offloads::empty());
    let ip = emit::ip_header(GUEST.into(), GATEWAY.into(), IpProtocol::Unknown(132), 8).unwrap();
    let mut frame = vec![0; ETHERNET_BYTES + 28];
    ip.emit(&mut frame[ETHERNET_BYTES..], &ChecksumCapabilities::default());
    bench.send(&ip_frame(frame), FrameHeader::default());
    let (answer, _) = bench.next();
    assert_eq!(answer[ETHERNET_BYTES + 20..ETHERNET_BYTES + 22], [3, 2]);
}

proptest! {
    #[test]
    fn fragments_of_any_datagram_make_it_whole_again(
        length in 0usize..65_000, mtu in 1280usize..9000, v6 in any::<bool>(), seed in any::<u64>(),
    ) {
        let ends: (SocketAddr, SocketAddr) = if v6 {
            ((GUEST_V6, 1).into(), (GATEWAY_V6, 2).into())
        } else {
            ((GUEST, 1).into(), (GATEWAY, 2).into())
        };
        let payload = pattern(length);
        let mut pieces = emit::fragment(emit::udp(ends.0, ends.1, &payload).unwrap(), mtu, 7);
        let turns = seed as usize % pieces.len();
        pieces.rotate_left(turns);
        let mut together = Reassembly::default();
        let mut whole = None;
        for piece in &pieces {
            prop_assert!(piece.len() <= ETHERNET_BYTES + mtu);
            match parse_ip(mac(), &piece[ETHERNET_BYTES..], false) {
                Some(Ip::Whole(packet)) => whole = Some(packet.whole.to_vec()),
                Some(Ip::Piece(piece)) => whole = together.add(&piece, Instant::now()),
                None => prop_assert!(false, "a malformed piece"),
            }
        }
        // 128 pieces are the most that are kept.
        if pieces.len() <= 128 {
            let whole = whole.expect("all pieces are there");
            let Some(Ip::Whole(packet)) = parse_ip(mac(), &whole, false) else { panic!("no datagram") };
            let datagram = UdpPacket::new_checked(packet.payload).unwrap();
            prop_assert!(datagram.verify_checksum(&ends.0.ip().into(), &ends.1.ip().into()));
            prop_assert!(datagram.payload() == payload);
        }
    }

    #[test]
    fn any_bytes_are_a_frame_to_drop_or_answer(frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 1..20)) {
        let mut bench = Bench::new(Offloads::all());
        for frame in frames {
            bench.send(&frame, FrameHeader::default());
        }
        bench.net.advance(Instant::now());
        while let Some(received) = bench.net.receive(&mut bench.buffer) {
            prop_assert!(received.bytes <= MAX_FRAME_BYTES);
        }
    }
}
