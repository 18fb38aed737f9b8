//! UDP, echo requests, DHCP and the name server.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use smoltcp::socket::{dhcpv4, icmp};
use smoltcp::wire::{Icmpv4Packet, Icmpv4Repr};

use super::guest::{DNS, GATEWAY, GUEST, Guest, mac, pattern};
use crate::net::{ForwardFrom, NetBackend, UserConfig};

fn guest() -> Guest {
    Guest::new(&UserConfig::default())
}

/// A socket on the host's loopback and its port.
fn host_socket() -> (UdpSocket, u16) {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.set_nonblocking(true).unwrap();
    let port = socket.local_addr().unwrap().port();
    (socket, port)
}

#[track_caller]
fn host_receives(guest: &mut Guest, socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = vec![0; 65_536];
    let (length, from) = guest.until(|_| socket.recv_from(&mut buffer).ok());
    buffer.truncate(length);
    (buffer, from)
}

fn gateway(port: u16) -> SocketAddr {
    (GATEWAY, port).into()
}

#[test]
fn datagrams_go_both_ways() {
    let mut guest = guest();
    let (host, port) = host_socket();
    let handle = guest.udp(4000);
    guest.send_udp(handle, gateway(port), b"ping");
    let (payload, from) = host_receives(&mut guest, &host);
    assert_eq!(payload, b"ping");
    host.send_to(b"pong", from).unwrap();
    assert_eq!(guest.recv_udp(handle), (b"pong".to_vec(), gateway(port)));
    // The next one comes from the same port of the host.
    guest.send_udp(handle, gateway(port), b"");
    assert_eq!(host_receives(&mut guest, &host), (Vec::new(), from));
}

#[test]
fn strangers_do_not_get_in() {
    let mut guest = guest();
    let (host, port) = host_socket();
    // To the guest, only the first address of the loopback is the gateway. On macOS it is the only one.
    let Ok(stranger) = UdpSocket::bind((Ipv4Addr::new(127, 0, 0, 2), 0)) else { return };
    let handle = guest.udp(4000);
    guest.send_udp(handle, gateway(port), b"hello");
    let (_, from) = host_receives(&mut guest, &host);
    stranger.send_to(b"let me in", from).unwrap();
    host.send_to(b"welcome", from).unwrap();
    assert_eq!(guest.recv_udp(handle).0, b"welcome");
}

#[test]
fn a_port_of_the_guest_has_one_port_of_the_host() {
    let mut guest = guest();
    let (one, one_port) = host_socket();
    let (two, two_port) = host_socket();
    let (handle, other) = (guest.udp(4000), guest.udp(4001));
    guest.send_udp(handle, gateway(one_port), b"to one");
    let (_, from) = host_receives(&mut guest, &one);
    guest.send_udp(handle, gateway(two_port), b"to two");
    assert_eq!(host_receives(&mut guest, &two), (b"to two".to_vec(), from));
    guest.send_udp(other, gateway(two_port), b"from another");
    assert_ne!(host_receives(&mut guest, &two).1, from);
    // Each is heard as who it is.
    one.send_to(b"1", from).unwrap();
    assert_eq!(guest.recv_udp(handle), (b"1".to_vec(), gateway(one_port)));
    two.send_to(b"2", from).unwrap();
    assert_eq!(guest.recv_udp(handle), (b"2".to_vec(), gateway(two_port)));
}

#[test]
fn a_host_may_answer_from_another_port() {
    let mut guest = guest();
    let (asked, port) = host_socket();
    let (answering, answering_port) = host_socket();
    let handle = guest.udp(4000);
    guest.send_udp(handle, gateway(port), b"read boot.img");
    let (_, from) = host_receives(&mut guest, &asked);
    answering.send_to(b"block 1", from).unwrap();
    assert_eq!(guest.recv_udp(handle), (b"block 1".to_vec(), gateway(answering_port)));
    // It goes on with that one, from the same port.
    guest.send_udp(handle, gateway(answering_port), b"got 1");
    assert_eq!(host_receives(&mut guest, &answering), (b"got 1".to_vec(), from));
    answering.send_to(b"block 2", from).unwrap();
    assert_eq!(guest.recv_udp(handle), (b"block 2".to_vec(), gateway(answering_port)));
    asked.send_to(b"still here", from).unwrap();
    assert_eq!(guest.recv_udp(handle), (b"still here".to_vec(), gateway(port)));
}

#[test]
fn nobody_there_is_said_by_icmp() {
    let mut guest = guest();
    let (host, port) = host_socket();
    drop(host);
    let buffer = || icmp::PacketBuffer::new(vec![icmp::PacketMetadata::EMPTY; 4], vec![0; 4096]);
    let mut errors = icmp::Socket::new(buffer(), buffer());
    errors.bind(icmp::Endpoint::Udp(4000.into())).unwrap();
    let errors = guest.sockets.add(errors);
    let handle = guest.udp(4000);
    guest.send_udp(handle, gateway(port), b"anybody?");
    guest.until(|guest| {
        let (message, from) = guest.sockets.get_mut::<icmp::Socket<'_>>(errors).recv().ok()?;
        assert_eq!(from, GATEWAY.into());
        let message = Icmpv4Packet::new_checked(message).unwrap();
        assert_eq!((u8::from(message.msg_type()), message.msg_code()), (3, 3));
        Some(())
    });
}

