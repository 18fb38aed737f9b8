//! Where each kind of kernel goes and what it asks of its loader.

use std::ops::Range;

use super::elf::{ElfKernel, ElfSegment};
use super::setup_header::SetupHeader;
use super::{EntryPoint, KernelError};
use crate::memory::{GpaRange, HIGH_RAM_START};

/// Where a kernel goes and what it asks of its loader.
#[derive(Clone, Debug)]
pub(crate) struct KernelLayout {
    pub(crate) segments: Vec<KernelSegment>,
    /// The first instruction's address.
    pub(crate) entry_address: u64,
    /// Everything the kernel needs for itself until it reads the memory map, the segments included.
    pub(crate) footprint: GpaRange,
    /// The header to be handed on in the zero page.
    pub(crate) header: SetupHeader,
    /// The longest command line in bytes, without the terminating zero.
    pub(crate) cmdline_limit: usize,
    /// The last byte an initramfs may have, where it can be helped.
    pub(crate) initramfs_max: u64,
    /// Whether an initramfs may lie above `initramfs_max` where there is no room below.
    pub(crate) initramfs_anywhere: bool,
}

/// A part of a kernel to be placed.
#[derive(Clone, Debug)]
pub(crate) struct KernelSegment {
    pub(crate) gpa: u64,
    /// The bytes, as a range of the image's.
    pub(crate) bytes: Range<usize>,
    /// Size in memory; the rest is zero.
    pub(crate) memory_size: u64,
}

/// COMMAND_LINE_SIZE of x86 kernels without its terminating zero, for files that do not tell.
const ELF_CMDLINE_SIZE: usize = 2047;

/// `initrd_addr_max` of x86-64 kernels, for files that do not tell.
const ELF_INITRAMFS_MAX: u64 = 0x7fff_ffff;

/// The same for 32-bit kernels: the end of their lowmem.
const ELF32_INITRAMFS_MAX: u64 = 0x37ff_ffff;

/// The offset of a bzImage's 64-bit entry.
const ENTRY_64: u64 = 0x200;

/// Room taken for unpacking by kernels that do not tell (protocol 2.09 and older), as a multiple of their packed size.
const OLD_KERNEL_GROWTH: u64 = 5;

impl KernelLayout {
    /// A vmlinux that came out of a bzImage: its segments at their physical addresses, where its relocations are not
    /// needed.
    pub(super) fn unpacked(
        elf: &ElfKernel,
        bytes: &[u8],
        header: SetupHeader,
        file: &str,
    ) -> Result<Self, KernelError> {
        let span = elf.span();
        let room = GpaRange::new(span.start, header.init_size().map_or(0, u64::from));
        let layout = Self {
            segments: segments(elf, bytes),
            entry_address: elf.entry,
            footprint: GpaRange::between(span.start, span.end().max(room.end())),
            cmdline_limit: header.cmdline_size() as usize,
            initramfs_max: u64::from(header.initrd_addr_max()),
            initramfs_anywhere: elf.is_64bit && header.takes_ramdisk_above_4g(),
            header,
        };
        layout.check_entry(file)?;
        Ok(layout)
    }

    /// An ELF file.
    pub(super) fn bare(
        elf: &ElfKernel,
        bytes: &[u8],
        entry_address: u64,
        file: &str,
    ) -> Result<Self, KernelError> {
        let layout = Self {
            segments: segments(elf, bytes),
            entry_address,
            footprint: elf.span(),
            header: SetupHeader::synthetic(),
            cmdline_limit: ELF_CMDLINE_SIZE,
            initramfs_max: if elf.is_64bit { ELF_INITRAMFS_MAX } else { ELF32_INITRAMFS_MAX },
            initramfs_anywhere: false,
        };
        layout.check_entry(file)?;
        Ok(layout)
    }

    /// A bzImage that unpacks itself; its protected-mode kernel lies at `offset` in the file.
    pub(super) fn packed(
        (offset, size): (usize, usize),
        header: SetupHeader,
        entry: EntryPoint,
        file: &str,
    ) -> Result<Self, KernelError> {
        // A kernel that can be moved is put where it wants to run, which spares it moving itself.
        let load = match header.pref_address() {
            Some(preferred) if header.relocatable() => preferred,
            _ => u64::from(header.code32_start()),
        };
        if load < HIGH_RAM_START || load > u64::from(u32::MAX) {
            let detail = format!("its load address is {load:#x}");
            return Err(KernelError::Damaged { file: file.to_owned(), detail });
        }
        let memory_size = size as u64;
        let room = match header.init_size() {
            // A kernel that cannot be moved unpacks to where it runs, and needs the room there.
            Some(init_size) => {
                let runs_at = header.pref_address().unwrap_or(load).max(load);
                runs_at.saturating_add(u64::from(init_size))
            }
            None => load.saturating_add(memory_size.saturating_mul(OLD_KERNEL_GROWTH)),
        };
        Ok(Self {
            segments: vec![KernelSegment { gpa: load, bytes: offset..offset + size, memory_size }],
            entry_address: load + if entry == EntryPoint::Linux64 { ENTRY_64 } else { 0 },
            footprint: GpaRange::between(load, room.max(load.saturating_add(memory_size))),
            cmdline_limit: header.cmdline_size() as usize,
            initramfs_max: u64::from(header.initrd_addr_max()),
            initramfs_anywhere: entry == EntryPoint::Linux64 && header.takes_ramdisk_above_4g(),
            header,
        })
    }

    /// The first instruction must be in the kernel, and below 4 GiB where the identity page tables end.
    fn check_entry(&self, file: &str) -> Result<(), KernelError> {
        let entry = GpaRange::new(self.entry_address, 1);
        let in_segment =
            |segment: &KernelSegment| GpaRange::new(segment.gpa, segment.memory_size).contains(&entry);
        if self.segments.iter().any(in_segment) && entry.start <= u64::from(u32::MAX) {
            return Ok(());
        }
        let detail = format!("its entry point {:#x} is not in the kernel", entry.start);
        Err(KernelError::Damaged { file: file.to_owned(), detail })
    }
}

/// The segments of `elf` without the zeros at their ends, which memory has anyway: a vmlinux made by the kernel's build
/// carries its BSS along, tens of megabytes.
fn segments(elf: &ElfKernel, file: &[u8]) -> Vec<KernelSegment> {
    let segment = |segment: &ElfSegment| {
        let bytes = segment.offset..segment.offset + segment.file_size;
        let used = file.get(bytes.clone()).map_or(0, without_trailing_zeros);
        KernelSegment {
            gpa: segment.gpa,
            bytes: bytes.start..bytes.start + used,
            memory_size: segment.memory_size,
        }
    };
    elf.segments.iter().map(segment).collect()
}

/// Bytes up to the last that is not zero, rounded up to whole chunks.
pub(super) fn without_trailing_zeros(bytes: &[u8]) -> usize {
    const CHUNK: usize = 4096;
    let zero_chunks =
        bytes.rchunks(CHUNK).take_while(|chunk| chunk.iter().fold(0, |or, byte| or | byte) == 0);
    bytes.len() - zero_chunks.map(<[u8]>::len).sum::<usize>()
}
