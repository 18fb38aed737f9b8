use super::low_memory::{GDT, PAGE_TABLES, START_INFO, ZERO_PAGE};
use super::{long_mode, protected_mode, start_info, zero_page};
use crate::kernel::setup_header::SetupHeader;
use crate::memory::{E820Entry, E820Kind, GpaRange};
use crate::synthetic::BzImageSpec;

fn quad(bytes: &[u8], offset: usize) -> u64 {
    u64::from_le_bytes(*bytes[offset..].first_chunk().unwrap())
}

fn word(bytes: &[u8], offset: usize) -> u32 {
    u32::from_le_bytes(*bytes[offset..].first_chunk().unwrap())
}

/// Walks four levels of page tables as the processor does.
fn translate(tables: &[u8], linear: u64) -> Option<u64> {
    let entry = |table: u64, index: u64| {
        let at = usize::try_from((table & !0xfff) - PAGE_TABLES + index * 8).unwrap();
        Some(quad(tables, at)).filter(|entry| entry & 3 == 3)
    };
    let pointers = entry(PAGE_TABLES, linear >> 39 & 0x1ff)?;
    let directory = entry(pointers, linear >> 30 & 0x1ff)?;
    let page = entry(directory, linear >> 21 & 0x1ff)?;
    assert_eq!(page & 0x80, 0x80, "a large page");
    Some((page & !0x1f_ffff) | (linear & 0x1f_ffff))
}

#[test]
fn the_first_four_gibibytes_are_mapped_to_themselves() {
    let tables = long_mode::page_tables();
    for linear in [0, 0x7123, 0x100_0000, 0x1fff_ffff, 0x4000_0000, 0xbfff_ffff, 0xffff_ffff] {
        assert_eq!(translate(&tables, linear), Some(linear), "{linear:#x}");
    }
    assert_eq!(translate(&tables, 1 << 32), None);
    assert_eq!(translate(&tables, 1 << 39), None);
}

#[test]
fn the_64_bit_entry_is_long_mode_with_flat_segments() {
    let state = long_mode::initial_state(0x100_0200);
    assert_eq!((state.rip, state.rsi, state.rflags), (0x100_0200, ZERO_PAGE, 2));
    assert_eq!((state.cr0, state.cr3, state.cr4, state.efer), (0x8000_0011, PAGE_TABLES, 0x20, 0x500));
    assert_eq!((state.cs.selector, state.cs.access_rights, state.cs.limit), (0x10, 0xa09b, u32::MAX));
    for data in [state.ds, state.es, state.ss, state.fs, state.gs] {
        assert_eq!((data.selector, data.access_rights, data.base, data.limit), (0x18, 0xc093, 0, u32::MAX));
    }
    assert_eq!(state.tr.access_rights, 0x8b);
    assert_eq!(state.ldtr.access_rights, 0x1_0000);
    assert_eq!((state.gdtr.base, state.gdtr.limit), (GDT, 0x2f));
}

#[test]
fn the_32_bit_entries_are_protected_mode_without_paging() {
    for (state, rsi, rbx) in
        [(protected_mode::linux(0x10_0000), ZERO_PAGE, 0), (protected_mode::pvh(0x10_0000), 0, START_INFO)]
    {
        assert_eq!((state.rip, state.rsi, state.rbx), (0x10_0000, rsi, rbx));
        assert_eq!((state.cr0, state.cr3, state.cr4, state.efer), (0x11, 0, 0, 0));
        assert_eq!(state.cs.access_rights, 0xc09b);
    }
}

#[test]
fn the_descriptor_table_agrees_with_the_segment_registers() {
    for (state, code) in [
        (long_mode::initial_state(0), 0x00af_9b00_0000_ffff),
        (protected_mode::linux(0), 0x00cf_9b00_0000_ffff),
    ] {
        let gdt = state.gdt();
        let expected = [0, 0, code, 0x00cf_9300_0000_ffff, 0x0000_8b00_0000_0067, 0];
        assert_eq!(std::array::from_fn(|i| quad(&gdt, i * 8)), expected);
    }
}

fn e820() -> [E820Entry; 2] {
    [
        E820Entry { range: GpaRange::new(0, 0x9_fc00), kind: E820Kind::Ram },
        E820Entry { range: GpaRange::new(0xe_0000, 0x1000), kind: E820Kind::Acpi },
    ]
}

