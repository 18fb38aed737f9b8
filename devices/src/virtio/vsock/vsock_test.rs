use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use tempfile::TempDir;

use super::connection::BUFFER_BYTES;
use super::spec::{EVENT, HEADER_BYTES, HOST_CID, Header, RX, TX, TYPE_STREAM, op, shutdown};
use super::*;
use crate::virtio::mock::{Driver, Setup};
use crate::virtio::spec::feature;

const CID: u64 = 7;
const DATA_BYTES: usize = 1000;

/// A guest, and the folder with the host's sockets.
struct Guest {
    driver: Driver<Vsock>,
    dir: TempDir,
}

/// One end of a connection, as the guest sees it.
#[derive(Debug, Clone, Copy)]
struct End {
    host_port: u32,
    guest_port: u32,
}

impl Guest {
    fn new() -> Self {
        let mut guest = Self::without_buffers(Setup::default());
        (0..64).for_each(|_| guest.give_buffer());
        guest
    }

    fn without_buffers(setup: Setup) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = VsockConfig { cid: CID as u32, path: dir.path().join("v") };
        Self { driver: Driver::new(Vsock::new(&config).unwrap(), setup), dir }
    }

    fn give_buffer(&mut self) {
        self.driver.send(RX, &[], &[HEADER_BYTES as u32, DATA_BYTES as u32]);
    }

    fn dial(&self) -> UnixStream {
        let stream = UnixStream::connect(self.dir.path().join("v")).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream
    }

    fn listen(&self, port: u32) -> UnixListener {
        UnixListener::bind(self.dir.path().join(format!("v_{port}"))).unwrap()
    }

    fn header(end: End, op: u16) -> Header {
        Header {
            src_cid: CID,
            dst_cid: HOST_CID,
            src_port: end.guest_port,
            dst_port: end.host_port,
            kind: TYPE_STREAM,
            op,
            buf_alloc: 1 << 20,
            ..Header::default()
        }
    }

    fn send_header(&mut self, header: &Header, data: &[u8]) {
        self.driver.send(TX, &[&header.bytes(), data], &[]);
        assert_eq!(self.driver.wait(TX).unwrap().written, 0);
    }

    fn send(&mut self, end: End, op: u16, flags: u32, data: &[u8]) {
        let header = Header { len: data.len() as u32, flags, ..Self::header(end, op) };
        self.send_header(&header, data);
    }

    /// The next packet from the host.
    fn receive(&mut self) -> (Header, Vec<u8>) {
        let used = self.driver.wait(RX).expect("a packet");
        self.give_buffer();
        let header = Header::parse(used.bytes[..HEADER_BYTES].try_into().unwrap());
        assert_eq!(used.written as usize, HEADER_BYTES + header.len as usize);
        assert_eq!(header.dst_cid, CID);
        (header, used.bytes[HEADER_BYTES..][..header.len as usize].to_vec())
    }

    #[track_caller]
    fn expect(&mut self, op: u16) -> (Header, Vec<u8>) {
        let (header, data) = self.receive();
        assert_eq!(header.op, op, "{header:?}");
        (header, data)
    }

    /// Nothing comes for a while.
    fn quiet(&mut self) {
        std::thread::sleep(Duration::from_millis(20));
        let used = self.driver.queues[usize::from(RX)].used();
        assert!(used.is_none(), "{:?}", used.map(|used| used.bytes));
    }

    fn open_from_host(&mut self) -> (UnixStream, End) {
        let mut stream = self.dial();
        stream.write_all(b"CONNECT 1234\n").unwrap();
        let (request, _) = self.expect(op::REQUEST);
        assert_eq!((request.src_cid, request.dst_port, request.kind), (HOST_CID, 1234, TYPE_STREAM));
        assert_eq!(request.buf_alloc, BUFFER_BYTES);
        let end = End { host_port: request.src_port, guest_port: 1234 };
        self.send(end, op::RESPONSE, 0, b"");
        let expected = format!("OK {}\n", end.host_port);
        let mut line = vec![0; expected.len()];
        stream.read_exact(&mut line).unwrap();
        assert_eq!(line, expected.as_bytes());
        (stream, end)
    }

    fn open_from_guest(&mut self) -> (UnixStream, End) {
        let listener = self.listen(52);
        let end = End { host_port: 52, guest_port: 9000 };
        self.send(end, op::REQUEST, 0, b"");
        self.expect(op::RESPONSE);
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        std::fs::remove_file(self.dir.path().join("v_52")).unwrap();
        (stream, end)
    }
}

