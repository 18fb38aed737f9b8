//! Memory for compiled code, as hosts have it.

#[cfg(not(target_os = "macos"))]
mod linux;
#[cfg(not(target_os = "macos"))]
pub(super) use linux::Memory;

#[cfg(target_os = "macos")]
mod macos;
#[cfg(target_os = "macos")]
pub(super) use macos::Memory;

/// Makes the host's instruction fetch see new code.
#[cfg(all(target_arch = "aarch64", not(target_os = "macos")))]
fn synchronise(address: u64, len: usize) {
    use std::arch::asm;
    let sizes: u64;
    // SAFETY: reads a register that user code may read.
    unsafe { asm!("mrs {}, ctr_el0", out(reg) sizes, options(nomem, nostack)) };
    let line = |shift: u32| 4_u64 << (sizes >> shift & 15);
    let end = address + len as u64;
    let mut at = address & !(line(16) - 1);
    while at < end {
        // SAFETY: cleans cache lines of mapped memory.
        unsafe { asm!("dc cvau, {}", in(reg) at, options(nostack)) };
        at += line(16);
    }
    // SAFETY: barriers change nothing.
    unsafe { asm!("dsb ish", options(nostack)) };
    at = address & !(line(0) - 1);
    while at < end {
        // SAFETY: drops cache lines of mapped memory.
        unsafe { asm!("ic ivau, {}", in(reg) at, options(nostack)) };
        at += line(0);
    }
    // SAFETY: barriers change nothing.
    unsafe { asm!("dsb ish", "isb", options(nostack)) };
}

/// x86 keeps fetches coherent.
#[cfg(all(not(target_arch = "aarch64"), not(target_os = "macos")))]
fn synchronise(_address: u64, _len: usize) {}