#[test]
fn idle_conversations_end() {
    let mut guest =
        Guest::with(&UserConfig::default(), |options| options.udp_idle = Duration::from_millis(80));
    let (host, port) = host_socket();
    let handle = guest.udp(4000);
    guest.send_udp(handle, gateway(port), b"one");
    let (_, first) = host_receives(&mut guest, &host);
    guest.run_for(Duration::from_millis(200));
    assert_eq!(guest.net.deadline(), None);
    // Its port is free: a datagram to it is refused or lost, and does not reach the guest.
    let _ = host.send_to(b"late", first);
    guest.run_for(Duration::from_millis(20));
    guest.send_udp(handle, gateway(port), b"two");
    let (_, second) = host_receives(&mut guest, &host);
    host.send_to(b"answer", second).unwrap();
    assert_eq!(guest.recv_udp(handle).0, b"answer");
}

#[test]
fn thousands_of_conversations_keep_within_bounds() {
    let mut guest = guest();
    let (host, port) = host_socket();
    let mut buffer = [0; 64];
    for _ in 0..1500 {
        let local = guest.port();
        let handle = guest.udp(local);
        guest.send_udp(handle, gateway(port), b"x");
        guest.turn();
        guest.sockets.remove(handle);
        while host.recv_from(&mut buffer).is_ok() {}
    }
    // The last is served as well as the first.
    let handle = guest.udp(4000);
    guest.send_udp(handle, gateway(port), b"last");
    let (payload, from) = host_receives(&mut guest, &host);
    assert_eq!(payload, b"last");
    host.send_to(b"answer", from).unwrap();
    assert_eq!(guest.recv_udp(handle).0, b"answer");
}

#[test]
fn forwarded_datagrams_are_answered() {
    let config =
        UserConfig { forward: vec!["udp:127.0.0.1:0=udp:53".parse().unwrap()], ..Default::default() };
    let mut guest = Guest::new(&config);
    let ForwardFrom::Udp(address) = guest.net.forwards()[0].from else { panic!("not UDP") };
    let handle = guest.udp(53);
    let (one, two) = (host_socket().0, host_socket().0);
    for (host, word) in [(&one, b"one"), (&two, b"two"), (&one, b"1st")] {
        host.send_to(word, address).unwrap();
        let (payload, from) = guest.recv_udp(handle);
        assert_eq!(payload, word);
        assert_eq!(from.ip(), IpAddr::V4(GATEWAY));
        guest.send_udp(handle, from, b"answer");
        assert_eq!(host_receives(&mut guest, host), (b"answer".to_vec(), address));
    }
}

#[test]
fn large_datagrams_come_to_the_guest_in_pieces() {
    let mut guest = guest();
    let (host, port) = host_socket();
    let handle = guest.udp(4000);
    guest.send_udp(handle, gateway(port), b"how much?");
    let (_, from) = host_receives(&mut guest, &host);
    host.send_to(&pattern(8000), from).unwrap();
    // This guest does not put pieces together: the back end's own code does, see the tests of the wire.
    guest.run_for(Duration::from_millis(20));
    host.send_to(b"small", from).unwrap();
    assert_eq!(guest.recv_udp(handle).0, b"small");
}

#[test]
fn the_gateway_answers_echo_requests() {
    let mut guest = guest();
    let buffer = || icmp::PacketBuffer::new(vec![icmp::PacketMetadata::EMPTY; 4], vec![0; 4096]);
    let mut socket = icmp::Socket::new(buffer(), buffer());
    socket.bind(icmp::Endpoint::Ident(0x1234)).unwrap();
    let handle = guest.sockets.add(socket);
    for to in [GATEWAY, DNS] {
        let data = pattern(1000);
        let request = Icmpv4Repr::EchoRequest { ident: 0x1234, seq_no: 7, data: &data };
        let socket = guest.sockets.get_mut::<icmp::Socket<'_>>(handle);
        let room = socket.send(request.buffer_len(), to.into()).unwrap();
        request.emit(&mut Icmpv4Packet::new_unchecked(room), &Default::default());
        let (message, from) = guest.until(|guest| {
            let socket = guest.sockets.get_mut::<icmp::Socket<'_>>(handle);
            socket.recv().ok().map(|(message, from)| (message.to_vec(), from))
        });
        assert_eq!(from, to.into());
        let message = Icmpv4Packet::new_checked(&message[..]).unwrap();
        let reply = Icmpv4Repr::parse(&message, &Default::default()).unwrap();
        assert_eq!(reply, Icmpv4Repr::EchoReply { ident: 0x1234, seq_no: 7, data: &data });
    }
}

