//! Reads and writes of guest memory through host pointers.
//!
//! Guest memory is shared with other vCPUs and with devices, so there is never a reference to it: each access is one
//! volatile machine access of any alignment, or an atomic for locked instructions.
#![allow(unsafe_code)] // the one place where the engine touches guest memory

use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};

/// An integer that guest memory can hold.
pub(crate) trait Scalar: Copy + Eq + 'static {
    /// Bytes.
    const SIZE: usize;
    /// Zero-extends.
    fn widen(self) -> u64;
    /// Truncates.
    fn narrow(value: u64) -> Self;
    /// A locked compare-and-swap on the host: `Ok(old)` when it stored.
    /// # Safety
    /// `pointer` is valid for reads and writes of `Self`, and aligned.
    unsafe fn compare_exchange(pointer: *mut u8, old: Self, new: Self) -> Result<Self, Self>;
}

macro_rules! scalar {
    ($($t:ty, $atomic:ty);*) => {$(
        impl Scalar for $t {
            const SIZE: usize = size_of::<$t>();
            #[inline(always)]
            fn widen(self) -> u64 {
                self as u64
            }
            #[inline(always)]
            fn narrow(value: u64) -> Self {
                value as $t
            }
            #[inline(always)]
            unsafe fn compare_exchange(pointer: *mut u8, old: Self, new: Self) -> Result<Self, Self> {
                // SAFETY: valid and aligned by the caller's contract; other accesses are volatile or atomic.
                let cell = unsafe { <$atomic>::from_ptr(pointer.cast()) };
                cell.compare_exchange(old, new, Ordering::SeqCst, Ordering::SeqCst)
            }
        }
    )*};
}
scalar!(u8, AtomicU8; u16, AtomicU16; u32, AtomicU32; u64, AtomicU64);

/// A `T` at any address.
#[repr(C, packed)]
#[derive(Clone, Copy)]
struct Unaligned<T: Copy>(T);

/// A byte of guest memory in the host's address space, with at least the bytes to the end of its 4 KiB page behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HostPtr(*mut u8);

// SAFETY: a number; every use of it is an unsafe access of its own.
unsafe impl Send for HostPtr {}
// SAFETY: as above.
unsafe impl Sync for HostPtr {}

/// Split locked accesses take this lock in place of the host's bus lock.
static SPLIT_LOCK: Mutex<()> = Mutex::new(());

impl HostPtr {
    /// # Safety
    /// `pointer` stays valid for reads and writes up to the end of its page as long as the value is used.
    pub(crate) unsafe fn new(pointer: *mut u8) -> Self {
        Self(pointer)
    }

    #[inline(always)]
    pub(crate) fn address(self) -> usize {
        self.0 as usize
    }

    /// From the address of a live mapping, as kept in TLB entries.
    /// # Safety
    /// As for [`Self::new`].
    #[inline(always)]
    pub(crate) unsafe fn from_address(address: usize) -> Self {
        Self(address as *mut u8)
    }

    /// The byte `bytes` further on, within the same page.
    #[inline(always)]
    pub(crate) fn offset(self, bytes: usize) -> Self {
        Self(self.0.wrapping_add(bytes))
    }

    #[inline(always)]
    pub(crate) fn read<T: Scalar>(self) -> T {
        // SAFETY: the value's constructor promised a live page; callers check that `T` ends within it.
        let value = unsafe { self.0.cast::<Unaligned<T>>().read_volatile() }.0;
        crate::os::after_load();
        value
    }

    #[inline(always)]
    pub(crate) fn write<T: Scalar>(self, value: T) {
        crate::os::before_store();
        // SAFETY: as in `read`.
        unsafe { self.0.cast::<Unaligned<T>>().write_volatile(Unaligned(value)) }
    }

    #[inline(always)]
    pub(crate) fn read_u128(self) -> u128 {
        // SAFETY: as in `read`.
        let value = unsafe { self.0.cast::<Unaligned<u128>>().read_volatile() }.0;
        crate::os::after_load();
        value
    }

    #[inline(always)]
    pub(crate) fn write_u128(self, value: u128) {
        crate::os::before_store();
        // SAFETY: as in `read`.
        unsafe { self.0.cast::<Unaligned<u128>>().write_volatile(Unaligned(value)) }
    }

    /// Copies bytes out; `buffer` ends within the page.
    pub(crate) fn read_bytes(self, buffer: &mut [u8]) {
        for (i, byte) in buffer.iter_mut().enumerate() {
            *byte = self.offset(i).read();
        }
    }

    /// Copies `len` bytes to `to`, both ends within their pages and not overlapping.
    pub(crate) fn copy_to(self, to: Self, len: usize) {
        crate::os::before_store();
        // SAFETY: both pages are live, `len` stays within both; `copy` allows overlap. Racing guest accesses see
        // bytes in any order, as they would on hardware with fast strings.
        unsafe { std::ptr::copy(self.0, to.0, len) };
        crate::os::after_load();
    }

    /// Fills `len` bytes, which end within the page.
    pub(crate) fn fill(self, byte: u8, len: usize) {
        crate::os::before_store();
        // SAFETY: as in `copy_to`.
        unsafe { std::ptr::write_bytes(self.0, byte, len) }
    }

    /// Replaces the value by `update(old)` in one atomic step and answers `old`.
    pub(crate) fn update<T: Scalar>(self, mut update: impl FnMut(T) -> T) -> T {
        let mut old = self.read::<T>();
        if self.address().is_multiple_of(T::SIZE) {
            loop {
                // SAFETY: valid as in `read`, aligned as just checked.
                match unsafe { T::compare_exchange(self.0, old, update(old)) } {
                    Ok(old) => return old,
                    Err(now) => old = now,
                }
            }
        }
        let _guard = SPLIT_LOCK.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        old = self.read::<T>();
        self.write(update(old));
        old
    }

    /// CMPXCHG16B: stores `new` if the 16 bytes equal `old`; answers what was there. The address is 16-byte aligned.
    pub(crate) fn compare_exchange_u128(self, old: u128, new: u128) -> u128 {
        crate::os::compare_exchange_u128(self.0, old, new)
    }
}
