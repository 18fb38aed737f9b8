//! The network card (virtio 1.2, section 5.1): one pair of queues, served by one thread with its back end.

mod receive;
mod server;
mod spec;
mod transmit;

#[cfg(test)]
#[path = "net_test.rs"]
mod net_test;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use self::server::Server;
use self::spec::{LINK_UP, feature};
use super::worker::WorkerSlot;
use super::{Activation, ActivationError, DeviceKind, DeviceLink, Queue, VirtioDevice, copy_config};
use crate::net::{MacAddress, NetBackend, Offloads};

/// Entries of the queues. A large segment takes some forty buffers of a driver's.
const QUEUE_SIZES: [u16; 2] = [512, 256];

/// Features and the offloads they stand for.
const OFFLOADS: [(u64, Offloads); 6] = [
    (feature::CSUM, Offloads::CSUM),
    (feature::HOST_TSO4, Offloads::HOST_TSO4),
    (feature::HOST_TSO6, Offloads::HOST_TSO6),
    (feature::GUEST_CSUM, Offloads::GUEST_CSUM),
    (feature::GUEST_TSO4, Offloads::GUEST_TSO4),
    (feature::GUEST_TSO6, Offloads::GUEST_TSO6),
];

/// A network card.
pub struct Net {
    /// `None` while a worker has it.
    backend: Option<Box<dyn NetBackend>>,
    worker: WorkerSlot<Server>,
    mac: MacAddress,
    mtu: u16,
    offloads: Offloads,
    status: Arc<Status>,
}

/// What the worker knows of the link.
struct Status {
    up: AtomicBool,
    /// Changes so far.
    generation: AtomicU32,
}

impl Status {
    /// Takes note of the link's state, and tells the driver of a change.
    fn set(&self, up: bool, link: &DeviceLink) {
        if self.up.swap(up, Ordering::SeqCst) != up {
            self.generation.fetch_add(1, Ordering::SeqCst);
            link.config_changed();
        }
    }
}

impl Net {
    /// A card with this address, on a link that carries IP datagrams of `mtu` bytes, in front of `backend`.
    pub fn new(backend: Box<dyn NetBackend>, mac: MacAddress, mtu: u16) -> Self {
        let status = Status { up: AtomicBool::new(backend.link_up()), generation: AtomicU32::new(0) };
        let offloads = backend.offloads();
        let (backend, worker, status) = (Some(backend), WorkerSlot::default(), Arc::new(status));
        Self { backend, worker, mac, mtu, offloads, status }
    }

    fn config(&self) -> [u8; 12] {
        let status = if self.status.up.load(Ordering::SeqCst) { LINK_UP } else { 0 };
        let queue_pairs: u16 = 1;
        let mut config = [0; 12];
        let (mac, rest) = config.split_at_mut(6);
        mac.copy_from_slice(&self.mac.bytes());
        for (field, value) in rest.chunks_mut(2).zip([status, queue_pairs, self.mtu]) {
            field.copy_from_slice(&value.to_le_bytes());
        }
        config
    }
}

/// The offloads a driver took up. Segmentation without checksums is nothing it could have (section 5.1.3.1).
fn offloads(features: u64) -> Offloads {
    let mut offloads = OFFLOADS
        .iter()
        .filter(|(bit, _)| features & bit != 0)
        .map(|(_, offload)| *offload)
        .collect::<Offloads>();
    if !offloads.contains(Offloads::CSUM) {
        offloads -= Offloads::HOST_TSO4 | Offloads::HOST_TSO6;
    }
    if !offloads.contains(Offloads::GUEST_CSUM) {
        offloads -= Offloads::GUEST_TSO4 | Offloads::GUEST_TSO6;
    }
    offloads
}

impl VirtioDevice for Net {
    fn kind(&self) -> DeviceKind {
        DeviceKind::Net
    }

    fn features(&self) -> u64 {
        let own = feature::MAC | feature::MTU | feature::STATUS | feature::MRG_RXBUF;
        OFFLOADS
            .iter()
            .filter(|(_, offload)| self.offloads.contains(*offload))
            .fold(own, |features, (bit, _)| features | bit)
    }

    fn queue_sizes(&self) -> &[u16] {
        &QUEUE_SIZES
    }

    fn read_config(&self, offset: u64, bytes: &mut [u8]) {
        copy_config(&self.config(), offset, bytes);
    }

    fn config_generation(&self) -> u32 {
        self.status.generation.load(Ordering::SeqCst)
    }

    fn activate(&mut self, activation: Activation) -> Result<(), ActivationError> {
        let mut backend =
            self.backend.take().ok_or_else(|| ActivationError("its worker was lost".to_owned()))?;
        let offloads = offloads(activation.features);
        backend.set_offloads(offloads);
        let mergeable = activation.features & feature::MRG_RXBUF != 0;
        let server = Server::new(backend, offloads, mergeable, activation.link, self.status.clone());
        self.worker.start("virtio-net", server)
    }

    fn start_queue(&mut self, _: u16, queue: Queue) {
        self.worker.start_queue(queue);
    }

    fn stop_queue(&mut self, index: u16) -> Option<Queue> {
        self.worker.stop_queue(index)
    }

    fn notify(&mut self, index: u16) {
        self.worker.notify(index);
    }

    fn deactivate(&mut self) {
        self.backend = self.worker.end().map(Server::into_backend);
    }
}
