//! An interpreter beside a vCPU: both execute the same, and their states are compared.
//!
//! The interpreter has memory of its own, a copy of the guest's made before the first instruction. Before each run it
//! takes over the vCPU's registers, so what the VMM does to them is done to both; what the VMM or a device writes to
//! memory is not. So this is for guests that boot from an initramfs and use no virtio devices.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use engine::{Engine, EngineOptions, Exit, HostRegion, PhysicalMemory, Reason, TimeSource, same_but_flags};
use vm_memory::VolatileMemory;

use super::memory::{Memory, Range};

/// Instructions between comparisons of all memory.
const MEMORY_EVERY: u64 = 20_000_000;
/// Bytes compared at a time.
const PIECE: usize = 64 << 10;
/// Addresses named in a message.
const NAMED: usize = 8;

/// The interpreters' memory; one for all vCPUs of a VM, which run in turn.
#[derive(Default)]
pub(super) struct Lockstep {
    copies: Mutex<Copies>,
}

#[derive(Default)]
struct Copies {
    memory: Option<Arc<PhysicalMemory>>,
    /// What was copied, and to where.
    ranges: Vec<(Range, Arc<HostRegion>)>,
    /// Instructions since memory was compared.
    since: u64,
}

impl Lockstep {
    fn lock(&self) -> MutexGuard<'_, Copies> {
        self.copies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Copies {
    fn memory(&mut self) -> Arc<PhysicalMemory> {
        Arc::clone(self.memory.get_or_insert_with(PhysicalMemory::new))
    }

    /// Copies the guest's memory if it is not what was copied last.
    fn follow(&mut self, original: &Memory) -> Result<(), String> {
        let now = original.all();
        let same = now.len() == self.ranges.len()
            && now.iter().zip(&self.ranges).all(|(now, (before, _))| now.is(before));
        if same {
            return Ok(());
        }
        let memory = self.memory();
        for (range, _) in self.ranges.drain(..) {
            memory.unmap(range.gpa, range.size as usize).map_err(|error| error.to_string())?;
        }
        for range in now {
            let size = range.size as usize;
            let copy = Arc::new(HostRegion::new(size).map_err(|error| error.to_string())?);
            for at in (0..size).step_by(PIECE) {
                let bytes = read(&range.backing, range.offset + at, PIECE.min(size - at))?;
                if bytes.iter().any(|byte| *byte != 0) {
                    write(&copy, at, &bytes)?;
                }
            }
            memory.map(&copy, 0, range.gpa, size, range.rights()).map_err(|error| error.to_string())?;
            self.ranges.push((range, copy));
        }
        Ok(())
    }

    /// Compares all memory. Words that may be images of flags are made equal.
    fn compare(&self) -> Result<(), String> {
        let mut differences = Vec::new();
        for (range, copy) in &self.ranges {
            let size = range.size as usize;
            for at in (0..size).step_by(PIECE) {
                let len = PIECE.min(size - at);
                let (ours, theirs) = (read(&range.backing, range.offset + at, len)?, read(copy, at, len)?);
                if ours == theirs {
                    continue;
                }
                for (word, (this, that)) in ours.chunks(8).zip(theirs.chunks(8)).enumerate() {
                    if this == that {
                        continue;
                    }
                    let (value, other) = (number(this), number(that));
                    if same_but_flags(value, other) {
                        write(copy, at + 8 * word, this)?;
                    } else {
                        let gpa = range.gpa + (at + 8 * word) as u64;
                        differences.push(format!("{gpa:#x}: {value:#x} and {other:#x}"));
                    }
                }
            }
        }
        if differences.is_empty() {
            return Ok(());
        }
        let count = differences.len();
        differences.truncate(NAMED);
        Err(format!("{count} words of memory differ: {}", differences.join(", ")))
    }
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn read(region: &HostRegion, at: usize, len: usize) -> Result<Vec<u8>, String> {
    let mut bytes = vec![0; len];
    region.get_slice(at, len).map_err(|error| error.to_string())?.copy_to(&mut bytes);
    Ok(bytes)
}

fn write(region: &HostRegion, at: usize, bytes: &[u8]) -> Result<(), String> {
    region.get_slice(at, bytes.len()).map_err(|error| error.to_string())?.copy_from(bytes);
    Ok(())
}

/// The interpreter beside one vCPU.
pub(super) struct Twin {
    engine: Engine,
    every: u64,
    compared: u64,
    /// Comparisons in which flags differed that may be undefined.
    flags: u64,
}

impl Twin {
    /// Compares about every `every` instructions, at the end of a block.
    pub(super) fn new(
        lockstep: &Lockstep,
        time: Arc<dyn TimeSource>,
        options: EngineOptions,
        every: u64,
    ) -> Self {
        let options = EngineOptions { jit: false, ..options };
        let memory = lockstep.lock().memory();
        Self { engine: Engine::with_options(&memory, time, options), every, compared: 0, flags: 0 }
    }

    /// As the vCPU does.
    pub(super) fn flush_tlb(&mut self) {
        self.engine.cpu.flush_tlb();
    }

    /// Runs both until something leaves the vCPU or `last` instructions have been executed.
    ///
    /// # Errors
    /// They differ: how.
    pub(super) fn run(
        &mut self,
        vcpu: &mut Engine,
        lockstep: &Lockstep,
        memory: &Memory,
        last: u64,
    ) -> Result<Exit, String> {
        lockstep.lock().follow(memory)?;
        self.engine.cpu.restore(&vcpu.cpu.snapshot());
        self.engine.cpu.intercepts = vcpu.cpu.intercepts.clone();
        let mut kicked = false;
        loop {
            let (begin, from) = (vcpu.cpu.instructions(), vcpu.cpu.rip());
            let about = begin.saturating_add(self.every);
            let mut exit = vcpu.run_about(about, last);
            while exit.reason == Reason::Kicked {
                // In the middle of an instruction that repeats the two cannot be compared: go on first.
                kicked = true;
                exit = vcpu.run_about(about, last);
            }
            let count = vcpu.cpu.instructions();
            let bounded = exit.reason == Reason::Deadline;
            let other = self.engine.run_to(if bounded { count } else { count.saturating_add(1) });
            let (state, twin) = (vcpu.cpu.snapshot(), self.engine.cpu.snapshot());
            if exit != other || !state.matches(&twin) {
                let differences = state.differences(&twin);
                return Err(format!(
                    "lock-step: from instruction {begin} at {from:#x} to {count}: vCPU and interpreter leave with \
                     {:?} and {:?}{differences}",
                    exit.reason, other.reason
                ));
            }
            self.compared += 1;
            if state != twin {
                self.flags += 1;
                self.engine.cpu.restore(&state);
            }
            self.compare_memory(lockstep, begin, count)?;
            if !bounded || count >= last {
                return Ok(exit);
            }
            if kicked {
                return Ok(Exit { reason: Reason::Kicked, ..exit });
            }
        }
    }

    fn compare_memory(&self, lockstep: &Lockstep, begin: u64, count: u64) -> Result<(), String> {
        let mut copies = lockstep.lock();
        copies.since += count - begin;
        if copies.since < MEMORY_EVERY {
            return Ok(());
        }
        copies.since = 0;
        copies.compare().map_err(|difference| format!("lock-step: at instruction {count}: {difference}"))
    }
}

impl Drop for Twin {
    fn drop(&mut self) {
        log::info!(
            "lock-step: {} comparisons; in {} flags differed that may be undefined",
            self.compared,
            self.flags
        );
    }
}