fn read_some(stream: &mut UnixStream, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    stream.read_exact(&mut bytes).unwrap();
    bytes
}

fn is_closed(stream: &mut UnixStream) -> bool {
    stream.read(&mut [0; 16]).map_or(true, |count| count == 0)
}

#[test]
fn a_host_program_reaches_a_port_of_the_guest() {
    for packed in [false, true] {
        let mut guest = Guest::without_buffers(Setup { packed, ..Setup::default() });
        (0..8).for_each(|_| guest.give_buffer());
        let (mut stream, end) = guest.open_from_host();
        stream.write_all(b"to the guest").unwrap();
        let (header, data) = guest.expect(op::RW);
        assert_eq!((header.src_port, &data[..]), (end.host_port, &b"to the guest"[..]));
        guest.send(end, op::RW, 0, b"to the host");
        assert_eq!(read_some(&mut stream, 11), b"to the host");
        let (_other, second) = guest.open_from_host();
        assert_ne!(end.host_port, second.host_port);
    }
}

#[test]
fn a_guest_program_reaches_a_socket_of_the_host() {
    let mut guest = Guest::new();
    let (mut stream, end) = guest.open_from_guest();
    guest.send(end, op::RW, 0, b"to the host");
    assert_eq!(read_some(&mut stream, 11), b"to the host");
    stream.write_all(b"to the guest").unwrap();
    assert_eq!(guest.expect(op::RW).1, b"to the guest");
    guest.send(End { host_port: 53, guest_port: 9001 }, op::REQUEST, 0, b"");
    let (refusal, _) = guest.expect(op::RST);
    assert_eq!((refusal.src_port, refusal.dst_port), (53, 9001), "nobody listens there");
}

#[test]
fn what_follows_the_greeting_is_data() {
    let mut guest = Guest::new();
    let mut stream = guest.dial();
    stream.write_all(b"connect 5\nearly").unwrap();
    let (request, _) = guest.expect(op::REQUEST);
    guest.quiet();
    guest.send(End { host_port: request.src_port, guest_port: 5 }, op::RESPONSE, 0, b"");
    assert_eq!(guest.expect(op::RW).1, b"early");
}

#[test]
fn greetings_that_are_none_are_hung_up_on() {
    let mut guest = Guest::new();
    for greeting in [
        "\n",
        "CONNECT\n",
        "CONNECT \n",
        "CONNECT x\n",
        "CONNECT -1\n",
        "CONNECT +1\n",
        "CONNECT 4294967296\n",
        "CONNECT 1 2\n",
        "GET / HTTP/1.1\r\n",
        "CONNECT 00000000000000000000000001\n",
    ] {
        let mut stream = guest.dial();
        stream.write_all(greeting.as_bytes()).unwrap();
        assert!(is_closed(&mut stream), "{greeting}");
    }
    guest.dial().write_all(b"CONN").unwrap();
    guest.quiet();
    guest.open_from_host();
}

#[test]
fn a_guest_can_refuse() {
    let mut guest = Guest::new();
    let mut stream = guest.dial();
    stream.write_all(b"CONNECT 5\n").unwrap();
    let (request, _) = guest.expect(op::REQUEST);
    guest.send(End { host_port: request.src_port, guest_port: 5 }, op::RST, 0, b"");
    assert!(is_closed(&mut stream));
    guest.quiet();
}

#[test]
fn a_host_program_that_gives_up_is_taken_back() {
    let mut guest = Guest::new();
    let mut stream = guest.dial();
    stream.write_all(b"CONNECT 5\n").unwrap();
    guest.expect(op::REQUEST);
    drop(stream);
    guest.expect(op::RST);
}