#[test]
fn the_zero_page_carries_the_kernel_s_header_and_the_loader_s_words() {
    let file = BzImageSpec { loadflags: 0x83, ..BzImageSpec::new(vec![1]) }.build();
    let header = SetupHeader::find(&file).unwrap();
    let initramfs = GpaRange::new(0x1_2345_6000, 0x2_0000_0010);
    let page = zero_page::zero_page(&header, &e820(), Some(initramfs), 0x2_0000, Some(0xe_0000));
    assert_eq!(page.len(), 4096);
    // The header as it is in the file, from its first field to its end, but for the loader's fields.
    assert_eq!(page[0x1f1..0x210], file[0x1f1..0x210]);
    assert_eq!(page[0x22c..0x250], file[0x22c..0x250]);
    assert_eq!(page[0x258..0x26c], file[0x258..0x26c]);
    assert_eq!(page[0x26c..0x290], [0; 0x24]);
    // No loader's number; loaded high, the other flags kept but for KASLR's.
    assert_eq!((page[0x210], page[0x211]), (0xff, 0x81));
    assert_eq!((word(&page, 0x218), word(&page, 0xc0)), (0x2345_6000, 1));
    assert_eq!((word(&page, 0x21c), word(&page, 0xc4)), (0x10, 2));
    assert_eq!((word(&page, 0x228), quad(&page, 0x70)), (0x2_0000, 0xe_0000));
    assert_eq!(page[0x1ef], 0, "the sentinel says that the rest was cleared");
    assert_eq!(page[0x1e8], 2);
    assert_eq!((quad(&page, 0x2d0), quad(&page, 0x2d8), word(&page, 0x2e0)), (0, 0x9_fc00, 1));
    assert_eq!((quad(&page, 0x2e4), quad(&page, 0x2ec), word(&page, 0x2f4)), (0xe_0000, 0x1000, 3));
}

#[test]
fn the_zero_page_without_initramfs_or_tables_says_so() {
    let mut file = BzImageSpec::new(vec![1]).build();
    file[0x218..0x220].fill(0xaa);
    let header = SetupHeader::find(&file).unwrap();
    let page = zero_page::zero_page(&header, &[], None, 0, None);
    assert_eq!((quad(&page, 0x218), quad(&page, 0xc0), quad(&page, 0x70)), (0, 0, 0));
}

#[test]
fn a_header_that_was_made_up_is_one_that_kernels_accept() {
    let page = zero_page::zero_page(&SetupHeader::synthetic(), &[], None, 0, None);
    assert_eq!(page[0x1fe..0x200], [0x55, 0xaa]);
    assert_eq!(&page[0x202..0x206], b"HdrS");
    assert_eq!(page[0x206..0x208], [0x0f, 0x02]);
    assert_eq!(page[0x211], 1);
}

#[test]
fn the_start_info_leads_to_module_and_memory_map() {
    let module = GpaRange::new(0x700_0000, 0x1234);
    let info = start_info::start_info(&e820(), Some(module), 0x2_0000, Some(0xe_0000));
    let at = |address: u64| usize::try_from(address - START_INFO).unwrap();
    assert_eq!((word(&info, 0), word(&info, 4), word(&info, 8)), (0x336e_c578, 1, 0));
    assert_eq!(word(&info, 12), 1);
    let module_at = at(quad(&info, 16));
    assert_eq!((quad(&info, module_at), quad(&info, module_at + 8)), (0x700_0000, 0x1234));
    assert_eq!((quad(&info, 24), quad(&info, 32)), (0x2_0000, 0xe_0000));
    let map_at = at(quad(&info, 40));
    assert_eq!(word(&info, 48), 2);
    assert_eq!((quad(&info, map_at), quad(&info, map_at + 8), word(&info, map_at + 16)), (0, 0x9_fc00, 1));
    let next = map_at + 24;
    assert_eq!((quad(&info, next), quad(&info, next + 8), word(&info, next + 16)), (0xe_0000, 0x1000, 3));
    assert_eq!(info.len(), next + 24);
}

#[test]
fn the_largest_start_info_stays_below_the_zero_page() {
    let entry = e820()[0];
    let info = start_info::start_info(&[entry; 128], None, 0, None);
    assert!(START_INFO + info.len() as u64 <= ZERO_PAGE);
    assert_eq!((word(&info, 12), quad(&info, 16)), (0, 0));
}
