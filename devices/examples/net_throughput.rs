//! How fast the network is without a guest: TCP through the NAT to a socket of the host, both ways, beside a loopback
//! socket pair. First the back end alone, on one thread; then through virtio-net's queues, with its worker. The guest is
//! played by a few lines that count sequence numbers, so that what is measured is the device.
//!
//! ```text
//! cargo run --release -p devices --features mock --example net_throughput [SECONDS]
//! ```

use std::error::Error;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use devices::net::{
    FrameHeader, LargeSegment, MAX_FRAME_BYTES, MacAddress, NetBackend, Offloads, PartialChecksum,
    SegmentKind, Sent, UserConfig, UserNet, UserOptions,
};
use devices::virtio::VirtioDevice;
use devices::virtio::mock::{Driver, DriverQueue, Setup};
use devices::virtio::net::Net;
use mio::{Events, Poll, Token};
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    EthernetAddress, EthernetFrame, EthernetProtocol, IpProtocol, IpRepr, TcpControl, TcpPacket, TcpRepr,
    TcpSeqNumber,
};

type Outcome<T> = Result<T, Box<dyn Error>>;

const GUEST: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 15);
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);
/// Headers of a frame: Ethernet, IPv4, TCP.
const HEADERS: usize = 54;
/// What a guest puts in a large segment: Linux's limit is 64 KiB with headers.
const SEGMENT: usize = 65_160;
/// The scale of the guest's window.
const SCALE: u8 = 7;

/// The largest frame behind virtio's header, and the largest that is no large segment.
const LARGE_BUFFER: u32 = 12 + MAX_FRAME_BYTES as u32;
const SMALL_BUFFER: u32 = 12 + 1514;
/// Receive buffers of the driver, and where they lie: behind what the queues use of guest memory.
const BUFFERS: u64 = 64;
const BUFFERS_AT: u64 = 32 << 20;

/// What is between the guest's TCP and the host.
trait Cable {
    /// Sends a frame.
    fn send(&mut self, frame: &[u8], header: &FrameHeader);
    /// Lets the other side work, and waits for it for so long if it has nothing to do.
    fn turn(&mut self, wait: Duration) -> io::Result<()>;
    /// The next frame.
    fn receive(&mut self, frame: &mut [u8]) -> Option<usize>;
}

fn backend(large: bool) -> Outcome<UserNet> {
    let mut net = UserNet::new(&UserConfig::default(), UserOptions::new(MacAddress::local(1), Arc::new(())))?;
    net.set_offloads(if large { Offloads::all() } else { Offloads::empty() });
    Ok(net)
}

/// The back end alone.
struct Direct {
    net: UserNet,
    poll: Poll,
    events: Events,
}

impl Direct {
    fn cable(large: bool) -> Outcome<Box<dyn Cable>> {
        let (mut net, poll) = (backend(large)?, Poll::new()?);
        net.register(poll.registry(), Token(0))?;
        Ok(Box::new(Self { net, poll, events: Events::with_capacity(64) }))
    }
}

impl Cable for Direct {
    fn send(&mut self, frame: &[u8], header: &FrameHeader) {
        assert_eq!(self.net.send(frame, header), Sent::Done);
    }

    fn turn(&mut self, wait: Duration) -> io::Result<()> {
        self.poll.poll(&mut self.events, Some(wait))?;
        for event in &self.events {
            self.net.ready(event);
        }
        self.net.advance(Instant::now());
        Ok(())
    }

    fn receive(&mut self, frame: &mut [u8]) -> Option<usize> {
        self.net.receive(frame).map(|received| received.bytes)
    }
}

/// Through the queues.
struct Queues {
    driver: Driver<Net>,
    buffer: u32,
}

