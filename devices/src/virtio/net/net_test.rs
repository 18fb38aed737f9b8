use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::net::UnixStream;
use mio::{Interest, Registry, Token};

use super::spec::feature;
use super::*;
use crate::net::{
    FrameHeader, LargeSegment, PartialChecksum, Received, SegmentKind, Sent, UserConfig, UserNet, UserOptions,
};
use crate::virtio::mock::{Driver, Setup, Used};

const MAC: [u8; 6] = [0x52, 0x54, 0, 1, 2, 3];

fn mac() -> MacAddress {
    MacAddress::new(MAC).unwrap()
}

/// What a test does with its back end.
#[derive(Default)]
struct Wire {
    /// For the guest.
    inbound: VecDeque<(Vec<u8>, FrameHeader)>,
    /// From the guest.
    outbound: Vec<(Vec<u8>, FrameHeader)>,
    busy: bool,
    down: bool,
    resets: usize,
    offloads: Offloads,
}

/// A back end in the hands of a test, and the bell that says that there is something.
struct TestBackend {
    wire: Arc<Mutex<Wire>>,
    bell: UnixStream,
    registry: Option<Registry>,
}

struct Hand {
    wire: Arc<Mutex<Wire>>,
    ring: std::os::unix::net::UnixStream,
}

impl Hand {
    fn change(&mut self, change: impl FnOnce(&mut Wire)) {
        change(&mut self.wire.lock().unwrap());
        io::Write::write_all(&mut self.ring, &[1]).unwrap();
    }

