//! A driver that sets a virtio device up over either transport and then puts anything into its queues, touches any of its
//! registers and resets it at any time, while the host's side is busy too: no panic, no hang, and when it is all over the
//! device has given everything back.
//!
//! An input is: device, transport, kind of ring, then steps. Most requests look like those the device knows.
#![no_main]

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use devices::bus::{BusDevice, Width};
use devices::disk::{DiskConfig, DiskImage};
use devices::interrupt::{IrqLine, MsiMessage, MsiTarget};
use devices::net::{FrameHeader, MAX_FRAME_BYTES, MacAddress, NetBackend, Offloads, Received, Sent};
use devices::p9::{Server, ShareConfig};
use devices::pci::PciFunction;
use devices::virtio::balloon::{Balloon, BalloonHandle};
use devices::virtio::blk::Block;
use devices::virtio::console::{Console, ConsoleHandle};
use devices::virtio::net::Net;
use devices::virtio::p9::P9;
use devices::virtio::rng::Rng;
use devices::virtio::vsock::{Vsock, VsockConfig};
use devices::virtio::{Registers, VirtioDevice, VirtioMmio, VirtioPci};
use fuzz::Choices;
use guest_memory::GuestMemory;
use libfuzzer_sys::fuzz_target;
use mio::event::Event;
use mio::{Registry, Token};
use tempfile::TempDir;
use vm_memory::{Bytes, GuestAddress};

/// Steps taken of one input.
const MAX_STEPS: usize = 256;
/// Guest memory, bytes: rings first, then buffers.
const MEMORY_BYTES: usize = 1 << 20;
/// Queues that are set up, and the memory of the rings of one.
const QUEUES: usize = 6;
const RING_BYTES: u64 = 0x8000;
const BUFFERS_AT: u64 = QUEUES as u64 * RING_BYTES;
/// Parts of a ring: descriptors are first.
const DRIVER_AREA: u64 = 0x1000;
const DEVICE_AREA: u64 = 0x2000;
/// Frames on their way through a network.
const MAX_FRAMES: usize = 8;
/// Host programs connected to vsock at a time.
const MAX_CLIENTS: usize = 4;

const NEXT: u16 = 1;
const WRITE: u16 = 2;
const INDIRECT: u16 = 4;

struct Nobody;

impl MsiTarget for Nobody {
    fn send_msi(&self, _message: MsiMessage) {}
}

/// A network that sends back what it is sent.
#[derive(Default)]
struct Loopback(VecDeque<(Vec<u8>, FrameHeader)>);

impl NetBackend for Loopback {
    fn offloads(&self) -> Offloads {
        Offloads::all()
    }

    fn set_offloads(&mut self, _offloads: Offloads) {}

    fn register(&mut self, _registry: &Registry, _first: Token) -> io::Result<()> {
        Ok(())
    }

    fn deregister(&mut self) {}

    fn ready(&mut self, _event: &Event) {}

    fn send(&mut self, frame: &[u8], header: &FrameHeader) -> Sent {
        assert!(frame.len() <= MAX_FRAME_BYTES);
        if self.0.len() < MAX_FRAMES {
            self.0.push_back((frame.to_vec(), *header));
        }
        Sent::Done
    }

    fn advance(&mut self, _now: Instant) {}

    fn receive(&mut self, frame: &mut [u8]) -> Option<Received> {
        let (bytes, header) = self.0.pop_front()?;
        frame[..bytes.len()].copy_from_slice(&bytes);
        Some(Received { bytes: bytes.len(), header })
    }

    fn deadline(&self) -> Option<Instant> {
        None
    }

    fn reset(&mut self) {
        self.0.clear();
    }
}

enum Transport {
    Pci(Box<VirtioPci>),
    Mmio(Box<VirtioMmio>),
}

/// A register that both transports have: its offset on PCI (in the window), its width there, and its offset on MMIO.
type Field = (u64, Width, u64);

const FEATURES_SEL: Field = (0x00, Width::Four, 0x14);
const FEATURES: Field = (0x04, Width::Four, 0x10);
const DRIVER_FEATURES_SEL: Field = (0x08, Width::Four, 0x24);
const DRIVER_FEATURES: Field = (0x0c, Width::Four, 0x20);
const STATUS: Field = (0x14, Width::One, 0x70);
const QUEUE_SEL: Field = (0x16, Width::Two, 0x30);
const QUEUE_SIZE: Field = (0x18, Width::Two, 0x38);
const QUEUE_ENABLE: Field = (0x1c, Width::Two, 0x44);
const QUEUE_DESC: Field = (0x20, Width::Four, 0x80);
const QUEUE_DRIVER: Field = (0x28, Width::Four, 0x90);
const QUEUE_DEVICE: Field = (0x30, Width::Four, 0xa0);
const QUEUE_RESET: Field = (0x3a, Width::Two, 0xc0);

