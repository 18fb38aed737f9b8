//! A vmlinux reduced to what is placed: about half of what the kernel's build packs is a BSS written out as zeros, and
//! sections that nobody loads.

use super::elf::{ElfKernel, ElfSegment, program_header};
use super::layout::without_trailing_zeros;

/// An ELF file that loads like `file`, whose headers `elf` has. `None` where it would not be smaller.
pub(super) fn slim(file: &[u8], elf: &ElfKernel) -> Option<Vec<u8>> {
    let (header_size, entry_size) = if elf.is_64bit { (64, 56) } else { (52, 32) };
    let used = |segment: &ElfSegment| {
        let bytes = file.get(segment.offset..)?.get(..segment.file_size)?;
        bytes.get(..without_trailing_zeros(bytes))
    };
    let parts = elf.segments.iter().map(used).collect::<Option<Vec<&[u8]>>>()?;
    let table_end = header_size + entry_size * parts.len();
    let size = table_end + parts.iter().map(|part| part.len()).sum::<usize>();
    if size >= file.len() {
        return None;
    }

    let mut slim = Vec::with_capacity(size);
    slim.extend_from_slice(file.get(..header_size)?);
    // Program headers follow at once; there are no sections.
    let words: [(usize, usize, u64); 2] =
        if elf.is_64bit { [(32, 8, 64), (40, 8, 0)] } else { [(28, 4, 52), (32, 4, 0)] };
    for (offset, size, value) in words {
        slim[offset..offset + size].copy_from_slice(&value.to_le_bytes()[..size]);
    }
    let halves = header_size - 10;
    slim[halves..halves + 2].copy_from_slice(&(entry_size as u16).to_le_bytes());
    slim[halves + 2..halves + 4].copy_from_slice(&(parts.len() as u16).to_le_bytes());
    slim[halves + 6..].fill(0);
    let mut offset = table_end;
    for (segment, part) in elf.segments.iter().zip(&parts) {
        let placed = ElfSegment { offset, file_size: part.len(), ..*segment };
        slim.extend(program_header(&placed, elf.is_64bit));
        offset += part.len();
    }
    parts.iter().for_each(|part| slim.extend_from_slice(part));
    Some(slim)
}

#[cfg(test)]
#[path = "slim_test.rs"]
mod slim_test;
