//! The header of a qcow2 file, read to refuse what is damaged or not supported before imago sees the file.
//!
//! Source: QEMU's docs/interop/qcow2, sections "Header" and "Header extensions".

use super::view::View;
use crate::disk::error::DiskError;
use crate::disk::file::ImageFile;

/// `QFI\xfb`
const MAGIC: [u8; 4] = *b"QFI\xfb";

/// Bytes of the header's fields in versions 2 and 3.
const HEADER_BYTES: [usize; 2] = [72, 104];

/// log2 of the cluster sizes there are: 512 bytes to 2 MiB (QEMU's limit too).
const CLUSTER_BITS: std::ops::RangeInclusive<u32> = 9..=21;

/// The largest L1 table, entries: 32 MiB, QEMU's limit too.
const MAX_L1_ENTRIES: u32 = (32 << 20) / 8;

/// The largest refcount table, bytes; QEMU's limit too.
const MAX_REFCOUNT_TABLE_BYTES: u64 = 8 << 20;

/// The longest name of a backing file, bytes.
const MAX_BACKING_NAME: u32 = 1023;

/// Incompatible features.
mod incompatible {
    pub(super) const DIRTY: u64 = 1 << 0;
    pub(super) const CORRUPT: u64 = 1 << 1;
    pub(super) const DATA_FILE: u64 = 1 << 2;
    pub(super) const COMPRESSION: u64 = 1 << 3;
    pub(super) const EXTENDED_L2: u64 = 1 << 4;
}

/// Header extension types.
mod extension {
    pub(super) const END: u32 = 0;
    pub(super) const BACKING_FORMAT: u32 = 0xe279_2aca;
}

/// What the header says, checked for being possible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::disk) struct Header {
    pub(in crate::disk) version: u32,
    pub(in crate::disk) cluster_bytes: u64,
    pub(in crate::disk) bytes: u64,
    pub(in crate::disk) backing: Option<Backing>,
    pub(in crate::disk) snapshots: u32,
    is_encrypted: bool,
    incompatible: u64,
    pub(super) l1_offset: u64,
    pub(super) l1_entries: u32,
    pub(super) refcount_offset: u64,
    pub(super) refcount_clusters: u32,
    /// log2 of the bits of a reference count.
    pub(super) refcount_order: u32,
}

/// The backing file that a header names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::disk) struct Backing {
    pub(in crate::disk) name: String,
    pub(in crate::disk) format: Option<String>,
}

/// Whether the file begins as a qcow2 file does.
pub(in crate::disk) fn has_magic(file: &ImageFile) -> Result<bool, DiskError> {
    let mut start = [0; MAGIC.len()];
    View::of(file).read_up_to(&mut start, 0)?;
    Ok(start == MAGIC)
}

/// The first cluster, or what there is of it: all that a header consists of.
struct Fields<'a> {
    bytes: &'a [u8],
}

impl Fields<'_> {
    fn get<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        let end = offset.checked_add(N)?;
        self.bytes.get(offset..end)?.try_into().ok()
    }

    fn u32(&self, offset: usize) -> Option<u32> {
        self.get(offset).map(u32::from_be_bytes)
    }

    fn u64(&self, offset: usize) -> Option<u64> {
        self.get(offset).map(u64::from_be_bytes)
    }

    fn text(&self, offset: usize, len: usize) -> Option<String> {
        let bytes = self.bytes.get(offset..offset.checked_add(len)?)?;
        String::from_utf8(bytes.to_vec()).ok()
    }
}

impl Header {
    /// Reads and checks the header of a file.
    pub(in crate::disk) fn read(view: View<'_>) -> Result<Self, DiskError> {
        let (file, len) = (view.file, view.len()?);
        if len == 0 {
            return Err(DiskError::Empty { path: file.path().to_owned() });
        }
        let mut bytes = vec![0; 1 << CLUSTER_BITS.end()];
        let there = view.read_up_to(&mut bytes, 0)?;
        bytes.truncate(there);
        let damaged = |reason| DiskError::Damaged { path: file.path().to_owned(), reason };
        Self::parse(&bytes, len).map_err(damaged)
    }

