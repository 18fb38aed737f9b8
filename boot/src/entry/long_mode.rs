//! The Linux 64-bit entry: long mode on identity page tables (boot protocol, "64-bit boot protocol").

use super::low_memory::{GDT, PAGE_TABLES, STACK_TOP, ZERO_PAGE};
use super::registers::{CODE_64, InitialState};

const CR0_PE: u64 = 1 << 0;
const CR0_ET: u64 = 1 << 4;
const CR0_PG: u64 = 1 << 31;
const CR4_PAE: u64 = 1 << 5;
const EFER_LME: u64 = 1 << 8;
const EFER_LMA: u64 = 1 << 10;

/// Page table entry: present, writable, accessed.
const TABLE: u64 = 0x23;
/// Page table entry: present, writable, accessed, dirty, large page.
const LARGE_PAGE: u64 = 0xe3;
const PAGE: u64 = 0x1000;
const LARGE_PAGE_SIZE: u64 = 2 << 20;
const ENTRIES: u64 = 512;
/// Page directories: one maps 1 GiB. Four map all that a kernel may touch before it has tables of its own; pages of 1 GiB
/// would be fewer but not every CPU has them.
const DIRECTORIES: u64 = 4;

pub(crate) fn initial_state(entry: u64) -> InitialState {
    InitialState {
        rsi: ZERO_PAGE,
        cr0: CR0_PE | CR0_ET | CR0_PG,
        cr3: PAGE_TABLES,
        cr4: CR4_PAE,
        efer: EFER_LME | EFER_LMA,
        ..InitialState::flat(CODE_64, GDT, STACK_TOP, entry)
    }
}

/// The first 4 GiB mapped to themselves, for [`PAGE_TABLES`].
pub(crate) fn page_tables() -> Vec<u8> {
    let pointers = PAGE_TABLES + PAGE;
    let directories = pointers + PAGE;
    let mut entries = vec![0_u64; ((2 + DIRECTORIES) * ENTRIES) as usize];
    entries[0] = pointers | TABLE;
    for (directory, entry) in (0..DIRECTORIES).zip(&mut entries[ENTRIES as usize..]) {
        *entry = (directories + directory * PAGE) | TABLE;
    }
    for (page, entry) in (0..DIRECTORIES * ENTRIES).zip(&mut entries[2 * ENTRIES as usize..]) {
        *entry = (page * LARGE_PAGE_SIZE) | LARGE_PAGE;
    }
    entries.iter().flat_map(|entry| entry.to_le_bytes()).collect()
}
