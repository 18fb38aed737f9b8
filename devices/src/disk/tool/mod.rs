//! What is done to images that no machine uses: making, looking, resizing, compacting, converting.

mod compact;
mod convert;
mod create;
mod info;
mod resize;

pub use compact::{CompactReport, compact};
pub use convert::{ConvertRequest, convert};
pub use create::{CreateRequest, create};
pub use info::{ImageInfo, Qcow2Info, info};
pub use resize::{ResizeReport, ResizeRequest, Resizing, resize};

use std::io;
use std::ops::ControlFlow;
use std::path::Path;

use super::config::{DiskConfig, ImageFormat};
use super::error::DiskError;
use super::image::DiskImage;

/// Told how far a long operation is, and asked whether it is to go on.
pub trait Progress {
    /// `done` of `total` bytes are dealt with. With `Break` the operation ends with an error, and what it was making is removed.
    fn advanced(&mut self, done: u64, total: u64) -> ControlFlow<()>;
}

/// Nobody is told.
impl Progress for () {
    fn advanced(&mut self, _done: u64, _total: u64) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

/// Tells `progress`.
fn advance(progress: &mut dyn Progress, done: u64, total: u64) -> io::Result<()> {
    match progress.advanced(done, total) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(io::Error::other("stopped")),
    }
}

/// Bytes that are looked at and copied at once: whole clusters of every qcow2 image.
const PIECE_BYTES: usize = 2 << 20;

/// Opens an image that a person names, for reading only if `ro`.
fn open(path: &Path, format: Option<ImageFormat>, ro: bool, backing: bool) -> Result<DiskImage, DiskError> {
    DiskImage::open(&DiskConfig { format, ro, backing, ..DiskConfig::new(path) })
}

fn access_error(path: &Path, format: Option<ImageFormat>, source: io::Error) -> DiskError {
    DiskError::Access { path: path.to_owned(), format: format.unwrap_or(ImageFormat::Raw), source }
}

/// The runs in `piece` of whole blocks of `block` bytes that are all zeros (`true`), or not (`false`), as ranges of offsets.
/// The last block may be shorter.
fn runs(piece: &[u8], block: usize) -> Vec<(bool, std::ops::Range<usize>)> {
    let mut runs: Vec<(bool, std::ops::Range<usize>)> = Vec::new();
    let mut start = 0;
    for block in piece.chunks(block.max(1)) {
        let end = start + block.len();
        // Without an early end, so that the compiler makes wide comparisons of it.
        let is_zero = block.iter().fold(0, |sum, byte| sum | byte) == 0;
        match runs.last_mut() {
            Some((kind, run)) if *kind == is_zero => run.end = end,
            _ => runs.push((is_zero, start..end)),
        }
        start = end;
    }
    runs
}

#[cfg(test)]
#[path = "tool_test.rs"]
mod tool_test;