#[test]
fn dhcp_gives_the_guest_its_address_and_says_so() {
    let mut guest = guest();
    guest.interface.update_ip_addrs(|addresses| addresses.clear());
    let handle = guest.sockets.add(dhcpv4::Socket::new());
    let config = guest.until(|guest| match guest.sockets.get_mut::<dhcpv4::Socket<'_>>(handle).poll() {
        Some(dhcpv4::Event::Configured(config)) => {
            Some((config.address, config.router, config.dns_servers.to_vec(), config.server.address))
        }
        _ => None,
    });
    let address = smoltcp::wire::Ipv4Cidr::new(GUEST, 24);
    assert_eq!(config, (address, Some(GATEWAY), vec![DNS], GATEWAY));
    assert_eq!(guest.heard.0.lock().unwrap().as_slice(), [(mac(), IpAddr::V4(GUEST))]);
}

/// A query for `name` with the type `kind`.
fn query(id: u16, name: &str, kind: u16) -> Vec<u8> {
    let mut message = Vec::new();
    for value in [id, 0x0100, 1, 0, 0, 0] {
        message.extend_from_slice(&value.to_be_bytes());
    }
    for label in name.split('.') {
        message.push(label.len() as u8);
        message.extend_from_slice(label.as_bytes());
    }
    message.push(0);
    message.extend_from_slice(&kind.to_be_bytes());
    message.extend_from_slice(&1u16.to_be_bytes());
    message
}

/// Code and data of the first answer.
fn read_answer(message: &[u8], asked: &[u8]) -> (u8, Option<Vec<u8>>) {
    assert_eq!(message[..2], asked[..2], "identifier");
    assert_ne!(message[2] & 0x80, 0, "a response");
    assert_eq!(message[12..asked.len()], asked[12..], "the question");
    let answers = u16::from_be_bytes([message[6], message[7]]);
    let data = (answers == 1).then(|| message[asked.len() + 12..].to_vec());
    (message[3] & 15, data)
}

#[track_caller]
fn ask(guest: &mut Guest, asked: &[u8]) -> (u8, Option<Vec<u8>>) {
    let port = guest.port();
    let handle = guest.udp(port);
    guest.send_udp(handle, (DNS, 53).into(), asked);
    let (answer, from) = guest.recv_udp(handle);
    assert_eq!(from, (DNS, 53).into());
    guest.sockets.remove(handle);
    read_answer(&answer, asked)
}

#[test]
fn names_of_the_gateway_are_answered_here() {
    let mut guest = guest();
    let address = Some(GATEWAY.octets().to_vec());
    for name in ["host.rvmm.internal", "GATEWAY.rvmm.Internal", "gateway"] {
        assert_eq!(ask(&mut guest, &query(1, name, 1)), (0, address.clone()), "{name}");
    }
    let v6 = UserConfig::default().prefix.octets();
    let (code, data) = ask(&mut guest, &query(2, "host.rvmm.internal", 28));
    assert_eq!((code, &data.unwrap()[..8]), (0, &v6[..8]));
    assert_eq!(ask(&mut guest, &query(3, "host.rvmm.internal", 15)), (0, None), "no mail");
    assert_eq!(ask(&mut guest, &query(4, "other.rvmm.internal", 1)), (3, None), "no such name");
}

#[test]
fn a_host_without_name_servers_fails_at_once() {
    let mut guest = guest();
    let begin = Instant::now();
    assert_eq!(ask(&mut guest, &query(9, "example.org", 1)), (2, None));
    assert!(begin.elapsed() < Duration::from_secs(1));
}

#[test]
fn questions_go_to_the_next_server_when_one_is_gone() {
    let (server, port) = host_socket();
    let (gone, gone_port) = host_socket();
    drop(gone);
    let mut guest = Guest::with(&UserConfig::default(), |options| {
        let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        options.name_servers = vec![at(gone_port), at(port)];
    });
    let asked = query(0xbeef, "example.org", 1);
    let handle = guest.udp(5000);
    guest.send_udp(handle, (DNS, 53).into(), &asked);
    let (question, from) = host_receives(&mut guest, &server);
    assert_eq!(question, asked);
    // An answer to another question is none.
    let mut answer = asked.clone();
    answer[2] |= 0x80;
    let mut other = answer.clone();
    other[0] ^= 1;
    server.send_to(&other, from).unwrap();
    server.send_to(&answer, from).unwrap();
    assert_eq!(guest.recv_udp(handle), (answer, (DNS, 53).into()));
}

#[test]
fn all_servers_gone_is_a_failure() {
    let (gone, port) = host_socket();
    drop(gone);
    let mut guest = Guest::with(&UserConfig::default(), |options| {
        options.name_servers = vec![(Ipv4Addr::LOCALHOST, port).into()];
    });
    assert_eq!(ask(&mut guest, &query(1, "example.org", 1)).0, 2);
}
