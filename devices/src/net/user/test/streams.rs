//! TCP and the ways into the guest.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use smoltcp::socket::tcp::State;

use super::guest::{DNS, GATEWAY, Guest, pattern};
use crate::net::{Forward, ForwardFrom, ListenError, NetBackend, UserConfig, UserNet, UserOptions};

fn guest() -> Guest {
    Guest::new(&UserConfig::default())
}

/// Reads until the end; the bytes, or the error.
fn read_to_end(guest: &mut Guest, stream: &mut TcpStream) -> Result<Vec<u8>, ErrorKind> {
    let mut read = Vec::new();
    guest.until(|_| {
        let mut buffer = [0; 4096];
        match stream.read(&mut buffer) {
            Ok(0) => Some(Ok(())),
            Ok(length) => {
                read.extend_from_slice(&buffer[..length]);
                None
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            Err(error) => Some(Err(error.kind())),
        }
    })?;
    Ok(read)
}

#[test]
fn megabytes_go_both_ways_unharmed() {
    let mut guest = guest();
    let (handle, mut stream) = guest.pair();
    let bytes = pattern(3 << 20);
    guest.guest_sends(handle, &mut stream, &bytes);
    guest.host_sends(handle, &mut stream, &bytes);
}

#[test]
fn the_guest_may_finish_first() {
    let mut guest = guest();
    let (handle, mut stream) = guest.pair();
    guest.tcp(handle).send_slice(b"all I have").unwrap();
    guest.tcp(handle).close();
    assert_eq!(read_to_end(&mut guest, &mut stream).unwrap(), b"all I have");
    // The other direction still works, for long.
    let bytes = pattern(300_000);
    guest.host_sends(handle, &mut stream, &bytes);
    drop(stream);
    guest.until(|guest| (guest.tcp(handle).state() == State::TimeWait).then_some(()));
    guest.until(|guest| (guest.net.tcp_connections() == 0).then_some(()));
}

#[test]
fn the_host_may_finish_first() {
    let mut guest = guest();
    let (handle, mut stream) = guest.pair();
    stream.write_all(b"bye").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    guest.until(|guest| (guest.tcp(handle).state() == State::CloseWait).then_some(()));
    assert_eq!(guest.tcp(handle).recv(|data| (data.len(), data.to_vec())).unwrap(), b"bye");
    let bytes = pattern(300_000);
    guest.guest_sends(handle, &mut stream, &bytes);
    guest.tcp(handle).close();
    assert_eq!(read_to_end(&mut guest, &mut stream).unwrap(), b"");
    guest.until(|guest| (guest.tcp(handle).state() == State::Closed).then_some(()));
    guest.until(|guest| (guest.net.tcp_connections() == 0).then_some(()));
}

#[test]
fn what_the_guest_said_arrives_though_the_host_reads_late() {
    let mut guest = guest();
    let (handle, mut stream) = guest.pair();
    stream.shutdown(Shutdown::Write).unwrap();
    let bytes = pattern(6 << 20);
    let mut sent = 0;
    for _ in 0..400 {
        if guest.tcp(handle).can_send() {
            sent += guest.tcp(handle).send_slice(&bytes[sent..]).unwrap();
        }
        guest.turn();
    }
    assert!(sent < bytes.len(), "somebody takes {sent} bytes that nobody reads");
    guest.tcp(handle).close();
    guest.run_for(Duration::from_millis(50));
    assert_eq!(read_to_end(&mut guest, &mut stream).unwrap(), &bytes[..sent]);
}

#[test]
fn a_refused_connection_is_reset() {
    let mut guest = guest();
    let (listener, port) = Guest::listener();
    drop(listener);
    let handle = guest.connect(GATEWAY, port);
    guest.until(|guest| (guest.tcp(handle).state() == State::Closed).then_some(()));
    assert_eq!(guest.net.tcp_connections(), 0);
}

#[test]
fn a_server_on_the_other_loopback_is_found() {
    let Ok(listener) = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)) else { return };
    listener.set_nonblocking(true).unwrap();
    let mut guest = guest();
    let handle = guest.connect(GATEWAY, listener.local_addr().unwrap().port());
    let mut stream = guest.accept(&listener);
    guest.until(|guest| guest.tcp(handle).may_send().then_some(()));
    guest.guest_sends(handle, &mut stream, b"hello");
}

