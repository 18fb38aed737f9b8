//! Where requests come from and replies go to: scattered guest memory, or plain bytes.
//!
//! File data never passes through memory of the server's own: it goes between the file and these buffers.

use std::io;
use std::os::fd::BorrowedFd;

use guest_memory::{Slice, vectored};
use vm_memory::Bytes;

use super::wire::spec::HEADER_LEN;

/// A request's bytes, taken from the front.
pub trait RequestReader {
    /// Bytes not taken yet.
    fn remaining(&self) -> usize;

    /// Takes bytes into `into`; answers how many, fewer only at the end.
    fn read(&mut self, into: &mut [u8]) -> usize;

    /// Takes the next `count` bytes and writes them to a file at `offset`, bytes. Answers how many were written, which may
    /// be fewer.
    ///
    /// # Errors
    /// What pwrite(2) says.
    fn write_to(&mut self, file: BorrowedFd<'_>, offset: u64, count: usize) -> io::Result<usize>;
}

/// The room for a reply.
pub trait ReplyWriter {
    /// Bytes of room.
    fn capacity(&self) -> usize;

    /// Puts `bytes` at `position`; answers whether they had room.
    #[must_use]
    fn put(&mut self, position: usize, bytes: &[u8]) -> bool;

    /// Reads up to `count` bytes of a file at `offset` to `position`; what has no room is not read. Answers the bytes read.
    ///
    /// # Errors
    /// What pread(2) says.
    fn read_from(
        &mut self,
        position: usize,
        file: BorrowedFd<'_>,
        offset: u64,
        count: usize,
    ) -> io::Result<usize>;
}

/// The part of `slices` from byte `position` on, `count` bytes at most.
fn part<'a>(slices: &[Slice<'a>], position: usize, count: usize) -> Vec<Slice<'a>> {
    let (mut skip, mut left) = (position, count);
    let mut parts = Vec::new();
    for slice in slices {
        let from = skip.min(slice.len());
        skip -= from;
        let length = (slice.len() - from).min(left);
        if length > 0 {
            parts.extend(slice.subslice(from, length));
            left -= length;
        }
        if left == 0 {
            break;
        }
    }
    parts
}

fn length_of(slices: &[Slice<'_>]) -> usize {
    slices.iter().fold(0, |sum, slice| sum.saturating_add(slice.len()))
}

/// A request in guest memory.
pub struct GuestRequest<'a> {
    slices: &'a [Slice<'a>],
    position: usize,
    length: usize,
}

impl<'a> GuestRequest<'a> {
    /// A request that lies in `slices`, one behind the other.
    pub fn new(slices: &'a [Slice<'a>]) -> Self {
        Self { slices, position: 0, length: length_of(slices) }
    }

    /// The same, behind the header, which [`super::Server::admit`] has had.
    pub fn behind_header(slices: &'a [Slice<'a>]) -> Self {
        let length = length_of(slices);
        Self { slices, position: HEADER_LEN.min(length), length }
    }

    /// Bytes of a header.
    pub const HEADER_LEN: u64 = HEADER_LEN as u64;
}

impl RequestReader for GuestRequest<'_> {
    fn remaining(&self) -> usize {
        self.length - self.position
    }

    fn read(&mut self, into: &mut [u8]) -> usize {
        let mut done = 0;
        for slice in part(self.slices, self.position, into.len()) {
            let Some(room) = into.get_mut(done..) else { break };
            // A slice's access can only fail for one that is too short, and `part` cuts them to fit.
            done += slice.read(room, 0).unwrap_or(0);
        }
        self.position += done;
        done
    }

    fn write_to(&mut self, file: BorrowedFd<'_>, offset: u64, count: usize) -> io::Result<usize> {
        let parts = part(self.slices, self.position, count);
        self.position = self.position.saturating_add(count).min(self.length);
        vectored::write_at(file, &parts, offset)
    }
}

/// Room for a reply in guest memory.
pub struct GuestReply<'a> {
    slices: &'a [Slice<'a>],
    capacity: usize,
}

impl<'a> GuestReply<'a> {
    /// Room that lies in `slices`, one behind the other.
    pub fn new(slices: &'a [Slice<'a>]) -> Self {
        Self { slices, capacity: length_of(slices) }
    }
}

impl ReplyWriter for GuestReply<'_> {
    fn capacity(&self) -> usize {
        self.capacity
    }

    fn put(&mut self, position: usize, bytes: &[u8]) -> bool {
        if position.saturating_add(bytes.len()) > self.capacity {
            return false;
        }
        let mut rest = bytes;
        for slice in part(self.slices, position, bytes.len()) {
            let written = slice.write(rest, 0).unwrap_or(0);
            rest = rest.get(written..).unwrap_or(&[]);
        }
        rest.is_empty()
    }

    fn read_from(
        &mut self,
        position: usize,
        file: BorrowedFd<'_>,
        offset: u64,
        count: usize,
    ) -> io::Result<usize> {
        vectored::read_at(file, &part(self.slices, position, count), offset)
    }
}

/// A request in plain memory.
impl RequestReader for &[u8] {
    fn remaining(&self) -> usize {
        self.len()
    }

    fn read(&mut self, into: &mut [u8]) -> usize {
        let count = into.len().min(self.len());
        let (taken, rest) = self.split_at(count);
        if let Some(room) = into.get_mut(..count) {
            room.copy_from_slice(taken);
        }
        *self = rest;
        count
    }

    fn write_to(&mut self, file: BorrowedFd<'_>, offset: u64, count: usize) -> io::Result<usize> {
        let (data, rest) = self.split_at(count.min(self.len()));
        *self = rest;
        rustix::io::retry_on_intr(|| rustix::io::pwrite(file, data, offset)).map_err(io::Error::from)
    }
}

/// A reply in plain memory, which grows up to its capacity.
pub struct ByteReply {
    bytes: Vec<u8>,
    capacity: usize,
}

impl ByteReply {
    /// Room for a reply of `capacity` bytes.
    pub fn new(capacity: usize) -> Self {
        Self { bytes: Vec::new(), capacity }
    }

    /// The reply's first `length` bytes.
    pub fn into_bytes(mut self, length: usize) -> Vec<u8> {
        self.bytes.truncate(length);
        self.bytes
    }

    /// `count` bytes at `position`, as far as there is room.
    fn room(&mut self, position: usize, count: usize) -> &mut [u8] {
        let end = position.saturating_add(count).min(self.capacity);
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        self.bytes.get_mut(position..end).unwrap_or(&mut [])
    }
}

impl ReplyWriter for ByteReply {
    fn capacity(&self) -> usize {
        self.capacity
    }

    fn put(&mut self, position: usize, bytes: &[u8]) -> bool {
        let room = self.room(position, bytes.len());
        let fits = room.len() == bytes.len();
        if fits {
            room.copy_from_slice(bytes);
        }
        fits
    }

    fn read_from(
        &mut self,
        position: usize,
        file: BorrowedFd<'_>,
        offset: u64,
        count: usize,
    ) -> io::Result<usize> {
        let room = self.room(position, count);
        rustix::io::retry_on_intr(|| rustix::io::pread(file, &mut *room, offset)).map_err(io::Error::from)
    }
}

#[cfg(test)]
#[path = "transfer_test.rs"]
mod transfer_test;
