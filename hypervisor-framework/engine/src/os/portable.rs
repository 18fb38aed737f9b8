//! Hosts without a stable 16-byte compare-and-swap: one lock stands for it. It excludes other guest CMPXCHG16B, which
//! is what guests use to synchronise on 16-byte values.

use std::sync::atomic::{Ordering, fence};
use std::sync::{Mutex, PoisonError};

static LOCK: Mutex<()> = Mutex::new(());

/// x86 makes a load before all loads and stores that follow it (SDM vol. 3, 9.2.2); other hosts must be told.
#[inline(always)]
pub(crate) fn after_load() {
    fence(Ordering::Acquire);
}

/// x86 makes a store after all loads and stores before it.
#[inline(always)]
pub(crate) fn before_store() {
    fence(Ordering::Release);
}

/// CMPXCHG16B on guest memory: answers what was there; it equals `old` when `new` was stored.
pub(crate) fn compare_exchange_u128(pointer: *mut u8, old: u128, new: u128) -> u128 {
    let _guard = LOCK.lock().unwrap_or_else(PoisonError::into_inner);
    #[allow(clippy::cast_ptr_alignment)] // the caller checked it
    let pointer = pointer.cast::<u128>();
    // SAFETY: the caller checked that 16 bytes are mapped and aligned.
    let now = unsafe { pointer.read_volatile() };
    if now == old {
        // SAFETY: as above.
        unsafe { pointer.write_volatile(new) };
    }
    now
}
