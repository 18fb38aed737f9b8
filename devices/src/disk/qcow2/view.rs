//! A qcow2 file as it is, or as it will be after a write.

use crate::disk::buffers::Target;
use crate::disk::error::DiskError;
use crate::disk::file::ImageFile;

/// What is read of a file before imago sees it.
#[derive(Debug, Clone, Copy)]
pub(in crate::disk) struct View<'a> {
    pub(super) file: &'a ImageFile,
    /// What is about to be written, and where.
    over: Option<(u64, &'a [u8])>,
}

impl<'a> View<'a> {
    /// `file` as it is.
    pub(in crate::disk) fn of(file: &'a ImageFile) -> Self {
        Self { file, over: None }
    }

    /// The same after `bytes` are written at `offset`.
    pub(super) fn after(self, bytes: &'a [u8], offset: u64) -> Self {
        Self { over: Some((offset, bytes)), ..self }
    }

    /// Length, bytes.
    pub(super) fn len(&self) -> Result<u64, DiskError> {
        let len = self.file.len().map_err(|error| self.file.io_error("ask for its size", error))?;
        let end = self.over.map_or(0, |(offset, bytes)| offset.saturating_add(bytes.len() as u64));
        Ok(len.max(end))
    }

    /// Reads what there is of `buffer`; answers how much.
    pub(super) fn read_up_to(&self, buffer: &mut [u8], offset: u64) -> Result<usize, DiskError> {
        let wanted = buffer.len();
        let mut target = Target::of_bytes(buffer);
        let answer = self.file.read_to_end(&mut target, offset);
        answer.map_err(|error| self.file.io_error("read it", error))?;
        let mut there = wanted - target.len();
        drop(target);
        if let Some((place, bytes)) = self.over {
            // One of the two begins within the other, or they have nothing in common.
            let to = usize::try_from(place.saturating_sub(offset)).unwrap_or(usize::MAX);
            let from = usize::try_from(offset.saturating_sub(place)).unwrap_or(usize::MAX);
            if let (Some(old), Some(new)) = (buffer.get_mut(to..), bytes.get(from..)) {
                let len = old.len().min(new.len());
                old.iter_mut().zip(new).for_each(|(old, new)| *old = *new);
                there = there.max(if len > 0 { to + len } else { 0 });
            }
        }
        Ok(there)
    }
}

#[cfg(test)]
#[path = "view_test.rs"]
mod view_test;
