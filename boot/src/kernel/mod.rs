//! Kernel files: what they are, and what is in them.

mod bzimage;
mod elf;
mod error;
mod layout;
pub(crate) mod setup_header;
mod slim;

use std::borrow::Cow;

use crate::unpack::store::Bytes;
use crate::unpack::{Compression, LoadOptions, Unpack, UnpackError, unpack};
use bzimage::{BzImage, Vmlinux};
use elf::{ElfError, ElfKernel};
pub use error::KernelError;
pub(crate) use layout::{KernelLayout, KernelSegment};
use setup_header::SetupHeader;

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
    bytes: Bytes<'a>,
    pub(crate) layout: KernelLayout,
}

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
        Self::load_with(bytes, file, &LoadOptions { unpack, max_unpacked, store: None })
    }

    /// Like [`Self::load`], with all options.
    ///
    /// # Errors
    /// [`KernelError`] says what is wrong with the file.
    pub fn load_with(
        bytes: impl Into<Cow<'a, [u8]>>,
        file: &str,
        options: &LoadOptions<'_>,
    ) -> Result<Self, KernelError> {
        let bytes = bytes.into();
        if bytes.is_empty() {
            return Err(KernelError::Empty { file: file.to_owned() });
        }
        // A bare kernel may itself be packed (vmlinux.gz, an arm64 Image.gz); no guest could unpack that.
        if let Some(format) = Compression::detect(&bytes) {
            let mut unpacked = Vec::new();
            unpack_whole(format, &bytes, &mut unpacked, options.limit())
                .map_err(|source| KernelError::Unpack { file: file.to_owned(), source })?;
            return Self::load_bare(unpacked.into(), file, options);
        }
        Self::load_bare(Bytes::Given(bytes), file, options)
    }

    fn load_bare(bytes: Bytes<'a>, file: &str, options: &LoadOptions<'_>) -> Result<Self, KernelError> {
        if elf::is_elf(&bytes) {
            return Self::load_elf(bytes, file);
        }
        if is_arm64(&bytes) {
            return Err(KernelError::Arm64Image { file: file.to_owned() });
        }
        match SetupHeader::find(&bytes) {
            Some(header) => {
                let image = BzImage::parse(&bytes, header, file)?;
                Self::load_bzimage(bytes, image, file, options)
            }
            None => Err(KernelError::NotAKernel { file: file.to_owned() }),
        }
    }

    fn load_bzimage(
        bytes: Bytes<'a>,
        image: BzImage,
        file: &str,
        options: &LoadOptions<'_>,
    ) -> Result<Self, KernelError> {
        let protocol = image.header.version();
        let vmlinux = match options.unpack {
            Unpack::Host => image.vmlinux(&bytes, file, options)?,
            Unpack::Guest => None,
        };
        let (layout, entry, compression, bytes) = match vmlinux {
            Some(Vmlinux { bytes, .. }) if !elf::is_elf(&bytes) => {
                let detail = "its payload is no vmlinux; try --unpack guest".to_owned();
                return Err(KernelError::Damaged { file: file.to_owned(), detail });
            }
            Some(Vmlinux { compression, bytes }) => {
                let elf = parse_elf(&bytes, file)?;
                let entry = if elf.is_64bit { EntryPoint::Linux64 } else { EntryPoint::Linux32 };
                let layout = KernelLayout::unpacked(&elf, &bytes, image.header, file)?;
                (layout, entry, compression, bytes)
            }
            None => {
                let entry =
                    if image.header.has_64bit_entry() { EntryPoint::Linux64 } else { EntryPoint::Linux32 };
                (KernelLayout::packed(image.kernel, image.header, entry, file)?, entry, None, bytes)
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

    fn load_elf(bytes: Bytes<'a>, file: &str) -> Result<Self, KernelError> {
        let elf = parse_elf(&bytes, file)?;
        let (entry, entry_address) = match elf.pvh_entry {
            Some(address) => (EntryPoint::Pvh, u64::from(address)),
            None if elf.is_64bit => (EntryPoint::Linux64, elf.entry),
            None => (EntryPoint::Linux32, elf.entry),
        };
        let layout = KernelLayout::bare(&elf, &bytes, entry_address, file)?;
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
