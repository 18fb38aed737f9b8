//! Rules of the RFCs that single frames show.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use smoltcp::wire::*;

use super::guest::{GATEWAY, GUEST, mac};
use super::wire::{Bench, Segment, ethernet, handshake, ip_frame, syn, tcp};
use crate::net::user::emit::{self, ETHERNET_BYTES};
use crate::net::{FrameHeader, Offloads};

const OUTSIDE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const ALL_HERE: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 255);

/// Nothing listens here (tcpmux), and no socket is given it unasked, unlike traceroute's 33434.
const CLOSED_PORT: u16 = 1;

fn bench() -> Bench {
    Bench::new(Offloads::empty())
}

fn send(bench: &mut Bench, frame: &[u8]) {
    bench.send(frame, FrameHeader::default());
}

/// A UDP datagram of the guest's with the IP header changed by `change`.
fn udp(to: IpAddr, change: impl Fn(&mut [u8])) -> Vec<u8> {
    let from: IpAddr = if to.is_ipv4() { GUEST.into() } else { "fd72:766d:6d00::15".parse().unwrap() };
    let mut frame = ip_frame(emit::udp((from, 40_000).into(), (to, CLOSED_PORT).into(), b"probe").unwrap());
    change(&mut frame[ETHERNET_BYTES..]);
    if to.is_ipv4() {
        Ipv4Packet::new_unchecked(&mut frame[ETHERNET_BYTES..]).fill_checksum();
    }
    frame
}

fn echo_request(to: Ipv4Addr) -> Vec<u8> {
    let ip = Ipv4Repr {
        src_addr: GUEST,
        dst_addr: to,
        next_header: IpProtocol::Icmp,
        payload_len: 0,
        hop_limit: 64,
    };
    let message = Icmpv4Repr::EchoRequest { ident: 1, seq_no: 2, data: b"echo" };
    ip_frame(emit::icmp_v4(&ip, &message).unwrap())
}

/// Source, type and code of an ICMP error, and the ports it quotes.
fn icmp_error(frame: &[u8]) -> (IpAddr, u8, u8, [u8; 4]) {
    let ip = &frame[ETHERNET_BYTES..];
    let (source, start): (IpAddr, _) = if ip[0] >> 4 == 4 {
        (Ipv4Packet::new_checked(ip).unwrap().src_addr().into(), 20)
    } else {
        (Ipv6Packet::new_checked(ip).unwrap().src_addr().into(), 40)
    };
    let ports = start + 8 + start;
    (source, ip[start], ip[start + 1], ip[ports..ports + 4].try_into().unwrap())
}

#[test]
fn frames_for_other_stations_are_none_of_ours() {
    let mut bench = bench();
    let mut frame = echo_request(GATEWAY);
    frame[..6].copy_from_slice(&[2, 0, 0, 0, 0, 9]);
    send(&mut bench, &frame);
    bench.silent();
    // Those for all are.
    frame[..6].copy_from_slice(&[0xff; 6]);
    send(&mut bench, &frame);
    bench.next();
}

#[test]
fn a_router_says_that_a_datagram_came_far_enough() {
    let mut bench = bench();
    let ports = [40_000u16.to_be_bytes(), CLOSED_PORT.to_be_bytes()].concat();
    for ttl in [0, 1] {
        send(&mut bench, &udp(OUTSIDE.into(), |ip| ip[8] = ttl));
        let (from, kind, code, quoted) = icmp_error(&bench.next().0);
        assert_eq!((from, kind, code, &quoted[..]), (GATEWAY.into(), 11, 0, &ports[..]));
    }
    let outside: Ipv6Addr = "2001:db8::1".parse().unwrap();
    send(&mut bench, &udp(outside.into(), |ip| ip[7] = 1));
    let (from, kind, code, quoted) = icmp_error(&bench.next().0);
    assert_eq!((from.to_string().as_str(), kind, code, &quoted[..]), ("fd72:766d:6d00::2", 3, 0, &ports[..]));
    // What goes no further than to the gateway has come far enough with the last hop.
    send(&mut bench, &udp(GATEWAY.into(), |ip| ip[8] = 1));
    assert_eq!(icmp_error(&bench.next().0).1, 3);
    // There is no error about an error.
    let ip = Ipv4Repr {
        src_addr: GUEST,
        dst_addr: OUTSIDE,
        next_header: IpProtocol::Icmp,
        payload_len: 0,
        hop_limit: 1,
    };
    let header = Ipv4Repr {
        src_addr: OUTSIDE,
        dst_addr: GUEST,
        next_header: IpProtocol::Udp,
        payload_len: 8,
        hop_limit: 1,
    };
    let reason = Icmpv4DstUnreachable::PortUnreachable;
    let error = Icmpv4Repr::DstUnreachable { reason, header, data: &[0; 8] };
    send(&mut bench, &ip_frame(emit::icmp_v4(&ip, &error).unwrap()));
    bench.silent();
}

