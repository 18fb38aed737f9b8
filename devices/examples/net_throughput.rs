//! How fast the user back end is without a guest: TCP through the NAT to a socket of the host, both ways, beside a
//! loopback socket pair. The guest is played by a few lines that count sequence numbers, so that what is measured is
//! the back end.
//!
//! ```text
//! cargo run --release -p devices --example net_throughput [SECONDS]
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

/// The guest's end of one connection.
struct Peer {
    net: UserNet,
    poll: Poll,
    events: Events,
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
    /// Frames in the last turn that held data.
    to_acknowledge: bool,
}

impl Peer {
    fn new(port: u16, large: bool) -> Outcome<Self> {
        let mac = MacAddress::local(1);
        let mut net = UserNet::new(&UserConfig::default(), UserOptions::new(mac, Arc::new(())))?;
        net.set_offloads(if large { Offloads::all() } else { Offloads::empty() });
        let poll = Poll::new()?;
        net.register(poll.registry(), Token(0))?;
        let mut peer = Self {
            net,
            poll,
            events: Events::with_capacity(64),
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
        };
        peer.send(TcpControl::Syn, &[]);
        peer.next += 1;
        while peer.window_end == 1000 {
            peer.turn(1)?;
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
        assert_eq!(self.net.send(&self.frame[..length], &header), Sent::Done);
    }

    /// One turn of a device's worker.
    fn turn(&mut self, wait_ms: u64) -> io::Result<()> {
        self.poll.poll(&mut self.events, Some(Duration::from_millis(wait_ms)))?;
        for event in &self.events {
            self.net.ready(event);
        }
        self.net.advance(Instant::now());
        while let Some(received) = self.net.receive(&mut self.frame) {
            self.take(received.bytes);
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

    /// Sends as much as the window takes; whether that was anything.
    fn fill(&mut self, payload: &[u8]) -> bool {
        let mut sent = false;
        for _ in 0..16 {
            let room = self.window_end.wrapping_sub(self.next) as usize;
            if room > 1 << 30 || room < payload.len() {
                break;
            }
            self.send(TcpControl::Psh, payload);
            self.next = self.next.wrapping_add(payload.len() as u32);
            sent = true;
        }
        sent
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

fn to_host(time: Duration, payload: usize, large: bool) -> Outcome<f64> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let mut peer = Peer::new(listener.local_addr()?.port(), large)?;
    let (accepted, _) = listener.accept()?;
    let reader = thread::spawn(move || sink(accepted));
    let (payload, begin) = (vec![0x5a; payload], Instant::now());
    while begin.elapsed() < time {
        let sent = peer.fill(&payload);
        peer.turn(u64::from(!sent))?;
    }
    drop(peer);
    let (bytes, time) = reader.join().map_err(|_| "the reader failed")??;
    Ok(gigabits(bytes, time))
}

fn to_guest(time: Duration, large: bool) -> Outcome<f64> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let mut peer = Peer::new(listener.local_addr()?.port(), large)?;
    let (accepted, _) = listener.accept()?;
    let writer = thread::spawn(move || source(accepted, time));
    let begin = Instant::now();
    while begin.elapsed() < time {
        peer.turn(1)?;
    }
    let figure = gigabits(peer.received, begin.elapsed());
    drop(peer);
    // Its connection is gone: an error is its end.
    let _ = writer.join();
    Ok(figure)
}

/// Requests of 64 bytes, each answered before the next, in a second.
fn round_trips(time: Duration) -> Outcome<f64> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let mut peer = Peer::new(listener.local_addr()?.port(), true)?;
    let (mut accepted, _) = listener.accept()?;
    accepted.set_nodelay(true)?;
    let server = thread::spawn(move || {
        let mut buffer = [0; 64];
        while accepted.read_exact(&mut buffer).is_ok() && accepted.write_all(&buffer).is_ok() {}
    });
    let (mut count, begin) = (0u64, Instant::now());
    while begin.elapsed() < time {
        peer.fill(&[0x5a; 64]);
        let wanted = peer.received + 64;
        // fill sends sixteen at a time at most; the answers of all are waited for.
        let wanted = wanted + 64 * 15;
        while peer.received < wanted && begin.elapsed() < time * 2 {
            peer.turn(1)?;
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
    writeln!(out, "loopback socket pair      {loopback:7.2} Gbit/s")?;
    for (name, figure) in [
        ("guest to host, large      ", to_host(time, SEGMENT, true)?),
        ("host to guest, large      ", to_guest(time, true)?),
        ("guest to host, 1460 bytes ", to_host(time, 1460, false)?),
        ("host to guest, 1460 bytes ", to_guest(time, false)?),
    ] {
        writeln!(out, "{name}{figure:7.2} Gbit/s, {:3.0} % of loopback", figure / loopback * 100.0)?;
    }
    writeln!(out, "64-byte requests, 16 deep {:7.0} a second", round_trips(time)?)?;
    Ok(())
}
