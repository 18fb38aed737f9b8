//! The memory map: one table, checked.

use boot::{GpaRange, MemoryLayout};

/// RAM and devices never share a page of this size: it is the largest page a host maps guest memory with (Apple silicon).
pub(super) const HOST_PAGE_BYTES: u64 = 16 << 10;

/// What a region of guest-physical memory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RegionKind {
    /// Memory, mapped into the guest.
    Ram,
    /// A part of RAM that the guest must not use freely (tables the VMM put there).
    ReservedRam,
    /// A device answers here; accesses exit.
    Device,
    /// Address space in which the guest places devices (PCI memory windows).
    Window,
}

/// A row of the memory map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Region {
    /// For messages and reports.
    pub name: &'static str,
    /// Where.
    pub range: GpaRange,
    /// What.
    pub kind: RegionKind,
}

/// Why a table is no memory map.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MapError {
    /// Two regions share addresses.
    #[error("memory map: {0} at {1} overlaps {2} at {3}")]
    Overlap(&'static str, GpaRange, &'static str, GpaRange),
    /// RAM shares a host page with something else.
    #[error("memory map: RAM region {0} at {1} does not begin and end on a 16 KiB page")]
    Misaligned(&'static str, GpaRange),
    /// A reserved part lies outside RAM.
    #[error("memory map: {0} at {1} lies in no RAM region")]
    NotInRam(&'static str, GpaRange),
    /// A region without bytes, or past the end of the address space.
    #[error("memory map: {0} at {1:#x} with {2:#x} bytes is empty or wraps")]
    BadRange(&'static str, u64, u64),
}

/// Everything that lies somewhere, ascending by address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryMap {
    regions: Vec<Region>,
}

impl MemoryMap {
    /// A map of these rows, given in any order.
    ///
    /// # Errors
    /// Rows overlap (reserved parts lie in RAM, all else apart), or RAM is not aligned.
    pub fn new(mut regions: Vec<Region>) -> Result<Self, MapError> {
        regions.sort_by_key(|region| (region.range.start, region.kind == RegionKind::ReservedRam));
        for region in &regions {
            check_range(region)?;
        }
        let (reserved, whole): (Vec<&Region>, Vec<&Region>) =
            regions.iter().partition(|region| region.kind == RegionKind::ReservedRam);
        check_apart(&whole)?;
        check_apart(&reserved)?;
        for part in reserved {
            let in_ram = whole
                .iter()
                .any(|region| region.kind == RegionKind::Ram && region.range.contains(&part.range));
            if !in_ram {
                return Err(MapError::NotInRam(part.name, part.range));
            }
        }
        Ok(Self { regions })
    }

    /// All rows, ascending.
    pub fn regions(&self) -> &[Region] {
        &self.regions
    }

    /// RAM, ascending, the reserved parts included.
    pub fn ram(&self) -> impl Iterator<Item = GpaRange> + '_ {
        self.of_kind(RegionKind::Ram)
    }

    /// Ranges of one kind, ascending.
    pub fn of_kind(&self, kind: RegionKind) -> impl Iterator<Item = GpaRange> + '_ {
        self.regions.iter().filter(move |region| region.kind == kind).map(|region| region.range)
    }

    /// The row called `name`.
    pub fn named(&self, name: &str) -> Option<&Region> {
        self.regions.iter().find(|region| region.name == name)
    }

    /// Does RAM lie at this address?
    pub fn is_ram(&self, gpa: u64) -> bool {
        let byte = GpaRange::new(gpa, 1);
        self.ram().any(|range| range.contains(&byte))
    }

    /// What the boot planner needs to know: RAM, and what is reserved: parts of RAM and the devices' registers.
    pub fn layout(&self) -> MemoryLayout {
        let reserved = self
            .regions
            .iter()
            .filter(|region| matches!(region.kind, RegionKind::ReservedRam | RegionKind::Device))
            .map(|region| region.range)
            .collect();
        MemoryLayout { ram: self.ram().collect(), reserved }
    }
}

fn check_range(region: &Region) -> Result<(), MapError> {
    let GpaRange { start, size } = region.range;
    if size == 0 || start.checked_add(size).is_none() {
        return Err(MapError::BadRange(region.name, start, size));
    }
    let aligned = start.is_multiple_of(HOST_PAGE_BYTES) && size.is_multiple_of(HOST_PAGE_BYTES);
    if region.kind == RegionKind::Ram && !aligned {
        return Err(MapError::Misaligned(region.name, region.range));
    }
    Ok(())
}

/// `regions` ascend; any overlap shows between neighbours.
fn check_apart(regions: &[&Region]) -> Result<(), MapError> {
    for pair in regions.windows(2) {
        if let [first, second] = pair
            && first.range.overlaps(&second.range)
        {
            return Err(MapError::Overlap(first.name, first.range, second.name, second.range));
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "map_test.rs"]
mod map_test;