#[test]
fn each_half_ends_by_itself() {
    let mut guest = Guest::new();
    let (mut stream, end) = guest.open_from_host();
    stream.write_all(b"last words").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(guest.expect(op::RW).1, b"last words");
    assert_eq!(guest.expect(op::SHUTDOWN).0.flags, shutdown::SEND);
    guest.send(end, op::RW, 0, b"still there");
    guest.send(end, op::SHUTDOWN, shutdown::SEND, b"");
    assert_eq!(read_some(&mut stream, 11), b"still there");
    assert!(is_closed(&mut stream));
    guest.send(end, op::SHUTDOWN, shutdown::BOTH, b"");
    guest.expect(op::RST);
    guest.quiet();

    let (mut stream, end) = guest.open_from_guest();
    guest.send(end, op::SHUTDOWN, shutdown::SEND, b"");
    assert!(is_closed(&mut stream));
    stream.write_all(b"an answer").unwrap();
    assert_eq!(guest.expect(op::RW).1, b"an answer");
    guest.send(end, op::SHUTDOWN, shutdown::RECEIVE, b"");
    guest.expect(op::RST);
    assert!(stream.write_all(b"more").is_err());
}

#[test]
fn a_guest_that_will_not_receive_stops_the_host() {
    let mut guest = Guest::new();
    let (mut stream, end) = guest.open_from_host();
    guest.send(end, op::SHUTDOWN, shutdown::RECEIVE, b"");
    assert!(stream.write_all(b"unwanted").is_err());
    guest.send(end, op::RW, 0, b"sent");
    assert_eq!(read_some(&mut stream, 4), b"sent");
}

#[test]
fn a_host_program_that_leaves_ends_both_halves() {
    let mut guest = Guest::new();
    let (stream, end) = guest.open_from_guest();
    drop(stream);
    let mut ended = 0;
    while ended != shutdown::BOTH {
        ended |= guest.expect(op::SHUTDOWN).0.flags;
    }
    guest.send(end, op::RW, 0, b"too late");
    guest.send(end, op::RST, 0, b"");
    guest.quiet();
    guest.send(end, op::RW, 0, b"unknown");
    guest.expect(op::RST);
}

#[test]
fn what_the_guest_said_last_reaches_a_slow_host() {
    let mut guest = Guest::new();
    let (mut stream, end) = guest.open_from_guest();
    // More than the host's socket holds, less than the credit.
    let data: Vec<u8> = (0..BUFFER_BYTES).map(|n| (n % 251) as u8).collect();
    let mut sent = 0;
    for part in data.chunks(8192) {
        guest.send(end, op::RW, 0, part);
        sent += part.len();
    }
    assert_eq!(sent, BUFFER_BYTES as usize);
    // In one go while the buffer may be full: the guest is let go at once.
    for part in data.chunks(8192).take(8) {
        guest.send(end, op::RW, 0, part);
    }
    guest.send(end, op::SHUTDOWN, shutdown::BOTH, b"");
    while guest.receive().0.op != op::RST {}
    let mut got = Vec::new();
    stream.read_to_end(&mut got).unwrap();
    assert_eq!(got.len(), data.len() + 8 * 8192);
    assert_eq!(got[..data.len()], data);
}

#[test]
fn a_guest_is_told_of_room_and_held_to_it() {
    let mut guest = Guest::new();
    let (mut stream, end) = guest.open_from_guest();
    let mut forwarded = 0;
    let mut sent = 0_u32;
    let part = [5; 4096];
    // As a driver does: never more than the credit.
    while sent - forwarded + 4096 <= BUFFER_BYTES {
        guest.send(end, op::RW, 0, &part);
        sent += 4096;
        if sent.is_multiple_of(65536) {
            guest.send(end, op::CREDIT_REQUEST, 0, b"");
        }
        while let Some(used) = guest.driver.queues[usize::from(RX)].used() {
            let header = Header::parse(used.bytes[..HEADER_BYTES].try_into().unwrap());
            assert_eq!((header.op, header.buf_alloc), (op::CREDIT_UPDATE, BUFFER_BYTES));
            forwarded = header.fwd_cnt;
            guest.give_buffer();
        }
    }
    assert!(sent > BUFFER_BYTES, "the host's socket took some");
    // The host reads all; the guest is told without asking.
    assert_eq!(read_some(&mut stream, sent as usize), vec![5; sent as usize]);
    while forwarded + BUFFER_BYTES / 4 <= sent {
        forwarded = guest.expect(op::CREDIT_UPDATE).0.fwd_cnt;
    }
    // Past its credit.
    let mut refused = false;
    for _ in 0..1000 {
        guest.send(end, op::RW, 0, &part);
        if let Some(used) = guest.driver.queues[usize::from(RX)].used() {
            let header = Header::parse(used.bytes[..HEADER_BYTES].try_into().unwrap());
            guest.give_buffer();
            refused |= header.op == op::RST;
        }
    }
    assert!(refused);
}

