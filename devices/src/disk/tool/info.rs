//! `rvmm disk info`.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::disk::config::ImageFormat;
use crate::disk::error::DiskError;
use crate::disk::file::ImageFile;
use crate::disk::qcow2::{Header, Tables, View, has_magic};

/// What can be said of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ImageInfo {
    /// Its file or device.
    pub path: PathBuf,
    /// The stated format, or the one it looks like.
    pub format: ImageFormat,
    /// Size of the disk, bytes.
    pub disk_bytes: u64,
    /// Length of the file, bytes.
    pub file_bytes: u64,
    /// Space that the file takes, bytes.
    pub allocated_bytes: u64,
    /// Whether it is a block device.
    pub is_device: bool,
    /// Whether somebody has it open for writing; then the rest may be out of date.
    pub in_use: bool,
    /// What only qcow2 has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub qcow2: Option<Qcow2Info>,
}

/// What a qcow2 image's header says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Qcow2Info {
    /// 2 or 3.
    pub version: u32,
    /// Bytes of a cluster, the unit of allocation.
    pub cluster_bytes: u64,
    /// The name of its backing file.
    pub backing_file: Option<String>,
    /// That file's format.
    pub backing_format: Option<String>,
    /// Number of internal snapshots.
    pub snapshots: u32,
    /// Whether it is encrypted, which rvmm does not support.
    pub encrypted: bool,
    /// Whether it is marked as damaged or not properly closed.
    pub needs_repair: bool,
}

/// Looks at an image, also while a machine uses it. Without a stated format it is told by the file's first bytes, which
/// only this function does: it opens nothing by reference and shows what is there.
///
/// # Errors
/// What is not an image, and the host's.
pub fn info(path: &Path, format: Option<ImageFormat>) -> Result<ImageInfo, DiskError> {
    let (file, in_use) = ImageFile::inspect(path)?;
    let file_bytes = file.len().map_err(|error| file.io_error("ask for its size", error))?;
    let allocated = file.allocated_bytes().map_err(|error| file.io_error("ask for its space", error))?;
    let format = match format {
        Some(format) => format,
        None if has_magic(&file)? => ImageFormat::Qcow2,
        None => ImageFormat::Raw,
    };
    let (disk_bytes, qcow2) = match format {
        ImageFormat::Raw => (file_bytes, None),
        ImageFormat::Qcow2 => {
            let header = Header::read(View::of(&file))?;
            Tables::read(&header, View::of(&file))?;
            (header.bytes, Some(Qcow2Info::of(&header)))
        }
    };
    let is_device = file.is_device();
    let allocated_bytes = if is_device { file_bytes } else { allocated };
    Ok(ImageInfo {
        path: path.to_owned(),
        format,
        disk_bytes,
        file_bytes,
        allocated_bytes,
        is_device,
        in_use,
        qcow2,
    })
}

impl Qcow2Info {
    fn of(header: &Header) -> Self {
        let backing = header.backing.clone();
        Self {
            version: header.version,
            cluster_bytes: header.cluster_bytes,
            backing_format: backing.as_ref().and_then(|backing| backing.format.clone()),
            backing_file: backing.map(|backing| backing.name),
            snapshots: header.snapshots,
            encrypted: header.is_encrypted(),
            needs_repair: header.needs_repair(),
        }
    }
}
