#![allow(clippy::unwrap_used)] // a test that cannot set itself up has failed

use std::sync::Arc;

use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap, GuestRegionMmap};

use super::*;

#[test]
fn a_wiped_region_reads_as_zeros_where_it_was() {
    let region = Arc::new(HostRegion::new(1 << 20).unwrap());
    let address = region.as_ptr();
    let guest = GuestRegionMmap::with_arc(Arc::clone(&region), GuestAddress(0)).unwrap();
    let memory = GuestMemoryMmap::from_regions(vec![guest]).unwrap();
    let last = GuestAddress((1 << 20) - 8);
    for at in [GuestAddress(0), GuestAddress(0x5000), last] {
        memory.write_obj(u64::MAX, at).unwrap();
    }

    wipe(&region).unwrap();

    assert_eq!(region.as_ptr(), address);
    for at in [GuestAddress(0), GuestAddress(0x5000), last] {
        assert_eq!(memory.read_obj::<u64>(at).unwrap(), 0);
    }
    memory.write_obj(7_u64, last).unwrap();
    assert_eq!(memory.read_obj::<u64>(last).unwrap(), 7);
}
