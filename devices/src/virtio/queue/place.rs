//! Where rings and tables lie: checked, and reached a piece at a time.

use std::sync::atomic::Ordering;

use guest_memory::{GuestMemory, Slice};
use vm_memory::{AtomicAccess, Bytes, VolatileMemory};

use super::QueueError;
use crate::virtio::spec::MAX_QUEUE_SIZE;

/// Bytes of a descriptor.
pub(super) const DESCRIPTOR_BYTES: usize = 16;

/// A descriptor (sections 2.7.5 and 2.8.5).
pub(super) struct Descriptor {
    /// Where the buffer is.
    pub(super) gpa: u64,
    /// Its bytes.
    pub(super) len: u32,
    /// Split ring: flags, and the index of the next one. Packed ring: the buffer ID, and flags.
    pub(super) tail: [u16; 2],
}

/// A part of a ring, which lies in one region.
pub(super) struct Part<'a> {
    pub(super) bytes: Slice<'a>,
    error: QueueError,
}

impl Part<'_> {
    pub(super) fn load<T: AtomicAccess>(&self, at: usize, order: Ordering) -> Result<T, QueueError> {
        self.bytes.load(at, order).map_err(|_| self.error)
    }

    pub(super) fn store<T: AtomicAccess>(
        &self,
        at: usize,
        value: T,
        order: Ordering,
    ) -> Result<(), QueueError> {
        self.bytes.store(value, at, order).map_err(|_| self.error)
    }
}

/// The part called `name`: `len` bytes at `address`.
pub(super) fn part<'a>(
    memory: &'a GuestMemory,
    name: &'static str,
    address: u64,
    len: u64,
) -> Result<Part<'a>, QueueError> {
    let error = QueueError::Place { part: name, address };
    let len = usize::try_from(len).map_err(|_| error)?;
    let bytes = guest_memory::slice(memory, address, len).ok_or(error)?;
    Ok(Part { bytes, error })
}

/// Is `len` bytes at `address` in memory, and aligned?
pub(super) fn check_place(
    memory: &GuestMemory,
    name: &'static str,
    address: u64,
    len: u64,
    align: u64,
) -> Result<(), QueueError> {
    if !address.is_multiple_of(align) {
        return Err(QueueError::Place { part: name, address });
    }
    part(memory, name, address, len).map(drop)
}

/// An indirect table and its number of entries; `None` if it can have none of this size.
pub(super) fn table(
    memory: &GuestMemory,
    gpa: u64,
    len: u32,
) -> Result<Option<(Slice<'_>, u16)>, QueueError> {
    let entries = u16::try_from(len / DESCRIPTOR_BYTES as u32)
        .ok()
        .filter(|entries| (1..=MAX_QUEUE_SIZE).contains(entries));
    let Some(entries) = entries.filter(|_| len.is_multiple_of(DESCRIPTOR_BYTES as u32)) else {
        return Ok(None);
    };
    Ok(Some((part(memory, "an indirect table", gpa, u64::from(len))?.bytes, entries)))
}

/// Descriptor `index` of a table; `None` beyond its end.
pub(super) fn descriptor(table: &Slice<'_>, index: u16) -> Option<Descriptor> {
    // The two atoms need not be read at once: the driver does not write here while the device may read.
    let [gpa, rest] = table.get_ref::<[u64; 2]>(usize::from(index) * DESCRIPTOR_BYTES).ok()?.load();
    let rest = u64::from_le(rest);
    Some(Descriptor {
        gpa: u64::from_le(gpa),
        len: rest as u32,
        tail: [(rest >> 32) as u16, (rest >> 48) as u16],
    })
}