#[test]
fn resets_pass_through() {
    let mut guest = guest();
    let (handle, stream) = guest.pair();
    rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
    drop(stream);
    guest.until(|guest| (guest.tcp(handle).state() == State::Closed).then_some(()));

    let (handle, mut stream) = guest.pair();
    guest.tcp(handle).abort();
    assert_eq!(read_to_end(&mut guest, &mut stream), Err(ErrorKind::ConnectionReset));
    guest.until(|guest| (guest.net.tcp_connections() == 0).then_some(()));
}

#[test]
fn the_host_can_be_closed_to_the_guest() {
    let (_listener, port) = Guest::listener();
    let mut guest = Guest::new(&UserConfig { host: false, ..UserConfig::default() });
    let handle = guest.connect(GATEWAY, port);
    guest.until(|guest| (guest.tcp(handle).state() == State::Closed).then_some(()));
}

#[test]
fn a_slow_reader_holds_up_its_own_flow_only() {
    let mut guest = guest();
    let (slow, mut to_slow) = guest.pair();
    let (fast, mut to_fast) = guest.pair();
    let bytes = pattern(64 << 10);
    let mut written = 0;
    for _ in 0..300 {
        while let Ok(length) = to_slow.write(&bytes) {
            written += length;
        }
        guest.turn();
    }
    assert!(written < 16 << 20, "{written} bytes wait somewhere for a guest that does not read");
    guest.host_sends(fast, &mut to_fast, &bytes);
    guest.guest_sends(fast, &mut to_fast, &bytes);
    // And it goes on where it stopped.
    let mut read = 0;
    guest.until(|guest| {
        let socket = guest.tcp(slow);
        while socket.can_recv() {
            read += socket.recv(|data| (data.len(), data.len())).unwrap();
        }
        (read == written).then_some(())
    });
}

#[test]
fn a_thousand_flows() {
    let mut guest = guest();
    let (listener, port) = Guest::listener();
    let mut flows = Vec::new();
    // A listener's own queue is short.
    for _ in 0..10 {
        let handles: Vec<_> = (0..100).map(|_| guest.connect(GATEWAY, port)).collect();
        for _ in &handles {
            let stream = guest.accept(&listener);
            flows.push(stream);
        }
        guest.until(|guest| handles.iter().all(|handle| guest.tcp(*handle).may_send()).then_some(()));
        for (index, handle) in handles.iter().enumerate() {
            guest.tcp(*handle).send_slice(&[index as u8; 10]).unwrap();
        }
    }
    assert_eq!(guest.net.tcp_connections(), 1000);
    for stream in &mut flows {
        let mut bytes = [0; 10];
        let mut read = 0;
        guest.until(|_| {
            if let Ok(length) = stream.read(&mut bytes[read..]) {
                read += length;
            }
            (read == 10).then_some(())
        });
        assert!(bytes.iter().all(|byte| *byte == bytes[0]));
    }
    drop(flows);
    guest.net.reset();
    assert_eq!(guest.net.tcp_connections(), 0);
}

#[test]
fn idle_connections_end() {
    let mut guest =
        Guest::with(&UserConfig::default(), |options| options.tcp_idle = Duration::from_millis(150));
    let (handle, mut stream) = guest.pair();
    guest.guest_sends(handle, &mut stream, b"a sign of life");
    assert!(guest.net.deadline().is_some());
    guest.until(|guest| (guest.net.tcp_connections() == 0).then_some(()));
    guest.until(|guest| (guest.tcp(handle).state() == State::Closed).then_some(()));
    assert_eq!(read_to_end(&mut guest, &mut stream), Err(ErrorKind::ConnectionReset));
}

#[test]
fn name_servers_are_reached_by_tcp() {
    let (listener, port) = Guest::listener();
    let mut guest = Guest::with(&UserConfig::default(), |options| {
        options.name_servers = vec![(Ipv4Addr::LOCALHOST, port).into()];
    });
    let handle = guest.connect(DNS, 53);
    let mut stream = guest.accept(&listener);
    guest.until(|guest| guest.tcp(handle).may_send().then_some(()));
    guest.guest_sends(handle, &mut stream, b"question");
    let other = guest.connect(DNS, 54);
    guest.until(|guest| (guest.tcp(other).state() == State::Closed).then_some(()));
}

