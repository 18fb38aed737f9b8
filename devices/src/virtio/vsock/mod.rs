//! Sockets between guest and host (virtio 1.2, section 5.10), which the host sees as Unix sockets.
//!
//! ```text
//! host program ─connect─▶ PATH, "CONNECT 1234\n" ─▶ REQUEST ─▶ guest's listener on port 1234
//!              ◀─ "OK 1073741824\n" ◀────────────── RESPONSE ◀┘
//! guest program ─▶ REQUEST to CID 2, port 52 ─▶ connect to PATH_52 ─▶ host program that listens there
//! ```
//!
//! The scheme is Firecracker's, so that its users' programs work. A stream can be closed by halves both ways: the end of
//! what one side sends is told to the other, which can go on sending.

mod config;
mod connection;
mod listener;
mod server;
pub mod spec;

use std::io;
use std::path::PathBuf;

pub use self::config::{MIN_CID, ParseVsockError, VsockConfig};
use self::listener::Listener;
use self::server::Server;
use super::worker::WorkerSlot;
use super::{Activation, ActivationError, DeviceKind, Queue, VirtioDevice, copy_config};

/// Entries of the queues for packets, and of that for events.
const QUEUE_SIZES: [u16; 3] = [256, 256, 16];

/// A vsock device that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum VsockError {
    /// The configuration describes none.
    #[error(transparent)]
    Config(#[from] ParseVsockError),
    /// The socket on the host cannot be made.
    #[error("cannot listen at {}", path.display())]
    Listen {
        /// The socket's path.
        path: PathBuf,
        /// The host's reason.
        source: io::Error,
    },
}

/// A vsock device.
pub struct Vsock {
    cid: u64,
    /// `None` while a worker has it.
    server: Option<Server>,
    worker: WorkerSlot<Server>,
}

impl Vsock {
    /// Makes the host's socket. Who connects to it before the guest has a driver waits.
    ///
    /// # Errors
    /// [`VsockError`] names the path and the reason.
    pub fn new(config: &VsockConfig) -> Result<Self, VsockError> {
        config.validate()?;
        let listener = Listener::new(&config.path)
            .map_err(|source| VsockError::Listen { path: config.path.clone(), source })?;
        let cid = u64::from(config.cid);
        Ok(Self { cid, server: Some(Server::new(cid, listener)), worker: WorkerSlot::default() })
    }
}

impl VirtioDevice for Vsock {
    fn kind(&self) -> DeviceKind {
        DeviceKind::Vsock
    }

    fn features(&self) -> u64 {
        spec::F_STREAM
    }

    fn queue_sizes(&self) -> &[u16] {
        &QUEUE_SIZES
    }

    fn read_config(&self, offset: u64, bytes: &mut [u8]) {
        copy_config(&self.cid.to_le_bytes(), offset, bytes);
    }

    fn activate(&mut self, _activation: Activation) -> Result<(), ActivationError> {
        let server = self.server.take().ok_or_else(|| ActivationError("its worker was lost".to_owned()))?;
        self.worker.start("virtio-vsock", server)
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
        self.server = self.worker.end().map(|mut server| {
            server.close_all();
            server
        });
    }
}

#[cfg(test)]
#[path = "vsock_test.rs"]
mod vsock_test;
