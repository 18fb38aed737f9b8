//! A guest for tests: another smoltcp at the other end of the back end, and the loop of a device's worker.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token};
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp;
use smoltcp::time::Instant as Timestamp;
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpCidr};

use crate::net::{
    FrameHeader, MAX_FRAME_BYTES, MacAddress, NetBackend, NetEvents, Sent, UserConfig, UserNet, UserOptions,
};

pub(super) const GUEST: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 15);
pub(super) const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);
pub(super) const DNS: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 3);
const MAC: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x56];
/// No test waits longer for anything.
const PATIENCE: Duration = Duration::from_secs(20);

/// The cable.
#[derive(Default)]
pub(super) struct Cable {
    pub(super) to_guest: VecDeque<Vec<u8>>,
    pub(super) to_host: VecDeque<Vec<u8>>,
}

pub(super) struct Taken(Vec<u8>);
pub(super) struct Given<'a>(&'a mut VecDeque<Vec<u8>>);

impl RxToken for Taken {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

impl TxToken for Given<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, f: F) -> R {
        let mut frame = vec![0; length];
        let result = f(&mut frame);
        self.0.push_back(frame);
        result
    }
}

impl Device for Cable {
    type RxToken<'a> = Taken;
    type TxToken<'a> = Given<'a>;

    fn receive(&mut self, _: Timestamp) -> Option<(Taken, Given<'_>)> {
        Some((Taken(self.to_guest.pop_front()?), Given(&mut self.to_host)))
    }

    fn transmit(&mut self, _: Timestamp) -> Option<Given<'_>> {
        Some(Given(&mut self.to_host))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = 1514;
        capabilities
    }
}

/// Addresses the back end reported.
#[derive(Default)]
pub(super) struct Heard(pub(super) Mutex<Vec<(MacAddress, IpAddr)>>);

impl NetEvents for Heard {
    fn guest_address(&self, mac: MacAddress, address: IpAddr) {
        self.0.lock().unwrap().push((mac, address));
    }
}

/// A guest and the back end it is at.
pub(super) struct Guest {
    pub(super) net: UserNet,
    pub(super) cable: Cable,
    pub(super) interface: Interface,
    pub(super) sockets: SocketSet<'static>,
    pub(super) heard: Arc<Heard>,
    poll: Poll,
    events: Events,
    start: Instant,
    buffer: Vec<u8>,
    next_port: u16,
    /// Frames go nowhere.
    pub(super) unplugged: bool,
}

pub(super) fn mac() -> MacAddress {
    MacAddress::new(MAC).unwrap()
}

impl Guest {
    /// A guest with its address set.
    pub(super) fn new(config: &UserConfig) -> Self {
        Self::with(config, |_| {})
    }

    pub(super) fn with(config: &UserConfig, change: impl FnOnce(&mut UserOptions)) -> Self {
        let heard = Arc::new(Heard::default());
        let mut options = UserOptions::new(mac(), heard.clone());
        options.resolv_conf = "/nonexistent/resolv.conf".into();
        change(&mut options);
        let mut net = UserNet::new(config, options).unwrap();
        let poll = Poll::new().unwrap();
        net.register(poll.registry(), Token(7)).unwrap();
        let mut cable = Cable::default();
        let address = HardwareAddress::Ethernet(EthernetAddress(MAC));
        let mut interface = Interface::new(Config::new(address), &mut cable, Timestamp::ZERO);
        interface.update_ip_addrs(|addresses| {
            addresses.push(IpCidr::new(GUEST.into(), 24)).unwrap();
        });
        interface.routes_mut().add_default_ipv4_route(GATEWAY).unwrap();
        Self {
            net,
            cable,
            interface,
            sockets: SocketSet::new(Vec::new()),
            heard,
            poll,
            events: Events::with_capacity(256),
            start: Instant::now(),
            buffer: vec![0; MAX_FRAME_BYTES],
            next_port: 20_000,
            unplugged: false,
        }
    }

    /// One turn of the worker and of the guest.
    pub(super) fn turn(&mut self) {
        self.poll.poll(&mut self.events, Some(Duration::from_millis(1))).unwrap();
        for event in &self.events {
            self.net.ready(event);
        }
        let now = Timestamp::from_micros(self.start.elapsed().as_micros() as i64);
        self.interface.poll(now, &mut self.cable, &mut self.sockets);
        if self.unplugged {
            self.cable.to_host.clear();
        }
        while let Some(frame) = self.cable.to_host.pop_front() {
            assert_eq!(self.net.send(&frame, &FrameHeader::default()), Sent::Done);
        }
        self.net.advance(Instant::now());
        while let Some(received) = self.net.receive(&mut self.buffer) {
            assert_eq!(received.header, FrameHeader::default(), "offloads the guest did not take up");
            assert!(received.bytes <= 1514, "a frame larger than the link takes");
            if !self.unplugged {
                self.cable.to_guest.push_back(self.buffer[..received.bytes].to_vec());
            }
        }
    }

    /// Turns until `done` says so.
    #[track_caller]
    pub(super) fn until<T>(&mut self, mut done: impl FnMut(&mut Self) -> Option<T>) -> T {
        let begin = Instant::now();
        loop {
            if let Some(result) = done(self) {
                return result;
            }
            assert!(begin.elapsed() < PATIENCE, "it did not come about in {PATIENCE:?}");
            self.turn();
        }
    }

