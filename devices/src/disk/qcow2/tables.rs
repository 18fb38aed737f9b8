//! The tables of a qcow2 file, looked at before imago follows and changes them.
//!
//! Source: QEMU's docs/interop/qcow2, sections "Host cluster management" and "L1 table".

use std::ops::Range;

use super::header::Header;
use super::view::View;
use crate::disk::buffers::Source;
use crate::disk::error::DiskError;
use crate::disk::file::ImageFile;

/// What tables are, to those that write them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Table {
    /// The header, or one of the two tables that it names.
    Root,
    /// Says where data is.
    L2,
    /// Says what is used.
    RefcountBlock,
}

/// A cluster of a table.
#[derive(Debug, Clone, Copy)]
struct Part {
    place: u64,
    table: Table,
    name: &'static str,
}

/// Which of `parts` is at `place`, or where among them it would be.
fn find(parts: &[Part], place: u64) -> Result<usize, usize> {
    parts.binary_search_by_key(&place, |part| part.place)
}

/// A table that names others of one kind.
#[derive(Debug)]
struct Index {
    /// Of its first entry, in the file.
    start: u64,
    /// The bits of an entry that are an offset.
    mask: u64,
    table: Table,
    name: &'static str,
    entries: Vec<u64>,
}

/// In an entry of the L1 table: nobody else names that L2 table, so that it is not copied before it is changed.
const COPIED: u64 = 1 << 63;

/// Where the tables are.
#[derive(Debug)]
pub(in crate::disk) struct Tables {
    /// All clusters of all of them, in the order of the file.
    parts: Vec<Part>,
    cluster_bytes: u64,
    refcount_order: u32,
    bytes_per_l2: u64,
    /// The L1 table.
    l2_tables: Index,
    /// The refcount table.
    refcount_blocks: Index,
}

impl Tables {
    /// Reads where the tables are; refuses those that do not lie within the file, each by itself. What lies elsewhere would
    /// read as a hole where there was data, and blocks of counts that are all the same one could keep an allocation busy
    /// for hours.
    ///
    /// `header` has been checked: it bounds what is read, and the L1 and refcount tables begin within the file.
    pub(in crate::disk) fn read(header: &Header, view: View<'_>) -> Result<Self, DiskError> {
        let (file, len) = (view.file, view.len()?);
        let damaged = |reason| DiskError::Damaged { path: file.path().to_owned(), reason };
        let l1_bytes = u64::from(header.l1_entries) * 8;
        let refcount_bytes = u64::from(header.refcount_clusters).saturating_mul(header.cluster_bytes);
        let l2_tables = Index {
            start: header.l1_offset,
            mask: 0x00ff_ffff_ffff_fe00,
            table: Table::L2,
            name: "L2 table",
            entries: Vec::new(),
        };
        let refcount_blocks = Index {
            start: header.refcount_offset,
            mask: !0x1ff,
            table: Table::RefcountBlock,
            name: "refcount block",
            entries: Vec::new(),
        };
        let (l2_tables, refcount_blocks) =
            (l2_tables.read(view, l1_bytes)?, refcount_blocks.read(view, refcount_bytes)?);

        let mut parts = vec![Part { place: 0, table: Table::Root, name: "header" }];
        for part in l2_tables.parts().chain(refcount_blocks.parts()) {
            let Part { place, name, .. } = part;
            let end = place.checked_add(header.cluster_bytes).filter(|end| *end <= len);
            if end.is_none() || !place.is_multiple_of(header.cluster_bytes) {
                return Err(damaged(format!(
                    "its {name} at {place:#x} is not within its {len} bytes; is it cut off?"
                )));
            }
            parts.push(part);
        }
        for (name, start, bytes) in [
            ("L1 table", header.l1_offset, l1_bytes),
            ("refcount table", header.refcount_offset, refcount_bytes),
        ] {
            let places = (0..bytes).step_by(header.cluster_bytes as usize).map(|at| start.saturating_add(at));
            parts.extend(places.map(|place| Part { place, table: Table::Root, name }));
        }
        parts.sort_unstable_by_key(|part| (part.place, part.name));
        let shared = parts.iter().zip(parts.iter().skip(1)).find(|(one, next)| one.place == next.place);
        if let Some((Part { place, name, .. }, next)) = shared {
            return Err(damaged(format!(
                "its {name} and its {} are both said to be at {place:#x}",
                next.name
            )));
        }
        let &Header { cluster_bytes, refcount_order, .. } = header;
        let bytes_per_l2 = header.bytes_per_l2();
        Ok(Self { parts, cluster_bytes, refcount_order, bytes_per_l2, l2_tables, refcount_blocks })
    }

    /// Takes over what `bytes`, written at `offset`, say in the L1 or refcount table; answers the places of what was not
    /// named before. Nothing if they go elsewhere, or name something twice.
    pub(super) fn enter(&mut self, offset: u64, bytes: &[u8]) -> Option<Vec<u64>> {
        let (entries, []) = bytes.as_chunks::<8>() else { return None };
        let (index, first) = [&mut self.l2_tables, &mut self.refcount_blocks]
            .into_iter()
            .find_map(|index| index.find(offset, entries.len()).map(|first| (index, first)))?;
        let mut new = Vec::new();
        for (entry, bytes) in index.entries.iter_mut().skip(first).zip(entries) {
            let old = std::mem::replace(entry, u64::from_be_bytes(*bytes)) & index.mask;
            let named = *entry & index.mask;
            if old == named {
                continue;
            }
            if old != 0
                && let Ok(at) = find(&self.parts, old)
            {
                self.parts.remove(at);
            }
            if named != 0 {
                let at = find(&self.parts, named).err()?;
                self.parts.insert(at, Part { place: named, table: index.table, name: index.name });
                new.push(named);
            }
        }
        Some(new)
    }

