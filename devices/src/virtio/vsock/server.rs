//! All connections, and the queues they share.

use std::collections::{HashMap, VecDeque};
use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::net::{UnixListener, UnixStream};
use mio::{Interest, Registry, Token};

use super::connection::{Connection, Said};
use super::listener::Listener;
use super::spec::{EVENT, EVENT_TRANSPORT_RESET, HEADER_BYTES, HOST_CID, Header, RX, TX, TYPE_STREAM, op};
use crate::virtio::worker::{Serve, Serving};
use crate::virtio::{Chain, Reader};

/// Most connections at a time, those that are being made included: each has a descriptor and may have a full buffer.
const MAX_CONNECTIONS: usize = 256;

/// Most refusals that wait for the guest to take them; while there are more, its packets wait.
const MAX_REFUSALS: usize = 256;

/// Ports of host programs that connect: above those that programs choose for themselves.
const FIRST_HOST_PORT: u32 = 1 << 30;

/// When the host has no descriptor left, it is asked again after this time.
const RETRY: Duration = Duration::from_millis(200);

const LISTENER: Token = Token(0);

pub(super) struct Server {
    cid: u64,
    listener: Listener,
    /// While a worker serves.
    watched: Option<(UnixListener, Registry)>,
    accept_again: Option<Instant>,
    /// By the token their descriptors are watched with.
    connections: HashMap<usize, Connection>,
    /// By host's and guest's port: those that the guest knows or is asked for.
    by_ports: HashMap<(u32, u32), usize>,
    /// Those that may have something to say, in turn.
    turns: VecDeque<usize>,
    refusals: VecDeque<Header>,
    next_token: usize,
    next_port: u32,
    /// The guest is to be told that its connections are gone.
    transport_reset: bool,
}

impl Server {
    pub(super) fn new(cid: u64, listener: Listener) -> Self {
        Self {
            cid,
            listener,
            watched: None,
            accept_again: None,
            connections: HashMap::new(),
            by_ports: HashMap::new(),
            turns: VecDeque::new(),
            refusals: VecDeque::new(),
            next_token: LISTENER.0 + 1,
            next_port: FIRST_HOST_PORT,
            transport_reset: false,
        }
    }

    /// The driver is gone: so are all connections, and the next driver is told if there were any.
    pub(super) fn close_all(&mut self) {
        self.transport_reset |= !self.by_ports.is_empty();
        self.connections.clear();
        self.by_ports.clear();
        self.turns.clear();
        self.refusals.clear();
        (self.watched, self.accept_again) = (None, None);
    }

    fn accept(&mut self) {
        self.accept_again = None;
        loop {
            let Some((listener, _)) = &self.watched else { return };
            let accepted = listener.accept();
            match accepted {
                Ok((stream, _)) => drop(self.add(Connection::from_host(stream))),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => {
                    log::warn!("vsock: a connection from the host has to wait: {error}");
                    self.accept_again = Some(Instant::now() + RETRY);
                    return;
                }
            }
        }
    }

    /// Watches a connection; dropped and so closed if there are too many, or the host has no room.
    fn add(&mut self, mut connection: Connection) -> Option<usize> {
        let (_, registry) = self.watched.as_ref()?;
        if self.connections.len() >= MAX_CONNECTIONS {
            // Guests may try as often as they like: no warning each time.
            log::debug!("vsock: more than {MAX_CONNECTIONS} connections: one is refused");
            return None;
        }
        let token = self.next_token;
        let interest = Interest::READABLE | Interest::WRITABLE;
        if let Err(error) = registry.register(connection.stream_mut(), Token(token), interest) {
            log::debug!("vsock: a connection is refused: {error}");
            return None;
        }
        // Counts connections: never as far as the worker's own token.
        self.next_token += 1;
        self.connections.insert(token, connection);
        Some(token)
    }

    /// Forgets a connection; the host's end is closed as the answer is dropped.
    fn forget(&mut self, token: usize) -> Option<Connection> {
        let connection = self.connections.remove(&token)?;
        let ports = (connection.host_port, connection.guest_port);
        if self.by_ports.get(&ports) == Some(&token) {
            self.by_ports.remove(&ports);
        }
        if connection.queued {
            self.turns.retain(|queued| *queued != token);
        }
        Some(connection)
    }

