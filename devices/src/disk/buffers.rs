//! Memory that a request moves data between.
#![allow(unsafe_code)] // address ranges of guest memory, which no Rust reference may name

use imago::io_buffers::{IoVector, IoVectorMut};
use smallvec::SmallVec;
use vm_memory::VolatileSlice;
use vm_memory::bitmap::BitmapSlice;

/// A range of host memory. Whoever made it tells those that watch it of writes.
type Slice<'a> = VolatileSlice<'a, ()>;

/// Most requests have few ranges, and are not worth an allocation.
type List<'a> = SmallVec<[Slice<'a>; 4]>;

/// Ranges of host memory, in order; those moved already are cut off the front.
#[derive(Debug, Clone)]
struct Ranges<'a> {
    /// Never empty ranges.
    list: List<'a>,
    /// The first of `list` that is not moved yet.
    next: usize,
    /// Bytes from there on.
    bytes: usize,
}

impl<'a> Ranges<'a> {
    fn new() -> Self {
        Self { list: List::new(), next: 0, bytes: 0 }
    }

    fn push(&mut self, range: Slice<'a>) {
        if !range.is_empty() {
            self.bytes = self.bytes.saturating_add(range.len());
            self.list.push(range);
        }
    }

    /// # Safety
    /// The ranges are memory for as long as `'a`, and writable if they are to be a target.
    unsafe fn of_parts(parts: impl Iterator<Item = (*mut u8, usize)>) -> Self {
        let mut ranges = Self::new();
        for (start, len) in parts {
            // SAFETY: the caller's promise.
            ranges.push(unsafe { Slice::new(start, len) });
        }
        ranges
    }

    fn of_slices<B: BitmapSlice>(slices: &'a [VolatileSlice<'_, B>]) -> Self {
        let parts = slices.iter().map(|slice| (slice.ptr_guard_mut().as_ptr(), slice.len()));
        // SAFETY: slices that are borrowed for `'a`.
        unsafe { Self::of_parts(parts) }
    }

    fn left(&self) -> &[Slice<'a>] {
        self.list.get(self.next..).unwrap_or_default()
    }

    fn advance(&mut self, mut count: usize) {
        count = count.min(self.bytes);
        self.bytes -= count;
        while let Some(range) = self.list.get_mut(self.next) {
            if count < range.len() {
                // Not past its end.
                *range = range.offset(count).unwrap_or(*range);
                break;
            }
            count -= range.len();
            self.next += 1;
        }
    }

    /// Cuts off the first `count` bytes, or all there are.
    fn take(&mut self, count: usize) -> Self {
        let count = count.min(self.bytes);
        if count == self.bytes {
            return std::mem::replace(self, Self::new());
        }
        let mut taken = Self::new();
        let mut missing = count;
        for range in self.left() {
            if missing == 0 {
                break;
            }
            let len = missing.min(range.len());
            if let Ok(part) = range.subslice(0, len) {
                taken.push(part);
            }
            missing -= len;
        }
        self.advance(count);
        taken
    }
}

/// Memory to be written to a disk.
#[derive(Debug)]
pub(super) struct Source<'a>(Ranges<'a>);

/// Memory to be filled from a disk.
#[derive(Debug)]
pub(super) struct Target<'a>(Ranges<'a>);

impl<'a> Source<'a> {
    pub(super) fn of_slices<B: BitmapSlice>(slices: &'a [VolatileSlice<'_, B>]) -> Self {
        Self(Ranges::of_slices(slices))
    }

    pub(super) fn of_bytes(bytes: &'a [u8]) -> Self {
        Self::repeating(bytes, bytes.len())
    }

    /// What imago wants written.
    pub(super) fn of_ranges(vector: &'a IoVector<'_>) -> Self {
        // SAFETY: the ranges are only read from, and borrowed for as long as the source exists.
        let list = unsafe { vector.as_iovec() };
        // SAFETY: the same.
        Self(unsafe { Ranges::of_parts(list.iter().map(|range| (range.iov_base.cast(), range.iov_len))) })
    }

    /// `bytes` again and again, `len` bytes in all.
    pub(super) fn repeating(bytes: &'a [u8], len: usize) -> Self {
        let len = if bytes.is_empty() { 0 } else { len };
        let pieces = (0..len).step_by(bytes.len().max(1));
        let parts = pieces.map(|at| (bytes.as_ptr().cast_mut(), bytes.len().min(len - at)));
        // SAFETY: parts of `bytes`; a source is only ever read from.
        Self(unsafe { Ranges::of_parts(parts) })
    }

    pub(super) fn len(&self) -> usize {
        self.0.bytes
    }

    /// What is not written yet.
    pub(super) fn slices(&self) -> &[Slice<'a>] {
        self.0.left()
    }

    /// The first `count` bytes are written.
    pub(super) fn advance(&mut self, count: usize) {
        self.0.advance(count);
    }

    /// Cuts off the first `count` bytes, or all there are.
    pub(super) fn take(&mut self, count: usize) -> Source<'a> {
        Source(self.0.take(count))
    }

    /// Copies out as many bytes as both have.
    pub(super) fn copy_to(&self, mut buffer: &mut [u8]) {
        for slice in self.slices() {
            let copied = slice.copy_to(buffer);
            buffer = buffer.get_mut(copied..).unwrap_or_default();
        }
    }
}

impl<'a> Target<'a> {
    pub(super) fn of_slices<B: BitmapSlice>(slices: &'a [VolatileSlice<'_, B>]) -> Self {
        Self(Ranges::of_slices(slices))
    }

    pub(super) fn of_bytes(bytes: &'a mut [u8]) -> Self {
        let mut ranges = Ranges::new();
        ranges.push(Slice::from(bytes));
        Self(ranges)
    }

    /// What imago wants filled.
    pub(super) fn of_ranges(vector: &'a mut IoVectorMut<'_>) -> Self {
        // SAFETY: the ranges are borrowed exclusively for as long as the target exists.
        let list = unsafe { vector.as_iovec() };
        // SAFETY: the same.
        Self(unsafe { Ranges::of_parts(list.iter().map(|range| (range.iov_base.cast(), range.iov_len))) })
    }

    pub(super) fn len(&self) -> usize {
        self.0.bytes
    }

    /// What is not filled yet.
    pub(super) fn slices(&self) -> &[Slice<'a>] {
        self.0.left()
    }

    /// The first `count` bytes are filled.
    pub(super) fn advance(&mut self, count: usize) {
        self.0.advance(count);
    }

    /// Cuts off the first `count` bytes, or all there are.
    pub(super) fn take(&mut self, count: usize) -> Target<'a> {
        Target(self.0.take(count))
    }

    /// Copies in as many bytes as both have.
    pub(super) fn copy_from(&mut self, mut buffer: &[u8]) {
        for slice in self.slices() {
            let copied = slice.len().min(buffer.len());
            slice.copy_from(buffer);
            buffer = buffer.get(copied..).unwrap_or_default();
        }
    }

    /// Zeros throughout.
    pub(super) fn zero(&mut self) {
        const ZEROS: [u8; 4096] = [0; 4096];
        while self.0.bytes > 0 {
            let mut piece = self.take(ZEROS.len());
            piece.copy_from(&ZEROS);
        }
    }
}

#[cfg(test)]
#[path = "buffers_test.rs"]
mod buffers_test;
