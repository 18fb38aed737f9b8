//! From a kernel, an initramfs and a memory layout to placements and registers.

use std::borrow::Cow;
use std::fmt;

use crate::acpi::{AcpiConfig, AcpiError};
use crate::entry::registers::InitialState;
use crate::initramfs::Initramfs;
use crate::kernel::KernelImage;
use crate::memory::{E820Entry, GpaRange, LayoutError, MemoryLayout};

/// Everything a plan is made from.
#[derive(Clone, Copy, Debug)]
pub struct PlanRequest<'a> {
    /// The kernel.
    pub kernel: &'a KernelImage<'a>,
    /// The initramfs, if any.
    pub initramfs: Option<&'a Initramfs<'a>>,
    /// The kernel command line, without a terminating zero.
    pub cmdline: &'a str,
    /// RAM and reserved ranges.
    pub memory: &'a MemoryLayout,
    /// The machine ACPI describes; `None` places no tables.
    pub acpi: Option<&'a AcpiConfig>,
}

/// What a placement is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Kernel code and data.
    Kernel,
    /// Initramfs.
    Initramfs,
    /// The zero page (`boot_params`).
    ZeroPage,
    /// The command line.
    CommandLine,
    /// Identity page tables.
    PageTables,
    /// The global descriptor table.
    Gdt,
    /// The ACPI tables.
    Acpi,
    /// PVH start info, module list and memory map.
    StartInfo,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kernel => "kernel",
            Self::Initramfs => "initramfs",
            Self::ZeroPage => "zero page",
            Self::CommandLine => "command line",
            Self::PageTables => "page tables",
            Self::Gdt => "descriptor table",
            Self::Acpi => "ACPI tables",
            Self::StartInfo => "PVH start info",
        })
    }
}

/// Bytes to be copied into guest memory before the first instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement<'a> {
    /// What they are.
    pub part: Part,
    /// Where they go.
    pub gpa: u64,
    /// The bytes.
    pub bytes: Cow<'a, [u8]>,
    /// Size of the area in bytes, at least `bytes.len()`: what lies behind the bytes must read as zero (a kernel's BSS).
    pub size: u64,
}

impl Placement<'_> {
    /// The guest addresses the placement covers.
    pub fn range(&self) -> GpaRange {
        GpaRange::new(self.gpa, self.size)
    }
}

/// What to place where, and how to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootImage<'a> {
    /// Placements; no two overlap and each lies in RAM (the ACPI tables: in RAM or in the BIOS area below 1 MiB).
    pub placements: Vec<Placement<'a>>,
    /// The boot processor's registers.
    pub entry: InitialState,
    /// The memory map the kernel is given.
    pub e820: Vec<E820Entry>,
    /// Address of the RSDP, if there are ACPI tables.
    pub rsdp: Option<u64>,
}

/// Why kernel, initramfs and memory do not go together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The memory layout itself is unusable.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The ACPI tables cannot be made.
    #[error(transparent)]
    Acpi(#[from] AcpiError),
    /// The command line is longer than the kernel takes.
    #[error("the command line has {length} bytes, {file} takes at most {limit}")]
    CommandLineTooLong {
        /// The command line's length in bytes.
        length: usize,
        /// The kernel's limit in bytes.
        limit: usize,
        /// The kernel's file name.
        file: String,
    },
    /// The command line holds a byte no kernel can take.
    #[error("the command line has a control character ({byte:#04x}) at offset {offset}")]
    CommandLineCharacter {
        /// The byte.
        byte: u8,
        /// Its offset.
        offset: usize,
    },
    /// A part of the kernel lies outside RAM.
    #[error(
        "{file}: the kernel needs memory at {needed}, which is not all RAM (RAM ends at {ram_end:#x}); give the guest more memory"
    )]
    KernelDoesNotFit {
        /// The kernel's file name.
        file: String,
        /// The range it needs.
        needed: GpaRange,
        /// The end of guest RAM.
        ram_end: u64,
    },
    /// No room for the initramfs.
    #[error(
        "{file}: the initramfs of {size:#x} bytes does not fit: below {limit:#x} and beside the kernel at {kernel} the largest free range has {largest:#x} bytes; give the guest more memory or try --unpack guest"
    )]
    InitramfsDoesNotFit {
        /// The initramfs' file name.
        file: String,
        /// Its size in bytes.
        size: u64,
        /// The address below which the kernel wants it.
        limit: u64,
        /// The range the kernel takes.
        kernel: GpaRange,
        /// The largest range that was free.
        largest: u64,
    },
    /// Two parts want the same addresses.
    #[error("{first} at {first_range} and {second} at {second_range} overlap")]
    Overlap {
        /// One part.
        first: Part,
        /// Its range.
        first_range: GpaRange,
        /// The other part.
        second: Part,
        /// Its range.
        second_range: GpaRange,
    },
}

/// Decides where everything goes.
///
/// # Errors
/// [`PlanError`] says, with the numbers, what does not fit.
pub fn plan<'a>(request: &PlanRequest<'a>) -> Result<BootImage<'a>, PlanError> {
    Err(PlanError::KernelDoesNotFit {
        file: request.kernel.file().to_owned(),
        needed: GpaRange::new(0, 0),
        ram_end: 0,
    })
}
