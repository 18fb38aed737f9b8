//! From a kernel, an initramfs and a memory layout to placements and registers.

use std::borrow::Cow;
use std::fmt;

use linux_loader::cmdline::{self, Cmdline};

use crate::acpi::{AcpiConfig, AcpiError, AcpiTables};
use crate::entry::registers::InitialState;
use crate::entry::{long_mode, low_memory, protected_mode, start_info, zero_page};
use crate::initramfs::Initramfs;
use crate::kernel::{EntryPoint, KernelImage};
use crate::memory::{E820Entry, GpaRange, HIGH_RAM_START, LayoutError, MemoryLayout, subtract};

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

/// Initramfs are placed at page boundaries.
const PAGE: u64 = 0x1000;

/// Decides where everything goes.
///
/// # Errors
/// [`PlanError`] says, with the numbers, what does not fit.
pub fn plan<'a>(request: &PlanRequest<'a>) -> Result<BootImage<'a>, PlanError> {
    let kernel = request.kernel;
    let layout = &kernel.layout;
    let mut floor = Floor { usable: request.memory.usable_ram()?, placements: Vec::new() };

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
    Ok(BootImage { placements: floor.placements, entry, e820, rsdp })
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

/// Guest memory while it is being given out.
struct Floor<'a> {
    /// RAM that may be used, in order.
    usable: Vec<GpaRange>,
    placements: Vec<Placement<'a>>,
}

impl<'a> Floor<'a> {
    /// Places the kernel's segments. They must come first: errors speak of the kernel, not of what was there before.
    fn place_kernel(&mut self, kernel: &'a KernelImage<'a>, ram_end: u64) -> Result<(), PlanError> {
        let footprint = kernel.layout.footprint;
        if !self.usable.iter().any(|ram| ram.contains(&footprint)) {
            return Err(PlanError::KernelDoesNotFit {
                file: kernel.file().to_owned(),
                needed: footprint,
                ram_end,
            });
        }
        for segment in &kernel.layout.segments {
            let bytes = kernel.segment_bytes(segment).into();
            self.add(Placement { part: Part::Kernel, gpa: segment.gpa, bytes, size: segment.memory_size })?;
        }
        Ok(())
    }

    /// Places one of the loader's own structures, at a fixed address in low memory.
    fn place(&mut self, part: Part, gpa: u64, bytes: Vec<u8>) -> Result<(), PlanError> {
        let size = bytes.len() as u64;
        let range = GpaRange::new(gpa, size);
        if !self.usable.iter().any(|ram| ram.contains(&range)) {
            return Err(PlanError::Reserved { part, range });
        }
        self.add(Placement { part, gpa, bytes: bytes.into(), size })
    }

    fn add(&mut self, placement: Placement<'a>) -> Result<(), PlanError> {
        let range = placement.range();
        if let Some(other) = self.placements.iter().find(|other| other.range().overlaps(&range)) {
            return Err(PlanError::Overlap {
                first: other.part,
                first_range: other.range(),
                second: placement.part,
                second_range: range,
            });
        }
        self.placements.push(placement);
        Ok(())
    }

    /// Places the initramfs as high as the kernel allows: there it is out of the way of everything.
    fn place_initramfs(
        &mut self,
        initramfs: &'a Initramfs<'a>,
        kernel: &KernelImage<'_>,
    ) -> Result<GpaRange, PlanError> {
        let layout = &kernel.layout;
        let mut free = subtract(&self.usable, &GpaRange::between(0, HIGH_RAM_START));
        for taken in self.placements.iter().map(Placement::range).chain([layout.footprint]) {
            free = subtract(&free, &taken);
        }
        let size = initramfs.bytes().len() as u64;
        let limit = layout.initramfs_max.saturating_add(1);
        let found = highest(&free, size, limit)
            .or_else(|| layout.initramfs_anywhere.then(|| highest(&free, size, u64::MAX)).flatten());
        let Some(gpa) = found else {
            let below = |range: &GpaRange| range.end().min(limit).saturating_sub(range.start);
            return Err(PlanError::InitramfsDoesNotFit {
                file: initramfs.file().to_owned(),
                size,
                limit,
                kernel: layout.footprint,
                largest: free.iter().map(below).max().unwrap_or(0),
            });
        };
        self.add(Placement { part: Part::Initramfs, gpa, bytes: initramfs.bytes().into(), size })?;
        Ok(GpaRange::new(gpa, size))
    }
}

/// The highest page boundary at which `size` bytes lie in one of the `free` ranges and end at `limit` at most.
fn highest(free: &[GpaRange], size: u64, limit: u64) -> Option<u64> {
    let fit = |range: &GpaRange| {
        let start = range.end().min(limit).checked_sub(size)? & !(PAGE - 1);
        (start >= range.start).then_some(start)
    };
    free.iter().filter_map(fit).max()
}

#[cfg(test)]
#[path = "plan_test.rs"]
mod plan_test;
