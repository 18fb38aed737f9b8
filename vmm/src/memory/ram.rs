//! Guest RAM: host memory, shared with the provider of virtual CPUs.

use std::ops::Range;
use std::sync::Arc;

use boot::{GpaRange, Placement};
use guest_memory::{GuestMemory, HostRegion};
use hypervisor_framework::x86_64;
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend, GuestRegionMmap};

use super::{MemoryMap, wipe};

/// Why guest memory cannot be had or reached.
#[derive(Debug, thiserror::Error)]
pub enum RamError {
    /// The host has no room.
    #[error("cannot reserve {size:#x} bytes for guest memory: {reason}")]
    Reserve {
        /// Bytes asked for.
        size: u64,
        /// The host's words.
        reason: String,
    },
    /// The provider does not take it.
    #[error("cannot map guest memory at {range}")]
    Map {
        /// Guest addresses.
        range: GpaRange,
        /// What the provider said.
        source: hypervisor_framework::Error,
    },
    /// Bytes to be placed lie outside RAM.
    #[error("cannot place the {part} at {range}: {reason}")]
    Place {
        /// What was to be placed.
        part: boot::Part,
        /// Where.
        range: GpaRange,
        /// vm-memory's words.
        reason: String,
    },
}

/// RAM of one machine: a host mapping per region of RAM.
#[derive(Debug, Clone)]
pub struct GuestRam {
    memory: GuestMemory,
    regions: Vec<(GpaRange, Arc<HostRegion>)>,
}

impl GuestRam {
    /// Reserves host memory for all RAM of `map`. Pages take up host memory when they are first touched.
    ///
    /// The host is not asked for huge pages: looking for free ones cost more, measured on boots, than they saved.
    ///
    /// # Errors
    /// [`RamError::Reserve`].
    pub fn new(map: &MemoryMap) -> Result<Self, RamError> {
        let mut regions = Vec::new();
        let mut guest_regions = Vec::new();
        for range in map.ram() {
            let fail = |reason: String| RamError::Reserve { size: range.size, reason };
            let size = usize::try_from(range.size).map_err(|error| fail(error.to_string()))?;
            let host = Arc::new(HostRegion::new(size).map_err(|error| fail(error.to_string()))?);
            let guest = GuestRegionMmap::with_arc(Arc::clone(&host), GuestAddress(range.start))
                .ok_or_else(|| fail("it runs past the end of the address space".to_owned()))?;
            regions.push((range, host));
            guest_regions.push(guest);
        }
        let memory = GuestMemory::from_regions(guest_regions)
            .map_err(|error| RamError::Reserve { size: 0, reason: error.to_string() })?;
        Ok(Self { memory, regions })
    }

    /// For devices.
    pub fn memory(&self) -> &GuestMemory {
        &self.memory
    }

    /// The host's addresses of all RAM.
    pub(crate) fn host_ranges(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        self.regions.iter().map(|(_, host)| {
            let start = host.as_ptr().addr() as u64;
            start..start.saturating_add(host.size() as u64)
        })
    }

    /// Makes all RAM visible to the guest, with every right.
    ///
    /// # Errors
    /// [`RamError::Map`].
    pub fn map_into(&self, vm: &dyn x86_64::Vm) -> Result<(), RamError> {
        let rights = x86_64::MemoryFlags::READ | x86_64::MemoryFlags::WRITE | x86_64::MemoryFlags::EXEC;
        for (range, host) in &self.regions {
            vm.map(host, 0, range.start, host.size(), rights)
                .map_err(|source| RamError::Map { range: *range, source })?;
        }
        Ok(())
    }

    /// Makes all RAM read as zeros, as after power-up, and gives the host's memory behind it back. vCPUs stand still.
    ///
    /// # Errors
    /// [`RamError::Map`] and [`RamError::Reserve`]; the RAM may then be missing from the guest.
    pub fn wipe(&self, vm: &dyn x86_64::Vm) -> Result<(), RamError> {
        for (range, host) in &self.regions {
            wipe::announce(host);
            vm.unmap(range.start, host.size()).map_err(|source| RamError::Map { range: *range, source })?;
            wipe::wipe(host)
                .map_err(|error| RamError::Reserve { size: range.size, reason: error.to_string() })?;
        }
        self.map_into(vm)
    }

    /// Copies a placement into guest memory, which must be as [`Self::new`] or [`Self::wipe`] left it: what lies behind
    /// the placement's bytes is zero already.
    ///
    /// # Errors
    /// [`RamError::Place`] if it does not lie in RAM.
    pub fn place(&self, placement: &Placement<'_>) -> Result<(), RamError> {
        let fail =
            |reason: String| RamError::Place { part: placement.part, range: placement.range(), reason };
        let size = usize::try_from(placement.size).map_err(|error| fail(error.to_string()))?;
        if !self.memory.check_range(GuestAddress(placement.gpa), size) {
            return Err(fail("it does not lie in RAM".to_owned()));
        }
        self.memory
            .write_slice(&placement.bytes, GuestAddress(placement.gpa))
            .map_err(|error| fail(error.to_string()))
    }
}
