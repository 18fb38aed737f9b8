//! Where things lie in a test guest's memory.

/// RAM starts at 0 and has this many bytes.
pub(crate) const RAM: usize = 4 << 20;
/// Page tables of long mode: PML4, one PDPT, one page directory of 2 MiB pages mapping the first GiB to itself.
pub(crate) const PML4: u64 = 0x1000;
pub(crate) const PDPT: u64 = 0x2000;
pub(crate) const PAGE_DIRECTORY: u64 = 0x3000;
pub(crate) const GDT: u64 = 0x4000;
pub(crate) const IDT: u64 = 0x5000;
pub(crate) const TSS: u64 = 0x6000;
/// Handler of vector n, [`HANDLER_SIZE`] × n further on.
pub(crate) const HANDLERS: u64 = 0x8000;
pub(crate) const HANDLER_SIZE: u64 = 16;
/// Handlers write their vector here.
pub(crate) const HANDLER_PORT: u16 = 0xe0;
pub(crate) const CODE: u64 = 0x1_0000;
pub(crate) const DATA: u64 = 0x3_0000;
pub(crate) const STACK: u64 = 0x8_0000;
/// A page that a test may map or unmap.
pub(crate) const SPARE: u64 = 0x10_0000;
/// Mapped by the guest's page tables, not by the VM.
pub(crate) const HOLE: u64 = 0x0800_0000;
/// Not mapped by the guest's page tables.
pub(crate) const BEYOND: u64 = 0x4000_0000;

pub(crate) const CODE_SELECTOR: u16 = 0x08;
pub(crate) const DATA_SELECTOR: u16 = 0x10;
pub(crate) const TSS_SELECTOR: u16 = 0x18;