impl Transport {
    fn read(&mut self, offset: u64, width: Width) -> u64 {
        match self {
            Self::Pci(device) => device.bar_read(0, offset, width).unwrap_or(0),
            Self::Mmio(device) => device.read(offset, width).unwrap_or(0),
        }
    }

    fn write(&mut self, offset: u64, width: Width, value: u64) {
        let value = value & width.mask();
        match self {
            Self::Pci(device) => _ = device.bar_write(0, offset, width, value),
            Self::Mmio(device) => _ = device.write(offset, width, value),
        }
    }

    fn get(&mut self, (pci, width, mmio): Field) -> u64 {
        match self {
            Self::Pci(_) => self.read(pci, width),
            Self::Mmio(_) => self.read(mmio, Width::Four),
        }
    }

    fn set(&mut self, (pci, width, mmio): Field, value: u64) {
        match self {
            Self::Pci(_) => self.write(pci, width, value),
            Self::Mmio(_) => self.write(mmio, Width::Four, value),
        }
    }

    fn ring(&mut self, queue: u64) {
        match self {
            Self::Pci(_) => self.write(0x3000 + 4 * queue, Width::Two, queue),
            Self::Mmio(_) => self.write(0x50, Width::Four, queue),
        }
    }

    fn registers(&mut self) -> &mut Registers {
        match self {
            Self::Pci(device) => device.registers_mut(),
            Self::Mmio(device) => device.registers_mut(),
        }
    }

    /// A register access of any kind.
    fn touch(&mut self, choices: &mut Choices<'_>) {
        let width = choices.one_of(&Width::ALL);
        let kind = choices.u8();
        let at = u64::from(choices.u8());
        if let (Self::Pci(device), 0..64) = (&mut *self, kind) {
            let width = width.min(Width::Four);
            device.config_write(at as u16, width, choices.u32());
            device.config_read(at as u16, width);
            return;
        }
        let page = u64::from(kind % 10) * 0x1000;
        let at = if let Self::Pci(_) = self { page + at } else { at + u64::from(kind & 1) * 0x80 };
        if kind & 0x20 == 0 {
            self.read(at, width);
        } else {
            self.write(at, width, choices.u64());
        }
    }
}

/// The driver's side of a queue.
#[derive(Clone, Copy, Default)]
struct Ring {
    size: u16,
    next: u16,
    wrapped: bool,
}

/// The host's side of the device.
enum Host {
    Quiet,
    Balloon(BalloonHandle),
    Console(ConsoleHandle),
    Vsock { listener: Option<UnixListener>, clients: Vec<UnixStream> },
}

fn device(kind: u8, folder: &Path) -> (Box<dyn VirtioDevice>, Host) {
    match kind {
        0 => (Box::new(Rng::new(Box::new(|bytes| bytes.first() != Some(&1)))), Host::Quiet),
        1 => {
            let balloon = Balloon::new();
            let host = Host::Balloon(balloon.handle());
            (Box::new(balloon), host)
        }
        2 => {
            let console = Console::new(Box::new(()), Box::new(()));
            let host = Host::Console(console.handle());
            (Box::new(console), host)
        }
        3 => {
            let listener = UnixListener::bind(folder.join("v_52")).unwrap();
            listener.set_nonblocking(true).unwrap();
            let config = VsockConfig { cid: 3, path: folder.join("v") };
            let vsock = Vsock::new(&config).unwrap();
            (Box::new(vsock), Host::Vsock { listener: Some(listener), clients: Vec::new() })
        }
        4 => {
            let text = format!("{},size=1M,flush=none", folder.join("disk").display());
            let config: DiskConfig = text.parse().unwrap();
            (Box::new(Block::new(DiskImage::open(&config).unwrap(), 2)), Host::Quiet)
        }
        5 => {
            let backend = Box::new(Loopback::default());
            (Box::new(Net::new(backend, MacAddress::local(1), 1500)), Host::Quiet)
        }
        _ => {
            let share = folder.join("share");
            std::fs::create_dir_all(share.join("folder")).unwrap();
            let server = Server::new(&ShareConfig::new(share)).unwrap();
            (Box::new(P9::new("share", server).unwrap()), Host::Quiet)
        }
    }
}