#[test]
fn the_host_sends_no_more_than_the_guest_has_room_for() {
    let mut guest = Guest::new();
    let (mut stream, end) = guest.open_from_guest();
    guest.send_header(&Header { buf_alloc: 1500, ..Guest::header(end, op::CREDIT_UPDATE) }, b"");
    let data: Vec<u8> = (0..10_000_u32).map(|n| (n % 253) as u8).collect();
    stream.write_all(&data).unwrap();
    let (mut got, mut window) = (Vec::new(), 1500);
    while got.len() < data.len() {
        let (header, part) = guest.receive();
        match header.op {
            op::RW => got.extend(part),
            op::CREDIT_REQUEST => {
                guest.quiet();
                assert_eq!(got.len(), window, "all that there was room for");
                let taken = got.len() as u32;
                window += 1500;
                let full =
                    Header { buf_alloc: 1500, fwd_cnt: taken, ..Guest::header(end, op::CREDIT_UPDATE) };
                guest.send_header(&full, b"");
            }
            _ => panic!("{header:?}"),
        }
        assert!(got.len() <= window);
    }
    assert_eq!(got, data);
    // A guest that says it took more than it was sent gets nothing rather than everything.
    let lies = Header { buf_alloc: 1500, fwd_cnt: 20_000, ..Guest::header(end, op::CREDIT_UPDATE) };
    guest.send_header(&lies, b"");
    stream.write_all(b"more").unwrap();
    guest.expect(op::CREDIT_REQUEST);
    guest.quiet();
}

#[test]
fn streams_arrive_whole_both_ways() {
    let mut guest = Guest::new();
    let (mut stream, end) = guest.open_from_host();
    let data: Vec<u8> = (0..1_000_000_u32).map(|n| (n % 249) as u8).collect();
    let (mut reader, expected) = (stream.try_clone().unwrap(), data.clone());
    let writer = std::thread::spawn(move || {
        stream.write_all(&expected).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
    });
    let echo = std::thread::spawn(move || {
        let mut all = Vec::new();
        reader.read_to_end(&mut all).unwrap();
        all
    });
    let (mut got, mut forwarded, mut sent) = (Vec::new(), 0_u32, 0_u32);
    let mut ended = false;
    // Everything is sent back, as credit allows.
    while !ended || (sent as usize) < got.len() {
        let room = BUFFER_BYTES - (sent - forwarded);
        let part = got.len().min(sent as usize + room.min(8192) as usize);
        if part > sent as usize {
            let back = got[sent as usize..part].to_vec();
            sent = part as u32;
            let taken =
                Header { len: back.len() as u32, fwd_cnt: got.len() as u32, ..Guest::header(end, op::RW) };
            guest.send_header(&taken, &back);
        } else {
            let (header, bytes) = guest.receive();
            forwarded = header.fwd_cnt;
            got.extend(bytes);
            ended |= header.op == op::SHUTDOWN;
        }
    }
    writer.join().unwrap();
    guest.send(end, op::SHUTDOWN, shutdown::BOTH, b"");
    assert!(got == data && echo.join().unwrap() == data);
}

