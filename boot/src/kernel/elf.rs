//! ELF executables: segments, entry, PVH note (System V ABI, "Object Files"; x86/HVM direct boot ABI).

use crate::memory::GpaRange;

const MAGIC: &[u8] = b"\x7fELF";
const CLASS_32: u8 = 1;
const CLASS_64: u8 = 2;
const LITTLE_ENDIAN: u8 = 1;
const TYPE_EXEC: u16 = 2;
const TYPE_DYN: u16 = 3;
const MACHINE_386: u16 = 3;
const MACHINE_X86_64: u16 = 62;
const MACHINE_AARCH64: u16 = 183;
const PT_LOAD: u32 = 1;
const PT_NOTE: u32 = 4;
/// The note that holds a 32-bit entry point, of the owner "Xen" (XEN_ELFNOTE_PHYS32_ENTRY).
const NOTE_PVH_ENTRY: u32 = 18;
const NOTE_OWNER: &[u8] = b"Xen\0";
/// Program headers looked at, at most; a vmlinux has about five.
const MAX_PROGRAM_HEADERS: u64 = 64;
/// Bytes of a note segment looked at, at most.
const MAX_NOTES: usize = 64 << 10;

/// Why an ELF file is not loadable. The caller adds the file's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ElfError {
    Truncated { what: &'static str, needed: u64 },
    Arm64,
    Wrong(String),
}

/// A part of the file to be placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ElfSegment {
    /// Physical address.
    pub(crate) gpa: u64,
    /// Offset in the file.
    pub(crate) offset: usize,
    /// Bytes in the file.
    pub(crate) file_size: usize,
    /// Bytes in memory, at least `file_size`; the rest is zero.
    pub(crate) memory_size: u64,
}

impl ElfSegment {
    pub(crate) fn range(&self) -> GpaRange {
        GpaRange::new(self.gpa, self.memory_size)
    }
}

/// A kernel in ELF form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ElfKernel {
    pub(crate) is_64bit: bool,
    pub(crate) entry: u64,
    /// Entry of the PVH note, if there is one.
    pub(crate) pvh_entry: Option<u32>,
    /// In the file's order.
    pub(crate) segments: Vec<ElfSegment>,
}

pub(crate) fn is_elf(file: &[u8]) -> bool {
    file.starts_with(MAGIC)
}

/// One program header, widened to 64 bits.
struct ProgramHeader {
    kind: u32,
    offset: u64,
    physical: u64,
    file_size: u64,
    memory_size: u64,
    alignment: u64,
}

/// Little-endian fields at fixed offsets of one slice.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn u16(&self, offset: usize) -> Option<u16> {
        self.0.get(offset..)?.first_chunk().map(|bytes| u16::from_le_bytes(*bytes))
    }

    fn u32(&self, offset: usize) -> Option<u32> {
        self.0.get(offset..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
    }

    fn u64(&self, offset: usize) -> Option<u64> {
        self.0.get(offset..)?.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
    }

    /// An address-sized field.
    fn word(&self, offset: usize, is_64bit: bool) -> Option<u64> {
        if is_64bit { self.u64(offset) } else { self.u32(offset).map(u64::from) }
    }

    fn program_header(&self, is_64bit: bool) -> Option<ProgramHeader> {
        let at = |offset64, offset32| self.word(if is_64bit { offset64 } else { offset32 }, is_64bit);
        Some(ProgramHeader {
            kind: self.u32(0)?,
            offset: at(8, 4)?,
            physical: at(24, 12)?,
            file_size: at(32, 16)?,
            memory_size: at(40, 20)?,
            alignment: at(48, 28)?,
        })
    }
}

impl ElfKernel {
    /// Reads the headers of `file`.
    pub(crate) fn parse(file: &[u8]) -> Result<Self, ElfError> {
        let wrong = |detail: String| Err(ElfError::Wrong(detail));
        let header_cut = |needed| ElfError::Truncated { what: "the ELF header", needed };
        let ident: &[u8; 16] = file.first_chunk().ok_or(header_cut(16))?;
        if !is_elf(ident) {
            return wrong("it has no ELF magic".to_owned());
        }
        let is_64bit = match ident[4] {
            CLASS_32 => false,
            CLASS_64 => true,
            class => return wrong(format!("unknown class {class}")),
        };
        if ident[5] != LITTLE_ENDIAN {
            return wrong("it is big-endian".to_owned());
        }
        let header_size: usize = if is_64bit { 64 } else { 52 };
        let header = file.get(..header_size).ok_or(header_cut(header_size as u64))?;
        let header = Fields(header);
        let cut = || header_cut(header_size as u64);
        match header.u16(18).ok_or_else(cut)? {
            MACHINE_386 | MACHINE_X86_64 => {}
            MACHINE_AARCH64 => return Err(ElfError::Arm64),
            machine => return wrong(format!("its machine number is {machine}")),
        }
        match header.u16(16).ok_or_else(cut)? {
            TYPE_EXEC | TYPE_DYN => {}
            other => return wrong(format!("it is no executable (type {other})")),
        }
        let at = |offset64, offset32| if is_64bit { offset64 } else { offset32 };
        let entry = header.word(24, is_64bit).ok_or_else(cut)?;
        let table_offset = header.word(at(32, 28), is_64bit).ok_or_else(cut)?;
        let entry_size = u64::from(header.u16(at(54, 42)).ok_or_else(cut)?);
        let count = u64::from(header.u16(at(56, 44)).ok_or_else(cut)?);
        if entry_size < at(56, 32) as u64 {
            return wrong(format!("its program headers have {entry_size} bytes each"));
        }

        if count > MAX_PROGRAM_HEADERS {
            return wrong(format!("it has {count} program headers"));
        }

        let mut elf = Self { is_64bit, entry, pvh_entry: None, segments: Vec::new() };
        for index in 0..count {
            let offset = table_offset.saturating_add(index * entry_size);
            let bytes = part(file, offset, entry_size, "an ELF program header")?;
            let program = Fields(bytes).program_header(is_64bit).ok_or_else(cut)?;
            match program.kind {
                PT_LOAD if program.memory_size != 0 => elf.add_segment(file, &program)?,
                PT_NOTE => {
                    let notes = part(file, program.offset, program.file_size, "an ELF note segment")?;
                    elf.pvh_entry = elf
                        .pvh_entry
                        .or_else(|| pvh_entry(&notes[..notes.len().min(MAX_NOTES)], program.alignment));
                }
                _ => {}
            }
        }
        if elf.segments.is_empty() {
            return wrong("it has nothing to load".to_owned());
        }
        Ok(elf)
    }

