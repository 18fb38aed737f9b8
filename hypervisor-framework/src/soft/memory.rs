//! Guest physical memory as `hv_vm_map` makes it: recorded at once, filled in lazily.
//!
//! The real framework maps nothing into the nested page tables until the guest touches it. `hv_vcpu_run` shows that
//! exit to its caller, `hv_vcpu_run_until` does not. So a range starts out *cold*, unknown to the engine; the first
//! entry through `run_until` warms all of it, and under plain `run` each block warms as the guest touches it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use engine::{Access, HostRegion, MemoryViolation, PhysicalMemory, Rights};

use super::Quirks;
use crate::ReturnCode;
use crate::x86_64::MemoryFlags;

const PAGE_MASK: u64 = 0xfff;

pub(super) struct Memory {
    engine: Arc<PhysicalMemory>,
    /// Sorted by nothing; never overlapping. Held across calls into the engine's map, which wait for running CPUs.
    ranges: Mutex<Vec<Range>>,
    any_cold: AtomicBool,
    lazy_fill: Option<u64>,
    overlap_refused: bool,
    hole: ReturnCode,
}

/// Memory at an address of the guest.
#[derive(Debug, Clone)]
pub(super) struct Range {
    pub(super) gpa: u64,
    pub(super) size: u64,
    pub(super) backing: Arc<HostRegion>,
    /// In `backing`.
    pub(super) offset: usize,
    flags: MemoryFlags,
    cold: bool,
}

impl Range {
    fn end(&self) -> u64 {
        self.gpa.saturating_add(self.size)
    }

    pub(super) fn rights(&self) -> Rights {
        rights(self.flags)
    }

    /// The same memory at the same place, with the same rights?
    pub(super) fn is(&self, other: &Self) -> bool {
        (self.gpa, self.size, self.offset, self.flags) == (other.gpa, other.size, other.offset, other.flags)
            && Arc::ptr_eq(&self.backing, &other.backing)
    }

    fn overlaps(&self, gpa: u64, end: u64) -> bool {
        self.gpa < end && gpa < self.end()
    }

    /// The part of it within `gpa..end`, if any.
    fn part(&self, gpa: u64, end: u64) -> Option<Self> {
        let start = self.gpa.max(gpa);
        let end = self.end().min(end);
        let size = end.checked_sub(start).filter(|size| *size != 0)?;
        let offset = self.offset.wrapping_add((start - self.gpa) as usize);
        Some(Self { gpa: start, size, offset, ..self.clone() })
    }
}

/// What an access to guest physical memory met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Touch {
    /// Cold memory, warm now: the access is to be tried again.
    Filled,
    /// Memory that allows the access: it is to be tried again.
    Allowed,
    /// No memory, or memory that does not allow the access.
    Refused,
}

type Answer = Result<(), ReturnCode>;

impl Memory {
    pub(super) fn new(quirks: &Quirks) -> Self {
        Self {
            engine: PhysicalMemory::new(),
            ranges: Mutex::default(),
            any_cold: AtomicBool::new(false),
            lazy_fill: quirks.lazy_fill.map(|block| block.next_power_of_two().max(PAGE_MASK + 1)),
            overlap_refused: quirks.overlap_refused,
            hole: quirks.hole,
        }
    }

    pub(super) fn engine(&self) -> &Arc<PhysicalMemory> {
        &self.engine
    }

    /// All that is mapped.
    pub(super) fn all(&self) -> Vec<Range> {
        self.ranges().clone()
    }

    fn ranges(&self) -> MutexGuard<'_, Vec<Range>> {
        self.ranges.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn map(
        &self,
        backing: &Arc<HostRegion>,
        offset: usize,
        gpa: u64,
        size: usize,
        flags: MemoryFlags,
    ) -> Answer {
        let end = checked_end(gpa, size, offset as u64)?;
        if offset.checked_add(size).is_none_or(|end| end > backing.size()) {
            return Err(ReturnCode::BAD_ARGUMENT);
        }
        let mut ranges = self.ranges();
        if ranges.iter().any(|range| range.overlaps(gpa, end)) {
            if self.overlap_refused {
                return Err(ReturnCode::BAD_ARGUMENT);
            }
            self.cut(&mut ranges, gpa, end, None)?;
        }
        let mut range =
            Range { gpa, size: size as u64, backing: Arc::clone(backing), offset, flags, cold: true };
        if self.lazy_fill.is_none() {
            self.warm(&mut range)?;
        } else {
            self.any_cold.store(true, Ordering::SeqCst);
        }
        ranges.push(range);
        Ok(())
    }

    pub(super) fn unmap(&self, gpa: u64, size: usize) -> Answer {
        let end = checked_end(gpa, size, 0)?;
        let mut ranges = self.ranges();
        self.check_covered(&ranges, gpa, end)?;
        self.cut(&mut ranges, gpa, end, None)
    }