#[test]
fn packets_that_make_no_sense_are_refused_or_dropped() {
    let mut guest = Guest::new();
    let end = End { host_port: 77, guest_port: 88 };
    // From somebody else, or no packet: dropped.
    guest.send_header(&Header { src_cid: CID + 1, ..Guest::header(end, op::RW) }, b"");
    guest.driver.send(TX, &[&[1; HEADER_BYTES - 1]], &[]);
    guest.driver.wait(TX).unwrap();
    guest.send(end, op::RST, 0, b"");
    guest.quiet();
    // To somebody else, of another kind, or about nothing: refused.
    guest.send_header(&Header { dst_cid: 99, ..Guest::header(end, op::REQUEST) }, b"");
    assert_eq!(guest.expect(op::RST).0.src_cid, 99);
    guest.send_header(&Header { kind: 2, ..Guest::header(end, op::REQUEST) }, b"");
    assert_eq!(guest.expect(op::RST).0.kind, 2);
    for op in [op::RESPONSE, op::SHUTDOWN, op::RW, op::CREDIT_UPDATE, op::CREDIT_REQUEST, 0, 8, 0xffff] {
        guest.send(end, op, 0, b"");
        assert_eq!(guest.expect(op::RST).0.dst_port, 88, "{op}");
    }
    // On a connection: it ends.
    let too_long = |end| Header { len: 5, ..Guest::header(end, op::RW) };
    type Wrong = Box<dyn Fn(&mut Guest, End)>;
    let wrong: [Wrong; 5] = [
        Box::new(move |guest, end| guest.send_header(&too_long(end), b"four")),
        Box::new(|guest, end| {
            guest.send_header(&Header { len: u32::MAX, ..Guest::header(end, op::RW) }, b"")
        }),
        Box::new(|guest, end| guest.send(end, op::RESPONSE, 0, b"")),
        Box::new(|guest, end| guest.send(end, op::REQUEST, 0, b"")),
        Box::new(|guest, end| {
            guest.send(end, op::SHUTDOWN, shutdown::SEND, b"");
            guest.send(end, op::RW, 0, b"x");
        }),
    ];
    for mistake in wrong {
        let (mut stream, end) = guest.open_from_host();
        mistake(&mut guest, end);
        guest.expect(op::RST);
        assert!(is_closed(&mut stream));
    }
    guest.quiet();
}

#[test]
fn refusals_wait_for_a_guest_without_buffers_and_are_bounded() {
    let mut guest = Guest::without_buffers(Setup::default());
    let nothing = Guest::header(End { host_port: 1, guest_port: 2 }, op::RW);
    let mut sent = 0;
    for _ in 0..500 {
        let queue = &guest.driver.queues[usize::from(TX)];
        if queue.in_flight() < 200 {
            guest.driver.send(TX, &[&nothing.bytes()], &[]);
            sent += 1;
        }
        while guest.driver.queues[usize::from(TX)].used().is_some() {}
        std::thread::sleep(Duration::from_micros(200));
    }
    assert_eq!(guest.driver.queues[usize::from(TX)].in_flight(), 200, "the guest has to wait");
    assert_eq!(sent, 256 + 200);
    (0..64).for_each(|_| guest.give_buffer());
    for _ in 0..sent {
        guest.expect(op::RST);
    }
    guest.quiet();
    guest.open_from_host();
}

#[test]
fn nobody_waits_for_ever() {
    let mut guest = Guest::new();
    let (host, end) = guest.open_from_guest();
    drop(host);
    while guest.expect(op::SHUTDOWN).0.flags != shutdown::BOTH {}
    let mut silent = guest.dial();
    let mut unanswered = guest.dial();
    unanswered.write_all(b"CONNECT 5\n").unwrap();
    let asked = guest.expect(op::REQUEST).0.src_port;
    let mut ended = [guest.expect(op::RST).0.src_port, guest.expect(op::RST).0.src_port];
    ended.sort_unstable();
    assert_eq!(ended, [end.host_port, asked]);
    assert!(is_closed(&mut silent) && is_closed(&mut unanswered));
    guest.quiet();
}

#[test]
fn connections_are_bounded() {
    let mut guest = Guest::new();
    let listener = guest.listen(52);
    let mut held = Vec::new();
    for guest_port in 0..256 {
        guest.send(End { host_port: 52, guest_port }, op::REQUEST, 0, b"");
        guest.expect(op::RESPONSE);
        held.push(listener.accept().unwrap());
    }
    guest.send(End { host_port: 52, guest_port: 256 }, op::REQUEST, 0, b"");
    guest.expect(op::RST);
    assert!(is_closed(&mut guest.dial()));
    guest.send(End { host_port: 52, guest_port: 0 }, op::RST, 0, b"");
    guest.open_from_host();
}

