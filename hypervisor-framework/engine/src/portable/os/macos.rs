//! One mapping made for generated code, which each thread sees either as writable or as executable.

use std::ffi::{c_int, c_void};
use std::ptr::NonNull;

use libc::{MAP_ANON, MAP_FAILED, MAP_JIT, MAP_PRIVATE, PROT_EXEC, PROT_READ, PROT_WRITE, mmap, munmap};

unsafe extern "C" {
    fn pthread_jit_write_protect_np(enabled: c_int);
    fn sys_icache_invalidate(start: *mut c_void, len: usize);
}

/// Room for code.
pub(in super::super) struct Memory {
    at: NonNull<c_void>,
    size: usize,
}

// SAFETY: the mapping belongs to the value; the right to write is taken and given back within one call.
unsafe impl Send for Memory {}

impl Memory {
    /// `size` bytes; `None` if the host does not give them.
    pub(in super::super) fn new(size: usize) -> Option<Self> {
        let rights = PROT_READ | PROT_WRITE | PROT_EXEC;
        // SAFETY: a new mapping at a place of the kernel's choice.
        let at = unsafe { mmap(std::ptr::null_mut(), size, rights, MAP_PRIVATE | MAP_ANON | MAP_JIT, -1, 0) };
        if at == MAP_FAILED {
            return None;
        }
        NonNull::new(at).map(|at| Self { at, size })
    }

    /// Where code runs.
    pub(in super::super) fn address(&self) -> u64 {
        self.at.as_ptr() as u64
    }

    /// Puts code at an offset. The CPU whose code it is does not run code now.
    pub(in super::super) fn write(&mut self, offset: usize, code: &[u8]) -> Option<()> {
        if offset.checked_add(code.len())? > self.size {
            return None;
        }
        let to = self.at.as_ptr().cast::<u8>().wrapping_add(offset);
        // SAFETY: within the mapping, as just checked; this thread alone may write to it meanwhile, and runs nothing
        // of it.
        unsafe {
            pthread_jit_write_protect_np(0);
            std::ptr::copy_nonoverlapping(code.as_ptr(), to, code.len());
            pthread_jit_write_protect_np(1);
            sys_icache_invalidate(to.cast(), code.len());
        }
        Some(())
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: mapped in `new` with this size; nothing refers to it any more.
        let _ = unsafe { munmap(self.at.as_ptr(), self.size) };
    }
}
