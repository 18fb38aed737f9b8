//! What a virtio device is to its transport.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use guest_memory::GuestMemory;

use super::queue::Queue;
use super::registers::TransportInterrupt;

/// What a device is for; the number is the specification's (section 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum DeviceKind {
    /// Network card.
    Net = 1,
    /// Disk.
    Block = 2,
    /// Console ports.
    Console = 3,
    /// Source of random bytes.
    Entropy = 4,
    /// Memory balloon.
    Balloon = 5,
    /// 9P file share.
    P9 = 9,
    /// Sockets to the host.
    Vsock = 19,
}

impl DeviceKind {
    /// The device ID.
    pub const fn id(self) -> u16 {
        self as u16
    }

    /// PCI class, subclass and interface, for guests that look at it before they know virtio.
    pub const fn pci_class(self) -> [u8; 3] {
        match self {
            Self::Net => [0x02, 0x00, 0x00],
            Self::Block => [0x01, 0x80, 0x00],
            Self::Console => [0x07, 0x80, 0x00],
            Self::P9 => [0x01, 0x80, 0x00],
            Self::Entropy | Self::Balloon | Self::Vsock => [0xff, 0x00, 0x00],
        }
    }

    /// A word for messages and thread names.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Net => "net",
            Self::Block => "blk",
            Self::Console => "console",
            Self::Entropy => "rng",
            Self::Balloon => "balloon",
            Self::P9 => "9p",
            Self::Vsock => "vsock",
        }
    }
}

/// Why a device cannot work; the guest sees DEVICE_NEEDS_RESET, the host a log line.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ActivationError(pub String);

/// How a device speaks to its driver outside of queues, and of it to the log. Cheap to clone, usable from any thread.
#[derive(Clone)]
pub struct DeviceLink {
    transport: Arc<dyn TransportInterrupt>,
    warnings: Arc<AtomicU32>,
}

/// Warnings of what a driver did wrong, in a device's life; a driver may do it again and again.
const MAX_WARNINGS: u32 = 8;

impl DeviceLink {
    /// Over this transport.
    pub fn new(transport: Arc<dyn TransportInterrupt>) -> Self {
        Self { transport, warnings: Arc::default() }
    }

    /// The device-specific configuration has changed.
    pub fn config_changed(&self) {
        self.transport.config_changed();
    }

    /// The device cannot go on: DEVICE_NEEDS_RESET, which the driver is told. The first reason since a reset is logged.
    pub fn needs_reset(&self, reason: fmt::Arguments<'_>) {
        if !self.transport.reset_needed() {
            self.warn(reason);
        }
        self.transport.needs_reset();
    }

    /// Logs what the driver did wrong, the first few times.
    pub fn warn(&self, what: fmt::Arguments<'_>) {
        // More than 2^32 warnings begin anew.
        match self.warnings.fetch_add(1, Ordering::Relaxed) {
            ..MAX_WARNINGS => log::warn!("{what}"),
            MAX_WARNINGS => log::warn!("{what}; more of this device are not told"),
            _ => {}
        }
    }

    pub(super) fn queue_used(&self, queue: u16) {
        self.transport.queue_used(queue);
    }
}

/// What a device gets when its driver is ready.
pub struct Activation {
    /// The features agreed on.
    pub features: u64,
    /// The guest's memory.
    pub memory: Arc<GuestMemory>,
    /// To the driver.
    pub link: DeviceLink,
}

/// A virtio device, without its transport.
///
/// Called with its transport locked, on the thread of the vCPU that wrote the register: nothing here waits for the
/// guest, and a device's workers never wait for the transport. The calls come in this order: `activate`, then
/// `start_queue` for each queue the driver has enabled; `notify`, `stop_queue` and `start_queue` as the driver likes;
/// `stop_queue` for each that runs, then `deactivate`. Pausing a machine stops the queues and starts them again.
pub trait VirtioDevice: Send {
    /// What it is.
    fn kind(&self) -> DeviceKind;

    /// The device-specific features it offers (bits 0 to 23 and 50 to 63); those of rings are the transport's.
    fn features(&self) -> u64;

    /// The largest size of each of its queues, a power of two.
    fn queue_sizes(&self) -> &[u16];

    /// Reads device-specific configuration from `offset`; bytes it does not have read as zero. See [`copy_config`].
    fn read_config(&self, offset: u64, bytes: &mut [u8]);

    /// Writes device-specific configuration. What is read-only ignores it.
    fn write_config(&mut self, _offset: u64, _bytes: &[u8]) {}

    /// Changes whenever several reads of the configuration could see two states of it (section 2.5.1).
    fn config_generation(&self) -> u32 {
        0
    }

    /// The driver is ready: makes what the queues will need.
    ///
    /// # Errors
    /// The device cannot work, say because the host has no thread for it.
    fn activate(&mut self, activation: Activation) -> Result<(), ActivationError>;

    /// Takes a queue and serves what is in it already.
    fn start_queue(&mut self, index: u16, queue: Queue);

    /// Finishes or gives up what is in flight on a queue, and gives the queue back. `None` if it does not run.
    fn stop_queue(&mut self, index: u16) -> Option<Queue>;

    /// The driver has put something into queue `index`. Wakes who serves it and returns.
    fn notify(&mut self, index: u16);

    /// Waits until all is done that was in queue `index` when it was started or last announced. For devices whose
    /// [`VirtioDevice::stop_queue`] does only what was taken already.
    fn settle(&mut self, _index: u16) {}

    /// Lets go of what [`VirtioDevice::activate`] gave; as it was when made. All queues are stopped.
    fn deactivate(&mut self);
}

/// Copies what lies at `offset` of a configuration structure; zeroes behind its end.
pub fn copy_config(config: &[u8], offset: u64, bytes: &mut [u8]) {
    bytes.fill(0);
    let from = usize::try_from(offset).ok().and_then(|offset| config.get(offset..));
    for (to, from) in bytes.iter_mut().zip(from.unwrap_or_default()) {
        *to = *from;
    }
}

#[cfg(test)]
#[path = "device_test.rs"]
mod device_test;
