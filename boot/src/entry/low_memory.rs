//! Where the loader's own structures lie, all in the first 640 KiB, which kernels leave alone until they have read them.

/// Global descriptor table.
pub(crate) const GDT: u64 = 0x1000;
/// The initial stack pointer; the page below belongs to the stack.
pub(crate) const STACK_TOP: u64 = 0x5ff0;
/// PVH start info, module list and memory map: one page.
pub(crate) const START_INFO: u64 = 0x6000;
/// Zero page.
pub(crate) const ZERO_PAGE: u64 = 0x7000;
/// Identity page tables: six pages.
pub(crate) const PAGE_TABLES: u64 = 0x9000;
/// Command line.
pub(crate) const COMMAND_LINE: u64 = 0x2_0000;
/// Room for the command line in bytes, its terminating zero included.
pub(crate) const COMMAND_LINE_ROOM: usize = 0x1_0000;
/// The ACPI tables, in the area of the BIOS where kernels look for the RSDP.
pub(crate) const ACPI: u64 = 0xe_0000;
