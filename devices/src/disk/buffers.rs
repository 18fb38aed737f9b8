//! Memory that a request moves data between.
#![allow(unsafe_code)] // address ranges of guest memory, which no Rust reference may name

use std::marker::PhantomData;

use imago::io_buffers::{IoVector, IoVectorMut};
use smallvec::{SmallVec, smallvec};
use vm_memory::VolatileSlice;
use vm_memory::bitmap::BitmapSlice;

/// The most ranges one system call takes (`IOV_MAX` of Linux and macOS).
const MAX_RANGES_PER_CALL: usize = 1024;

/// Most requests have few ranges, and are not worth an allocation.
type List = SmallVec<[libc::iovec; 8]>;

/// Ranges of host memory, in order; those moved already are cut off the front.
#[derive(Debug, Clone)]
struct Ranges {
    /// Never empty ranges.
    list: List,
    /// The first of `list` that is not moved yet.
    next: usize,
    /// Bytes from there on.
    bytes: usize,
}

impl Ranges {
    fn new(list: List) -> Self {
        let bytes = list.iter().fold(0, |sum: usize, range| sum.saturating_add(range.iov_len));
        Self { list, next: 0, bytes }
    }

    fn of_slices<B: BitmapSlice>(slices: &[VolatileSlice<'_, B>]) -> Self {
        let ranges = slices.iter().filter(|slice| !slice.is_empty()).map(|slice| libc::iovec {
            iov_base: slice.ptr_guard_mut().as_ptr().cast(),
            iov_len: slice.len(),
        });
        Self::new(ranges.collect())
    }

    fn of_ranges(list: &[libc::iovec]) -> Self {
        Self::new(list.iter().filter(|range| range.iov_len > 0).copied().collect())
    }

    fn of_bytes(address: *mut u8, len: usize) -> Self {
        let list = if len == 0 {
            List::new()
        } else {
            smallvec![libc::iovec { iov_base: address.cast(), iov_len: len }]
        };
        Self::new(list)
    }

    /// What one system call can take.
    fn for_one_call(&self) -> &[libc::iovec] {
        let left = self.list.get(self.next..).unwrap_or_default();
        left.get(..MAX_RANGES_PER_CALL).unwrap_or(left)
    }

    fn advance(&mut self, mut count: usize) {
        count = count.min(self.bytes);
        self.bytes -= count;
        while let Some(range) = self.list.get_mut(self.next) {
            if count < range.iov_len {
                range.iov_base = range.iov_base.wrapping_byte_add(count);
                range.iov_len -= count;
                break;
            }
            count -= range.iov_len;
            self.next += 1;
        }
    }

    /// Cuts off the first `count` bytes, or all there are.
    fn take(&mut self, count: usize) -> Self {
        let count = count.min(self.bytes);
        if count == self.bytes {
            return std::mem::replace(self, Self::new(List::new()));
        }
        let mut taken = List::new();
        let mut missing = count;
        for range in self.list.get(self.next..).unwrap_or_default() {
            if missing == 0 {
                break;
            }
            let len = missing.min(range.iov_len);
            taken.push(libc::iovec { iov_base: range.iov_base, iov_len: len });
            missing -= len;
        }
        self.advance(count);
        Self::new(taken)
    }

    /// Each range as a slice, for copying, while `Self`'s maker vouches for the memory.
    fn slices(&self) -> impl Iterator<Item = VolatileSlice<'_, ()>> {
        let left = self.list.get(self.next..).unwrap_or_default();
        left.iter().map(|range| {
            // SAFETY: the ranges came from slices or buffers that `Source` and `Target` keep borrowed for as long as `self`
            // exists, and were only ever made shorter.
            unsafe { VolatileSlice::new(range.iov_base.cast(), range.iov_len) }
        })
    }
}

/// Memory to be written to a disk.
#[derive(Debug)]
pub(super) struct Source<'a> {
    ranges: Ranges,
    memory: PhantomData<&'a [u8]>,
}

/// Memory to be filled from a disk.
#[derive(Debug)]
pub(super) struct Target<'a> {
    ranges: Ranges,
    memory: PhantomData<&'a mut [u8]>,
}

