//! The zero page, `boot_params` (Linux Documentation/arch/x86/zero-page.rst).

use crate::kernel::setup_header::{self, SetupHeader, offset};
use crate::memory::{E820Entry, GpaRange};

/// Bytes of the zero page.
const SIZE: usize = 0x1000;

/// Offsets of fields outside the setup header.
mod field {
    pub(super) const ACPI_RSDP_ADDR: usize = 0x070;
    pub(super) const EXT_RAMDISK_IMAGE: usize = 0x0c0;
    pub(super) const EXT_RAMDISK_SIZE: usize = 0x0c4;
    pub(super) const E820_ENTRIES: usize = 0x1e8;
    pub(super) const E820_TABLE: usize = 0x2d0;
    pub(super) const E820_ENTRY_SIZE: usize = 20;
}

/// A zero page with the kernel's `header` and everything the loader has to tell. `command_line` lies below 4 GiB.
pub(crate) fn zero_page(
    header: &SetupHeader,
    e820: &[E820Entry],
    initramfs: Option<GpaRange>,
    command_line: u32,
    rsdp: Option<u64>,
) -> Vec<u8> {
    let mut page = vec![0; SIZE];
    let mut put = |offset: usize, bytes: &[u8]| page[offset..offset + bytes.len()].copy_from_slice(bytes);
    let flags = header.zero_page_bytes().get(offset::LOADFLAGS - offset::SETUP_SECTS).copied().unwrap_or(0);
    put(offset::SETUP_SECTS, header.zero_page_bytes());
    put(offset::TYPE_OF_LOADER, &[setup_header::LOADER_UNDEFINED]);
    put(offset::LOADFLAGS, &[(flags | setup_header::LOADED_HIGH) & !setup_header::KASLR_FLAG]);
    put(offset::CMD_LINE_PTR, &command_line.to_le_bytes());
    put(offset::SETUP_DATA, &0_u64.to_le_bytes());
    let ramdisk = initramfs.unwrap_or(GpaRange::new(0, 0));
    let (image, size) = (halves(ramdisk.start), halves(ramdisk.size));
    put(offset::RAMDISK_IMAGE, &image.0);
    put(field::EXT_RAMDISK_IMAGE, &image.1);
    put(offset::RAMDISK_SIZE, &size.0);
    put(field::EXT_RAMDISK_SIZE, &size.1);
    // Kernels before 4.20 know no such field and find the RSDP by its signature.
    put(field::ACPI_RSDP_ADDR, &rsdp.unwrap_or(0).to_le_bytes());
    put(field::E820_ENTRIES, &[e820.len() as u8]);
    for (index, entry) in e820.iter().enumerate() {
        let at = field::E820_TABLE + index * field::E820_ENTRY_SIZE;
        put(at, &entry.range.start.to_le_bytes());
        put(at + 8, &entry.range.size.to_le_bytes());
        put(at + 16, &(entry.kind as u32).to_le_bytes());
    }
    page
}

/// The low and the high 32 bits.
fn halves(value: u64) -> ([u8; 4], [u8; 4]) {
    ((value as u32).to_le_bytes(), ((value >> 32) as u32).to_le_bytes())
}