    pub(super) fn protect(&self, gpa: u64, size: usize, flags: MemoryFlags) -> Answer {
        let end = checked_end(gpa, size, 0)?;
        let mut ranges = self.ranges();
        self.check_covered(&ranges, gpa, end)?;
        self.cut(&mut ranges, gpa, end, Some(flags))
    }

    /// Makes everything known to the engine; for entries that hide lazy fills.
    pub(super) fn warm_all(&self) {
        if !self.any_cold.load(Ordering::SeqCst) {
            return;
        }
        let mut ranges = self.ranges();
        for range in ranges.iter_mut().filter(|range| range.cold) {
            if let Err(code) = self.warm(range) {
                log::error!("mapping {:#x} bytes at {:#x}: {code}", range.size, range.gpa);
            }
        }
        self.any_cold.store(false, Ordering::SeqCst);
    }

    /// The engine met an access it has no mapping for. If the range is cold, its block becomes known to the engine.
    pub(super) fn touch(&self, violation: &MemoryViolation) -> Touch {
        let mut ranges = self.ranges();
        let gpa = violation.gpa;
        let Some(index) = ranges.iter().position(|range| range.overlaps(gpa, gpa.saturating_add(1))) else {
            return Touch::Refused;
        };
        let Some(block) = self.lazy_fill.filter(|_| ranges[index].cold) else {
            // Another CPU may have warmed it in the meantime.
            let needed = match violation.access {
                Access::Read => MemoryFlags::READ,
                Access::Write => MemoryFlags::WRITE,
                Access::Fetch => MemoryFlags::EXEC,
            };
            return if ranges[index].flags.contains(needed) { Touch::Allowed } else { Touch::Refused };
        };
        let range = ranges.swap_remove(index);
        let start = gpa & !(block - 1);
        let end = start.saturating_add(block);
        ranges.extend(range.part(0, start));
        if let Some(mut warm) = range.part(start, end) {
            if let Err(code) = self.warm(&mut warm) {
                log::error!("mapping {:#x} bytes at {:#x}: {code}", warm.size, warm.gpa);
            }
            ranges.push(warm);
        }
        ranges.extend(range.part(end, u64::MAX));
        Touch::Filled
    }

    fn warm(&self, range: &mut Range) -> Answer {
        range.cold = false;
        let (gpa, size) = (range.gpa, range.size as usize);
        self.engine.map(&range.backing, range.offset, gpa, size, rights(range.flags)).map_err(refused)
    }

    fn check_covered(&self, ranges: &[Range], gpa: u64, end: u64) -> Answer {
        let covered: u64 = ranges.iter().filter_map(|range| range.part(gpa, end)).map(|part| part.size).sum();
        if covered == end - gpa { Ok(()) } else { Err(self.hole) }
    }

    /// Removes `gpa..end` from all ranges, or gives it other rights.
    fn cut(&self, ranges: &mut Vec<Range>, gpa: u64, end: u64, flags: Option<MemoryFlags>) -> Answer {
        for range in std::mem::take(ranges) {
            ranges.extend(range.part(0, gpa));
            ranges.extend(range.part(end, u64::MAX));
            let Some(mut part) = range.part(gpa, end) else { continue };
            if !part.cold {
                let size = part.size as usize;
                match flags {
                    None => self.engine.unmap(part.gpa, size).map_err(refused)?,
                    Some(flags) => self.engine.protect(part.gpa, size, rights(flags)).map_err(refused)?,
                }
            }
            if let Some(flags) = flags {
                part.flags = flags;
                ranges.push(part);
            }
        }
        Ok(())
    }
}

fn rights(flags: MemoryFlags) -> Rights {
    Rights {
        read: flags.contains(MemoryFlags::READ),
        write: flags.contains(MemoryFlags::WRITE),
        execute: flags.contains(MemoryFlags::EXEC),
    }
}

fn refused(error: engine::MapError) -> ReturnCode {
    log::debug!("{error}");
    ReturnCode::BAD_ARGUMENT
}

/// The end of a range whose address, size and offset are multiples of 4 KiB and within the address space.
fn checked_end(gpa: u64, size: usize, offset: u64) -> Result<u64, ReturnCode> {
    let size = size as u64;
    let end = gpa.checked_add(size).filter(|end| *end <= 1 << engine::PHYSICAL_ADDRESS_BITS);
    match end {
        Some(end) if size != 0 && (gpa | size | offset) & PAGE_MASK == 0 => Ok(end),
        _ => Err(ReturnCode::BAD_ARGUMENT),
    }
}

#[cfg(test)]
#[path = "memory_test.rs"]
mod memory_test;
