//! One file in memory, mapped twice: executable where code runs, writable elsewhere.

use std::ffi::c_void;
use std::ptr::NonNull;

use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// A mapping, undone when dropped.
struct Mapping {
    at: NonNull<c_void>,
    size: usize,
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped by `Memory::new` with this size; nothing refers to it any more.
        let _ = unsafe { munmap(self.at.as_ptr(), self.size) };
    }
}

/// Room for code.
pub(in super::super) struct Memory {
    run: Mapping,
    write: Mapping,
}

// SAFETY: the mappings belong to the value; there is no thread they are bound to.
unsafe impl Send for Memory {}

impl Memory {
    /// `size` bytes; `None` if the host does not give them.
    pub(in super::super) fn new(size: usize) -> Option<Self> {
        let file = memfd_create("rvmm-code", MemfdFlags::CLOEXEC).ok()?;
        ftruncate(&file, size as u64).ok()?;
        let map = |rights: ProtFlags| {
            // SAFETY: a new mapping at a place of the kernel's choice.
            let at = unsafe { mmap(std::ptr::null_mut(), size, rights, MapFlags::SHARED, &file, 0) }.ok()?;
            NonNull::new(at).map(|at| Mapping { at, size })
        };
        let write = map(ProtFlags::READ | ProtFlags::WRITE)?;
        Some(Self { run: map(ProtFlags::READ | ProtFlags::EXEC)?, write })
    }

    /// Where code runs.
    pub(in super::super) fn address(&self) -> u64 {
        self.run.at.as_ptr() as u64
    }

    /// Puts code at an offset. The CPU whose code it is does not run code now.
    pub(in super::super) fn write(&mut self, offset: usize, code: &[u8]) -> Option<()> {
        if offset.checked_add(code.len())? > self.write.size {
            return None;
        }
        // SAFETY: within the writable mapping, as just checked.
        unsafe {
            std::ptr::copy_nonoverlapping(
                code.as_ptr(),
                self.write.at.as_ptr().cast::<u8>().add(offset),
                code.len(),
            )
        };
        super::synchronise(self.address() + offset as u64, code.len());
        Some(())
    }
}
