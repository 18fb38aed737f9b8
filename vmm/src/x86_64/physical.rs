//! Guest RAM as page walks and the instruction emulator reach it.

use std::sync::atomic::Ordering;

use vm_memory::bitmap::Bitmap;
use vm_memory::{AtomicAccess, Bytes, GuestAddress, GuestMemoryBackend, VolatileMemory};

use super::paging::{self, Replaced};
use guest_memory::GuestMemory;

impl paging::GuestRam for GuestMemory {
    fn read(&self, gpa: u64, buffer: &mut [u8]) -> bool {
        self.check_range(GuestAddress(gpa), buffer.len())
            && self.read_slice(buffer, GuestAddress(gpa)).is_ok()
    }

    fn write(&self, gpa: u64, data: &[u8]) -> bool {
        self.check_range(GuestAddress(gpa), data.len()) && self.write_slice(data, GuestAddress(gpa)).is_ok()
    }

    fn replace_entry(&self, gpa: u64, width: u8, old: u64, new: u64) -> Replaced {
        match width {
            8 => replace::<u64>(self, gpa, old, new),
            4 => match (u32::try_from(old), u32::try_from(new)) {
                (Ok(old), Ok(new)) => replace::<u32>(self, gpa, old, new),
                _ => Replaced::Changed,
            },
            _ => Replaced::NotRam,
        }
    }
}

/// Compare and exchange on guest memory; page-table entries are naturally aligned.
fn replace<T>(memory: &GuestMemory, gpa: u64, old: T, new: T) -> Replaced
where
    T: AtomicAccess + CompareExchange,
{
    let Some(slice) = guest_memory::slice(memory, gpa, size_of::<T>()) else { return Replaced::NotRam };
    let Ok(entry) = slice.get_atomic_ref::<T::A>(0) else { return Replaced::NotRam };
    let replaced = T::compare_exchange(entry, old, new);
    slice.bitmap().mark_dirty(0, size_of::<T>());
    if replaced { Replaced::Done } else { Replaced::Changed }
}

/// What `std`'s atomics have in common here. Memory is little-endian like every host this runs on.
trait CompareExchange: Sized + AtomicAccess {
    fn compare_exchange(entry: &Self::A, old: Self, new: Self) -> bool;
}

impl CompareExchange for u32 {
    fn compare_exchange(entry: &Self::A, old: Self, new: Self) -> bool {
        entry.compare_exchange(old, new, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }
}

impl CompareExchange for u64 {
    fn compare_exchange(entry: &Self::A, old: Self, new: Self) -> bool {
        entry.compare_exchange(old, new, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }
}

#[cfg(test)]
#[path = "physical_test.rs"]
mod physical_test;
