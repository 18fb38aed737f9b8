//! A shared folder for the guest: 9P over virtio (device 9; its configuration is that of Linux's
//! `include/uapi/linux/virtio_9p.h`, since the specification only reserves the number).
//!
//! Each chain is one 9P request and the room for its reply. Several are served at once (`pool`); the protocol's tags tell
//! replies apart, so they go back in the order in which they are ready.

mod pool;

use std::sync::Arc;

use self::pool::Pool;
use super::{Activation, ActivationError, DeviceKind, Queue, VirtioDevice, copy_config};
use crate::p9::Server;

/// The configuration names the share (bit 0).
const FEATURE_MOUNT_TAG: u64 = 1;

/// Entries of the queue: what Linux's driver puts into one request at most, as descriptors.
const QUEUE_SIZE: u16 = 128;

/// Longest tag, bytes: a file name's length.
const MAX_TAG: usize = 255;

/// Threads that serve requests. More than processors, since they wait for the host's disk.
const THREADS: usize = 4;

/// A tag that no guest could mount.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the tag {0:?} of a shared folder must be 1 to {MAX_TAG} bytes without blanks, commas or control characters"
)]
pub struct InvalidTag(pub String);

/// A shared folder. Its session with the guest begins anew when the device is reset.
pub struct P9 {
    server: Arc<Server>,
    /// `tag_len[2] tag`
    config: Vec<u8>,
    pool: Option<Pool>,
}

impl P9 {
    /// What `server` shares, to be mounted by the name `tag`.
    ///
    /// # Errors
    /// [`InvalidTag`] for a name that cannot be one.
    pub fn new(tag: &str, server: Server) -> Result<Self, InvalidTag> {
        let unfit = |c: char| c.is_whitespace() || c.is_control() || c == ',';
        let length =
            u16::try_from(tag.len()).ok().filter(|length| (1..=MAX_TAG).contains(&usize::from(*length)));
        let length = length.filter(|_| !tag.contains(unfit)).ok_or_else(|| InvalidTag(tag.to_owned()))?;
        let config = [&length.to_le_bytes(), tag.as_bytes()].concat();
        Ok(Self { server: Arc::new(server), config, pool: None })
    }
}

impl VirtioDevice for P9 {
    fn kind(&self) -> DeviceKind {
        DeviceKind::P9
    }

    fn features(&self) -> u64 {
        FEATURE_MOUNT_TAG
    }

    fn queue_sizes(&self) -> &[u16] {
        &[QUEUE_SIZE]
    }

    fn read_config(&self, offset: u64, bytes: &mut [u8]) {
        copy_config(&self.config, offset, bytes);
    }

    fn activate(&mut self, _: Activation) -> Result<(), ActivationError> {
        let pool = Pool::spawn(&self.server, THREADS);
        self.pool = Some(pool.map_err(|error| ActivationError(error.to_string()))?);
        Ok(())
    }

    fn start_queue(&mut self, _: u16, queue: Queue) {
        if let Some(pool) = &self.pool {
            pool.start(queue);
        }
    }

    fn stop_queue(&mut self, _: u16) -> Option<Queue> {
        self.pool.as_ref()?.stop()
    }

    fn notify(&mut self, _: u16) {
        if let Some(pool) = &self.pool {
            pool.notify();
        }
    }

    fn settle(&mut self, _: u16) {
        if let Some(pool) = &self.pool {
            pool.settle();
        }
    }

    fn deactivate(&mut self) {
        self.pool = None;
        self.server.reset();
    }
}

#[cfg(test)]
#[path = "p9_test.rs"]
mod p9_test;
