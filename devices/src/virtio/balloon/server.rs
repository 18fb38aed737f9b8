//! What the balloon's worker does with the queues.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use guest_memory::{GuestMemory, host_page_bytes, release};
use vm_memory::{GuestMemoryBackend, GuestMemoryRegion};

use super::pages::Pages;
use super::spec::{STAT_BYTES, feature, queue};
use super::{BalloonStats, Shared};
use crate::lock;
use crate::virtio::worker::{Serve, Serving};
use crate::virtio::{Chain, Queue};

/// Page numbers taken of one request; drivers send 256. The rest of a longer one stays with the host unreleased.
const MAX_NUMBERS: usize = 4096;

/// Statistics taken of one buffer; the specification has ten, Linux has more.
const MAX_STATS: usize = 64;

pub(super) struct Server {
    pub(super) features: u64,
    pub(super) memory: Arc<GuestMemory>,
    pub(super) shared: Arc<Shared>,
    pub(super) pages: Pages,
    /// The driver's buffer for statistics: the device keeps it until it wants new ones.
    pub(super) stats: Option<Chain>,
}

/// What a queue is for. Drivers differ in how they count queues that are not agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Inflate,
    Deflate,
    Stats,
    Report,
    None,
}

impl Server {
    fn role(&self, index: u16) -> Role {
        let has = |feature| self.features & feature != 0;
        match index {
            queue::INFLATE => Role::Inflate,
            queue::DEFLATE => Role::Deflate,
            queue::STATS if has(feature::STATS_VQ) => Role::Stats,
            queue::STATS | queue::REPORTING_DENSE | queue::REPORTING if has(feature::REPORTING) => {
                Role::Report
            }
            _ => Role::None,
        }
    }

    fn serve_chain(&mut self, role: Role, chain: &Chain) {
        match role {
            Role::Inflate => self.inflate(chain),
            Role::Deflate => numbers(chain).into_iter().for_each(|number| self.pages.remove(number)),
            Role::Report => self.report(chain),
            Role::Stats | Role::None => {}
        }
    }

    fn inflate(&mut self, chain: &Chain) {
        let ranges = self.pages.insert(&mut numbers(chain), &self.memory, host_page_bytes() as u64);
        for (start, len) in ranges {
            // A range across two regions of memory has no slice; regions begin and end on the largest host page.
            for (start, len) in self.within_regions(start, len) {
                if let Some(slice) = guest_memory::slice(&self.memory, start, len) {
                    self.release(&slice);
                }
            }
        }
    }

    /// Cuts a range at the borders of regions.
    fn within_regions(&self, start: u64, len: usize) -> Vec<(u64, usize)> {
        let end = start + len as u64;
        let cut = |region: &<GuestMemory as GuestMemoryBackend>::R| {
            let first = region.start_addr().0.max(start);
            let last = (region.start_addr().0 + region.len()).min(end);
            // Not longer than the range.
            (first < last).then(|| (first, (last - first) as usize))
        };
        self.memory.iter().filter_map(cut).collect()
    }

    /// The guest's free pages: buffers it wants "written".
    fn report(&mut self, chain: &Chain) {
        if self.shared.poison.load(Ordering::SeqCst) != 0 {
            // It looks whether they still hold its pattern, which released ones would not (section 5.5.6.7).
            return;
        }
        // Each page is free once: an absurd request is work for as much memory as there is, and no more.
        let mut left = self.memory.iter().map(GuestMemoryRegion::len).sum::<u64>();
        for slice in chain.writer().slices(u64::MAX) {
            left = left.saturating_sub(slice.len() as u64);
            if left == 0 {
                return;
            }
            self.release(&slice);
        }
    }

    fn release(&self, slice: &guest_memory::Slice<'_>) {
        match release(slice) {
            Ok(bytes) => _ = self.shared.released.fetch_add(bytes as u64, Ordering::SeqCst),
            Err(error) => {
                log::debug!("balloon: {:#x} bytes stay with the guest: {error}", slice.len());
            }
        }
    }

    /// A buffer with statistics has come. It is kept; the one before goes back.
    fn take_stats(&mut self, queue: &mut Queue, chain: Chain) {
        let mut reader = chain.reader();
        let mut stats = BalloonStats::default();
        let mut entry = [0; STAT_BYTES];
        for _ in 0..MAX_STATS {
            if reader.read_exact(&mut entry).is_err() {
                break;
            }
            let [t0, t1, value @ ..] = entry;
            stats.set(u16::from_le_bytes([t0, t1]), u64::from_le_bytes(value));
        }
        if let Some(before) = self.stats.replace(chain) {
            queue.complete(before, 0);
            queue.signal();
        }
        *lock(&self.shared.stats) = Some(stats);
    }

    fn ask_for_stats(&mut self, queue: &mut Queue) {
        if self.shared.wants_stats.swap(false, Ordering::SeqCst)
            && let Some(chain) = self.stats.take()
        {
            queue.complete(chain, 0);
            queue.signal();
        }
    }
}

/// The page numbers of a request.
fn numbers(chain: &Chain) -> Vec<u32> {
    let mut reader = chain.reader();
    let mut numbers = Vec::new();
    let mut number = [0; 4];
    while numbers.len() < MAX_NUMBERS && reader.read_exact(&mut number).is_ok() {
        numbers.push(u32::from_le_bytes(number));
    }
    numbers
}

impl Serve for Server {
    fn serve(&mut self, queues: &mut Serving, index: u16) {
        let role = self.role(index);
        let Some(queue) = queues.queue(index) else { return };
        loop {
            queue.disable_notifications();
            while let Some(chain) = queue.pop() {
                if role == Role::Stats {
                    self.take_stats(queue, chain);
                } else {
                    self.serve_chain(role, &chain);
                    queue.complete(chain, 0);
                    queue.signal();
                }
            }
            if role == Role::Stats {
                self.ask_for_stats(queue);
            }
            if !queue.enable_notifications() {
                return;
            }
        }
    }

    fn drain(&mut self, queues: &mut Serving, index: u16) {
        if self.role(index) == Role::Stats
            && let Some(chain) = self.stats.take()
            && let Some(queue) = queues.queue(index)
        {
            queue.undo_pop(chain);
        }
    }
}