    /// Turns for a while.
    pub(super) fn run_for(&mut self, time: Duration) {
        let begin = Instant::now();
        while begin.elapsed() < time {
            self.turn();
        }
    }

    pub(super) fn port(&mut self) -> u16 {
        self.next_port += 1;
        self.next_port
    }

    /// A TCP socket of the guest, connecting to `to`.
    pub(super) fn connect(&mut self, to: impl Into<IpAddr>, port: u16) -> SocketHandle {
        let mut socket = self.tcp_socket();
        let local = self.port();
        let to: IpAddr = to.into();
        socket.connect(self.interface.context(), (to, port), local).unwrap();
        self.sockets.add(socket)
    }

    pub(super) fn listen(&mut self, port: u16) -> SocketHandle {
        let mut socket = self.tcp_socket();
        socket.listen(port).unwrap();
        self.sockets.add(socket)
    }

    fn tcp_socket(&self) -> tcp::Socket<'static> {
        let buffer = || tcp::SocketBuffer::new(vec![0; 128 << 10]);
        tcp::Socket::new(buffer(), buffer())
    }

    pub(super) fn tcp(&mut self, handle: SocketHandle) -> &mut tcp::Socket<'static> {
        self.sockets.get_mut(handle)
    }

    /// A listener on the host's loopback, and its port.
    pub(super) fn listener() -> (TcpListener, u16) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        (listener, port)
    }

    /// Waits for a connection to `listener`.
    #[track_caller]
    pub(super) fn accept(&mut self, listener: &TcpListener) -> TcpStream {
        let stream = self.until(|_| listener.accept().ok().map(|(stream, _)| stream));
        stream.set_nonblocking(true).unwrap();
        stream
    }

    /// A connection of the guest's to a host's socket: the guest's end and the host's.
    #[track_caller]
    pub(super) fn pair(&mut self) -> (SocketHandle, TcpStream) {
        let (listener, port) = Self::listener();
        let handle = self.connect(GATEWAY, port);
        let stream = self.accept(&listener);
        self.until(|guest| guest.tcp(handle).may_send().then_some(()));
        (handle, stream)
    }

    /// Sends all of `bytes` from the guest while `host` reads as many.
    #[track_caller]
    pub(super) fn guest_sends(&mut self, handle: SocketHandle, host: &mut impl Read, bytes: &[u8]) {
        let (mut sent, mut read, mut buffer) = (0, Vec::new(), vec![0; 64 << 10]);
        self.until(|guest| {
            let socket = guest.tcp(handle);
            if sent < bytes.len() && socket.can_send() {
                sent += socket.send_slice(&bytes[sent..]).unwrap();
            }
            while let Ok(length @ 1..) = host.read(&mut buffer) {
                read.extend_from_slice(&buffer[..length]);
            }
            (read.len() >= bytes.len()).then_some(())
        });
        assert!(read == bytes, "what the host read is not what the guest sent");
    }

    /// Sends all of `bytes` from the host while the guest reads as many.
    #[track_caller]
    pub(super) fn host_sends(&mut self, handle: SocketHandle, host: &mut impl Write, bytes: &[u8]) {
        let (mut sent, mut read) = (0, Vec::new());
        self.until(|guest| {
            while sent < bytes.len() {
                match host.write(&bytes[sent..]) {
                    Ok(length) => sent += length,
                    Err(_) => break,
                }
            }
            let socket = guest.tcp(handle);
            while socket.can_recv() {
                socket
                    .recv(|data| {
                        read.extend_from_slice(data);
                        (data.len(), ())
                    })
                    .unwrap();
            }
            (read.len() >= bytes.len()).then_some(())
        });
        assert!(read == bytes, "what the guest read is not what the host sent");
    }

    /// A UDP socket of the guest.
    pub(super) fn udp(&mut self, port: u16) -> SocketHandle {
        use smoltcp::socket::udp::{PacketBuffer, PacketMetadata, Socket};
        let buffer = || PacketBuffer::new(vec![PacketMetadata::EMPTY; 32], vec![0; 64 << 10]);
        let mut socket = Socket::new(buffer(), buffer());
        socket.bind(port).unwrap();
        self.sockets.add(socket)
    }

    pub(super) fn send_udp(&mut self, handle: SocketHandle, to: SocketAddr, payload: &[u8]) {
        let socket = self.sockets.get_mut::<smoltcp::socket::udp::Socket<'_>>(handle);
        socket.send_slice(payload, to).unwrap();
    }

    /// Waits for a datagram.
    #[track_caller]
    pub(super) fn recv_udp(&mut self, handle: SocketHandle) -> (Vec<u8>, SocketAddr) {
        self.until(|guest| {
            let socket = guest.sockets.get_mut::<smoltcp::socket::udp::Socket<'_>>(handle);
            let (payload, metadata) = socket.recv().ok()?;
            let from = SocketAddr::new(metadata.endpoint.addr.into(), metadata.endpoint.port);
            Some((payload.to_vec(), from))
        })
    }
}

/// Bytes that differ from each other.
pub(super) fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index as u32).wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect()
}