struct Guest {
    kind: u8,
    folder: TempDir,
    transport: Transport,
    memory: Arc<GuestMemory>,
    host: Host,
    packed: bool,
    rings: [Ring; QUEUES],
    /// Where the next buffer is.
    free: u64,
}

impl Guest {
    fn new(choices: &mut Choices<'_>) -> Self {
        let (kind, packed) = (choices.u8() % 7, choices.u8());
        let folder = tempfile::tempdir().unwrap();
        let (device, host) = device(kind, folder.path());
        let memory = Arc::new(GuestMemory::from_ranges(&[(GuestAddress(0), MEMORY_BYTES)]).unwrap());
        let line = IrqLine::unconnected();
        let offered = packed & 1 != 0;
        let transport = if packed & 2 == 0 {
            let pci = VirtioPci::new(device, memory.clone(), Arc::new(Nobody), line, offered);
            Transport::Pci(Box::new(pci.unwrap()))
        } else {
            Transport::Mmio(Box::new(VirtioMmio::new(device, memory.clone(), line, offered)))
        };
        let rings = [Ring::default(); QUEUES];
        let mut guest =
            Self { kind, folder, transport, memory, host, packed: offered, rings, free: BUFFERS_AT };
        guest.set_up(choices);
        guest
    }

    /// What a driver does first. The choice is of features and of the rings' size.
    fn set_up(&mut self, choices: &mut Choices<'_>) {
        let chosen = choices.one_of(&[u64::MAX, !(1 << 29), !(1 << 34), !0xff, 1 << 32, 0]);
        let size = 1_u16 << (choices.u8() % 9);
        self.transport.set(STATUS, 0);
        self.transport.set(STATUS, 3);
        let mut agreed = 0;
        for word in 0..2 {
            self.transport.set(FEATURES_SEL, word);
            let features = self.transport.get(FEATURES) & (chosen >> (32 * word));
            self.transport.set(DRIVER_FEATURES_SEL, word);
            self.transport.set(DRIVER_FEATURES, features);
            agreed |= features << (32 * word);
        }
        self.packed = agreed & 1 << 34 != 0;
        self.transport.set(STATUS, 11);
        for queue in 0..QUEUES {
            self.enable(queue, size);
        }
        self.transport.set(STATUS, 15);
    }

    fn enable(&mut self, queue: usize, size: u16) {
        let base = queue as u64 * RING_BYTES;
        self.memory.write_slice(&[0; RING_BYTES as usize], GuestAddress(base)).unwrap();
        self.transport.set(QUEUE_SEL, queue as u64);
        self.transport.set(QUEUE_SIZE, size.into());
        self.transport.set(QUEUE_DESC, base);
        self.transport.set(QUEUE_DRIVER, base + DRIVER_AREA);
        self.transport.set(QUEUE_DEVICE, base + DEVICE_AREA);
        self.transport.set(QUEUE_ENABLE, 1);
        self.rings[queue] = Ring { size, ..Ring::default() };
    }

    fn descriptor(&mut self, at: u64, (gpa, len, flags, next): (u64, u32, u16, u16)) {
        let rest = u64::from(len) | u64::from(flags) << 32 | u64::from(next) << 48;
        let rest =
            if self.packed { u64::from(len) | u64::from(next) << 32 | u64::from(flags) << 48 } else { rest };
        let _ = self.memory.write_obj([gpa, rest], GuestAddress(at));
    }

    /// A request: what the device would read, and buffers it would write to.
    fn request(&mut self, choices: &mut Choices<'_>) {
        let queue = usize::from(choices.u8()) % QUEUES;
        let content = content(self.kind, choices);
        let shape = choices.u8();
        let mut list = Vec::new();
        if shape & 1 == 0 {
            // Whole, or with a cut.
            let (head, tail) =
                content.split_at(if shape & 2 == 0 { content.len() } else { content.len() / 2 });
            for part in [head, tail] {
                list.push((self.place(part), part.len() as u32, 0));
            }
        }
        if shape & 4 == 0 {
            let len = choices.one_of(&[1, 4, 44, 512, 4096, 60_000]);
            list.push((self.place(&[]), len, WRITE));
            self.free += u64::from(len);
        }
        if shape & 8 != 0 {
            list.push((self.place(&[]), 1, WRITE));
        }
        match shape >> 5 {
            7 => list.push((choices.u64(), choices.u32(), choices.u16() & (WRITE | INDIRECT))),
            6 if !list.is_empty() => drop(list.swap_remove(0)),
            _ => {}
        }
        let indirect = shape & 16 != 0;
        self.publish(queue, &list, indirect);
        self.transport.ring(queue as u64);
    }

