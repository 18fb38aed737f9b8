use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryRegion};

use super::*;
use crate::{GuestMemory, WatchedWriteListener, WriteWatch};

struct Count(AtomicUsize);

impl WatchedWriteListener for Count {
    fn host_wrote(&self, _: &WriteWatch, page: usize) {
        assert_eq!(page, 1);
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn file_with(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file.seek(SeekFrom::Start(0)).unwrap();
    file
}

fn memory() -> GuestMemory {
    GuestMemory::from_ranges(&[(GuestAddress(0), 0x4000)]).unwrap()
}

#[test]
fn a_file_is_scattered_into_guest_memory_and_gathered_from_it() {
    let memory = memory();
    let file = file_with(b"0123456789");
    let slice = |at: u64, len| memory.get_slice(GuestAddress(at), len).unwrap();
    let slices = [slice(0x100, 3), slice(0x2000, 4)];
    assert_eq!(read_at(file.as_fd(), &slices, 1).unwrap(), 7);
    let mut bytes = [0; 4];
    memory.read_slice(&mut bytes, GuestAddress(0x2000)).unwrap();
    assert_eq!(&bytes, b"4567");
    assert_eq!(read_at(file.as_fd(), &slices, 8).unwrap(), 2, "the file ends");

    let mut copy = file_with(b"");
    assert_eq!(write_at(copy.as_fd(), &slices[1..], 2).unwrap(), 4);
    assert_eq!(write(copy.as_fd(), &slices[1..]).unwrap(), 4);
    let mut all = Vec::new();
    copy.seek(SeekFrom::Start(0)).unwrap();
    copy.read_to_end(&mut all).unwrap();
    assert_eq!(all, b"456767");
}

#[test]
fn watched_pages_are_told_of_what_was_read_into_them() {
    let memory = memory();
    let file = file_with(&[7; 0x1000]);
    let region = memory.find_region(GuestAddress(0)).unwrap();
    let watch = region.bitmap().watch();
    let count = Arc::new(Count(AtomicUsize::new(0)));
    let weak: Weak<Count> = Arc::downgrade(&count);
    watch.listen(weak);
    watch.set_watched(1, true);
    let slice = |at: u64, len| memory.get_slice(GuestAddress(at), len).unwrap();
    read(file.as_fd(), &[slice(0x800, 0x800)]).unwrap();
    assert_eq!(count.0.load(Ordering::Relaxed), 0, "the page before");
    read(file.as_fd(), &[slice(0, 0x10), slice(0x1ffe, 4)]).unwrap();
    assert_eq!(count.0.load(Ordering::Relaxed), 1);
    assert_eq!(read(file.as_fd(), &[slice(0x1000, 0x1000)]).unwrap(), 0x1000 - 0x800 - 0x14);
    assert_eq!(count.0.load(Ordering::Relaxed), 2);
    assert_eq!(read(file.as_fd(), &[slice(0x1000, 0x1000)]).unwrap(), 0, "nothing read, nothing told");
    assert_eq!(count.0.load(Ordering::Relaxed), 2);
}

#[test]
fn an_offset_beyond_what_files_have_is_an_error() {
    let memory = memory();
    let slice = memory.get_slice(GuestAddress(0), 16).unwrap();
    let file = file_with(b"x");
    assert!(read_at(file.as_fd(), std::slice::from_ref(&slice), u64::MAX).is_err());
    assert!(write_at(file.as_fd(), &[slice], 1 << 63).is_err());
}

#[test]
fn one_call_takes_as_many_slices_as_the_system_does() {
    let memory = memory();
    let slices: Vec<_> = (0..3000).map(|at| memory.get_slice(GuestAddress(at), 1).unwrap()).collect();
    let file = file_with(&[5; 3000]);
    assert_eq!(read_at(file.as_fd(), &slices, 0).unwrap(), 1024);
    assert_eq!(write_at(file.as_fd(), &slices[1024..], 0).unwrap(), 1024);
}

#[test]
fn memory_that_nobody_watches_is_as_good() {
    let mut bytes = [0; 6];
    let (front, back) = bytes.split_at_mut(2);
    let slices = [VolatileSlice::from(front), VolatileSlice::from(back)];
    assert_eq!(read(file_with(b"abcdef").as_fd(), &slices).unwrap(), 6);
    assert_eq!(&bytes, b"abcdef");
}