#[test]
fn a_restarted_guest_has_no_old_connections() {
    let mut guest = guest();
    let (_, mut stream) = guest.pair();
    guest.net.reset();
    assert_eq!(read_to_end(&mut guest, &mut stream), Err(ErrorKind::ConnectionReset));
    let (handle, mut stream) = guest.pair();
    guest.guest_sends(handle, &mut stream, b"anew");
}

fn with_forward(forward: &str) -> UserConfig {
    UserConfig { forward: vec![forward.parse().unwrap()], ..UserConfig::default() }
}

fn bound_tcp(net: &UserNet) -> std::net::SocketAddr {
    match &net.forwards()[0].from {
        ForwardFrom::Tcp(address) => *address,
        other => panic!("{other} is not TCP"),
    }
}

#[test]
fn tcp_comes_in() {
    let mut guest = Guest::new(&with_forward("tcp:127.0.0.1:0=tcp:80"));
    let handle = guest.listen(80);
    let mut stream = TcpStream::connect(bound_tcp(&guest.net)).unwrap();
    stream.set_nonblocking(true).unwrap();
    guest.until(|guest| guest.tcp(handle).may_send().then_some(()));
    assert_eq!(guest.tcp(handle).remote_endpoint().unwrap().addr, GATEWAY.into());
    let bytes = pattern(300_000);
    guest.host_sends(handle, &mut stream, &bytes);
    guest.guest_sends(handle, &mut stream, &bytes);
    drop(stream);
    guest.until(|guest| (guest.tcp(handle).state() == State::CloseWait).then_some(()));
    guest.tcp(handle).close();
    guest.until(|guest| (guest.net.tcp_connections() == 0).then_some(()));
}

#[test]
fn a_forward_to_a_closed_port_ends_the_connection() {
    let mut guest = Guest::new(&with_forward("tcp:127.0.0.1:0=80"));
    let mut stream = TcpStream::connect(bound_tcp(&guest.net)).unwrap();
    stream.set_nonblocking(true).unwrap();
    assert_eq!(read_to_end(&mut guest, &mut stream), Err(ErrorKind::ConnectionReset));
    guest.until(|guest| (guest.net.tcp_connections() == 0).then_some(()));
}

#[test]
fn a_unix_socket_leads_in_and_goes_with_the_back_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("docker.sock");
    let config = with_forward(&format!("unix:{}=tcp:2375", path.display()));
    let mut guest = Guest::new(&config);
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let handle = guest.listen(2375);
    let mut stream = UnixStream::connect(&path).unwrap();
    stream.set_nonblocking(true).unwrap();
    guest.until(|guest| guest.tcp(handle).may_send().then_some(()));
    let bytes = pattern(300_000);
    guest.host_sends(handle, &mut stream, &bytes);
    guest.guest_sends(handle, &mut stream, &bytes);
    stream.shutdown(Shutdown::Write).unwrap();
    guest.until(|guest| (guest.tcp(handle).state() == State::CloseWait).then_some(()));

    // While it is served nobody else gets the path.
    let options = || UserOptions::new(super::guest::mac(), std::sync::Arc::new(()));
    let error = UserNet::new(&config, options()).err().unwrap();
    assert!(matches!(error, ListenError::PathInUse(_)), "{error}");
    drop(guest);
    assert!(!path.exists());

    // What a killed program left behind is taken over, what is no socket is not.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    drop(UserNet::new(&config, options()).unwrap());
    std::fs::write(&path, b"precious").unwrap();
    let error = UserNet::new(&config, options()).err().unwrap();
    assert!(matches!(error, ListenError::NoSocket(_)), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), b"precious");
}

#[test]
fn a_taken_port_is_an_error_that_names_it() {
    let (_listener, port) = Guest::listener();
    let config = with_forward(&format!("tcp:127.0.0.1:{port}=80"));
    let options = UserOptions::new(super::guest::mac(), std::sync::Arc::new(()));
    let error = UserNet::new(&config, options).err().unwrap();
    let text =
        format!("tcp:127.0.0.1:{port}: the address is in use; stop what listens there or choose another");
    assert_eq!(error.to_string(), text);
}

#[test]
fn forwards_keep_their_text() {
    let forward: Forward = "tcp:0=80".parse().unwrap();
    assert_eq!(forward.to_string(), "tcp:127.0.0.1:0=tcp:80");
}
