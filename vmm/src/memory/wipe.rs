//! Guest memory made new.
#![allow(unsafe_code)] // puts a mapping in the place of another

use std::io;

use guest_memory::HostRegion;
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};
use vm_memory::bitmap::Bitmap;

/// Makes all of `region` read as zeros, and gives back the host memory it took up.
///
/// A new mapping in place of the old one: unlike advice it means the same on every host. No provider has the region
/// mapped meanwhile, or it may go on showing the old pages.
pub(super) fn wipe(region: &HostRegion) -> io::Result<()> {
    // The bits as the system knows them.
    let protection = ProtFlags::from_bits_retain(region.prot().cast_unsigned());
    let flags = MapFlags::from_bits_retain(region.flags().cast_unsigned()) | MapFlags::FIXED;
    // SAFETY: exactly the region's own mapping is replaced, by one alike, which the region unmaps when it is dropped.
    // Guest memory is never behind a Rust reference, and changes at any time as far as its users know.
    let placed = unsafe { mmap_anonymous(region.as_ptr().cast(), region.size(), protection, flags) }?;
    debug_assert_eq!(placed.cast(), region.as_ptr());
    Ok(())
}

/// Says that everything in `region` is about to change; who translated code from it drops that.
pub(super) fn announce(region: &HostRegion) {
    region.bitmap().mark_dirty(0, region.size());
}

#[cfg(test)]
#[path = "wipe_test.rs"]
mod wipe_test;
