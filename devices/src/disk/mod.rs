//! Disk images: what a virtual disk's sectors are kept in.
//!
//! A [`DiskConfig`] says which file, in which format, and how it is used; [`DiskImage::open`] opens, locks and checks it;
//! the [`DiskImage`] then serves requests from any number of threads. Nothing here knows of a guest or of virtio.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("disk.img");
//! use devices::disk::{DiskConfig, DiskImage};
//!
//! let config: DiskConfig = format!("{},size=20G,flush=os", path.display()).parse()?;
//! let disk = DiskImage::open(&config)?; // made, sparse, as it was missing
//! disk.write_at(b"some data", 4096)?;
//! disk.flush()?; // now it survives what flush=os promises
//! assert_eq!(disk.bytes(), 20 << 30);
//! # Ok(())
//! # }
//! ```
//!
//! # Layers
//! Each way to keep sectors is a `layer::Layer`: a raw file or block device, a qcow2 file (through the imago crate), and
//! a throw-away overlay over either. [`DiskImage`] checks every request's bounds before a layer sees it.
//!
//! # What is promised
//! * **Flush.** When [`DiskImage::flush`] succeeds, everything written before it survives what [`FlushMode`] names. The host
//!   reports a failed flush once only and may have dropped the data, so every later flush of that image fails as well.
//! * **Sound files.** A program that is killed, or a host that loses power, leaves a qcow2 image that can be gone on with and
//!   has all that was flushed; space may have leaked, which `qemu-img check -r leaks` gives back.
//! * **One writer.** An image opened for writing is locked against every other rvmm, and on Linux against QEMU too. Several
//!   read-only users can share one.
//! * **Formats are stated**, never guessed from the content, which a guest writes. The only look at the content is to
//!   refuse: a file that begins as qcow2 does and for which no format is stated.
//! * **No surprises by reference.** A qcow2 file opens no other file unless `backing=on` is asked for.
//!
//! # Locks
//! The overlay's `fill`, then its `map`; a qcow2 image's `access`. None is taken with another layer's held, except a base's
//! by the overlay above it. They are leaves of the order in [`crate`]'s documentation: no device is called from here.

mod buffers;
mod config;
mod error;
mod file;
mod image;
#[cfg(test)]
#[path = "journal_test.rs"]
mod journal;
#[cfg(test)]
mod killed_test;
mod layer;
mod os;
mod overlay;
mod qcow2;
mod raw;
mod size;
#[cfg(test)]
#[path = "testing_test.rs"]
pub(crate) mod testing;
mod tool;

pub use config::{DiskConfig, FlushMode, ImageFormat, OverlayMode, ParseDiskError};
pub use error::DiskError;
pub use image::DiskImage;
pub use size::{DiskSize, ParseSizeError};
pub use tool::{
    CompactReport, ConvertRequest, CreateRequest, ImageInfo, Progress, Qcow2Info, ResizeReport,
    ResizeRequest, Resizing, compact, convert, create, info, resize,
};

/// Bytes of a sector: the unit of sizes and offsets, as in virtio (Virtual I/O Device 1.2, section 5.2.5).
pub const SECTOR_BYTES: u64 = 512;

/// The longest serial number, bytes: what a virtio-blk GET_ID request returns (Virtual I/O Device 1.2, section 5.2.6).
pub const MAX_SERIAL_BYTES: usize = 20;

/// The most that one request may move, bytes. macOS refuses transfers of 2 GiB; a device's own limits are far below.
pub const MAX_REQUEST_BYTES: usize = 1 << 30;
