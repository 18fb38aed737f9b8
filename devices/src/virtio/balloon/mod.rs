//! Memory that the guest does not need goes back to the host (virtio 1.2, section 5.5).
//!
//! Two ways: the guest *reports* free pages by itself, and takes one back by writing to it; and the host sets a *target*, for
//! which the guest takes pages out of use until the target falls, or until it runs out of memory.

mod pages;
mod server;
pub mod spec;

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use self::pages::Pages;
use self::server::Server;
use self::spec::{PAGE_SHIFT, config, feature, queue, stat};
use super::worker::SharedWorker;
use super::{Activation, ActivationError, DeviceKind, Queue, VirtioDevice, copy_config};
use crate::lock;

/// Entries of the queues, [`spec::queue`]. Linux reports 32 ranges at a time, and only where so many fit.
const QUEUE_SIZES: [u16; 5] = [128, 128, 32, 32, 32];

/// What a guest says of its memory, as far as it says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BalloonStats {
    /// Bytes swapped in since its boot.
    pub swap_in: Option<u64>,
    /// Bytes swapped out since its boot.
    pub swap_out: Option<u64>,
    /// Page faults since its boot that waited for a disk.
    pub major_faults: Option<u64>,
    /// Page faults since its boot that did not.
    pub minor_faults: Option<u64>,
    /// Bytes not used for anything.
    pub free: Option<u64>,
    /// Bytes in all.
    pub total: Option<u64>,
    /// Bytes that programs could have without swapping.
    pub available: Option<u64>,
    /// Bytes of files kept in memory.
    pub caches: Option<u64>,
}

impl BalloonStats {
    fn set(&mut self, tag: u16, value: u64) {
        let field = match tag {
            stat::SWAP_IN => &mut self.swap_in,
            stat::SWAP_OUT => &mut self.swap_out,
            stat::MAJOR_FAULTS => &mut self.major_faults,
            stat::MINOR_FAULTS => &mut self.minor_faults,
            stat::FREE => &mut self.free,
            stat::TOTAL => &mut self.total,
            stat::AVAILABLE => &mut self.available,
            stat::CACHES => &mut self.caches,
            _ => return,
        };
        *field = Some(value);
    }
}

/// What the device, its worker and its handles share.
#[derive(Default)]
struct Shared {
    /// Pages the host wants, and pages the guest says it gave.
    target: AtomicU32,
    actual: AtomicU32,
    /// What the guest fills free pages with.
    poison: AtomicU32,
    /// Bytes given back to the host since the machine was made.
    released: AtomicU64,
    wants_stats: AtomicBool,
    stats: Mutex<Option<BalloonStats>>,
    worker: SharedWorker<Server>,
}

/// A balloon device.
#[derive(Default)]
pub struct Balloon {
    shared: Arc<Shared>,
}

/// A balloon at run time. Cheap to clone, usable from any thread, also when the device is gone.
#[derive(Clone)]
pub struct BalloonHandle(Arc<Shared>);

impl BalloonHandle {
    /// Asks the guest to have `bytes` in the balloon, rounded down to 4 KiB and at most 16 TiB. It gets there as it can, and
    /// keeps to it after a reboot.
    pub fn set_target(&self, bytes: u64) {
        let pages = u32::try_from(bytes >> PAGE_SHIFT).unwrap_or(u32::MAX);
        self.0.target.store(pages, Ordering::SeqCst);
        self.0.worker.config_changed();
    }

    /// The bytes asked for.
    pub fn target(&self) -> u64 {
        u64::from(self.0.target.load(Ordering::SeqCst)) << PAGE_SHIFT
    }

    /// The bytes that are in the balloon, as the guest says.
    pub fn size(&self) -> u64 {
        u64::from(self.0.actual.load(Ordering::SeqCst)) << PAGE_SHIFT
    }

    /// Bytes given back to the host so far, by balloon and reports. A page that the guest used again and gave back again
    /// counts twice.
    pub fn released(&self) -> u64 {
        self.0.released.load(Ordering::SeqCst)
    }

    /// The guest's statistics as of the last time, if it has any.
    pub fn stats(&self) -> Option<BalloonStats> {
        *lock(&self.0.stats)
    }

    /// Asks the guest for new statistics; they come soon, or never from a guest that does not.
    pub fn refresh_stats(&self) {
        self.0.wants_stats.store(true, Ordering::SeqCst);
        self.0.worker.notify(queue::STATS);
    }
}

impl Balloon {
    /// An empty balloon.
    pub fn new() -> Self {
        Self::default()
    }

    /// To steer it at run time.
    pub fn handle(&self) -> BalloonHandle {
        BalloonHandle(self.shared.clone())
    }

    fn config(&self) -> [u8; config::BYTES] {
        let mut bytes = [0; config::BYTES];
        let shared = &self.shared;
        for (at, value) in [
            (config::NUM_PAGES, &shared.target),
            (config::ACTUAL, &shared.actual),
            (config::POISON_VAL, &shared.poison),
        ] {
            let value = value.load(Ordering::SeqCst).to_le_bytes();
            bytes.iter_mut().skip(at).zip(value).for_each(|(to, from)| *to = from);
        }
        bytes
    }
}

impl VirtioDevice for Balloon {
    fn kind(&self) -> DeviceKind {
        DeviceKind::Balloon
    }

    fn features(&self) -> u64 {
        feature::STATS_VQ | feature::DEFLATE_ON_OOM | feature::PAGE_POISON | feature::REPORTING
    }

    fn queue_sizes(&self) -> &[u16] {
        &QUEUE_SIZES
    }

    fn read_config(&self, offset: u64, bytes: &mut [u8]) {
        copy_config(&self.config(), offset, bytes);
    }

    fn write_config(&mut self, offset: u64, bytes: &[u8]) {
        let mut config = self.config();
        let from = usize::try_from(offset).ok().and_then(|offset| config.get_mut(offset..));
        from.unwrap_or_default().iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        let word = |at: usize| {
            let mut bytes = [0; 4];
            bytes.iter_mut().zip(config.iter().skip(at)).for_each(|(to, from)| *to = *from);
            u32::from_le_bytes(bytes)
        };
        self.shared.actual.store(word(config::ACTUAL), Ordering::SeqCst);
        self.shared.poison.store(word(config::POISON_VAL), Ordering::SeqCst);
    }

    fn activate(&mut self, activation: Activation) -> Result<(), ActivationError> {
        let server = Server {
            features: activation.features,
            memory: activation.memory,
            shared: self.shared.clone(),
            pages: Pages::default(),
            stats: None,
        };
        self.shared.worker.start("virtio-balloon", server, activation.link)
    }

    fn start_queue(&mut self, _: u16, queue: Queue) {
        self.shared.worker.start_queue(queue);
    }

    fn stop_queue(&mut self, index: u16) -> Option<Queue> {
        self.shared.worker.stop_queue(index)
    }

    fn notify(&mut self, index: u16) {
        self.shared.worker.notify(index);
    }

    fn deactivate(&mut self) {
        self.shared.worker.end();
        // The next driver starts with an empty balloon (section 5.5.5).
        self.shared.actual.store(0, Ordering::SeqCst);
        self.shared.poison.store(0, Ordering::SeqCst);
        *lock(&self.shared.stats) = None;
    }
}

#[cfg(test)]
#[path = "balloon_test.rs"]
mod balloon_test;
