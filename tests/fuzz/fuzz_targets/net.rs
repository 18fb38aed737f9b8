//! A guest that sends Ethernet frames as it likes to the user back end, answers TCP connections it did not ask for, and
//! peers of the host's that read, write and go away. Nothing leaves this machine: the guest reaches neither the host
//! nor the outside, only connections that the host opens into it.
#![no_main]

use std::cell::RefCell;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use devices::net::{
    FrameHeader, MAX_FRAME_BYTES, MacAddress, NetBackend, Offloads, PartialChecksum, UserConfig, UserNet, UserOptions,
};
use fuzz::Choices;
use libfuzzer_sys::fuzz_target;
use mio::{Events, Poll, Token};

/// Steps taken of one input.
const MAX_STEPS: usize = 256;
/// Connections of the host's at a time.
const MAX_STREAMS: usize = 4;
/// Frames taken in one step. A flow gives no more than its window, and the guest's says how much that is.
const MAX_FRAMES: usize = 4096;

const MAC: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x56];
const ADDRESSES: [[u8; 4]; 6] =
    [[10, 0, 2, 2], [10, 0, 2, 3], [255; 4], [10, 0, 2, 15], [127, 0, 0, 1], [224, 0, 0, 1]];
const PROTOCOLS: [u8; 6] = [17, 6, 1, 58, 44, 0];
const PORTS: [u16; 6] = [67, 53, 68, 80, 0, 49152];

/// One back end for all inputs: it is reset between them, and that is a test as well.
struct World {
    net: UserNet,
    poll: Poll,
    events: Events,
    frame: Vec<u8>,
    path: PathBuf,
    streams: Vec<UnixStream>,
    /// The last TCP frame for the guest.
    last: Vec<u8>,
}

thread_local! {
    static WORLD: RefCell<Option<World>> = const { RefCell::new(None) };
}

impl World {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("rvmm-fuzz-{}.sock", std::process::id()));
        let config = UserConfig {
            host: false,
            outside: false,
            forward: vec![format!("unix:{}=80", path.display()).parse().unwrap()],
            ..UserConfig::default()
        };
        let mut options = UserOptions::new(MacAddress::new(MAC).unwrap(), Arc::new(()));
        options.resolv_conf = "/nonexistent/resolv.conf".into();
        let mut net = UserNet::new(&config, options).unwrap();
        let poll = Poll::new().unwrap();
        net.register(poll.registry(), Token(0)).unwrap();
        let events = Events::with_capacity(64);
        let frame = vec![0; MAX_FRAME_BYTES];
        Self { net, poll, events, frame, path, streams: Vec::new(), last: Vec::new() }
    }

    fn turn(&mut self, ahead: Duration) {
        self.poll.poll(&mut self.events, Some(Duration::ZERO)).unwrap();
        for event in &self.events {
            self.net.ready(event);
        }
        self.net.advance(Instant::now() + ahead);
        for _ in 0..MAX_FRAMES {
            let Some(received) = self.net.receive(&mut self.frame) else { break };
            assert!(received.bytes >= 14 && received.bytes <= MAX_FRAME_BYTES);
            let frame = &self.frame[..received.bytes];
            if frame.get(12..14) == Some(&[8, 0]) && frame.get(23) == Some(&6) {
                self.last = frame.to_vec();
            }
        }
        assert!(self.net.tcp_connections() <= MAX_STREAMS + MAX_STEPS);
    }

    fn send(&mut self, frame: &[u8], unsummed: bool) {
        let checksum = unsummed.then_some(PartialChecksum { start: 34, offset: 16 });
        let _ = self.net.send(frame, &FrameHeader { checksum, segment: None });
    }

    /// An IPv4 datagram of the guest's with a good header.
    fn datagram(&mut self, choices: &mut Choices<'_>) {
        let (to, protocol) = (choices.one_of(&ADDRESSES), choices.one_of(&PROTOCOLS));
        let (port, length) = (choices.one_of(&PORTS), usize::from(choices.u8()) * 2);
        let flags = if choices.u8() < 32 { choices.u16() } else { 0 };
        let mut payload: Vec<u8> = (0..length).map(|_| choices.u8()).collect();
        if protocol == 17 {
            let header = [68, port, 8 + length as u16, 0].map(u16::to_be_bytes).concat();
            payload.splice(0..0, header);
        }
        self.send(&ipv4(to, protocol, flags, &payload), false);
    }

    /// A segment that fits the last one for the guest, more or less.
    fn segment(&mut self, choices: &mut Choices<'_>) {
        let Some(tcp) = self.last.get(34..54) else { return };
        let field = |at: usize| u32::from_be_bytes([tcp[at], tcp[at + 1], tcp[at + 2], tcp[at + 3]]);
        let (sequence, acknowledged) = (field(4), field(8));
        let ports = [tcp[2], tcp[3], tcp[0], tcp[1]];
        let carried = (self.last.len() - 34 - usize::from(tcp[12] >> 4) * 4) as u32;
        let advance = carried + u32::from(tcp[13] & 3 != 0);
        let flags = choices.one_of(&[0x10, 0x12, 0x10, 0x18, 0x11, 0x14, 0x02, 0x04, 0xff]);
        // Numbers that fit, and others.
        let mut slip = || if choices.u8() < 200 { 0 } else { choices.u32() };
        let (slip_sequence, slip_acknowledged) = (slip(), slip());
        let (window, words) = (choices.u16(), choices.u8() % 11);
        let options: Vec<u8> = if flags == 0x12 && choices.u8() < 128 {
            let mss = choices.u16().to_be_bytes();
            vec![2, 4, mss[0], mss[1], 1, 3, 3, choices.u8() % 16]
        } else {
            (0..words * 4).map(|_| choices.u8()).collect()
        };
        let length = usize::from(choices.u16()) % 2000;
        let mut segment = ports.to_vec();
        segment.extend(acknowledged.wrapping_add(slip_sequence).to_be_bytes());
        segment.extend(sequence.wrapping_add(advance).wrapping_add(slip_acknowledged).to_be_bytes());
        segment.extend([((20 + options.len()) as u8 / 4) << 4, flags]);
        segment.extend(window.to_be_bytes());
        segment.extend([0; 4]);
        segment.extend(options);
        segment.resize(segment.len() + length, 0x5a);
        let from = [self.last[26], self.last[27], self.last[28], self.last[29]];
        self.send(&ipv4(from, 6, 0, &segment), true);
    }

    fn host(&mut self, choices: &mut Choices<'_>) {
        let (what, which) = (choices.u8() % 6, usize::from(choices.u8()));
        if what == 0 {
            if self.streams.len() < MAX_STREAMS
                && let Ok(stream) = UnixStream::connect(&self.path)
            {
                stream.set_nonblocking(true).unwrap();
                self.streams.push(stream);
            }
            return;
        }
        if self.streams.is_empty() {
            return;
        }
        let index = which % self.streams.len();
        let stream = &mut self.streams[index];
        let mut buffer = [0x33; 4096];
        // A stream that is gone, empty or full is one more state to be in.
        match what {
            1 | 2 => drop(stream.write(&buffer[..usize::from(choices.u16()) % 4096])),
            3 => drop(stream.read(&mut buffer)),
            4 => drop(stream.shutdown(Shutdown::Write)),
            _ => drop(self.streams.swap_remove(index)),
        }
    }
}