    /// Of the first bytes of a file of `len` bytes.
    fn parse(bytes: &[u8], len: u64) -> Result<Self, String> {
        let fields = Fields { bytes };
        if fields.get(0) != Some(MAGIC) {
            return Err("it does not begin as one; is format=qcow2 right?".to_owned());
        }
        let cut = || format!("it is cut off: {len} bytes are not even a header");
        let version = fields.u32(4).ok_or_else(cut)?;
        let header_bytes = match version {
            2 => HEADER_BYTES[0],
            3 => fields.u32(100).ok_or_else(cut)? as usize,
            _ => return Err(format!("version {version} is not known")),
        };
        let bits = fields.u32(20).ok_or_else(cut)?;
        if !CLUSTER_BITS.contains(&bits) {
            return Err(format!("its clusters of 2^{bits} bytes are not of a size there is"));
        }
        let cluster_bytes = 1u64 << bits;
        if version == 3 && !(HEADER_BYTES[1] as u64..=cluster_bytes).contains(&(header_bytes as u64)) {
            return Err(format!("a header of {header_bytes} bytes is impossible"));
        }
        let header_end = bytes.len().min(cluster_bytes as usize);
        let fields = Fields { bytes: bytes.get(..header_end).unwrap_or_default() };
        let header = Self {
            version,
            cluster_bytes,
            bytes: fields.u64(24).ok_or_else(cut)?,
            backing: backing(&fields, version, header_bytes)?,
            snapshots: fields.u32(60).ok_or_else(cut)?,
            is_encrypted: fields.u32(32).ok_or_else(cut)? != 0,
            incompatible: if version == 2 { 0 } else { fields.u64(72).ok_or_else(cut)? },
            l1_entries: fields.u32(36).ok_or_else(cut)?,
            l1_offset: fields.u64(40).ok_or_else(cut)?,
            refcount_offset: fields.u64(48).ok_or_else(cut)?,
            refcount_clusters: fields.u32(56).ok_or_else(cut)?,
            refcount_order: if version == 2 { 4 } else { fields.u32(96).ok_or_else(cut)? },
        };
        if header.refcount_order > 6 {
            return Err(format!("reference counts of 2^{} bits are impossible", header.refcount_order));
        }
        header.check_tables(len)?;
        Ok(header)
    }

    /// The L1 and refcount tables have a possible size, place and, together, a possible disk.
    fn check_tables(&self, len: u64) -> Result<(), String> {
        let Self { refcount_offset, refcount_clusters, .. } = *self;
        // A 32-bit number of clusters of at most 2 MiB.
        let refcount_bytes = u64::from(refcount_clusters).saturating_mul(self.cluster_bytes);
        let l1_bytes = u64::from(self.l1_entries) * 8;
        let covered = u128::from(self.l1_entries) * u128::from(self.bytes_per_l2());
        let inside = |offset: u64, bytes: u64| {
            offset.is_multiple_of(self.cluster_bytes)
                && offset.checked_add(bytes).is_some_and(|end| end <= len)
        };
        if self.l1_entries > MAX_L1_ENTRIES {
            Err(format!("an L1 table of {} entries is too large", self.l1_entries))
        } else if refcount_clusters == 0 || refcount_bytes > MAX_REFCOUNT_TABLE_BYTES {
            Err(format!("a refcount table of {refcount_bytes} bytes is impossible"))
        } else if !self.bytes.is_multiple_of(512) {
            Err(format!("a disk of {} bytes does not consist of whole sectors", self.bytes))
        } else if covered < u128::from(self.bytes) {
            Err(format!("its L1 table is too short for a disk of {} bytes", self.bytes))
        } else if !inside(self.l1_offset, l1_bytes) {
            Err(format!(
                "its L1 table at {:#x} is not within its {len} bytes; is it cut off?",
                self.l1_offset
            ))
        } else if !inside(refcount_offset, refcount_bytes.min(8)) {
            Err(format!(
                "its refcount table at {refcount_offset:#x} is not within its {len} bytes; is it cut off?"
            ))
        } else {
            Ok(())
        }
    }