    /// The places of what `before` does not name.
    pub(super) fn not_in(&self, before: &Self) -> Vec<u64> {
        let places = self.parts.iter().map(|part| part.place);
        places.filter(|place| find(&before.parts, *place).is_err()).collect()
    }

    /// Whether there is an L2 table for the byte at `offset` of the disk, and that of no snapshot.
    pub(super) fn has_l2_for(&self, offset: u64) -> bool {
        let index = usize::try_from(offset / self.bytes_per_l2).ok();
        let entry = index.and_then(|index| self.l2_tables.entries.get(index));
        entry.is_some_and(|entry| entry & self.l2_tables.mask != 0 && entry & COPIED != 0)
    }

    /// The table of which `range` has a part. None is written together with anything else.
    pub(super) fn at(&self, range: &Range<u64>) -> Option<Table> {
        let after = self.parts.partition_point(|part| part.place < range.end);
        let last = after.checked_sub(1).and_then(|last| self.parts.get(last))?;
        (last.place.saturating_add(self.cluster_bytes) > range.start).then_some(last.table)
    }

    /// Each cluster of a table counts as used. Else it would be given out again, and new data or tables be written over it.
    pub(super) fn check_counts(&self, file: &ImageFile) -> Result<(), DiskError> {
        for Part { place, name, .. } in &self.parts {
            if self.count(*place, file)?.is_none_or(|count| count.is_zero()) {
                let reason = format!(
                    "its {name} at {place:#x} counts as free, and would be written over: \
                     repair it with `qemu-img check -r all`"
                );
                return Err(DiskError::Damaged { path: file.path().to_owned(), reason });
            }
        }
        Ok(())
    }

    /// Writes a count of 1 for each of these clusters that counts as free in the file: imago keeps the counts of new tables in
    /// memory while it names the tables already.
    pub(super) fn count_new(&self, places: &[u64], file: &ImageFile) -> Result<(), DiskError> {
        for place in places {
            if let Some(mut count) = self.count(*place, file)?.filter(Count::is_zero) {
                count.set_to_one();
                let source = Source::of_bytes(count.bytes());
                file.write(source, count.place).map_err(|error| file.io_error("write it", error))?;
            }
        }
        Ok(())
    }

    /// The reference count of the cluster at `place`, if there is a block for it.
    fn count(&self, place: u64, file: &ImageFile) -> Result<Option<Count>, DiskError> {
        let cluster = place / self.cluster_bytes;
        let counts_per_block = (self.cluster_bytes * 8) >> self.refcount_order;
        let block = usize::try_from(cluster / counts_per_block).ok();
        let block = block.and_then(|block| self.refcount_blocks.place(block));
        let Some(block) = block else { return Ok(None) };
        let bit = (cluster % counts_per_block) << self.refcount_order;
        let place = block.saturating_add(bit / 8);
        let mut count =
            Count { place, buffer: [0; 8], bits: 1 << self.refcount_order, shift: bit as u32 % 8 };
        View::of(file).read_up_to(count.bytes_mut(), place)?;
        Ok(Some(count))
    }
}

/// A reference count, big-endian; those of less than a byte begin at its lowest bit.
struct Count {
    /// Of its first byte, in the file.
    place: u64,
    buffer: [u8; 8],
    bits: u32,
    /// Of a count in a part of a byte.
    shift: u32,
}

impl Count {
    fn bytes(&self) -> &[u8] {
        self.buffer.get(..self.bits.div_ceil(8) as usize).unwrap_or_default()
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        self.buffer.get_mut(..self.bits.div_ceil(8) as usize).unwrap_or_default()
    }

    /// Those of its last byte.
    fn mask(&self) -> u8 {
        if self.bits < 8 { ((1 << self.bits) - 1) << self.shift } else { u8::MAX }
    }

    fn is_zero(&self) -> bool {
        let mask = self.mask();
        self.bytes().iter().all(|byte| byte & mask == 0)
    }

    /// Of one that is 0.
    fn set_to_one(&mut self) {
        let one = 1 << self.shift;
        if let Some(last) = self.bytes_mut().last_mut() {
            *last |= one;
        }
    }
}

impl Index {
    /// Reads its `bytes` of entries.
    fn read(mut self, view: View<'_>, bytes: u64) -> Result<Self, DiskError> {
        let mut table = vec![0; bytes as usize];
        view.read_up_to(&mut table, self.start)?;
        let (entries, _) = table.as_chunks::<8>();
        self.entries = entries.iter().map(|entry| u64::from_be_bytes(*entry)).collect();
        Ok(self)
    }

    /// What entry `number` names.
    fn place(&self, number: usize) -> Option<u64> {
        self.entries.get(number).map(|entry| entry & self.mask).filter(|place| *place != 0)
    }

    fn parts(&self) -> impl Iterator<Item = Part> {
        let places = (0..self.entries.len()).filter_map(|number| self.place(number));
        places.map(|place| Part { place, table: self.table, name: self.name })
    }

    /// The number of the entry at `offset` of the file, from which on there are as many as `count`.
    fn find(&self, offset: u64, count: usize) -> Option<usize> {
        let bytes = offset.checked_sub(self.start).filter(|bytes| bytes.is_multiple_of(8))?;
        let first = usize::try_from(bytes / 8).ok()?;
        (first.checked_add(count)? <= self.entries.len()).then_some(first)
    }
}

#[cfg(test)]
#[path = "tables_test.rs"]
mod tables_test;
