//! x86-64 hosts.

use std::arch::asm;

/// Orders a load of guest memory before what follows it: the host does.
#[inline(always)]
pub(crate) fn after_load() {}

/// Orders what comes before a store to guest memory before it: the host does.
#[inline(always)]
pub(crate) fn before_store() {}

/// CMPXCHG16B on guest memory: answers what was there; it equals `old` when `new` was stored.
pub(crate) fn compare_exchange_u128(pointer: *mut u8, old: u128, new: u128) -> u128 {
    let (mut low, mut high) = (old as u64, (old >> 64) as u64);
    let (new_low, new_high) = (new as u64, (new >> 64) as u64);
    // SAFETY: the caller checked that 16 bytes are mapped and aligned; every x86-64-v2 host has the instruction.
    // rbx is reserved by the compiler and swapped in and out.
    unsafe {
        asm!(
            "xchg rbx, {new_low}",
            "lock cmpxchg16b [{pointer}]",
            "mov rbx, {new_low}",
            pointer = in(reg) pointer,
            new_low = inout(reg) new_low => _,
            inout("rax") low, inout("rdx") high, in("rcx") new_high,
            options(nostack),
        );
    }
    u128::from(low) | u128::from(high) << 64
}