    fn place(&mut self, bytes: &[u8]) -> u64 {
        if self.free + 0x1_0000 > MEMORY_BYTES as u64 {
            self.free = BUFFERS_AT;
        }
        let at = self.free;
        let _ = self.memory.write_slice(bytes, GuestAddress(at));
        self.free += bytes.len() as u64;
        at
    }

    fn publish(&mut self, queue: usize, list: &[(u64, u32, u16)], indirect: bool) {
        let base = queue as u64 * RING_BYTES;
        let mut ring = self.rings[queue];
        let table: Vec<_> = if indirect {
            let at = self.place(&vec![0; 16 * list.len()]);
            for (n, (gpa, len, flags)) in (0_u16..).zip(list) {
                let more = usize::from(n) + 1 < list.len() && !self.packed;
                let flags = flags | if more { NEXT } else { 0 };
                self.descriptor(at + 16 * u64::from(n), (*gpa, *len, flags, if more { n + 1 } else { 0 }));
            }
            vec![(at, 16 * list.len() as u32, INDIRECT)]
        } else {
            list.to_vec()
        };
        let head = ring.next % ring.size;
        for (n, (gpa, len, flags)) in table.iter().enumerate() {
            let slot = ring.next % ring.size;
            let more = if n + 1 < table.len() { NEXT } else { 0 };
            // Packed: whether it is available is told by the lap.
            let lap = if ring.wrapped { 1 << 15 } else { 1 << 7 };
            let flags = flags | more | if self.packed { lap } else { 0 };
            let next = if self.packed { head } else { (slot + 1) % ring.size };
            self.descriptor(base + 16 * u64::from(slot), (*gpa, *len, flags, next));
            ring.next = ring.next.wrapping_add(1);
            if self.packed && ring.next == ring.size {
                (ring.next, ring.wrapped) = (0, !ring.wrapped);
            }
        }
        self.rings[queue] = ring;
        if !self.packed {
            self.make_available(queue, head);
        }
    }

    fn make_available(&mut self, queue: usize, head: u16) {
        let driver = queue as u64 * RING_BYTES + DRIVER_AREA;
        let at: u16 = self.memory.read_obj(GuestAddress(driver + 2)).unwrap();
        let slot = at % self.rings[queue].size.max(1);
        let _ = self.memory.write_obj(head, GuestAddress(driver + 4 + 2 * u64::from(slot)));
        let _ = self.memory.write_obj(at.wrapping_add(1), GuestAddress(driver + 2));
    }

    fn poke_host(&mut self, choices: &mut Choices<'_>) {
        match &mut self.host {
            Host::Quiet => {}
            Host::Balloon(handle) => {
                handle.set_target(choices.u32().into());
                handle.refresh_stats();
                assert!(handle.size() <= u64::from(u32::MAX) << 12);
            }
            Host::Console(handle) => {
                let taken = handle.enqueue(&vec![7; choices.u16().into()]);
                assert!(taken <= 4096);
                handle.set_size(choices.u16(), 50);
            }
            Host::Vsock { listener, clients } => match choices.u8() % 8 {
                0 if clients.len() < MAX_CLIENTS => {
                    let stream = UnixStream::connect(self.folder.path().join("v"));
                    clients.extend(stream.inspect(|stream| stream.set_nonblocking(true).unwrap()));
                }
                1 => clients.iter_mut().for_each(|client| _ = client.write(b"CONNECT 1\n")),
                2 => clients.iter_mut().for_each(|client| _ = client.write(&choices.take::<8>())),
                3 => clients.iter_mut().for_each(|client| _ = client.write(&[7; 5000])),
                4 => clients.iter_mut().for_each(|client| _ = client.read(&mut [0; 5000])),
                5 => clients.truncate(clients.len().saturating_sub(1)),
                6 if clients.len() < MAX_CLIENTS => {
                    let accepted = listener.as_ref().and_then(|listener| listener.accept().ok());
                    clients.extend(
                        accepted
                            .map(|(stream, _)| stream)
                            .inspect(|stream| stream.set_nonblocking(true).unwrap()),
                    );
                }
                _ => *listener = None,
            },
        }
    }

