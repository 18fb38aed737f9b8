//! A descriptor chain: buffers the device reads, then buffers it writes.

use std::io;
use std::sync::Arc;

use guest_memory::{GuestMemory, Slice};
use smallvec::SmallVec;
use vm_memory::ByteValued;

use super::QueueError;

/// Most buffers of one chain. What drivers send is far below (a megabyte in pages is 256); without a limit each request in
/// flight could hold half a megabyte of the host's memory.
pub(super) const MAX_BUFFERS: usize = 1024;

/// A buffer, known to lie in guest memory.
#[derive(Debug, Clone, Copy)]
struct Buffer {
    gpa: u64,
    len: u32,
}

/// The chain has fewer bytes than the device needs of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the descriptor chain is too short")]
pub struct ShortChain;

impl From<ShortChain> for io::Error {
    fn from(error: ShortChain) -> Self {
        Self::new(io::ErrorKind::UnexpectedEof, error)
    }
}

/// A request of the driver. To be given back by [`super::Queue::complete`]; one that is dropped instead is lost to the
/// driver until it resets the queue.
#[must_use = "a chain goes back to its queue"]
#[derive(Debug)]
pub struct Chain {
    memory: Arc<GuestMemory>,
    /// Split ring: index of the first descriptor. Packed ring: the buffer ID.
    pub(super) id: u16,
    /// Packed ring: descriptors it took in the ring.
    pub(super) slots: u16,
    /// Buffers in the chain that the device reads; those behind them it writes.
    readable: u16,
    buffers: SmallVec<[Buffer; 4]>,
}

impl Chain {
    pub(super) fn new(memory: &Arc<GuestMemory>, id: u16) -> Self {
        Self { memory: memory.clone(), id, slots: 0, readable: 0, buffers: SmallVec::new() }
    }

    /// Appends a buffer after checking that it lies in memory. Empty ones are left out.
    pub(super) fn push(&mut self, gpa: u64, len: u32, writable: bool) -> Result<(), QueueError> {
        if !writable && self.buffers.len() > usize::from(self.readable) {
            return Err(QueueError::Order);
        }
        if len == 0 {
            return Ok(());
        }
        if self.buffers.len() >= MAX_BUFFERS {
            return Err(QueueError::Buffers);
        }
        // 32 bits fit the host's addresses.
        if guest_memory::slice(&self.memory, gpa, len as usize).is_none() {
            return Err(QueueError::Buffer { gpa, len });
        }
        self.buffers.push(Buffer { gpa, len });
        self.readable += u16::from(!writable);
        Ok(())
    }

    /// What the driver says. Each call starts at the beginning.
    pub fn reader(&self) -> Reader<'_> {
        let readable = self.buffers.get(..usize::from(self.readable)).unwrap_or_default();
        Reader(Cursor::new(&self.memory, readable))
    }

    /// Where the driver wants its answer. Each call starts at the beginning.
    pub fn writer(&self) -> Writer<'_> {
        let writable = self.buffers.get(usize::from(self.readable)..).unwrap_or_default();
        Writer(Cursor::new(&self.memory, writable))
    }
}

/// A position in a list of buffers, and where to stop.
#[derive(Debug, Clone)]
struct Cursor<'a> {
    memory: &'a GuestMemory,
    buffers: &'a [Buffer],
    /// Bytes of the first buffer that are behind.
    offset: u32,
    /// Bytes to the end.
    left: u64,
    /// Bytes behind.
    done: u64,
}

impl<'a> Cursor<'a> {
    fn new(memory: &'a GuestMemory, buffers: &'a [Buffer]) -> Self {
        let left = buffers.iter().map(|buffer| u64::from(buffer.len)).sum();
        Self { memory, buffers, offset: 0, left, done: 0 }
    }

    /// The next contiguous piece, at most `most` bytes.
    fn piece(&self, most: u64) -> Option<(u64, usize)> {
        let buffer = self.buffers.first()?;
        let len = u64::from(buffer.len - self.offset).min(self.left).min(most);
        // Buffers lie in memory, so neither sum wraps.
        (len != 0).then(|| (buffer.gpa + u64::from(self.offset), len as usize))
    }

    fn advance(&mut self, bytes: u64) {
        let mut bytes = bytes.min(self.left);
        self.left -= bytes;
        self.done += bytes;
        while let [buffer, rest @ ..] = self.buffers {
            let here = u64::from(buffer.len - self.offset);
            if bytes < here {
                // Less than a buffer's length.
                self.offset += bytes as u32;
                return;
            }
            bytes -= here;
            self.buffers = rest;
            self.offset = 0;
        }
    }

