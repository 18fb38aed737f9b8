//! Guest memory while it is being given out: every part has its place in RAM, and none has another's.

use super::{PAGE, Part, Placement, PlanError};
use crate::initramfs::Initramfs;
use crate::kernel::KernelImage;
use crate::memory::{GpaRange, HIGH_RAM_START, subtract};

/// Guest memory while it is being given out.
pub(super) struct Floor<'a> {
    /// RAM that may be used, in order.
    usable: Vec<GpaRange>,
    placements: Vec<Placement<'a>>,
}

impl<'a> Floor<'a> {
    pub(super) fn new(usable: Vec<GpaRange>) -> Self {
        Self { usable, placements: Vec::new() }
    }

    /// What was placed.
    pub(super) fn into_placements(self) -> Vec<Placement<'a>> {
        self.placements
    }

    /// Places the kernel's segments. They must come first: errors speak of the kernel, not of what was there before.
    pub(super) fn place_kernel(
        &mut self,
        kernel: &'a KernelImage<'a>,
        ram_end: u64,
    ) -> Result<(), PlanError> {
        let footprint = kernel.layout.footprint;
        if !self.usable.iter().any(|ram| ram.contains(&footprint)) {
            return Err(PlanError::KernelDoesNotFit {
                file: kernel.file().to_owned(),
                needed: footprint,
                ram_end,
            });
        }
        for segment in &kernel.layout.segments {
            let bytes = kernel.segment_bytes(segment).into();
            self.add(Placement { part: Part::Kernel, gpa: segment.gpa, bytes, size: segment.memory_size })?;
        }
        Ok(())
    }

    /// Places one of the loader's own structures, at a fixed address in low memory.
    pub(super) fn place(&mut self, part: Part, gpa: u64, bytes: Vec<u8>) -> Result<(), PlanError> {
        let size = bytes.len() as u64;
        let range = GpaRange::new(gpa, size);
        if !self.usable.iter().any(|ram| ram.contains(&range)) {
            return Err(PlanError::Reserved { part, range });
        }
        self.add(Placement { part, gpa, bytes: bytes.into(), size })
    }

    pub(super) fn add(&mut self, placement: Placement<'a>) -> Result<(), PlanError> {
        let range = placement.range();
        if let Some(other) = self.placements.iter().find(|other| other.range().overlaps(&range)) {
            return Err(PlanError::Overlap {
                first: other.part,
                first_range: other.range(),
                second: placement.part,
                second_range: range,
            });
        }
        self.placements.push(placement);
        Ok(())
    }

    /// Places the initramfs as high as the kernel allows: there it is out of the way of everything.
    pub(super) fn place_initramfs(
        &mut self,
        initramfs: &'a Initramfs<'a>,
        kernel: &KernelImage<'_>,
    ) -> Result<GpaRange, PlanError> {
        let layout = &kernel.layout;
        let mut free = subtract(&self.usable, &GpaRange::between(0, HIGH_RAM_START));
        for taken in self.placements.iter().map(Placement::range).chain([layout.footprint]) {
            free = subtract(&free, &taken);
        }
        let size = initramfs.bytes().len() as u64;
        let limit = layout.initramfs_max.saturating_add(1);
        let found = highest(&free, size, limit)
            .or_else(|| layout.initramfs_anywhere.then(|| highest(&free, size, u64::MAX)).flatten());
        let Some(gpa) = found else {
            let below = |range: &GpaRange| range.end().min(limit).saturating_sub(range.start);
            return Err(PlanError::InitramfsDoesNotFit {
                file: initramfs.file().to_owned(),
                size,
                limit,
                kernel: layout.footprint,
                largest: free.iter().map(below).max().unwrap_or(0),
            });
        };
        self.add(Placement { part: Part::Initramfs, gpa, bytes: initramfs.bytes().into(), size })?;
        Ok(GpaRange::new(gpa, size))
    }
}

/// The highest page boundary at which `size` bytes lie in one of the `free` ranges and end at `limit` at most.
fn highest(free: &[GpaRange], size: u64, limit: u64) -> Option<u64> {
    let fit = |range: &GpaRange| {
        let start = range.end().min(limit).checked_sub(size)? & !(PAGE - 1);
        (start >= range.start).then_some(start)
    };
    free.iter().filter_map(fit).max()
}
