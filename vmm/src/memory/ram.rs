//! Guest RAM: host memory, shared with the provider of virtual CPUs.

use std::sync::Arc;

use boot::{GpaRange, Placement};
use guest_memory::{GuestMemory, HostRegion};
use hypervisor_framework::x86_64;
use vm_memory::{Bytes, GuestAddress, GuestRegionMmap};

use super::MemoryMap;

/// Bytes of zeroes written at a time.
const ZERO_CHUNK: usize = 64 << 10;

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

    /// Copies a placement into guest memory and zeroes what lies behind its bytes.
    ///
    /// # Errors
    /// [`RamError::Place`] if it does not lie in RAM.
    pub fn place(&self, placement: &Placement<'_>) -> Result<(), RamError> {
        let fail =
            |reason: String| RamError::Place { part: placement.part, range: placement.range(), reason };
        let start = GuestAddress(placement.gpa);
        self.memory.write_slice(&placement.bytes, start).map_err(|error| fail(error.to_string()))?;
        let length = placement.bytes.len() as u64;
        let zero_from = placement.gpa.checked_add(length).ok_or_else(|| fail("it wraps".to_owned()))?;
        self.zero(GpaRange::new(zero_from, placement.size.saturating_sub(length))).map_err(fail)
    }

    fn zero(&self, range: GpaRange) -> Result<(), String> {
        let zeroes = vec![0; ZERO_CHUNK];
        let mut at = range.start;
        while at < range.end() {
            let count = (range.end() - at).min(ZERO_CHUNK as u64);
            let chunk = zeroes.get(..count as usize).unwrap_or(&zeroes);
            self.memory.write_slice(chunk, GuestAddress(at)).map_err(|error| error.to_string())?;
            at += count;
        }
        Ok(())
    }
}