    /// Refuses what imago cannot do or is not asked to do.
    pub(super) fn check_supported(&self, file: &ImageFile) -> Result<(), DiskError> {
        let path = || file.path().to_owned();
        let is = |feature| self.incompatible & feature != 0;
        let unsupported = |feature: &str, advice| {
            Err(DiskError::Unsupported { path: path(), feature: feature.to_owned(), advice })
        };
        const CONVERT: &str = "convert it with `qemu-img convert -O qcow2`";
        const REPAIR: &str = "repair it with `qemu-img check -r all`";
        if is(incompatible::CORRUPT) {
            let reason = format!("it is marked as damaged: {REPAIR}");
            return Err(DiskError::Damaged { path: path(), reason });
        }
        if is(incompatible::DIRTY) {
            return unsupported("lazy reference counts, and was not closed properly", REPAIR);
        }
        if self.is_encrypted {
            return unsupported("encryption", CONVERT);
        }
        if is(incompatible::DATA_FILE) {
            return unsupported("an external data file", CONVERT);
        }
        if is(incompatible::COMPRESSION) {
            return unsupported("a compression other than deflate", CONVERT);
        }
        if is(incompatible::EXTENDED_L2) {
            return unsupported("extended L2 entries", CONVERT);
        }
        if self.incompatible != 0 {
            return unsupported(&format!("unknown features ({:#x})", self.incompatible), CONVERT);
        }
        Ok(())
    }

    /// Whether the image is marked as damaged or not properly closed.
    pub(in crate::disk) fn needs_repair(&self) -> bool {
        self.incompatible & (incompatible::DIRTY | incompatible::CORRUPT) != 0
    }

    /// How much of the disk one L2 table has entries for, bytes.
    pub(super) fn bytes_per_l2(&self) -> u64 {
        // At most 2^39 by the cluster sizes there are.
        (self.cluster_bytes / 8) * self.cluster_bytes
    }

    /// Whether the image is encrypted.
    pub(in crate::disk) fn is_encrypted(&self) -> bool {
        self.is_encrypted
    }
}

fn backing(fields: &Fields<'_>, version: u32, header_bytes: usize) -> Result<Option<Backing>, String> {
    let (Some(offset), Some(len)) = (fields.u64(8), fields.u32(16)) else { return Ok(None) };
    if offset == 0 {
        return Ok(None);
    }
    if len > MAX_BACKING_NAME {
        return Err(format!("the name of its backing file has {len} bytes, more than {MAX_BACKING_NAME}"));
    }
    let place = usize::try_from(offset).ok();
    let name = place.and_then(|offset| fields.text(offset, len as usize));
    let name = name.ok_or("the name of its backing file cannot be read")?;
    let format = if version == 3 { backing_format(fields, header_bytes)? } else { None };
    Ok(Some(Backing { name, format }))
}

/// Goes through the header extensions: type, length, data padded to 8 bytes.
fn backing_format(fields: &Fields<'_>, header_bytes: usize) -> Result<Option<String>, String> {
    let mut offset = header_bytes;
    while let (Some(kind), Some(len)) = (fields.u32(offset), fields.u32(offset.saturating_add(4))) {
        let data = offset.saturating_add(8);
        match kind {
            extension::END => return Ok(None),
            extension::BACKING_FORMAT => {
                let format = fields.text(data, len as usize);
                return format
                    .map(Some)
                    .ok_or_else(|| "the format of its backing file cannot be read".to_owned());
            }
            _ => offset = data.saturating_add(len as usize).saturating_add(7) & !7,
        }
    }
    Ok(None)
}

#[cfg(test)]
#[path = "header_test.rs"]
mod header_test;
