//! The record of accesses nobody answered: a boot that fails can say which unknown device it touched.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Width;
use crate::lock;

/// Distinct addresses remembered per bus. Probing firmware touches dozens; a guest that sweeps its address space must not
/// make the host's memory grow.
const MAX_ADDRESSES: usize = 256;

/// Distinct addresses that are logged as they are first seen; later ones are only recorded.
const MAX_LOGGED: u64 = 32;

/// Which way an access went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// The guest read.
    Read,
    /// The guest wrote.
    Write,
}

/// Accesses of one kind to one address that nobody answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnclaimedAccess {
    /// The guest-physical address, or the port number.
    pub address: u64,
    /// Read or write.
    pub direction: Direction,
    /// How often, saturating.
    pub count: u64,
    /// Width of the first such access.
    pub width: Width,
    /// The first value written; zero for reads.
    pub first_value: u64,
}

/// A copy of what a bus recorded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UnclaimedReport {
    /// One entry per address and direction, by address.
    pub accesses: Vec<UnclaimedAccess>,
    /// Accesses to further addresses that were not remembered one by one.
    pub not_listed: u64,
}

/// The recorder itself, one per bus.
#[derive(Debug)]
pub(super) struct UnclaimedLog {
    bus: &'static str,
    seen: Mutex<BTreeMap<(u64, Direction), UnclaimedAccess>>,
    logged: AtomicU64,
    not_listed: AtomicU64,
}

impl UnclaimedLog {
    pub(super) fn new(bus: &'static str) -> Self {
        Self { bus, seen: Mutex::default(), logged: AtomicU64::new(0), not_listed: AtomicU64::new(0) }
    }

    pub(super) fn record(&self, address: u64, width: Width, direction: Direction, value: u64) {
        let mut seen = lock(&self.seen);
        if let Some(access) = seen.get_mut(&(address, direction)) {
            access.count = access.count.saturating_add(1);
            return;
        }
        if seen.len() >= MAX_ADDRESSES {
            self.not_listed.fetch_add(1, Ordering::Relaxed);
            return;
        }
        seen.insert(
            (address, direction),
            UnclaimedAccess { address, direction, count: 1, width, first_value: value },
        );
        drop(seen);
        if self.logged.fetch_add(1, Ordering::Relaxed) < MAX_LOGGED {
            log::debug!(
                "{}: nothing answers a {}-byte {direction:?} at {address:#x}, value {value:#x}",
                self.bus,
                width.bytes()
            );
        }
    }

    pub(super) fn report(&self) -> UnclaimedReport {
        UnclaimedReport {
            accesses: lock(&self.seen).values().copied().collect(),
            not_listed: self.not_listed.load(Ordering::Relaxed),
        }
    }
}