impl Queues {
    fn cable(large: bool) -> Outcome<Box<dyn Cable>> {
        let net = Net::new(Box::new(backend(large)?), MacAddress::local(1), 1500);
        let features = if large { u64::MAX } else { 0 };
        let driver = Driver::new(net, Setup { features, queue_size: BUFFERS as u16, ..Setup::default() });
        let buffer = if large { LARGE_BUFFER } else { SMALL_BUFFER };
        let mut queues = Self { driver, buffer };
        (0..BUFFERS).for_each(|number| queues.give_buffer(number));
        Ok(Box::new(queues))
    }

    fn give_buffer(&mut self, number: u64) {
        let at = BUFFERS_AT + number * u64::from(self.buffer.next_multiple_of(4096));
        self.driver.queues[0].add_raw(&[DriverQueue::raw(at, self.buffer, true)], 0);
        if self.driver.queues[0].publish() {
            self.driver.device.notify(0);
        }
    }
}

impl Cable for Queues {
    fn send(&mut self, frame: &[u8], header: &FrameHeader) {
        let (queue, interrupt) = (&mut self.driver.queues[1], &self.driver.interrupt);
        // A chain takes two of the queue's entries.
        interrupt.wait(|| {
            while queue.used().is_some() {}
            queue.in_flight() < BUFFERS as usize / 2
        });
        self.driver.send(1, &[&header.to_virtio(), frame], &[]);
    }

    fn turn(&mut self, wait: Duration) -> io::Result<()> {
        if !wait.is_zero() {
            let before = self.driver.interrupt.count(0);
            let until = Instant::now() + wait;
            let interrupt = &self.driver.interrupt;
            interrupt.wait(|| interrupt.count(0) != before || Instant::now() >= until);
        }
        Ok(())
    }

    fn receive(&mut self, frame: &mut [u8]) -> Option<usize> {
        let used = self.driver.queues[0].used()?;
        let bytes = used.written as usize - 12;
        frame[..bytes].copy_from_slice(&used.bytes[12..used.written as usize]);
        // With one entry to a buffer, an entry's number is its buffer's.
        self.give_buffer(u64::from(used.id));
        Some(bytes)
    }
}

/// The guest's end of one connection.
struct Peer {
    cable: Box<dyn Cable>,
    frame: Vec<u8>,
    port: u16,
    /// Next byte to send, oldest byte not acknowledged, end of the window.
    next: u32,
    acknowledged: u32,
    window_end: u32,
    scale: u8,
    /// Next byte expected.
    expected: u32,
    large: bool,
    received: u64,
    /// That something is still to be acknowledged.
    to_acknowledge: bool,
    /// That something was sent in the last turn: what follows from it is not waited for.
    gave: bool,
}

impl Peer {
    fn new(port: u16, cable: Box<dyn Cable>, large: bool) -> Outcome<Self> {
        let mut peer = Self {
            cable,
            frame: vec![0; MAX_FRAME_BYTES],
            port,
            next: 1000,
            acknowledged: 1000,
            window_end: 1000,
            scale: 0,
            expected: 0,
            large,
            received: 0,
            to_acknowledge: false,
            gave: false,
        };
        peer.send(TcpControl::Syn, &[]);
        peer.next += 1;
        while peer.window_end == 1000 {
            peer.turn()?;
        }
        Ok(peer)
    }