    /// Forgets a connection. The guest is told if it knows of it.
    fn abort(&mut self, token: usize) {
        if let Some(connection) = self.forget(token)
            && connection.is_known_to_guest()
        {
            self.refuse((connection.host_port, connection.guest_port), TYPE_STREAM);
        }
    }

    fn refuse(&mut self, (src_port, dst_port): (u32, u32), kind: u16) {
        let (src_cid, dst_cid) = (HOST_CID, self.cid);
        let op = op::RST;
        self.refusals.push_back(Header {
            src_cid,
            dst_cid,
            src_port,
            dst_port,
            kind,
            op,
            ..Header::default()
        });
    }

    /// A connection may have something to say.
    fn queue(&mut self, token: usize) {
        if let Some(connection) = self.connections.get_mut(&token)
            && !connection.queued
            && connection.has_something_to_say()
        {
            connection.queued = true;
            self.turns.push_back(token);
        }
    }

    fn free_port(&mut self, guest_port: u32) -> u32 {
        // There are far fewer connections than ports: this ends.
        loop {
            let port = self.next_port;
            self.next_port = port.checked_add(1).filter(|port| *port != u32::MAX).unwrap_or(FIRST_HOST_PORT);
            if !self.by_ports.contains_key(&(port, guest_port)) {
                return port;
            }
        }
    }

    fn host_event(&mut self, token: usize, event: &Event) {
        let Some(connection) = self.connections.get_mut(&token) else { return };
        match connection.greet() {
            Ok(None) => {}
            Ok(Some(guest_port)) => {
                let host_port = self.free_port(guest_port);
                self.by_ports.insert((host_port, guest_port), token);
                if let Some(connection) = self.connections.get_mut(&token) {
                    connection.ask(host_port, guest_port);
                }
            }
            Err(_) => return self.abort(token),
        }
        let Some(connection) = self.connections.get_mut(&token) else { return };
        if connection.host_event(!event.is_write_closed()).is_err() || connection.is_over() {
            return self.abort(token);
        }
        self.queue(token);
    }

    /// One packet of the guest.
    fn guest_packet(&mut self, chain: &Chain) {
        let mut data = chain.reader();
        let mut bytes = [0; HEADER_BYTES];
        if data.read_exact(&mut bytes).is_err() {
            return;
        }
        let header = Header::parse(&bytes);
        if header.src_cid != self.cid {
            return;
        }
        let ports = (header.dst_port, header.src_port);
        let for_host = header.dst_cid == HOST_CID && header.kind == TYPE_STREAM;
        let token = self.by_ports.get(&ports).copied().filter(|_| for_host);
        match (token, header.op) {
            (Some(token), op::RST) => drop(self.forget(token)),
            (None, op::RST) => {}
            (None, op::REQUEST) if for_host => self.connect(&header),
            (None, _) => self.refuse_packet(&header),
            (Some(token), _) => {
                let len = u64::from(header.len);
                let whole = len <= data.remaining();
                self.known_packet(token, &header, data.split(len), whole);
            }
        }
    }

    fn refuse_packet(&mut self, header: &Header) {
        self.refuse((header.dst_port, header.src_port), header.kind);
        if let Some(refusal) = self.refusals.back_mut() {
            refusal.src_cid = header.dst_cid;
        }
    }

    fn known_packet(&mut self, token: usize, header: &Header, data: Reader<'_>, whole: bool) {
        let Some(connection) = self.connections.get_mut(&token) else { return };
        if !whole || connection.guest_packet(header, data).is_err() {
            return self.abort(token);
        }
        if connection.guest_is_done() {
            let ports = (connection.host_port, connection.guest_port);
            let left = connection.linger();
            self.by_ports.remove(&ports);
            self.refuse(ports, TYPE_STREAM);
            if !left {
                drop(self.forget(token));
            }
            return;
        }
        self.queue(token);
    }

    fn connect(&mut self, header: &Header) {
        let stream: io::Result<UnixStream> = self.listener.connect(header.dst_port);
        let added = stream.ok().and_then(|stream| self.add(Connection::from_guest(stream, header)));
        match added {
            Some(token) => {
                self.by_ports.insert((header.dst_port, header.src_port), token);
                self.queue(token);
            }
            None => self.refuse_packet(header),
        }
    }

