//! Guest memory: host mappings that vCPUs execute from and devices read and write (DMA).
//!
//! One type for everyone, so that a device's write is seen by whoever keeps something made from the page: the CPU engine
//! keeps translations of code. A device that writes through vm-memory needs to do nothing for it.

mod os;
mod release;
pub mod vectored;
mod watch;

use vm_memory::{Address, GuestMemoryBackend, GuestMemoryRegion, MemoryRegionAddress};

pub use release::{host_page_bytes, release};
pub use watch::{WatchedSlice, WatchedWriteListener, WriteWatch};

/// Host memory that can be mapped into a guest; its [`WriteWatch`] tells of writes by the host to watched pages.
pub type HostRegion = vm_memory::MmapRegion<WriteWatch>;

/// Guest-physical memory as devices reach it. Cloning shares the mappings.
pub type GuestMemory = vm_memory::GuestMemoryMmap<WriteWatch>;

/// A piece of guest memory, for volatile access only.
pub type Slice<'a> = vm_memory::VolatileSlice<'a, WatchedSlice<'a>>;

/// `len` bytes at `gpa`, a guest-physical address, if they lie in one region. There are few regions, and this is done
/// several times per request: looking at each takes half the time of vm-memory's search.
#[inline]
pub fn slice(memory: &GuestMemory, gpa: u64, len: usize) -> Option<Slice<'_>> {
    memory.iter().find_map(|region| {
        let offset = gpa.checked_sub(region.start_addr().raw_value())?;
        // The host's addresses are as wide.
        region.get_slice(MemoryRegionAddress(offset), len).ok()
    })
}