#[test]
fn what_was_for_many_is_not_complained_of() {
    let mut bench = bench();
    for to in [ALL_HERE, Ipv4Addr::new(10, 0, 2, 0), Ipv4Addr::BROADCAST, Ipv4Addr::new(224, 0, 0, 251)] {
        send(&mut bench, &udp(to.into(), |_| {}));
        send(&mut bench, &echo_request(to));
        bench.silent();
    }
}

#[test]
fn neighbours_are_believed_from_this_link_only() {
    let mut bench = bench();
    let source: Ipv6Addr = "fe80::15".parse().unwrap();
    for (hop_limit, answered) in [(64, false), (254, false), (255, true)] {
        let ip = Ipv6Repr {
            src_addr: source,
            dst_addr: "fe80::2".parse().unwrap(),
            next_header: IpProtocol::Icmpv6,
            payload_len: 0,
            hop_limit,
        };
        for message in [
            NdiscRepr::NeighborSolicit { target_addr: "fe80::2".parse().unwrap(), lladdr: None },
            NdiscRepr::RouterSolicit { lladdr: None },
        ] {
            send(&mut bench, &ip_frame(emit::icmp_v6(&ip, &Icmpv6Repr::Ndisc(message), &[]).unwrap()));
            if answered {
                bench.next();
            } else {
                bench.silent();
            }
        }
    }
}

/// The largest datagram there is, in the pieces of the smallest link.
#[test]
fn the_largest_datagram_arrives_in_pieces() {
    let mut bench = bench();
    let data = vec![7; 65_507];
    let ip = Ipv4Repr {
        src_addr: GUEST,
        dst_addr: GATEWAY,
        next_header: IpProtocol::Icmp,
        payload_len: 0,
        hop_limit: 64,
    };
    let whole = emit::icmp_v4(&ip, &Icmpv4Repr::EchoRequest { ident: 1, seq_no: 2, data: &data }).unwrap();
    for mtu in [576, 1500] {
        for piece in emit::fragment(whole.clone(), mtu, 9) {
            send(&mut bench, &ip_frame(piece));
        }
        let mut bytes = 0;
        while bytes < data.len() + 8 {
            bytes += bench.next().0.len() - ETHERNET_BYTES - 20;
        }
        assert_eq!(bytes, data.len() + 8, "{mtu}");
    }
}

fn dhcp(options: &[u8]) -> Vec<u8> {
    let mut message = vec![0; 236];
    message[..4].copy_from_slice(&[1, 1, 6, 0]);
    message[28..34].copy_from_slice(EthernetAddress::from(mac()).as_bytes());
    message.extend([99, 130, 83, 99, 53, 1, 1]);
    message.extend(options);
    message.push(255);
    let (from, to) = (Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST);
    let frame = emit::udp((from, 68).into(), (to, 67).into(), &message).unwrap();
    ethernet(EthernetProtocol::Ipv4, frame)
}