    /// Takes packets from the guest, as long as there is room for refusals. True if some are left.
    fn take_packets(&mut self, queues: &mut Serving) -> bool {
        let Some(queue) = queues.queue(TX) else { return false };
        queue.disable_notifications();
        loop {
            if self.refusals.len() >= MAX_REFUSALS {
                queue.signal();
                return true;
            }
            if let Some(chain) = queue.pop() {
                self.guest_packet(&chain);
                queue.complete(chain, 0);
            } else if !queue.enable_notifications() {
                queue.signal();
                return false;
            }
        }
    }

    /// Gives packets to the guest, as long as it has room.
    fn give_packets(&mut self, queues: &mut Serving) {
        let Some(queue) = queues.queue(RX) else { return };
        queue.disable_notifications();
        while !self.refusals.is_empty() || !self.turns.is_empty() {
            let Some(chain) = queue.pop() else {
                if queue.enable_notifications() {
                    continue;
                }
                break;
            };
            match self.next_packet(&chain) {
                Some(written) => queue.complete(chain, written),
                None => queue.undo_pop(chain),
            }
        }
        queue.signal();
    }

    /// Writes the next packet for the guest; answers its bytes.
    fn next_packet(&mut self, chain: &Chain) -> Option<u32> {
        if let Some(refusal) = self.refusals.pop_front() {
            let wrote = chain.writer().write_all(&refusal.bytes());
            return Some(if wrote.is_ok() { HEADER_BYTES as u32 } else { 0 });
        }
        let token = self.turns.pop_front()?;
        let connection = self.connections.get_mut(&token)?;
        connection.queued = false;
        if !connection.has_something_to_say() {
            return None;
        }
        let said = connection.say(self.cid, chain);
        match said {
            Ok(said) => {
                self.queue(token);
                match said {
                    Said::Bytes(bytes) => Some(bytes),
                    Said::Nothing => None,
                }
            }
            Err(_) => {
                self.abort(token);
                None
            }
        }
    }

    fn tell_events(&mut self, queues: &mut Serving) {
        let Some(queue) = queues.queue(EVENT) else { return };
        if self.transport_reset
            && let Some(chain) = queue.pop()
        {
            let wrote = chain.writer().write_all(&EVENT_TRANSPORT_RESET.to_le_bytes());
            queue.complete(chain, if wrote.is_ok() { 4 } else { 0 });
            queue.signal();
            self.transport_reset = wrote.is_err();
        }
    }

    fn turn(&mut self, queues: &mut Serving) {
        loop {
            let more = self.take_packets(queues);
            self.give_packets(queues);
            if !more || self.refusals.len() >= MAX_REFUSALS {
                return;
            }
        }
    }
}

impl Serve for Server {
    fn register(&mut self, registry: &Registry) -> io::Result<()> {
        let (mut listener, registry) = (self.listener.watched()?, registry.try_clone()?);
        registry.register(&mut listener, LISTENER, Interest::READABLE)?;
        self.watched = Some((listener, registry));
        Ok(())
    }

    fn serve(&mut self, queues: &mut Serving, index: u16) {
        match index {
            EVENT => self.tell_events(queues),
            _ => self.turn(queues),
        }
    }

    fn ready(&mut self, queues: &mut Serving, event: &Event) {
        match event.token() {
            LISTENER => self.accept(),
            Token(token) => self.host_event(token, event),
        }
        self.turn(queues);
    }

    fn deadline(&mut self) -> Option<Instant> {
        let connections = self.connections.values().filter_map(|connection| connection.deadline);
        connections.chain(self.accept_again).min()
    }

    fn tick(&mut self, queues: &mut Serving) {
        let now = Instant::now();
        if self.accept_again.is_some_and(|at| at <= now) {
            self.accept();
        }
        let late = |(token, connection): (&usize, &Connection)| {
            connection.deadline.is_some_and(|at| at <= now).then_some(*token)
        };
        let late: Vec<usize> = self.connections.iter().filter_map(late).collect();
        late.into_iter().for_each(|token| self.abort(token));
        self.turn(queues);
    }
}
