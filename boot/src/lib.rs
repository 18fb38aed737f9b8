//! Linux kernels and initramfs to guest memory images: loaders, decompression, zero page, ACPI.
//!
//! This crate is pure: files' bytes go in, "what to place where, and the registers to start with" comes out. It knows no
//! virtual machine and does no input or output.
//!
//! ```text
//! KernelImage::load ─┐
//! Initramfs::load ───┼─▶ plan(&PlanRequest) ─▶ BootImage { placements, entry, e820 }
//! MemoryLayout ──────┤
//! AcpiConfig ────────┘
//! ```
//!
//! `KernelImage::load` and `Initramfs::load` unpack (see [`Unpack`]) and are independent of each other: a caller runs
//! them on two threads.
//!
//! Specifications: Linux `Documentation/arch/x86/boot.rst` ("boot protocol"), `zero-page.rst`, the x86/HVM direct boot
//! ABI ("PVH"), ACPI 6.5, Intel SDM volume 3.

pub mod acpi;
mod entry;
mod initramfs;
mod kernel;
mod memory;
mod plan;
#[cfg(test)]
mod synthetic;
mod unpack;

pub use acpi::{AcpiConfig, AcpiError, AcpiTables};
pub use entry::registers::{InitialState, Segment, TableRegister};
pub use initramfs::{Initramfs, InitramfsError};
pub use kernel::{EntryPoint, KernelError, KernelFormat, KernelImage};
pub use memory::{E820Entry, E820Kind, GpaRange, LayoutError, MemoryLayout};
pub use plan::{BootImage, Part, Placement, PlanError, PlanRequest, plan};
pub use unpack::{Compression, KeptData, LoadOptions, Unpack, UnpackError, UnpackedStore};

#[cfg(test)]
mod mutation_test;
