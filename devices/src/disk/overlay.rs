//! A throw-away overlay: writes go to a temporary file, the image below is never changed.
//!
//! A block of 4 KiB is in the temporary file, at the same offset, or still below. It moves up at its first write: wholly if
//! the write covers it, else its old content is copied first.

mod map;

use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError, RwLock};

use self::map::BlockMap;
use super::buffers::{Source, Target};
use super::error::DiskError;
use super::file::ImageFile;
use super::layer::Layer;
use super::os::HOLE_BYTES;

/// Bytes of a block: what guests write at least, mostly.
const BLOCK_BYTES: u64 = 4096;

/// An image and the writes made over it.
#[derive(Debug)]
pub(super) struct Overlay {
    below: Box<dyn Layer>,
    file: ImageFile,
    /// Held while blocks move up, so that two requests for parts of one block do not undo each other.
    fill: Mutex<()>,
    /// The blocks that are in `file`.
    map: RwLock<BlockMap>,
}

impl Overlay {
    pub(super) fn over(below: Box<dyn Layer>) -> Result<Self, DiskError> {
        let file = ImageFile::temporary(&folder(), below.bytes())?;
        Ok(Self { below, file, fill: Mutex::default(), map: RwLock::default() })
    }

    /// The length of the range from `range.start` on whose blocks are all up, or all below; and which.
    fn run(&self, range: &Range<u64>) -> (bool, u64) {
        let map = self.map.read().unwrap_or_else(PoisonError::into_inner);
        let blocks = range.start / BLOCK_BYTES..range.end.div_ceil(BLOCK_BYTES);
        let (is_up, end) = map.run(blocks);
        (is_up, end.saturating_mul(BLOCK_BYTES).min(range.end) - range.start)
    }

    fn is_up(&self, range: &Range<u64>) -> bool {
        self.run(range) == (true, range.end - range.start)
    }

    fn mark(&self, range: &Range<u64>) {
        let mut map = self.map.write().unwrap_or_else(PoisonError::into_inner);
        map.insert(range.start / BLOCK_BYTES..range.end.div_ceil(BLOCK_BYTES));
    }

    /// Changes a range by `change`, after what it leaves of the first and last block has moved up.
    fn change(&self, range: Range<u64>, change: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        if range.is_empty() || self.is_up(&range) {
            return change();
        }
        let _fill = self.fill.lock().unwrap_or_else(PoisonError::into_inner);
        self.lift_edge(range.start)?;
        self.lift_edge(range.end)?;
        change()?;
        self.mark(&range);
        Ok(())
    }

    /// Moves the block up that `edge` lies within, if it does not begin there.
    fn lift_edge(&self, edge: u64) -> io::Result<()> {
        let start = edge - edge % BLOCK_BYTES;
        let end = (start + BLOCK_BYTES).min(self.below.bytes());
        let block = start..end;
        if start == edge || edge == end || self.is_up(&block) {
            return Ok(());
        }
        let mut content = [0; BLOCK_BYTES as usize];
        let content = content.get_mut(..(end - start) as usize).unwrap_or_default();
        self.below.read(Target::of_bytes(content), start)?;
        self.file.write(Source::of_bytes(content), start)?;
        self.mark(&block);
        Ok(())
    }
}

/// Where temporary files of the size of disks go: `/tmp` is memory on some systems, `/var/tmp` is not.
fn folder() -> PathBuf {
    let usual = PathBuf::from("/var/tmp");
    match std::env::var_os("TMPDIR") {
        Some(folder) if !folder.is_empty() => folder.into(),
        _ if usual.is_dir() => usual,
        _ => std::env::temp_dir(),
    }
}

impl Layer for Overlay {
    fn bytes(&self) -> u64 {
        self.below.bytes()
    }

    fn discard_bytes(&self) -> u64 {
        HOLE_BYTES.max(BLOCK_BYTES)
    }

    fn read(&self, mut target: Target<'_>, mut offset: u64) -> io::Result<()> {
        while target.len() > 0 {
            let (is_up, len) = self.run(&(offset..offset + target.len() as u64));
            let part = target.take(len as usize);
            if is_up { self.file.read(part, offset) } else { self.below.read(part, offset) }?;
            offset += len;
        }
        Ok(())
    }

    fn write(&self, source: Source<'_>, offset: u64) -> io::Result<()> {
        let range = offset..offset + source.len() as u64;
        self.change(range, || self.file.write(source, offset))
    }

    /// There is nothing to keep.
    fn flush(&self) -> io::Result<()> {
        Ok(())
    }

    fn discard(&self, range: Range<u64>) -> io::Result<()> {
        let mut left = range;
        while !left.is_empty() {
            let (is_up, len) = self.run(&left);
            if is_up {
                self.file.punch(left.start..left.start + len)?;
            }
            left.start += len;
        }
        Ok(())
    }

    fn zero(&self, range: Range<u64>, unmap: bool) -> io::Result<()> {
        self.change(range.clone(), || self.file.zero(range, unmap))
    }

    fn next_data(&self, offset: u64) -> io::Result<Option<Range<u64>>> {
        Ok((offset < self.bytes()).then(|| offset..self.bytes()))
    }
}

#[cfg(test)]
#[path = "overlay_test.rs"]
mod overlay_test;
