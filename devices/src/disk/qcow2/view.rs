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
            for (at, byte) in buffer.iter_mut().enumerate() {
                let from = offset.saturating_add(at as u64).checked_sub(place);
                let new = from.and_then(|from| bytes.get(usize::try_from(from).ok()?));
                if let Some(new) = new {
                    *byte = *new;
                    there = there.max(at + 1);
                }
            }
        }
        Ok(there)
    }
}