    fn send(&mut self, control: TcpControl, payload: &[u8]) {
        let syn = control == TcpControl::Syn;
        let repr = TcpRepr {
            src_port: 4321,
            dst_port: self.port,
            control,
            seq_number: TcpSeqNumber(self.next as i32),
            ack_number: (!syn).then_some(TcpSeqNumber(self.expected as i32)),
            window_len: u16::MAX,
            window_scale: syn.then_some(SCALE),
            max_seg_size: syn.then_some(1460),
            sack_permitted: false,
            sack_ranges: [None; 3],
            timestamp: None,
            payload,
        };
        let mut checksums = ChecksumCapabilities::ignored();
        checksums.ipv4 = smoltcp::phy::Checksum::Tx;
        if !self.large {
            checksums.tcp = smoltcp::phy::Checksum::Tx;
        }
        let ip = IpRepr::new(GUEST.into(), GATEWAY.into(), IpProtocol::Tcp, repr.buffer_len(), 64);
        let length = 34 + repr.buffer_len();
        let mut frame = EthernetFrame::new_unchecked(&mut self.frame[..length]);
        frame.set_src_addr(EthernetAddress(MacAddress::local(1).bytes()));
        frame.set_dst_addr(EthernetAddress::BROADCAST);
        frame.set_ethertype(EthernetProtocol::Ipv4);
        ip.emit(&mut self.frame[14..length], &checksums);
        let mut tcp = TcpPacket::new_unchecked(&mut self.frame[34..length]);
        repr.emit(&mut tcp, &ip.src_addr(), &ip.dst_addr(), &checksums);
        let header = FrameHeader {
            checksum: self.large.then_some(PartialChecksum { start: 34, offset: 16 }),
            segment: (payload.len() > 1460).then_some(LargeSegment {
                kind: SegmentKind::TcpV4,
                size: 1460,
                header_bytes: HEADERS as u16,
            }),
        };
        self.cable.send(&self.frame[..length], &header);
        self.gave = true;
    }

    fn turn(&mut self) -> io::Result<()> {
        let wait = if std::mem::take(&mut self.gave) { Duration::ZERO } else { Duration::from_millis(1) };
        self.cable.turn(wait)?;
        while let Some(bytes) = self.cable.receive(&mut self.frame) {
            self.take(bytes);
        }
        if self.to_acknowledge {
            self.to_acknowledge = false;
            self.send(TcpControl::None, &[]);
        }
        Ok(())
    }

    fn take(&mut self, bytes: usize) {
        let Ok(tcp) = TcpPacket::new_checked(&self.frame[34..bytes]) else { return };
        if tcp.syn() {
            self.expected = tcp.seq_number().0 as u32 + 1;
            let mut options = tcp.options();
            while let Ok((rest, option)) = smoltcp::wire::TcpOption::parse(options) {
                if let smoltcp::wire::TcpOption::WindowScale(scale) = option {
                    self.scale = scale;
                }
                options = rest;
                if options.is_empty() {
                    break;
                }
            }
            self.to_acknowledge = true;
        }
        self.acknowledged = tcp.ack_number().0 as u32;
        let scale = if tcp.syn() { 0 } else { self.scale };
        self.window_end = self.acknowledged.wrapping_add(u32::from(tcp.window_len()) << scale);
        let payload = bytes - 34 - usize::from(tcp.header_len());
        if payload > 0 {
            assert_eq!(tcp.seq_number().0 as u32, self.expected, "a gap on a link without loss");
            self.expected = self.expected.wrapping_add(payload as u32);
            self.received += payload as u64;
            self.to_acknowledge = true;
        }
    }

    /// Sends as much as the window takes, sixteen segments at most.
    fn fill(&mut self, payload: &[u8]) {
        for _ in 0..16 {
            let room = self.window_end.wrapping_sub(self.next) as usize;
            if room > 1 << 30 || room < payload.len() {
                break;
            }
            self.send(TcpControl::Psh, payload);
            self.next = self.next.wrapping_add(payload.len() as u32);
        }
    }
}

fn gigabits(bytes: u64, time: Duration) -> f64 {
    bytes as f64 * 8.0 / time.as_secs_f64() / 1e9
}

/// Reads for ever; the bytes read and the time from the first to the last.
fn sink(mut stream: TcpStream) -> io::Result<(u64, Duration)> {
    let mut buffer = vec![0; 256 << 10];
    let (mut total, begin) = (0, Instant::now());
    loop {
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return Ok((total, begin.elapsed())),
            Ok(length) => total += length as u64,
        }
    }
}

fn source(mut stream: TcpStream, time: Duration) -> io::Result<()> {
    let (buffer, begin) = (vec![0x5a; 256 << 10], Instant::now());
    while begin.elapsed() < time {
        stream.write_all(&buffer)?;
    }
    Ok(())
}

