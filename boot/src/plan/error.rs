//! Why kernel, initramfs and memory do not go together.

use super::Part;
use crate::acpi::AcpiError;
use crate::memory::{GpaRange, LayoutError};

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
    /// The command line holds a character no kernel can take.
    #[error("the command line has a control character ({character:?}) at offset {offset}")]
    CommandLineCharacter {
        /// The character.
        character: char,
        /// Its byte offset.
        offset: usize,
    },
    /// The command line is malformed in another way.
    #[error("the command line cannot be used: {0}")]
    CommandLine(String),
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
    /// A part's fixed place is not usable RAM.
    #[error("the {part} needs memory at {range}, which the layout reserves")]
    Reserved {
        /// The part.
        part: Part,
        /// Its range.
        range: GpaRange,
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
