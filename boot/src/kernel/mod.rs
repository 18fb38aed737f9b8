//! Kernel files: what they are, and what is in them.

mod bzimage;
mod elf;
pub(crate) mod setup_header;

use std::borrow::Cow;
use std::ops::Range;

use crate::memory::GpaRange;
use crate::unpack::{Compression, Unpack, UnpackError, unpack};
use bzimage::BzImage;
use elf::{ElfError, ElfKernel};
use setup_header::SetupHeader;

/// Why a kernel file cannot be loaded. Every message names the file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KernelError {
    /// The file has no bytes.
    #[error("{file}: the kernel file is empty")]
    Empty {
        /// File name.
        file: String,
    },
    /// The file ends before what its headers promise.
    #[error("{file}: the kernel file is cut short: {what} needs {needed:#x} bytes, the file has {found:#x}")]
    Truncated {
        /// File name.
        file: String,
        /// The part that is missing bytes.
        what: &'static str,
        /// Bytes needed, counted from the start of the file (or of the unpacked kernel).
        needed: u64,
        /// Bytes there are.
        found: u64,
    },
    /// Neither a bzImage nor an ELF file.
    #[error("{file}: not a Linux kernel (neither bzImage nor ELF)")]
    NotAKernel {
        /// File name.
        file: String,
    },
    /// An arm64 kernel for an x86 machine.
    #[error("{file}: an arm64 Image needs an arm64 engine, this machine is x86")]
    Arm64Image {
        /// File name.
        file: String,
    },
    /// An ELF file for another architecture, or one that is no executable.
    #[error("{file}: ELF file is not a kernel for x86: {detail}")]
    WrongElf {
        /// File name.
        file: String,
        /// What is wrong with it.
        detail: String,
    },
    /// A boot protocol before 2.06.
    #[error("{file}: boot protocol {}.{:02} is too old, 2.06 (Linux 2.6.22) is the oldest supported", .version >> 8, .version & 0xff)]
    OldProtocol {
        /// File name.
        file: String,
        /// Version as in the setup header: major in the high byte.
        version: u16,
    },
    /// A zImage, loaded below 1 MiB.
    #[error("{file}: a zImage (kernel loaded low) is not supported, only bzImage")]
    ZImage {
        /// File name.
        file: String,
    },
    /// A header's field contradicts the others.
    #[error("{file}: the kernel's header is damaged: {detail}")]
    Damaged {
        /// File name.
        file: String,
        /// What is wrong with it.
        detail: String,
    },
    /// The payload's first bytes are of no known format.
    #[error("{file}: the kernel's payload has an unknown compression (it begins {:02x?}); try --unpack guest", .magic)]
    UnknownCompression {
        /// File name.
        file: String,
        /// The payload's first bytes.
        magic: [u8; 6],
    },
    /// The payload does not unpack.
    #[error("{file}: the kernel's payload cannot be unpacked")]
    Unpack {
        /// File name.
        file: String,
        /// Why.
        source: UnpackError,
    },
}

/// What kind of file a kernel came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KernelFormat {
    /// A bzImage.
    BzImage {
        /// Boot protocol version, major in the high byte.
        protocol: u16,
        /// The payload's compression, where it was looked at.
        compression: Option<Compression>,
    },
    /// An ELF executable.
    Elf,
}

/// The way a kernel is entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryPoint {
    /// Long mode, identity page tables, RSI = zero page.
    Linux64,
    /// Flat protected mode without paging, ESI = zero page.
    Linux32,
    /// Flat protected mode without paging, EBX = PVH start info.
    Pvh,
}

/// A kernel ready to be placed.
#[derive(Clone, Debug)]
pub struct KernelImage<'a> {
    file: String,
    format: KernelFormat,
    version: Option<String>,
    entry: EntryPoint,
    /// The file, or what was unpacked from it.
    bytes: Cow<'a, [u8]>,
    pub(crate) layout: KernelLayout,
}

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

impl<'a> KernelImage<'a> {
    /// Looks at `bytes`, the whole of the kernel file called `file`, and unpacks its payload where `unpack` asks for it.
    ///
    /// `max_unpacked` bounds the unpacked size in bytes: the guest's RAM size is the natural choice.
    ///
    /// # Errors
    /// [`KernelError`] says what is wrong with the file.
    pub fn load(
        bytes: impl Into<Cow<'a, [u8]>>,
        file: &str,
        unpack: Unpack,
        max_unpacked: u64,
    ) -> Result<Self, KernelError> {
        let bytes = bytes.into();
        let max_unpacked = usize::try_from(max_unpacked).unwrap_or(usize::MAX);
        if bytes.is_empty() {
            return Err(KernelError::Empty { file: file.to_owned() });
        }
        // A bare kernel may itself be packed (vmlinux.gz, an arm64 Image.gz); no guest could unpack that.
        if let Some(format) = Compression::detect(&bytes) {
            let mut unpacked = Vec::new();
            unpack_whole(format, &bytes, &mut unpacked, max_unpacked)
                .map_err(|source| KernelError::Unpack { file: file.to_owned(), source })?;
            return Self::load_bare(Cow::Owned(unpacked), file, unpack, max_unpacked);
        }
        Self::load_bare(bytes, file, unpack, max_unpacked)
    }

