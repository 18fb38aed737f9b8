use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryRegion};

use super::*;
use crate::{GuestMemory, WatchedWriteListener, WriteWatch};

const BYTES: usize = 1 << 20;

fn memory() -> GuestMemory {
    let memory = GuestMemory::from_ranges(&[(GuestAddress(0), BYTES)]).unwrap();
    memory.write_slice(&vec![7; BYTES], GuestAddress(0)).unwrap();
    memory
}

fn bytes(memory: &GuestMemory) -> Vec<u8> {
    let mut all = vec![0; BYTES];
    memory.read_slice(&mut all, GuestAddress(0)).unwrap();
    all
}

#[test]
fn only_whole_pages_go() {
    let real = host_page_bytes();
    assert!(real.is_power_of_two() && real >= 4096);
    for page in [real, 4 * real] {
        for (at, len, released) in [
            (0, 0, 0),
            (0, page - 1, 0),
            (1, page, 0),
            (1, 2 * page - 2, 0),
            (2 * page, page, page),
            (2 * page - 1, page + 2, page),
            (page, 8 * page + 1, 8 * page),
        ] {
            let memory = memory();
            // The start of the mapping need not be a multiple of the larger size.
            let base = memory.get_host_address(GuestAddress(0)).unwrap().addr();
            let shift = base.next_multiple_of(page) - base;
            let slice = memory.get_slice(GuestAddress((at + shift) as u64), len).unwrap();
            assert_eq!(release_pages(&slice, page).unwrap(), released, "{len:#x} at {at:#x}");
            let first = at.next_multiple_of(page) + shift;
            let all = bytes(&memory);
            let (before, behind) = (&all[..first], &all[first + released..]);
            assert!(
                before.iter().chain(behind).all(|byte| *byte == 7),
                "{len:#x} at {at:#x}: the rest stays"
            );
        }
    }
}

#[test]
fn released_memory_can_be_used_again() {
    let memory = memory();
    let slice = memory.get_slice(GuestAddress(0), BYTES).unwrap();
    assert_eq!(release(&slice).unwrap(), BYTES);
    memory.write_slice(b"again", GuestAddress(0x5000)).unwrap();
    assert_eq!(&bytes(&memory)[0x5000..0x5005], b"again");
}

struct Count(AtomicUsize);

impl WatchedWriteListener for Count {
    fn host_wrote(&self, _: &WriteWatch, page: usize) {
        self.0.fetch_add(page, Ordering::Relaxed);
    }
}

#[test]
fn who_watches_a_page_is_told() {
    let memory = memory();
    let watch = memory.find_region(GuestAddress(0)).unwrap().bitmap().watch();
    let count = Arc::new(Count(AtomicUsize::new(0)));
    let weak: Weak<Count> = Arc::downgrade(&count);
    watch.listen(weak);
    let pages = host_page_bytes() / 4096;
    for page in [2, 3, 9] {
        watch.set_watched(page * pages, true);
    }
    let slice = memory.get_slice(GuestAddress(2 * 4096 * pages as u64), 2 * 4096 * pages).unwrap();
    release(&slice).unwrap();
    assert_eq!(count.0.load(Ordering::Relaxed), (2 + 3) * pages);
}