fn loopback(time: Duration) -> Outcome<f64> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let stream = TcpStream::connect(listener.local_addr()?)?;
    let (accepted, _) = listener.accept()?;
    let reader = thread::spawn(move || sink(accepted));
    source(stream, time)?;
    let (bytes, time) = reader.join().map_err(|_| "the reader failed")??;
    Ok(gigabits(bytes, time))
}

/// Makes what is between guest and host, for a guest that takes large segments or not.
type MakeCable = fn(bool) -> Outcome<Box<dyn Cable>>;

fn to_host(cable: MakeCable, time: Duration, payload: usize, large: bool) -> Outcome<f64> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let mut peer = Peer::new(listener.local_addr()?.port(), cable(large)?, large)?;
    let (accepted, _) = listener.accept()?;
    let reader = thread::spawn(move || sink(accepted));
    let (payload, begin) = (vec![0x5a; payload], Instant::now());
    while begin.elapsed() < time {
        peer.fill(&payload);
        peer.turn()?;
    }
    drop(peer);
    let (bytes, time) = reader.join().map_err(|_| "the reader failed")??;
    Ok(gigabits(bytes, time))
}

fn to_guest(cable: MakeCable, time: Duration, large: bool) -> Outcome<f64> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let mut peer = Peer::new(listener.local_addr()?.port(), cable(large)?, large)?;
    let (accepted, _) = listener.accept()?;
    let writer = thread::spawn(move || source(accepted, time));
    let begin = Instant::now();
    while begin.elapsed() < time {
        peer.turn()?;
    }
    let figure = gigabits(peer.received, begin.elapsed());
    drop(peer);
    // Its connection is gone: an error is its end.
    let _ = writer.join();
    Ok(figure)
}

/// Requests of 64 bytes in a second, sixteen under way at a time.
fn round_trips(cable: MakeCable, time: Duration) -> Outcome<f64> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let mut peer = Peer::new(listener.local_addr()?.port(), cable(true)?, true)?;
    let (mut accepted, _) = listener.accept()?;
    accepted.set_nodelay(true)?;
    let server = thread::spawn(move || {
        let mut buffer = [0; 64];
        while accepted.read_exact(&mut buffer).is_ok() && accepted.write_all(&buffer).is_ok() {}
    });
    let (mut count, begin) = (0u64, Instant::now());
    while begin.elapsed() < time {
        peer.fill(&[0x5a; 64]);
        // As many as `fill` sends.
        let wanted = peer.received + 64 * 16;
        while peer.received < wanted && begin.elapsed() < time * 2 {
            peer.turn()?;
        }
        count += 16;
    }
    drop(peer);
    let _ = server.join();
    Ok(count as f64 / begin.elapsed().as_secs_f64())
}

fn main() -> Outcome<()> {
    let seconds = std::env::args().nth(1).map_or(Ok(2.0), |text| text.parse::<f64>())?;
    let time = Duration::from_secs_f64(seconds);
    let mut out = io::stdout().lock();
    let loopback = loopback(time)?;
    writeln!(out, "loopback socket pair        {loopback:6.2} Gbit/s")?;
    for (name, cable) in
        [("back end alone", Direct::cable as MakeCable), ("virtio-net", Queues::cable as MakeCable)]
    {
        writeln!(out, "{name}:")?;
        for (name, figure) in [
            ("guest to host, large     ", to_host(cable, time, SEGMENT, true)?),
            ("host to guest, large     ", to_guest(cable, time, true)?),
            ("guest to host, 1460 bytes", to_host(cable, time, 1460, false)?),
            ("host to guest, 1460 bytes", to_guest(cable, time, false)?),
        ] {
            writeln!(out, "  {name} {figure:6.2} Gbit/s, {:3.0} % of loopback", figure / loopback * 100.0)?;
        }
        writeln!(out, "  64-byte requests, 16 deep {:6.0} a second", round_trips(cable, time)?)?;
    }
    Ok(())
}
