//! Memory for generated code: executable where it runs, writable elsewhere, never both in one place.
#![allow(unsafe_code)] // maps memory and writes to it

use std::ffi::c_void;
use std::ptr::NonNull;

use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::mm::{
    Advice, MapFlags, MprotectFlags, ProtFlags, madvise, mmap, mmap_anonymous, mprotect, munmap,
};

/// Bytes of a host page.
const PAGE: usize = 4096;
/// Code written before the writable mapping gives up its pages: they stay where they run, but count twice till then.
const WRITTEN: usize = 1 << 20;
/// Code per byte of slots.
const CODE_PER_SLOT: usize = 8;
/// Signal handlers may run on the stack below the context.
const STACK: usize = 128 << 10;

/// A mapping, undone when dropped.
struct Mapping {
    at: NonNull<u8>,
    size: usize,
}

impl Mapping {
    fn new(at: *mut c_void, size: usize) -> Option<Self> {
        NonNull::new(at.cast()).map(|at| Self { at, size })
    }

    fn address(&self) -> u64 {
        self.at.as_ptr() as u64
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped by `Region::new` with this size; nothing refers to it any more.
        let _ = unsafe { munmap(self.at.as_ptr().cast(), self.size) };
    }
}

/// Code, the slots that it jumps through, and the stack it runs on.
pub(super) struct Region {
    /// Executable code, then slots.
    run: Mapping,
    /// The code again, writable.
    write: Mapping,
    stack: Mapping,
    code: usize,
    /// Bytes written since the writable mapping gave up its pages.
    written: usize,
}

// SAFETY: the mappings belong to the value; there is no thread they are bound to.
unsafe impl Send for Region {}

impl Region {
    /// Room for about `code` bytes of code; `None` if the host does not give it.
    pub(super) fn new(code: usize) -> Option<Self> {
        let code = code.checked_next_multiple_of(PAGE * CODE_PER_SLOT)?.clamp(1 << 20, 1 << 30);
        let slots = code / CODE_PER_SLOT;
        let file = memfd_create("rvmm-code", MemfdFlags::CLOEXEC).ok()?;
        ftruncate(&file, code as u64).ok()?;
        let none = std::ptr::null_mut();
        let rw = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: new mappings at places of the kernel's choice.
        let (run, write, stack) = unsafe {
            let run = mmap_anonymous(none, code + slots, rw, MapFlags::PRIVATE | MapFlags::NORESERVE).ok()?;
            let run = Mapping::new(run, code + slots)?;
            let write = Mapping::new(mmap(none, code, rw, MapFlags::SHARED, &file, 0).ok()?, code)?;
            let stack = mmap_anonymous(none, STACK, rw, MapFlags::PRIVATE | MapFlags::NORESERVE).ok()?;
            (run, write, Mapping::new(stack, STACK)?)
        };
        let executable = ProtFlags::READ | ProtFlags::EXEC;
        let at = run.at.as_ptr().cast();
        // SAFETY: within the mapping just made.
        unsafe { mmap(at, code, executable, MapFlags::SHARED | MapFlags::FIXED, &file, 0) }.ok()?;
        // SAFETY: the lowest page of the stack just made becomes its guard.
        unsafe { mprotect(stack.at.as_ptr().cast(), PAGE, MprotectFlags::empty()) }.ok()?;
        Some(Self { run, write, stack, code, written: 0 })
    }

    /// Address at which code runs.
    pub(super) fn code_address(&self) -> u64 {
        self.run.address()
    }

    /// Bytes of code there is room for.
    pub(super) fn code_size(&self) -> usize {
        self.code
    }

    /// Addresses of the slots.
    pub(super) fn slots(&self) -> std::ops::Range<u64> {
        let first = self.run.address() + self.code as u64;
        first..self.run.address() + self.run.size as u64
    }

    /// Writes code that is to run at `address`.
    pub(super) fn write_code(&mut self, address: u64, bytes: &[u8]) -> Option<()> {
        let offset = usize::try_from(address.checked_sub(self.run.address())?).ok()?;
        let end = offset.checked_add(bytes.len())?;
        if end > self.code {
            return None;
        }
        // SAFETY: within the writable mapping, as just checked. The CPU's own thread is not in generated code now.
        unsafe {
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.write.at.as_ptr().add(offset), bytes.len());
        }
        // Small pieces patch code all over.
        self.written += bytes.len().max(PAGE / 4);
        if self.written >= WRITTEN {
            self.written = 0;
            // SAFETY: the file that is mapped keeps what was written.
            let _ = unsafe { madvise(self.write.at.as_ptr().cast(), self.code, Advice::LinuxDontNeed) };
        }
        Some(())
    }

    /// Gives the pages of code behind `address` back to the host; what was written there is lost.
    pub(super) fn forget(&mut self, address: u64) {
        let kept = (address.saturating_sub(self.run.address()) as usize).next_multiple_of(PAGE);
        if kept >= self.code {
            return;
        }
        let at = self.write.at.as_ptr().wrapping_add(kept);
        // SAFETY: within the shared mapping; no code there is entered before it is written anew.
        let _ = unsafe { madvise(at.cast(), self.code - kept, Advice::LinuxRemove) };
    }

    /// Writes a slot.
    pub(super) fn write_slot(&mut self, address: u64, value: u64) -> Option<()> {
        let slots = self.slots();
        if address < slots.start || address + 8 > slots.end || !address.is_multiple_of(8) {
            return None;
        }
        let offset = (address - self.run.address()) as usize;
        // SAFETY: within the slots, which are writable, and aligned.
        unsafe { self.run.at.as_ptr().add(offset).cast::<u64>().write_unaligned(value) };
        Some(())
    }

    /// A place for a `T` with the stack below it.
    pub(super) fn top_of_stack<T>(&self) -> *mut T {
        let offset = (STACK - size_of::<T>()) & !63;
        // SAFETY: within the stack's mapping.
        unsafe { self.stack.at.as_ptr().add(offset).cast() }
    }
}

#[cfg(test)]
#[path = "region_test.rs"]
mod region_test;