#[test]
fn dhcp_gives_back_the_clients_identifier() {
    let mut bench = bench();
    // A MAC address, a name of the same length, a long one, and none.
    let identifiers: [&[u8]; 4] = [&[1, 2, 3, 4, 5, 6, 7], b"\0guest7", &[0xff; 19], &[]];
    for identifier in identifiers {
        let mut options = vec![0, 0]; // padding
        if !identifier.is_empty() {
            options.extend([61, identifier.len() as u8]);
            options.extend(identifier);
        }
        send(&mut bench, &dhcp(&options));
        let (answer, _) = bench.next();
        let message = &answer[ETHERNET_BYTES + 28..];
        assert!(message.len() >= 300, "{} bytes", message.len());
        let message = DhcpPacket::new_checked(message).unwrap();
        let given = message.options().find(|option| option.kind == 61).map(|option| option.data);
        assert_eq!(given, (!identifier.is_empty()).then_some(identifier));
        assert!(message.options().any(|option| option.kind == 26), "the link's MTU");
    }
    // Options that end too early.
    for options in [&[61][..], &[61, 9, 1], &[12, 200]] {
        let mut frame = dhcp(options);
        frame.pop();
        send(&mut bench, &frame);
    }
}

/// A segment of the connection that [`handshake`] made.
fn next_segment(port: u16, control: TcpControl, sequence: i32, acknowledged: i32) -> Segment<'static> {
    Segment { control, sequence, acknowledged: Some(acknowledged), mss: None, ..syn(GATEWAY, port) }
}

#[test]
fn the_guests_end_is_acknowledged_when_the_hosts_came_first() {
    let mut bench = bench();
    let (stream, theirs) = handshake(&mut bench, GATEWAY.into(), Some(1460));
    let port = stream.local_addr().unwrap().port();
    drop(stream);
    let (end, _) = bench.next();
    assert!(tcp(&end).fin());
    send(&mut bench, &next_segment(port, TcpControl::None, 1001, theirs + 1).frame());
    bench.silent();
    send(&mut bench, &next_segment(port, TcpControl::Fin, 1001, theirs + 1).frame());
    let (last, _) = bench.next();
    assert!(tcp(&last).ack() && !tcp(&last).rst() && !tcp(&last).fin());
    assert_eq!(tcp(&last).ack_number(), TcpSeqNumber(1002));
    bench.silent();
    assert_eq!(bench.net.tcp_connections(), 0);
}

#[test]
fn a_guest_that_forgot_a_connection_is_told_of_it() {
    use std::io::{ErrorKind, Read, Write};
    let mut bench = bench();
    let (mut stream, theirs) = handshake(&mut bench, GATEWAY.into(), Some(1460));
    let port = stream.local_addr().unwrap().port();
    stream.set_nodelay(true).unwrap();
    stream.write_all(b"hello").unwrap();
    assert_eq!(tcp(&bench.next().0).payload(), b"hello");
    for sequence in [500_000, 1001, 1000] {
        send(&mut bench, &Segment { sequence, ..syn(GATEWAY, port) }.frame());
        let (answer, _) = bench.next();
        let answer = tcp(&answer);
        assert!(answer.ack() && !answer.syn() && !answer.rst() && answer.payload().is_empty());
        assert_eq!(answer.seq_number(), TcpSeqNumber(theirs.wrapping_add(5)));
        assert_eq!(answer.ack_number(), TcpSeqNumber(1001));
        assert!(answer.verify_checksum(&GATEWAY.into(), &GUEST.into()));
    }
    // It stands yet, until the guest says that it knows of none: with what is asked for (RFC 9293, section 3.10.7.1).
    stream.set_nonblocking(true).unwrap();
    assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    let mut reset = next_segment(port, TcpControl::Rst, 1001, 0);
    reset.acknowledged = None;
    send(&mut bench, &reset.frame());
    bench.silent();
    assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(bench.net.tcp_connections(), 0);
}

#[test]
fn urgent_bytes_stay_in_their_place() {
    use std::io::Write;
    let mut bench = bench();
    let (mut stream, _) = handshake(&mut bench, GATEWAY.into(), Some(1460));
    stream.write_all(b"abc").unwrap();
    rustix::net::send(&stream, b"!", rustix::net::SendFlags::OOB).unwrap();
    stream.write_all(b"def").unwrap();
    let mut read = Vec::new();
    while read.len() < 7 {
        read.extend_from_slice(tcp(&bench.next().0).payload());
    }
    assert_eq!(read, b"abc!def");
}