    fn step(&mut self, choices: &mut Choices<'_>) {
        match choices.u8() % 16 {
            0..7 => self.request(choices),
            7 => self.transport.touch(choices),
            8 | 9 => self.poke_host(choices),
            10 => {
                // Anything anywhere: rings, buffers.
                let at = u64::from(choices.u32()) % (MEMORY_BYTES as u64 - 8);
                let _ = self.memory.write_obj(choices.u64(), GuestAddress(at));
            }
            11 => {
                let queue = usize::from(choices.u8()) % QUEUES;
                self.make_available(queue, choices.u16());
                self.transport.ring(queue as u64);
            }
            12 => {
                let queue = choices.u8();
                self.transport.set(QUEUE_SEL, queue.into());
                self.transport.set(QUEUE_RESET, 1);
                self.enable(usize::from(queue) % QUEUES, 1 << (queue >> 5));
            }
            13 => {
                self.transport.registers().pause();
                self.poke_host(choices);
                self.transport.registers().resume();
            }
            14 => std::thread::yield_now(),
            _ => self.set_up(choices),
        }
    }
}

/// What the device would read.
fn content(kind: u8, choices: &mut Choices<'_>) -> Vec<u8> {
    let port =
        |choices: &mut Choices<'_>| choices.one_of(&[1_u32, 52, 53, 1 << 30, (1 << 30) + 1]).to_le_bytes();
    match kind {
        // Page numbers.
        1 => (0..choices.u8() % 32).flat_map(|_| u32::from(choices.u16() % 300).to_le_bytes()).collect(),
        3 => {
            let len = choices.one_of(&[0_u32, 0, 1, 100, 5000, 60_000]);
            let claimed = if choices.u8() < 250 { len } else { choices.u32() };
            let mut packet =
                [3_u64.to_le_bytes(), choices.one_of(&[2_u64, 2, 2, 2, 9]).to_le_bytes()].concat();
            packet.extend(port(choices));
            packet.extend(port(choices));
            packet.extend(claimed.to_le_bytes());
            packet.extend([choices.one_of(&[1, 1, 1, 1, 2]), 0, choices.u8() % 9, 0]);
            packet.extend(u32::from(choices.u8() % 4).to_le_bytes());
            packet.extend(choices.one_of(&[0_u32, 100, 1 << 18, u32::MAX]).to_le_bytes());
            packet.extend(choices.one_of(&[0_u32, 100, u32::MAX]).to_le_bytes());
            packet.extend(vec![5; len as usize]);
            packet
        }
        4 => {
            // Type, reserved, sector; then data, or ranges to discard.
            let kind = choices.one_of(&[0_u32, 1, 4, 8, 11, 13, 14, 99]);
            let sector = choices.one_of(&[0_u64, 1, 2047, 2048, u64::MAX, u64::MAX >> 9]);
            let mut request = [kind.to_le_bytes(), [0; 4]].concat();
            request.extend(sector.to_le_bytes());
            request.extend(vec![choices.u8(); usize::from(choices.one_of(&[0_u16, 16, 32, 512, 8192, 700]))]);
            request
        }
        5 => {
            // Flags, kind of segment, and four lengths; then addresses and a frame.
            let mut packet = vec![choices.u8() % 3, choices.one_of(&[0, 0, 1, 4, 3, 0x81])];
            for _ in 0..4 {
                packet.extend(choices.one_of(&[0_u16, 20, 34, 54, 1460, 9000, u16::MAX]).to_le_bytes());
            }
            packet.extend([0, 0]);
            packet
                .extend(vec![choices.u8(); usize::from(choices.one_of(&[0_u16, 13, 14, 60, 1514, 30_000]))]);
            packet
        }
        6 => {
            let body = choices.take::<24>();
            let size = if choices.u8() < 240 { 31 } else { choices.u32() };
            [&size.to_le_bytes()[..], &[choices.u8()], &[0, 0], &body].concat()
        }
        _ => vec![choices.u8(); usize::from(choices.u16() % 9000)],
    }
}

fuzz_target!(|data: &[u8]| {
    let mut choices = Choices::new(data);
    let mut guest = Guest::new(&mut choices);
    for _ in 0..MAX_STEPS {
        if choices.is_empty() {
            break;
        }
        guest.step(&mut choices);
    }
    // Nothing is left in flight: whatever held a queue or a request held the memory, too.
    guest.transport.registers().reset();
    let Guest { transport, memory, .. } = guest;
    drop(transport);
    assert_eq!(Arc::strong_count(&memory), 1, "somebody still has the guest's memory");
});
