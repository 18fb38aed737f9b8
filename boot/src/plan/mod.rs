//! From a kernel, an initramfs and a memory layout to placements and registers.

mod error;
mod floor;

use std::borrow::Cow;
use std::fmt;

use linux_loader::cmdline::{self, Cmdline};

use crate::acpi::{AcpiConfig, AcpiTables};
use crate::entry::registers::InitialState;
use crate::entry::{long_mode, low_memory, protected_mode, start_info, zero_page};
use crate::initramfs::Initramfs;
use crate::kernel::{EntryPoint, KernelImage};
use crate::memory::{E820Entry, GpaRange, HIGH_RAM_START, MemoryLayout};
pub use error::PlanError;
use floor::Floor;

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

/// Memory is mapped and described in pages.
const PAGE: u64 = 0x1000;

/// Decides where everything goes.
///
/// # Errors
/// [`PlanError`] says, with the numbers, what does not fit.
pub fn plan<'a>(request: &PlanRequest<'a>) -> Result<BootImage<'a>, PlanError> {
    let kernel = request.kernel;
    let layout = &kernel.layout;
    let mut floor = Floor::new(request.memory.usable_ram()?);

    floor.place_kernel(kernel, request.memory.ram_end())?;
    let cmdline = command_line(request.cmdline, layout.cmdline_limit, kernel.file())?;
    floor.place(Part::CommandLine, low_memory::COMMAND_LINE, cmdline)?;
    let acpi = request
        .acpi
        .map(|config| AcpiTables::build(config, GpaRange::between(low_memory::ACPI, HIGH_RAM_START)));
    let acpi = acpi.transpose()?;
    let rsdp = acpi.as_ref().map(AcpiTables::rsdp);
    let acpi_range = acpi.as_ref().map(|tables| {
        GpaRange::between(
            tables.gpa,
            tables.gpa.saturating_add(tables.bytes.len() as u64).next_multiple_of(PAGE),
        )
    });
    if let Some(tables) = acpi {
        // The tables lie in the BIOS area, which no other part may use; see `MemoryLayout::usable_ram`.
        let size = tables.bytes.len() as u64;
        floor.add(Placement { part: Part::Acpi, gpa: tables.gpa, bytes: tables.bytes.into(), size })?;
    }
    let e820 = request.memory.e820(acpi_range)?;
    let initramfs =
        request.initramfs.map(|initramfs| floor.place_initramfs(initramfs, kernel)).transpose()?;

    let entry_address = layout.entry_address;
    let entry = match kernel.entry_point() {
        EntryPoint::Linux64 => {
            floor.place(Part::PageTables, low_memory::PAGE_TABLES, long_mode::page_tables())?;
            long_mode::initial_state(entry_address)
        }
        EntryPoint::Linux32 => protected_mode::linux(entry_address),
        EntryPoint::Pvh => protected_mode::pvh(entry_address),
    };
    if kernel.entry_point() == EntryPoint::Pvh {
        let info = start_info::start_info(&e820, initramfs, low_memory::COMMAND_LINE, rsdp);
        floor.place(Part::StartInfo, low_memory::START_INFO, info)?;
    } else {
        let command_line = low_memory::COMMAND_LINE as u32;
        let page = zero_page::zero_page(&layout.header, &e820, initramfs, command_line, rsdp);
        floor.place(Part::ZeroPage, low_memory::ZERO_PAGE, page)?;
    }
    floor.place(Part::Gdt, low_memory::GDT, entry.gdt().to_vec())?;
    Ok(BootImage { placements: floor.into_placements(), entry, e820, rsdp })
}

/// The command line with its terminating zero.
fn command_line(text: &str, limit: usize, file: &str) -> Result<Vec<u8>, PlanError> {
    let text = text.trim();
    let limit = limit.min(low_memory::COMMAND_LINE_ROOM - 1);
    if text.len() > limit {
        return Err(PlanError::CommandLineTooLong { length: text.len(), limit, file: file.to_owned() });
    }
    if let Some((offset, character)) = text.char_indices().find(|(_, c)| c.is_control() && *c != '\t') {
        return Err(PlanError::CommandLineCharacter { character, offset });
    }
    let wrong = |error: cmdline::Error| PlanError::CommandLine(error.to_string());
    let line = Cmdline::try_from(text, limit + 1).map_err(wrong)?;
    Ok(line.as_cstring().map_err(wrong)?.into_bytes_with_nul())
}

#[cfg(test)]
#[path = "plan_test.rs"]
mod plan_test;