    fn load_bare(
        bytes: Cow<'a, [u8]>,
        file: &str,
        unpack: Unpack,
        max_unpacked: usize,
    ) -> Result<Self, KernelError> {
        if elf::is_elf(&bytes) {
            return Self::load_elf(bytes, file);
        }
        if is_arm64(&bytes) {
            return Err(KernelError::Arm64Image { file: file.to_owned() });
        }
        match SetupHeader::find(&bytes) {
            Some(header) => {
                let image = BzImage::parse(&bytes, header, file)?;
                Self::load_bzimage(bytes, image, file, unpack, max_unpacked)
            }
            None => Err(KernelError::NotAKernel { file: file.to_owned() }),
        }
    }

    fn load_bzimage(
        bytes: Cow<'a, [u8]>,
        image: BzImage,
        file: &str,
        unpack: Unpack,
        max_unpacked: usize,
    ) -> Result<Self, KernelError> {
        let protocol = image.header.version();
        let vmlinux = match unpack {
            Unpack::Host => image.vmlinux(&bytes, file, max_unpacked)?,
            Unpack::Guest => None,
        };
        let (layout, entry, compression, bytes) = match vmlinux {
            Some((compression, vmlinux)) => {
                let elf = parse_elf(&vmlinux, file)?;
                let entry = if elf.is_64bit { EntryPoint::Linux64 } else { EntryPoint::Linux32 };
                (unpacked_layout(&elf, image.header, file)?, entry, compression, Cow::Owned(vmlinux))
            }
            None => {
                let entry =
                    if image.header.has_64bit_entry() { EntryPoint::Linux64 } else { EntryPoint::Linux32 };
                (packed_layout(image.kernel, image.header, entry, file)?, entry, None, bytes)
            }
        };
        Ok(Self {
            file: file.to_owned(),
            format: KernelFormat::BzImage { protocol, compression },
            version: image.version,
            entry,
            bytes,
            layout,
        })
    }

    fn load_elf(bytes: Cow<'a, [u8]>, file: &str) -> Result<Self, KernelError> {
        let elf = parse_elf(&bytes, file)?;
        let (entry, entry_address) = match elf.pvh_entry {
            Some(address) => (EntryPoint::Pvh, u64::from(address)),
            None if elf.is_64bit => (EntryPoint::Linux64, elf.entry),
            None => (EntryPoint::Linux32, elf.entry),
        };
        let layout = KernelLayout {
            segments: segments(&elf),
            entry_address,
            footprint: elf.span(),
            header: SetupHeader::synthetic(),
            cmdline_limit: ELF_CMDLINE_SIZE,
            initramfs_max: if elf.is_64bit { ELF_INITRAMFS_MAX } else { ELF32_INITRAMFS_MAX },
            initramfs_anywhere: false,
        };
        check_entry(&layout, file)?;
        Ok(Self { file: file.to_owned(), format: KernelFormat::Elf, version: None, entry, bytes, layout })
    }

    /// The file's name, as given to [`Self::load`].
    pub fn file(&self) -> &str {
        &self.file
    }

    /// What kind of file it is.
    pub fn format(&self) -> KernelFormat {
        self.format
    }

    /// How it will be entered.
    pub fn entry_point(&self) -> EntryPoint {
        self.entry
    }

    /// The kernel's own version text, where its header has one.
    pub fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }

    /// Bytes that will be copied into the guest (after unpacking).
    pub fn loaded_size(&self) -> u64 {
        self.layout.segments.iter().map(|segment| segment.bytes.len() as u64).sum()
    }

    /// The bytes of one of the segments.
    pub(crate) fn segment_bytes(&self, segment: &KernelSegment) -> &[u8] {
        self.bytes.get(segment.bytes.clone()).unwrap_or_default()
    }
}

/// A vmlinux that came out of a bzImage: its segments at their physical addresses, where its relocations are not needed.
fn unpacked_layout(elf: &ElfKernel, header: SetupHeader, file: &str) -> Result<KernelLayout, KernelError> {
    let span = elf.span();
    // A 64-bit kernel's relocation record follows the ELF file; it concerns only kernels placed elsewhere.
    let room = GpaRange::new(span.start, header.init_size().map_or(0, u64::from));
    let footprint = GpaRange::between(span.start, span.end().max(room.end()));
    let layout = KernelLayout {
        segments: segments(elf),
        entry_address: elf.entry,
        footprint,
        cmdline_limit: header.cmdline_size() as usize,
        initramfs_max: u64::from(header.initrd_addr_max()),
        initramfs_anywhere: elf.is_64bit && header.takes_ramdisk_above_4g(),
        header,
    };
    check_entry(&layout, file)?;
    Ok(layout)
}