fn ipv4(to: [u8; 4], protocol: u8, flags: u16, payload: &[u8]) -> Vec<u8> {
    let length = (20 + payload.len()) as u16;
    let mut header = vec![0x45, 0];
    header.extend(length.to_be_bytes());
    header.extend([0, 7]);
    header.extend(flags.to_be_bytes());
    header.extend([64, protocol, 0, 0]);
    header.extend(Ipv4Addr::new(10, 0, 2, 15).octets());
    header.extend(to);
    let mut sum: u32 = header.chunks(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]]))).sum();
    sum = (sum & 0xffff) + (sum >> 16);
    let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    let mut frame = vec![0x52, 0x55, 10, 0, 2, 2];
    frame.extend(MAC);
    frame.extend([8, 0]);
    frame.extend(header);
    frame.extend(payload);
    frame
}

fuzz_target!(|data: &[u8]| {
    WORLD.with_borrow_mut(|world| {
        let world = world.get_or_insert_with(World::new);
        let mut choices = Choices::new(data);
        let offloads = Offloads::from_bits_truncate(choices.u8());
        world.net.set_offloads(offloads);
        for _ in 0..MAX_STEPS {
            if choices.is_empty() {
                break;
            }
            match choices.u8() % 8 {
                0 => {
                    let length = usize::from(choices.u8());
                    let frame: Vec<u8> = (0..length).map(|_| choices.u8()).collect();
                    world.send(&frame, choices.u8() & 1 != 0);
                }
                1 | 2 => world.segment(&mut choices),
                3 | 4 => world.host(&mut choices),
                5 => world.datagram(&mut choices),
                6 => world.turn(Duration::from_secs(u64::from(choices.u8()))),
                _ => world.turn(Duration::ZERO),
            }
        }
        world.turn(Duration::ZERO);
        world.streams.clear();
        world.last.clear();
        world.net.reset();
        assert_eq!(world.net.tcp_connections(), 0);
    });
});