    #[track_caller]
    fn until(&self, mut done: impl FnMut(&Wire) -> bool) {
        let begin = Instant::now();
        while !done(&self.wire.lock().unwrap()) {
            assert!(begin.elapsed() < Duration::from_secs(10), "it did not come about");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

fn backend() -> (Box<dyn NetBackend>, Hand) {
    let (bell, ring) = std::os::unix::net::UnixStream::pair().unwrap();
    bell.set_nonblocking(true).unwrap();
    let wire = Arc::new(Mutex::new(Wire::default()));
    let backend = TestBackend { wire: wire.clone(), bell: UnixStream::from_std(bell), registry: None };
    (Box::new(backend), Hand { wire, ring })
}

impl NetBackend for TestBackend {
    fn offloads(&self) -> Offloads {
        Offloads::all()
    }

    fn set_offloads(&mut self, offloads: Offloads) {
        self.wire.lock().unwrap().offloads = offloads;
    }

    fn link_up(&self) -> bool {
        !self.wire.lock().unwrap().down
    }

    fn register(&mut self, registry: &Registry, first: Token) -> io::Result<()> {
        self.registry = Some(registry.try_clone()?);
        registry.register(&mut self.bell, first, Interest::READABLE)
    }

    fn deregister(&mut self) {
        self.registry.take().unwrap().deregister(&mut self.bell).unwrap();
    }

    fn ready(&mut self, _: &Event) {
        let mut bytes = [0; 64];
        while io::Read::read(&mut self.bell, &mut bytes).is_ok_and(|length| length > 0) {}
    }

    fn send(&mut self, frame: &[u8], header: &FrameHeader) -> Sent {
        let mut wire = self.wire.lock().unwrap();
        if wire.busy {
            return Sent::Busy;
        }
        wire.outbound.push((frame.to_vec(), *header));
        Sent::Done
    }

    fn advance(&mut self, _: Instant) {}

    fn receive(&mut self, frame: &mut [u8]) -> Option<Received> {
        let (bytes, header) = self.wire.lock().unwrap().inbound.pop_front()?;
        frame[..bytes.len()].copy_from_slice(&bytes);
        Some(Received { bytes: bytes.len(), header })
    }

    fn deadline(&self) -> Option<Instant> {
        None
    }

    fn reset(&mut self) {
        self.wire.lock().unwrap().resets += 1;
    }
}

fn driver(setup: Setup) -> (Driver<Net>, Hand) {
    let (backend, hand) = backend();
    (Driver::new(Net::new(backend, mac(), 1500), setup), hand)
}

fn frame(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index * 7) as u8).collect()
}

/// Both kinds of rings.
fn setups() -> [Setup; 3] {
    [
        Setup::default(),
        Setup { packed: true, ..Setup::default() },
        Setup { event_idx: false, queue_size: 16, ..Setup::default() },
    ]
}

const PLAIN: [u8; 12] = [0; 12];

#[test]
fn its_configuration_says_who_and_how() {
    let (mut driver, mut hand) = driver(Setup::default());
    let mut config = [0xff; 16];
    driver.device.read_config(0, &mut config);
    assert_eq!(config, [0x52, 0x54, 0, 1, 2, 3, 1, 0, 1, 0, 0xdc, 5, 0, 0, 0, 0]);
    driver.device.write_config(0, &[0; 6]);
    let generation = driver.device.config_generation();
    hand.change(|wire| wire.down = true);
    let interrupt = driver.interrupt.clone();
    assert!(interrupt.wait(|| interrupt.config_changes() == 1));
    driver.device.read_config(6, &mut config[..2]);
    assert_eq!(config[..2], [0, 0], "the link is down");
    assert_ne!(driver.device.config_generation(), generation);
    hand.change(|wire| wire.down = false);
    assert!(interrupt.wait(|| interrupt.config_changes() == 2));
}

#[test]
fn it_offers_what_its_back_end_can() {
    let (backend, _) = backend();
    let net = Net::new(backend, mac(), 1500);
    let all = [0, 1, 3, 5, 7, 8, 11, 12, 15, 16].iter().fold(0, |all, bit| all | 1u64 << bit);
    assert_eq!(net.features(), all);
    assert_eq!(offloads(all), Offloads::all());
    assert_eq!(
        offloads(all & !feature::CSUM & !feature::GUEST_CSUM),
        Offloads::empty(),
        "no sums, no segments"
    );
}

#[test]
fn frames_leave_with_their_headers() {
    for setup in setups() {
        let (mut driver, hand) = driver(setup);
        assert_eq!(hand.wire.lock().unwrap().offloads, Offloads::all());
        driver.request(1, &[&PLAIN, &frame(60)], &[]).unwrap();
        let header = FrameHeader {
            checksum: Some(PartialChecksum { start: 34, offset: 16 }),
            segment: Some(LargeSegment { kind: SegmentKind::TcpV6, size: 1400, header_bytes: 74 }),
        };
        // However it is cut.
        let whole = [header.to_virtio().as_slice(), &frame(9000)].concat();
        driver.request(1, &[&whole[..5], &whole[5..700], &whole[700..]], &[]).unwrap();
        let wire = hand.wire.lock().unwrap();
        assert_eq!(wire.outbound, [(frame(60), FrameHeader::default()), (frame(9000), header)]);
    }
}

#[test]
fn what_is_no_frame_is_dropped() {
    let none = Setup { features: feature::MAC, ..Setup::default() };
    let (mut driver, hand) = driver(none);
    let partial = FrameHeader { checksum: Some(PartialChecksum { start: 34, offset: 16 }), segment: None };
    driver.request(1, &[&PLAIN[..7]], &[]).unwrap();
    driver.request(1, &[&partial.to_virtio(), &frame(100)], &[]).unwrap();
    let mut odd = PLAIN;
    odd[1] = 3;
    driver.request(1, &[&odd, &frame(100)], &[]).unwrap();
    // It is written to, where it should be read from.
    driver.request(1, &[], &[100]).unwrap();
    driver.request(1, &[&PLAIN, &frame(100)], &[]).unwrap();
    assert_eq!(hand.wire.lock().unwrap().outbound, [(frame(100), FrameHeader::default())]);
}

#[test]
fn a_frame_that_is_too_large_is_dropped() {
    // The mock's places are smaller than the largest frame with 256 of them.
    let (mut driver, hand) = driver(Setup { queue_size: 32, ..Setup::default() });
    driver.request(1, &[&PLAIN, &frame(65_549)], &[]).unwrap();
    driver.request(1, &[&PLAIN, &frame(65_550)], &[]).unwrap();
    assert_eq!(hand.wire.lock().unwrap().outbound.len(), 1);
}

#[test]
fn interrupts_for_sent_frames_are_few_and_come() {
    let (mut driver, mut hand) = driver(Setup { event_idx: false, ..Setup::default() });
    let interrupt = driver.interrupt.clone();
    driver.request(1, &[&PLAIN, &frame(60)], &[]).unwrap();
    assert!(interrupt.wait(|| interrupt.count(1) == 1), "one is told after a while");
    hand.change(|wire| wire.busy = true);
    for _ in 0..100 {
        driver.send(1, &[&PLAIN, &frame(60)], &[]);
    }
    hand.change(|wire| wire.busy = false);
    for _ in 0..100 {
        driver.wait(1).expect("the frame is not sent");
    }
    assert!(interrupt.wait(|| interrupt.count(1) > 1), "the last are told as well");
    assert!(interrupt.count(1) <= 6, "{} interrupts", interrupt.count(1));
    // A queue that is taken away leaves nothing untold.
    let before = interrupt.count(1);
    driver.request(1, &[&PLAIN, &frame(60)], &[]).unwrap();
    drop(driver.device.stop_queue(1));
    assert!(interrupt.count(1) > before);
}

/// The next frame for the guest: the answers it is in, put together.
#[track_caller]
fn received(driver: &mut Driver<Net>) -> (Vec<u8>, usize) {
    let first: Used = driver.wait(0).expect("no frame came");
    let count = u16::from_le_bytes([first.bytes[10], first.bytes[11]]);
    let mut bytes = first.bytes[..first.written as usize].to_vec();
    for _ in 1..count {
        let used = driver.wait(0).expect("a part of the frame is missing");
        bytes.extend_from_slice(&used.bytes[..used.written as usize]);
    }
    (bytes, count.into())
}

#[test]
fn frames_arrive_in_as_many_buffers_as_they_need() {
    for setup in setups() {
        let (mut driver, mut hand) = driver(setup);
        for _ in 0..10 {
            driver.send(0, &[], &[1000]);
        }
        let header = FrameHeader {
            checksum: Some(PartialChecksum { start: 34, offset: 16 }),
            segment: Some(LargeSegment { kind: SegmentKind::TcpV4, size: 1460, header_bytes: 54 }),
        };
        hand.change(|wire| {
            wire.inbound.push_back((frame(60), FrameHeader::default()));
            wire.inbound.push_back((frame(5000), header));
            wire.inbound.push_back((frame(988), FrameHeader::default()));
        });
        let (bytes, count) = received(&mut driver);
        assert_eq!((&bytes[12..], count), (frame(60).as_slice(), 1));
        assert_eq!(bytes[..12], FrameHeader::default().to_virtio());
        let (bytes, count) = received(&mut driver);
        assert_eq!((&bytes[12..], count), (frame(5000).as_slice(), 6));
        assert_eq!(bytes[..10], header.to_virtio()[..10]);
        let (bytes, count) = received(&mut driver);
        assert_eq!((&bytes[12..], count), (frame(988).as_slice(), 1));
    }
}

#[test]
fn frames_wait_for_a_driver_without_room() {
    for setup in setups() {
        let (mut driver, mut hand) = driver(setup);
        driver.send(0, &[], &[1000]);
        hand.change(|wire| wire.inbound.extend((0..8).map(|_| (frame(1500), FrameHeader::default()))));
        // One buffer is not enough for the first.
        std::thread::sleep(Duration::from_millis(30));
        assert_eq!(driver.queues[0].used(), None);
        assert_eq!(hand.wire.lock().unwrap().inbound.len(), 7, "the others stay where they are");
        for _ in 0..8 {
            driver.send(0, &[], &[1000]);
            driver.send(0, &[], &[1000]);
            assert_eq!(received(&mut driver).0[12..], frame(1500));
        }
    }
}

#[test]
fn drivers_without_mergeable_buffers_get_one_buffer_a_frame() {
    let setup = Setup { features: feature::MAC | feature::GUEST_CSUM, ..Setup::default() };
    let (mut driver, mut hand) = driver(setup);
    driver.send(0, &[], &[1000]);
    driver.send(0, &[], &[100, 1426]);
    hand.change(|wire| {
        wire.inbound.push_back((frame(1500), FrameHeader::default()));
        wire.inbound.push_back((frame(60), FrameHeader::default()));
        wire.inbound.push_back((frame(1500), FrameHeader::default()));
    });
    // The first does not fit and is lost.
    let (bytes, count) = received(&mut driver);
    assert_eq!((&bytes[12..], count), (frame(60).as_slice(), 1));
    let (bytes, _) = received(&mut driver);
    assert_eq!(bytes[12..], frame(1500));
}

#[test]
fn a_full_back_end_leaves_frames_in_the_queue() {
    for setup in setups() {
        let (mut driver, mut hand) = driver(setup);
        hand.change(|wire| wire.busy = true);
        for number in 0..4 {
            driver.send(1, &[&PLAIN, &frame(100 + number)], &[]);
        }
        std::thread::sleep(Duration::from_millis(30));
        assert_eq!(driver.queues[1].used(), None);
        hand.change(|wire| wire.busy = false);
        for _ in 0..4 {
            driver.wait(1).expect("the frame is not sent");
        }
        let wire = hand.wire.lock().unwrap();
        let lengths: Vec<_> = wire.outbound.iter().map(|(frame, _)| frame.len()).collect();
        assert_eq!(lengths, [100, 101, 102, 103], "all, in order, once");
    }
}

#[test]
fn a_stopped_queue_comes_back_with_all_its_buffers() {
    for setup in setups() {
        let (mut driver, mut hand) = driver(setup);
        for _ in 0..4 {
            driver.send(0, &[], &[1000]);
        }
        // The device takes buffers for a frame that is too large for all of them.
        hand.change(|wire| wire.inbound.push_back((frame(6000), FrameHeader::default())));
        hand.until(|wire| wire.inbound.is_empty());
        let queues: Vec<_> = (0..2).map(|index| driver.device.stop_queue(index).unwrap()).collect();
        assert_eq!(hand.wire.lock().unwrap().resets, 0, "a pause keeps connections");
        hand.change(|wire| wire.inbound.push_back((frame(60), FrameHeader::default())));
        for queue in queues {
            driver.device.start_queue(queue.index(), queue);
        }
        for _ in 0..3 {
            driver.send(0, &[], &[1000]);
        }
        assert_eq!(received(&mut driver).0[12..], frame(6000));
        driver.send(0, &[], &[1000]);
        assert_eq!(received(&mut driver).0[12..], frame(60));
    }
}

#[test]
fn a_reset_drops_what_was_the_old_guests() {
    let (first, hand) = backend();
    let mut net = Net::new(first, mac(), 1500);
    for count in 1..4 {
        let mut driver = Driver::new(net, Setup::default());
        driver.request(1, &[&PLAIN, &frame(60)], &[]).unwrap();
        // As the driver's reset goes.
        for index in 0..2 {
            drop(driver.device.stop_queue(index));
        }
        driver.device.deactivate();
        assert_eq!(hand.wire.lock().unwrap().resets, count);
        // The device lives on without its driver.
        let (spare, _) = backend();
        net = std::mem::replace(&mut driver.device, Net::new(spare, mac(), 1500));
    }
}

#[test]
fn a_guest_finds_the_gateway() {
    for setup in setups() {
        let options = UserOptions::new(mac(), Arc::new(()));
        let user = UserNet::new(&UserConfig::default(), options).unwrap();
        let mut driver = Driver::new(Net::new(Box::new(user), mac(), 1500), setup);
        driver.send(0, &[], &[1526]);
        let mut request = vec![0xff; 6];
        request.extend(MAC);
        request.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
        request.extend(MAC);
        request.extend([10, 0, 2, 15, 0, 0, 0, 0, 0, 0, 10, 0, 2, 2]);
        driver.request(1, &[&PLAIN, &request], &[]).unwrap();
        let (reply, _) = received(&mut driver);
        assert_eq!(reply[12..18], MAC);
        assert_eq!(reply[12 + 20..12 + 22], [0, 2], "an answer");
        assert_eq!(reply[12 + 28..12 + 32], [10, 0, 2, 2]);
    }
}
