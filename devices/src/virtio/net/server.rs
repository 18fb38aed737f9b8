//! The worker: frames from queue to back end and back.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use mio::event::Event;
use mio::{Registry, Token};

use super::Status;
use super::receive::Receiver;
use super::spec::{RECEIVE, TRANSMIT};
use super::transmit::{Progress, Transmitter};
use crate::net::{NetBackend, Offloads};
use crate::virtio::DeviceLink;
use crate::virtio::worker::{Serve, Serving};

/// Rounds through queues and back end before the worker looks at its events again.
const MAX_ROUNDS: usize = 16;

/// What the worker serves with.
pub(super) struct Server {
    backend: Box<dyn NetBackend>,
    transmitter: Transmitter,
    receiver: Receiver,
    link: DeviceLink,
    status: Arc<Status>,
    /// More is to be done, though nothing rings.
    unfinished: bool,
}

impl Server {
    pub(super) fn new(
        backend: Box<dyn NetBackend>,
        offloads: Offloads,
        mergeable: bool,
        link: DeviceLink,
        status: Arc<Status>,
    ) -> Self {
        let (transmitter, receiver) = (Transmitter::new(offloads), Receiver::new(mergeable));
        Self { backend, transmitter, receiver, link, status, unfinished: false }
    }

    /// The back end, without anything of the guest that was.
    pub(super) fn into_backend(mut self) -> Box<dyn NetBackend> {
        self.backend.reset();
        self.backend.deregister();
        self.backend
    }

    /// Moves frames until there are none, or one side is full.
    fn turn(&mut self, queues: &mut Serving) {
        self.unfinished = false;
        for round in 1.. {
            let progress = queues
                .queue(TRANSMIT)
                .map_or(Progress::Idle, |queue| self.transmitter.transmit(queue, self.backend.as_mut()));
            self.backend.advance(Instant::now());
            if let Some(queue) = queues.queue(RECEIVE) {
                self.receiver.receive(queue, self.backend.as_mut());
            }
            if progress == Progress::Idle {
                break;
            }
            if round == MAX_ROUNDS {
                self.unfinished = true;
                break;
            }
        }
        if let Some(queue) = queues.queue(TRANSMIT) {
            self.transmitter.signal(queue, Some(Instant::now()));
        }
        self.status.set(self.backend.link_up(), &self.link);
    }
}

impl Serve for Server {
    fn register(&mut self, registry: &Registry) -> io::Result<()> {
        self.backend.register(registry, Token(0))
    }

    fn serve(&mut self, queues: &mut Serving, _: u16) {
        self.turn(queues);
    }

    fn ready(&mut self, queues: &mut Serving, event: &Event) {
        self.backend.ready(event);
        self.turn(queues);
    }

    fn drain(&mut self, queues: &mut Serving, index: u16) {
        match (index, queues.queue(index)) {
            (RECEIVE, Some(queue)) => self.receiver.give_back(queue),
            (TRANSMIT, Some(queue)) => self.transmitter.signal(queue, None),
            _ => {}
        }
    }

    fn deadline(&mut self) -> Option<Instant> {
        if self.unfinished {
            return Some(Instant::now());
        }
        [self.backend.deadline(), self.transmitter.deadline()].into_iter().flatten().min()
    }

    fn tick(&mut self, queues: &mut Serving) {
        self.turn(queues);
    }
}
