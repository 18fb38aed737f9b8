//! The tables of a qcow2 file, looked at before imago follows and changes them.
//!
//! Source: QEMU's docs/interop/qcow2, sections "Host cluster management" and "L1 table".

use super::header::{Header, read_up_to};
use crate::disk::error::DiskError;
use crate::disk::file::ImageFile;

/// Offsets of L2 tables in entries of the L1 table.
const L2_OFFSET: u64 = 0x00ff_ffff_ffff_fe00;

/// Offsets of refcount blocks in entries of the refcount table.
const REFCOUNT_BLOCK_OFFSET: u64 = !0x1ff;

/// Where the tables are.
pub(super) struct Tables {
    /// The cluster and kind of each, the header among them, in the order of the file. Larger tables have several clusters.
    clusters: Vec<(u64, &'static str)>,
    /// Places of the refcount blocks, as the refcount table has them; 0 for none.
    refcount_blocks: Vec<u64>,
}

impl Tables {
    /// Reads where the tables are; refuses those that do not lie within the file, each by itself. What lies elsewhere would
    /// read as a hole where there was data, and blocks of counts that are all the same one could keep an allocation busy
    /// for hours.
    ///
    /// `header` has been checked: it bounds what is read, and the L1 and refcount tables begin within the file.
    pub(super) fn read(header: &Header, file: &ImageFile) -> Result<Self, DiskError> {
        let len = file.len().map_err(|error| file.io_error("ask for its size", error))?;
        let l1_bytes = u64::from(header.l1_entries) * 8;
        let refcount_bytes = u64::from(header.refcount_clusters).saturating_mul(header.cluster_bytes);
        let l2_tables = read_table(file, header.l1_offset, l1_bytes, L2_OFFSET)?;
        let refcount_blocks =
            read_table(file, header.refcount_offset, refcount_bytes, REFCOUNT_BLOCK_OFFSET)?;

        let mut clusters = vec![(0, "header")];
        for (what, places) in [("L2 table", &l2_tables), ("refcount block", &refcount_blocks)] {
            for place in places.iter().copied().filter(|place| *place != 0) {
                let end = place.checked_add(header.cluster_bytes).filter(|end| *end <= len);
                if end.is_none() || !place.is_multiple_of(header.cluster_bytes) {
                    let reason =
                        format!("its {what} at {place:#x} is not within its {len} bytes; is it cut off?");
                    return Err(DiskError::Damaged { path: file.path().to_owned(), reason });
                }
                clusters.push((place, what));
            }
        }
        for (what, place, bytes) in [
            ("L1 table", header.l1_offset, l1_bytes),
            ("refcount table", header.refcount_offset, refcount_bytes),
        ] {
            let parts = (0..bytes).step_by(header.cluster_bytes as usize);
            clusters.extend(parts.map(|part| (place.saturating_add(part), what)));
        }
        clusters.sort_unstable();
        let shared = clusters.iter().zip(clusters.iter().skip(1)).find(|(one, next)| one.0 == next.0);
        if let Some(((place, one), (_, next))) = shared {
            let reason = format!("its {one} and its {next} are both said to be at {place:#x}");
            return Err(DiskError::Damaged { path: file.path().to_owned(), reason });
        }
        Ok(Self { clusters, refcount_blocks })
    }

    /// Each cluster of a table counts as used. Else it would be given out again, and new data or tables be written over it.
    pub(super) fn check_counts(&self, header: &Header, file: &ImageFile) -> Result<(), DiskError> {
        for (place, what) in &self.clusters {
            if !self.is_counted(*place, header, file)? {
                let reason = format!(
                    "its {what} at {place:#x} counts as free, and would be written over: \
                     repair it with `qemu-img check -r all`"
                );
                return Err(DiskError::Damaged { path: file.path().to_owned(), reason });
            }
        }
        Ok(())
    }

    /// Whether the cluster at `place` has a reference count above 0.
    fn is_counted(&self, place: u64, header: &Header, file: &ImageFile) -> Result<bool, DiskError> {
        let cluster = place / header.cluster_bytes;
        let counts_per_block = (header.cluster_bytes * 8) >> header.refcount_order;
        let block = usize::try_from(cluster / counts_per_block).ok();
        let Some(block) =
            block.and_then(|block| self.refcount_blocks.get(block)).filter(|block| **block != 0)
        else {
            return Ok(false);
        };
        let bit = (cluster % counts_per_block) << header.refcount_order;
        let bits = 1u32 << header.refcount_order;
        // Counts of less than a byte begin at its lowest bit.
        let mut count = [0; 8];
        let bytes = count.get_mut(..bits.div_ceil(8) as usize).unwrap_or_default();
        read_up_to(file, bytes, block.saturating_add(bit / 8))?;
        let mask = if bits < 8 { ((1u64 << bits) - 1) << (bit % 8) } else { u64::MAX };
        Ok(u64::from_le_bytes(count) & mask != 0)
    }
}

/// What the entries of a table name; 0 for nothing.
fn read_table(file: &ImageFile, place: u64, bytes: u64, mask: u64) -> Result<Vec<u64>, DiskError> {
    let mut table = vec![0; bytes as usize];
    read_up_to(file, &mut table, place)?;
    let (entries, _) = table.as_chunks::<8>();
    Ok(entries.iter().map(|entry| u64::from_be_bytes(*entry) & mask).collect())
}

#[cfg(test)]
#[path = "tables_test.rs"]
mod tables_test;
