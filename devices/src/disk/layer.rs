//! What all ways to keep sectors have in common.

use std::fmt::Debug;
use std::io;
use std::ops::Range;

use super::buffers::{Source, Target};

/// One way to keep a disk's sectors. [`super::DiskImage`] has checked that requests lie within [`Layer::bytes`] and are
/// writable; where requests overlap in time and place, each sector has what one of them wrote.
pub(super) trait Layer: Debug + Send + Sync {
    /// Size of the disk, bytes.
    fn bytes(&self) -> u64;

    /// Space can be given back in whole blocks of this many bytes.
    fn discard_bytes(&self) -> u64;

    /// Fills `target` from `offset` on.
    fn read(&self, target: Target<'_>, offset: u64) -> io::Result<()>;

    /// Writes all of `source` from `offset` on.
    fn write(&self, source: Source<'_>, offset: u64) -> io::Result<()>;

    /// Brings to safety what was written.
    fn flush(&self) -> io::Result<()>;

    /// Gives back the space of a range where possible. What it reads as afterwards is either what it was or zeros.
    fn discard(&self, range: Range<u64>) -> io::Result<()>;

    /// Makes a range read as zeros; with `unmap`, gives back its space where possible.
    fn zero(&self, range: Range<u64>, unmap: bool) -> io::Result<()>;

    /// The first range from `offset` on that may hold anything but zeros.
    fn next_data(&self, offset: u64) -> io::Result<Option<Range<u64>>>;
}