/// A bzImage that unpacks itself.
fn packed_layout(
    (offset, size): (usize, usize),
    header: SetupHeader,
    entry: EntryPoint,
    file: &str,
) -> Result<KernelLayout, KernelError> {
    // A kernel that can be moved is put where it wants to run, which spares it moving itself.
    let load = match header.pref_address() {
        Some(preferred) if header.relocatable() => preferred,
        _ => u64::from(header.code32_start()),
    };
    let damaged = |detail: String| Err(KernelError::Damaged { file: file.to_owned(), detail });
    if load < 0x10_0000 || load > u64::from(u32::MAX) {
        return damaged(format!("its load address is {load:#x}"));
    }
    let size_in_file = size as u64;
    let room = match header.init_size() {
        // Kernels that cannot be moved unpack to where they run, and need the room there.
        Some(init_size) => {
            let runs_at = header.pref_address().unwrap_or(load).max(load);
            runs_at.saturating_add(u64::from(init_size))
        }
        None => load.saturating_add(size_in_file.saturating_mul(OLD_KERNEL_GROWTH)),
    };
    let footprint = GpaRange::between(load, room.max(load.saturating_add(size_in_file)));
    Ok(KernelLayout {
        segments: vec![KernelSegment { gpa: load, bytes: offset..offset + size, memory_size: size_in_file }],
        entry_address: load + if entry == EntryPoint::Linux64 { ENTRY_64 } else { 0 },
        footprint,
        cmdline_limit: header.cmdline_size() as usize,
        initramfs_max: u64::from(header.initrd_addr_max()),
        initramfs_anywhere: entry == EntryPoint::Linux64 && header.takes_ramdisk_above_4g(),
        header,
    })
}

fn segments(elf: &ElfKernel) -> Vec<KernelSegment> {
    let segment = |segment: &elf::ElfSegment| KernelSegment {
        gpa: segment.gpa,
        bytes: segment.offset..segment.offset + segment.file_size,
        memory_size: segment.memory_size,
    };
    elf.segments.iter().map(segment).collect()
}

/// The first instruction must be in the kernel, and below 4 GiB where the identity page tables end.
fn check_entry(layout: &KernelLayout, file: &str) -> Result<(), KernelError> {
    let entry = GpaRange::new(layout.entry_address, 1);
    let inside = layout
        .segments
        .iter()
        .any(|segment| GpaRange::new(segment.gpa, segment.bytes.len() as u64).contains(&entry));
    if inside && entry.start <= u64::from(u32::MAX) {
        return Ok(());
    }
    let detail = format!("its entry point {:#x} is not in the kernel", entry.start);
    Err(KernelError::Damaged { file: file.to_owned(), detail })
}

fn parse_elf(bytes: &[u8], file: &str) -> Result<ElfKernel, KernelError> {
    let file = file.to_owned();
    ElfKernel::parse(bytes).map_err(|error| match error {
        ElfError::Truncated { what, needed } => {
            KernelError::Truncated { file, what, needed, found: bytes.len() as u64 }
        }
        ElfError::Arm64 => KernelError::Arm64Image { file },
        ElfError::Wrong(detail) => KernelError::WrongElf { file, detail },
    })
}

/// Unpacks all streams of one format that `data` consists of, as `gzip` and the others do with concatenated files.
fn unpack_whole(
    format: Compression,
    data: &[u8],
    out: &mut Vec<u8>,
    limit: usize,
) -> Result<(), UnpackError> {
    let mut rest = data;
    while Compression::detect(rest) == Some(format) {
        let taken = unpack(format, rest, 0, out, limit)?;
        rest = rest.get(taken.max(1)..).unwrap_or_default();
    }
    Ok(())
}

/// An arm64 Image (Documentation/arch/arm64/booting.rst, "magic number"), or a self-unpacking EFI image of one.
fn is_arm64(bytes: &[u8]) -> bool {
    const EFI_MACHINE_ARM64: [u8; 2] = [0x64, 0xaa];
    let image = bytes.get(56..60) == Some(b"ARM\x64");
    let pe_offset =
        bytes.get(60..64).and_then(|field| field.first_chunk::<4>()).map(|o| u32::from_le_bytes(*o) as usize);
    let efi = bytes.starts_with(b"MZ")
        && pe_offset
            .and_then(|pe| bytes.get(pe..)?.first_chunk::<6>())
            .is_some_and(|header| header.starts_with(b"PE\0\0") && header[4..] == EFI_MACHINE_ARM64);
    image || efi
}

#[cfg(test)]
#[path = "kernel_test.rs"]
mod kernel_test;