#[test]
fn the_next_driver_learns_that_connections_are_gone() {
    let mut guest = Guest::new();
    let mut stream = guest.open_from_host().0;
    let mut waiting = guest.dial();
    (0..3).for_each(|index| drop(guest.driver.device.stop_queue(index)));
    guest.driver.device.deactivate();
    assert!(is_closed(&mut stream) && is_closed(&mut waiting));
    let mut early = guest.dial();
    early.write_all(b"CONNECT 1234\n").unwrap();

    let spare = Vsock::new(&VsockConfig { cid: 3, path: guest.dir.path().join("spare") }).unwrap();
    let device = std::mem::replace(&mut guest.driver.device, spare);
    guest.driver = Driver::new(device, Setup::default());
    (0..64).for_each(|_| guest.give_buffer());
    let event = guest.driver.request(EVENT, &[], &[4]).unwrap();
    assert_eq!((event.written, &event.bytes[..]), (4, &[0; 4][..]));
    guest.expect(op::REQUEST);
    guest.driver.send(EVENT, &[], &[4]);
    guest.open_from_host();
    assert!(guest.driver.queues[usize::from(EVENT)].used().is_none(), "told once");
}

#[test]
fn connections_outlive_a_pause() {
    let mut guest = Guest::new();
    let (mut stream, end) = guest.open_from_host();
    let queues: Vec<Queue> = (0..3).filter_map(|index| guest.driver.device.stop_queue(index)).collect();
    stream.write_all(b"meanwhile").unwrap();
    guest.quiet();
    queues.into_iter().for_each(|queue| guest.driver.device.start_queue(queue.index(), queue));
    assert_eq!(guest.expect(op::RW).1, b"meanwhile");
    guest.send(end, op::RW, 0, b"on");
    assert_eq!(read_some(&mut stream, 2), b"on");
}

#[test]
fn the_configuration_tells_the_guest_who_it_is() {
    let guest = Guest::new();
    assert_ne!(guest.driver.features & (spec::F_STREAM | feature::VERSION_1), 0);
    let mut bytes = [9; 12];
    guest.driver.device.read_config(0, &mut bytes);
    assert_eq!(bytes, [7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn the_hosts_socket_replaces_a_dead_one_and_goes_with_the_device() {
    let dir = tempfile::tempdir().unwrap();
    let config = VsockConfig { cid: 3, path: dir.path().join("v") };
    drop(UnixListener::bind(&config.path).unwrap());
    let device = Vsock::new(&config).unwrap();
    let taken = Vsock::new(&config).err().unwrap().to_string();
    assert!(taken.contains(config.path.to_str().unwrap()), "{taken}");
    drop(device);
    assert!(!config.path.exists());
    std::fs::write(&config.path, "a file").unwrap();
    assert!(Vsock::new(&config).is_err(), "not a socket: it stays");
    assert!(config.path.exists());
}

#[test]
fn a_configuration_is_read_from_text() {
    let config: VsockConfig = "cid=42,path=/tmp/v.sock".parse().unwrap();
    assert_eq!(config, VsockConfig { cid: 42, path: "/tmp/v.sock".into() });
    assert_eq!(config.to_string().parse(), Ok(config));
    assert_eq!("path=a".parse::<VsockConfig>().unwrap().cid, 3);
    for (text, word) in [
        ("", "\"\""),
        ("cid=3", "needs a path"),
        ("path=", "needs a path"),
        ("/tmp/v.sock", "/tmp/v.sock"),
        ("cid=2,path=a", "cid 2"),
        ("cid=4294967295,path=a", "cid 4294967295"),
        ("cid=x,path=a", "cid x"),
        ("cid=3,cid=4,path=a", "cid is given twice"),
        ("path=a,path=b", "path is given twice"),
        ("path=a,port=3", "\"port\""),
    ] {
        let error = text.parse::<VsockConfig>().unwrap_err().to_string();
        assert!(error.contains(word), "{text}: {error}");
    }
    let long = format!("path=/{}", "x".repeat(92));
    assert!(matches!(long.parse::<VsockConfig>(), Err(ParseVsockError::LongPath { .. })));
}

#[test]
fn headers_survive_their_bytes() {
    let header = Header {
        src_cid: 1 << 40,
        dst_cid: 2,
        src_port: 3,
        dst_port: 4,
        len: 5,
        kind: 6,
        op: 7,
        flags: 8,
        buf_alloc: 9,
        fwd_cnt: 10,
    };
    assert_eq!(Header::parse(&header.bytes()), header);
    assert_eq!(header.bytes()[24..32], [5, 0, 0, 0, 6, 0, 7, 0]);
}