    fn add_segment(&mut self, file: &[u8], program: &ProgramHeader) -> Result<(), ElfError> {
        let bytes = part(file, program.offset, program.file_size, "an ELF segment")?;
        let segment = ElfSegment {
            gpa: program.physical,
            offset: program.offset as usize,
            file_size: bytes.len(),
            memory_size: program.memory_size,
        };
        if program.file_size > program.memory_size {
            return Err(ElfError::Wrong(format!(
                "a segment at {:#x} has {:#x} bytes in the file but {:#x} in memory",
                segment.gpa, program.file_size, program.memory_size
            )));
        }
        if segment.gpa.checked_add(segment.memory_size).is_none() {
            return Err(ElfError::Wrong(format!(
                "a segment at {:#x} runs past the address space",
                segment.gpa
            )));
        }
        if let Some(other) = self.segments.iter().find(|other| other.range().overlaps(&segment.range())) {
            return Err(ElfError::Wrong(format!(
                "segments {} and {} overlap",
                other.range(),
                segment.range()
            )));
        }
        self.segments.push(segment);
        Ok(())
    }

    /// The addresses from the first segment's start to the last one's end.
    pub(crate) fn span(&self) -> GpaRange {
        let start = self.segments.iter().map(|segment| segment.gpa).min().unwrap_or(0);
        let end = self.segments.iter().map(|segment| segment.range().end()).max().unwrap_or(0);
        GpaRange::between(start, end)
    }
}

/// A program header for `segment`, the inverse of what [`ElfKernel::parse`] reads. Virtual address, flags and alignment do
/// not matter for loading.
pub(super) fn program_header(segment: &ElfSegment, is_64bit: bool) -> Vec<u8> {
    const ALL_RIGHTS: u32 = 7;
    let word = |value: u64| value.to_le_bytes().into_iter().take(if is_64bit { 8 } else { 4 });
    let addresses = [segment.offset as u64, 0, segment.gpa, segment.file_size as u64, segment.memory_size];
    let rights = ALL_RIGHTS.to_le_bytes();
    let mut header = PT_LOAD.to_le_bytes().to_vec();
    header.extend(rights.iter().filter(|_| is_64bit));
    header.extend(addresses.into_iter().flat_map(word));
    header.extend(rights.iter().filter(|_| !is_64bit));
    header.extend(word(1));
    header
}

fn part<'a>(file: &'a [u8], offset: u64, size: u64, what: &'static str) -> Result<&'a [u8], ElfError> {
    let end = offset.saturating_add(size);
    if end > file.len() as u64 {
        return Err(ElfError::Truncated { what, needed: end });
    }
    Ok(&file[offset as usize..end as usize])
}

/// Finds the PVH entry among `notes`. Notes of a wrong form end the search: other notes are none of our business.
fn pvh_entry(notes: &[u8], alignment: u64) -> Option<u32> {
    let align: usize = if alignment == 8 { 8 } else { 4 };
    let padded = |size: u32| (size as usize).checked_next_multiple_of(align);
    let mut rest = notes;
    loop {
        let fields = Fields(rest);
        let (owner_size, value_size, kind) = (fields.u32(0)?, fields.u32(4)?, fields.u32(8)?);
        // Only the value's start is aligned, counted from the note's own start.
        let value_offset = (12_usize).checked_add(owner_size as usize)?.checked_next_multiple_of(align)?;
        let value = rest.get(value_offset..)?.get(..value_size as usize)?;
        let owner = rest.get(12..)?.get(..owner_size as usize)?;
        if kind == NOTE_PVH_ENTRY && owner == NOTE_OWNER {
            return Fields(value).u32(0);
        }
        rest = rest.get(value_offset.checked_add(padded(value_size)?)?..)?;
    }
}

#[cfg(test)]
#[path = "elf_test.rs"]
mod elf_test;