    fn split(&mut self, bytes: u64) -> Self {
        let mut first = self.clone();
        first.left = bytes.min(self.left);
        first.done = 0;
        self.advance(bytes);
        first
    }

    fn slices(&self, most: u64) -> SmallVec<[Slice<'a>; 4]> {
        let mut slices = SmallVec::new();
        let mut at = self.clone();
        at.left = at.left.min(most);
        while let Some((gpa, len)) = at.piece(u64::MAX) {
            if let Some(slice) = guest_memory::slice(self.memory, gpa, len) {
                slices.push(slice);
            }
            at.advance(len as u64);
        }
        slices
    }
}

macro_rules! cursor {
    () => {
        /// Bytes that are left.
        pub fn remaining(&self) -> u64 {
            self.0.left
        }

        /// Bytes that are behind.
        pub fn position(&self) -> u64 {
            self.0.done
        }

        /// Goes `bytes` on, or to the end.
        pub fn skip(&mut self, bytes: u64) {
            self.0.advance(bytes);
        }

        /// Cuts off the next `bytes`, or what there is.
        pub fn split(&mut self, bytes: u64) -> Self {
            Self(self.0.split(bytes))
        }

        /// The pieces of memory of the next `most` bytes, for [`guest_memory::vectored`]; the position stays.
        pub fn slices(&self, most: u64) -> SmallVec<[Slice<'a>; 4]> {
            self.0.slices(most)
        }
    };
}

/// Reads what the driver wrote.
#[derive(Debug, Clone)]
pub struct Reader<'a>(Cursor<'a>);

impl<'a> Reader<'a> {
    cursor!();

    /// Fills `bytes`.
    ///
    /// # Errors
    /// Fewer bytes are left; none was read.
    pub fn read_exact(&mut self, bytes: &mut [u8]) -> Result<(), ShortChain> {
        if (bytes.len() as u64) > self.0.left {
            return Err(ShortChain);
        }
        let mut rest = bytes;
        while let Some((gpa, len)) = self.0.piece(rest.len() as u64) {
            let (part, behind) = rest.split_at_mut_checked(len).ok_or(ShortChain)?;
            guest_memory::slice(self.0.memory, gpa, len).ok_or(ShortChain)?.copy_to(part);
            self.0.advance(len as u64);
            rest = behind;
        }
        Ok(())
    }

    /// Reads a structure as it lies in memory.
    ///
    /// # Errors
    /// Fewer bytes are left; none was read.
    pub fn read_obj<T: ByteValued + Default>(&mut self) -> Result<T, ShortChain> {
        let mut object = T::default();
        self.read_exact(object.as_mut_slice())?;
        Ok(object)
    }
}

impl io::Read for Reader<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let count = (bytes.len() as u64).min(self.0.left) as usize;
        let part = bytes.get_mut(..count).unwrap_or_default();
        self.read_exact(part)?;
        Ok(count)
    }
}

/// Writes what the driver will read.
#[derive(Debug, Clone)]
pub struct Writer<'a>(Cursor<'a>);

impl<'a> Writer<'a> {
    cursor!();

    /// Writes all of `bytes`.
    ///
    /// # Errors
    /// There is less room; nothing was written.
    pub fn write_all(&mut self, bytes: &[u8]) -> Result<(), ShortChain> {
        if (bytes.len() as u64) > self.0.left {
            return Err(ShortChain);
        }
        let mut rest = bytes;
        while let Some((gpa, len)) = self.0.piece(rest.len() as u64) {
            let (part, behind) = rest.split_at_checked(len).ok_or(ShortChain)?;
            guest_memory::slice(self.0.memory, gpa, len).ok_or(ShortChain)?.copy_from(part);
            self.0.advance(len as u64);
            rest = behind;
        }
        Ok(())
    }

    /// Writes a structure as it lies in memory.
    ///
    /// # Errors
    /// There is less room; nothing was written.
    pub fn write_obj<T: ByteValued>(&mut self, object: T) -> Result<(), ShortChain> {
        self.write_all(object.as_slice())
    }
}

impl io::Write for Writer<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = (bytes.len() as u64).min(self.0.left) as usize;
        self.write_all(bytes.get(..count).unwrap_or_default())?;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