impl<'a> Source<'a> {
    pub(super) fn of_slices<B: BitmapSlice>(slices: &'a [VolatileSlice<'_, B>]) -> Self {
        Self { ranges: Ranges::of_slices(slices), memory: PhantomData }
    }

    /// A source is only ever read from.
    pub(super) fn of_bytes(bytes: &'a [u8]) -> Self {
        Self { ranges: Ranges::of_bytes(bytes.as_ptr().cast_mut(), bytes.len()), memory: PhantomData }
    }

    /// What imago wants written.
    pub(super) fn of_ranges(vector: &'a IoVector<'_>) -> Self {
        // SAFETY: the ranges are only read from, and borrowed for as long as the source exists.
        let list = unsafe { vector.as_iovec() };
        Self { ranges: Ranges::of_ranges(list), memory: PhantomData }
    }

    /// `bytes` again and again, `len` bytes in all.
    pub(super) fn repeating(bytes: &'a [u8], len: usize) -> Self {
        let mut list = List::new();
        let mut left = if bytes.is_empty() { 0 } else { len };
        while left > 0 {
            let len = left.min(bytes.len());
            list.push(libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: len });
            left -= len;
        }
        Self { ranges: Ranges::new(list), memory: PhantomData }
    }

    pub(super) fn len(&self) -> usize {
        self.ranges.bytes
    }

    pub(super) fn for_one_call(&self) -> &[libc::iovec] {
        self.ranges.for_one_call()
    }

    /// The first `count` bytes are written.
    pub(super) fn advance(&mut self, count: usize) {
        self.ranges.advance(count);
    }

    /// Cuts off the first `count` bytes, or all there are.
    pub(super) fn take(&mut self, count: usize) -> Source<'a> {
        Source { ranges: self.ranges.take(count), memory: PhantomData }
    }

    /// Copies out as many bytes as both have.
    pub(super) fn copy_to(&self, mut buffer: &mut [u8]) {
        for slice in self.ranges.slices() {
            let copied = slice.copy_to(buffer);
            buffer = buffer.get_mut(copied..).unwrap_or_default();
        }
    }
}

impl<'a> Target<'a> {
    pub(super) fn of_slices<B: BitmapSlice>(slices: &'a [VolatileSlice<'_, B>]) -> Self {
        Self { ranges: Ranges::of_slices(slices), memory: PhantomData }
    }

    pub(super) fn of_bytes(bytes: &'a mut [u8]) -> Self {
        Self { ranges: Ranges::of_bytes(bytes.as_mut_ptr(), bytes.len()), memory: PhantomData }
    }

    /// What imago wants filled.
    pub(super) fn of_ranges(vector: &'a mut IoVectorMut<'_>) -> Self {
        // SAFETY: the ranges are borrowed exclusively for as long as the target exists.
        let list = unsafe { vector.as_iovec() };
        Self { ranges: Ranges::of_ranges(list), memory: PhantomData }
    }

    pub(super) fn len(&self) -> usize {
        self.ranges.bytes
    }

    pub(super) fn for_one_call(&self) -> &[libc::iovec] {
        self.ranges.for_one_call()
    }

    /// The first `count` bytes are filled.
    pub(super) fn advance(&mut self, count: usize) {
        self.ranges.advance(count);
    }

    /// Cuts off the first `count` bytes, or all there are.
    pub(super) fn take(&mut self, count: usize) -> Target<'a> {
        Target { ranges: self.ranges.take(count), memory: PhantomData }
    }

    /// Copies in as many bytes as both have.
    pub(super) fn copy_from(&mut self, mut buffer: &[u8]) {
        for slice in self.ranges.slices() {
            let copied = slice.len().min(buffer.len());
            slice.copy_from(buffer);
            buffer = buffer.get(copied..).unwrap_or_default();
        }
    }

    /// Zeros throughout.
    pub(super) fn zero(&mut self) {
        const ZEROS: [u8; 4096] = [0; 4096];
        while self.ranges.bytes > 0 {
            let mut piece = self.take(ZEROS.len());
            piece.copy_from(&ZEROS);
        }
    }
}

#[cfg(test)]
#[path = "buffers_test.rs"]
mod buffers_test;
