//! Disks for the guest (virtio 1.2, section 5.2).
//!
//! ```text
//! driver ─▶ Queue ─▶ pool: threads ─▶ request: header, data, status ─▶ crate::disk::DiskImage
//! ```

mod limits;
mod pool;
mod request;
pub mod spec;

use std::sync::Arc;

use self::pool::Pool;
use self::request::Terms;
use self::spec::{config, feature};
use super::{Activation, ActivationError, DeviceKind, Queue, VirtioDevice, copy_config};
use crate::disk::{DiskImage, SECTOR_BYTES};

/// log2 of logical blocks per physical block: 512 and 4,096 bytes, what host file systems and drives work in.
const PHYSICAL_BLOCK_EXP: u8 = 3;

/// A disk.
///
/// Requests are carried out by threads of its own, several at a time. An image is used by one device; when the device is
/// dropped, what is in flight is finished first.
pub struct Block {
    image: Arc<DiskImage>,
    queue_sizes: Vec<u16>,
    /// The driver's wish, and ours: whether writes may be answered before they are safe.
    writeback: bool,
    /// The features agreed on, while active.
    features: u64,
    /// `None` while the driver is not ready.
    pool: Option<Pool>,
}

impl Block {
    /// A disk that keeps its sectors in `image`, with 1 to 16 queues: as many as the machine has vCPUs is best.
    pub fn new(image: DiskImage, queues: u16) -> Self {
        let queue_sizes = vec![limits::QUEUE_SIZE; usize::from(queues.clamp(1, limits::QUEUES))];
        Self { image: Arc::new(image), queue_sizes, writeback: true, features: 0, pool: None }
    }

    fn config(&self) -> [u8; config::BYTES] {
        let mut bytes = [0; config::BYTES];
        let mut put = |offset: usize, value: &[u8]| {
            for (to, from) in bytes.iter_mut().skip(offset).zip(value) {
                *to = *from;
            }
        };
        let block_sectors = u32::try_from(self.image.discard_bytes() / SECTOR_BYTES).unwrap_or(1);
        put(config::CAPACITY, &(self.image.bytes() / SECTOR_BYTES).to_le_bytes());
        put(config::SIZE_MAX, &limits::SEGMENT_BYTES.to_le_bytes());
        put(config::SEG_MAX, &limits::SEGMENTS.to_le_bytes());
        put(config::BLK_SIZE, &(SECTOR_BYTES as u32).to_le_bytes());
        put(config::PHYSICAL_BLOCK_EXP, &[PHYSICAL_BLOCK_EXP]);
        put(config::MIN_IO_SIZE, &(1_u16 << PHYSICAL_BLOCK_EXP).to_le_bytes());
        put(config::WRITEBACK, &[u8::from(self.writeback)]);
        // Fits: at most 16.
        put(config::NUM_QUEUES, &(self.queue_sizes.len() as u16).to_le_bytes());
        if !self.image.is_read_only() {
            put(config::MAX_DISCARD_SECTORS, &limits::DISCARD.sectors.to_le_bytes());
            put(config::MAX_DISCARD_SEG, &limits::DISCARD.count.to_le_bytes());
            put(config::DISCARD_SECTOR_ALIGNMENT, &block_sectors.to_le_bytes());
            put(config::MAX_WRITE_ZEROES_SECTORS, &limits::WRITE_ZEROES.sectors.to_le_bytes());
            put(config::MAX_WRITE_ZEROES_SEG, &limits::WRITE_ZEROES.count.to_le_bytes());
            put(config::WRITE_ZEROES_MAY_UNMAP, &[1]);
        }
        bytes
    }
}

impl VirtioDevice for Block {
    fn kind(&self) -> DeviceKind {
        DeviceKind::Block
    }

    fn features(&self) -> u64 {
        use feature::{
            BLK_SIZE, CONFIG_WCE, DISCARD, FLUSH, MQ, RO, SEG_MAX, SIZE_MAX, TOPOLOGY, WRITE_ZEROES,
        };
        let always = SIZE_MAX | SEG_MAX | BLK_SIZE | FLUSH | TOPOLOGY;
        let several = if self.queue_sizes.len() > 1 { MQ } else { 0 };
        let writing = if self.image.is_read_only() { RO } else { CONFIG_WCE | DISCARD | WRITE_ZEROES };
        always | several | writing
    }

    fn queue_sizes(&self) -> &[u16] {
        &self.queue_sizes
    }

    fn read_config(&self, offset: u64, bytes: &mut [u8]) {
        copy_config(&self.config(), offset, bytes);
    }

    /// Only the cache can be switched, and only by a driver that has agreed to it.
    fn write_config(&mut self, offset: u64, bytes: &[u8]) {
        let place = (config::WRITEBACK as u64).checked_sub(offset).and_then(|at| usize::try_from(at).ok());
        if let Some(value) = place.and_then(|at| bytes.get(at))
            && self.features & feature::CONFIG_WCE != 0
        {
            self.writeback = *value & 1 != 0;
            if let Some(pool) = &self.pool {
                pool.set_write_through(!self.writeback);
            }
        }
    }

    fn activate(&mut self, activation: Activation) -> Result<(), ActivationError> {
        self.features = activation.features;
        // Section 5.2.5.2: without FLUSH a driver cannot make its writes safe, so they must be when they are answered.
        self.writeback = self.features & feature::FLUSH != 0;
        let terms = Terms { features: self.features, write_through: !self.writeback };
        let pool = Pool::start(Arc::clone(&self.image), terms);
        self.pool = Some(pool.map_err(|error| ActivationError(error.to_string()))?);
        Ok(())
    }

    fn start_queue(&mut self, _: u16, queue: Queue) {
        if let Some(pool) = &self.pool {
            pool.start_queue(queue);
        }
    }

    fn stop_queue(&mut self, index: u16) -> Option<Queue> {
        self.pool.as_ref()?.stop_queue(index)
    }

    fn notify(&mut self, index: u16) {
        if let Some(pool) = &self.pool {
            pool.notify(index);
        }
    }

    fn settle(&mut self, index: u16) {
        if let Some(pool) = &self.pool {
            pool.settle(index);
        }
    }

    fn deactivate(&mut self) {
        self.pool = None;
        self.features = 0;
        self.writeback = true;
    }
}

#[cfg(test)]
#[path = "blk_test.rs"]
mod blk_test;
