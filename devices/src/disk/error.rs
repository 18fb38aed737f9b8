//! Why an image cannot be used.

use std::io;
use std::path::PathBuf;

use super::config::{ImageFormat, ParseDiskError};
use super::size::{DiskSize, ParseSizeError};

/// Why an image cannot be opened, made or changed. Each message names the file and says what to do.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// The configuration contradicts itself.
    #[error("{}: {source}", path.display())]
    Config {
        /// The image.
        path: PathBuf,
        /// How.
        source: ParseDiskError,
    },
    /// No such file.
    #[error("{} does not exist: add size=… to make it, for example size=20G", path.display())]
    Missing {
        /// The image.
        path: PathBuf,
    },
    /// The file is there already, and must not be.
    #[error("{} exists already: remove it first, or choose another name", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// A file without any content.
    #[error("{} is empty: add size=… to make it a disk, for example size=20G", path.display())]
    Empty {
        /// The image.
        path: PathBuf,
    },
    /// A directory, socket or the like.
    #[error("{} is {kind}, not a disk image: name a file or a block device", path.display())]
    Kind {
        /// The path.
        path: PathBuf,
        /// What it is.
        kind: &'static str,
    },
    /// No right to write.
    #[error("{} cannot be written ({source}): use it with ro, or change its permissions", path.display())]
    NotWritable {
        /// The image.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// Somebody else uses the image.
    #[error("{} is in use by {}: end that first{}", path.display(), holder(*pid), if *shared { "" } else { ", or use the image with ro in both" })]
    Locked {
        /// The image.
        path: PathBuf,
        /// Who, if known.
        pid: Option<u32>,
        /// Whether a shared lock was asked for.
        shared: bool,
    },
    /// An image of another size than stated.
    #[error(
        "{} has {actual} bytes, not {stated}: leave size away, or change it with `rvmm disk resize`", path.display()
    )]
    OtherSize {
        /// The image.
        path: PathBuf,
        /// Its size, bytes.
        actual: u64,
        /// The stated size.
        stated: DiskSize,
    },
    /// The image's size is none for a disk.
    #[error("{}: {source}; `rvmm disk resize` can change that", path.display())]
    Size {
        /// The image.
        path: PathBuf,
        /// What is wrong.
        source: ParseSizeError,
    },
    /// No format stated, and the file begins as a qcow2 image does.
    #[error(
        "{} begins like a qcow2 image: say format=qcow2, or format=raw if the guest is to see these very bytes",
        path.display()
    )]
    LooksLikeQcow2 {
        /// The image.
        path: PathBuf,
    },
    /// Not a qcow2 image, or a damaged one.
    #[error("{} is no sound qcow2 image: {reason}", path.display())]
    Damaged {
        /// The image.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// A qcow2 image that uses what is not supported.
    #[error("{} uses {feature}, which rvmm does not support: {advice}", path.display())]
    Unsupported {
        /// The image.
        path: PathBuf,
        /// What.
        feature: String,
        /// What to do.
        advice: &'static str,
    },
    /// A backing file without leave.
    #[error("{} has the backing file {backing:?}: add backing=on if that file is to be opened", path.display())]
    BackingNotAllowed {
        /// The image.
        path: PathBuf,
        /// The name in its header.
        backing: String,
    },
    /// What cannot be done with this image.
    #[error("{}: {reason}", path.display())]
    Refused {
        /// The image.
        path: PathBuf,
        /// Why, and what to do.
        reason: String,
    },
    /// A block device cannot have a format with data of its own, and cannot be resized.
    #[error("{} is a block device, which cannot be {what}", path.display())]
    BlockDevice {
        /// The device.
        path: PathBuf,
        /// What was asked.
        what: &'static str,
    },
    /// Anything the system refuses.
    #[error("{}: cannot {action}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// The system's answer.
        source: io::Error,
    },
    /// Reading or writing through a format failed.
    #[error("{} ({format:?}): {source}", path.display())]
    Access {
        /// The image.
        path: PathBuf,
        /// In which format.
        format: ImageFormat,
        /// The answer.
        source: io::Error,
    },
}

fn holder(pid: Option<u32>) -> String {
    match pid {
        Some(pid) if pid == std::process::id() => "this machine already".to_owned(),
        Some(pid) => format!("process {pid}"),
        None => "another process or another disk of this machine".to_owned(),
    }
}
