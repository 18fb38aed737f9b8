//! Page walks over tables built by hand.

use std::cell::RefCell;
use std::collections::BTreeMap;

use super::*;

/// Sparse RAM of 8-byte words below `end`; `races` replacements fail as if another CPU had been first.
struct Tables {
    words: RefCell<BTreeMap<u64, u64>>,
    end: u64,
    races: RefCell<u32>,
}

impl Tables {
    fn new() -> Self {
        Self { words: RefCell::default(), end: 0x10_0000, races: RefCell::new(0) }
    }

    fn put(&self, gpa: u64, width: u8, value: u64) {
        let shift = (gpa & 7) * 8;
        let mask = if width == 4 { 0xffff_ffff } else { u64::MAX };
        let mut words = self.words.borrow_mut();
        let word = words.entry(gpa & !7).or_default();
        *word = *word & !(mask << shift) | (value & mask) << shift;
    }

    fn get(&self, gpa: u64) -> u64 {
        self.words.borrow().get(&(gpa & !7)).copied().unwrap_or(0) >> ((gpa & 7) * 8)
    }
}

impl GuestRam for Tables {
    fn read(&self, gpa: u64, buffer: &mut [u8]) -> bool {
        if gpa >= self.end {
            return false;
        }
        for (i, byte) in buffer.iter_mut().enumerate() {
            *byte = self.get(gpa + i as u64) as u8;
        }
        true
    }

    fn write(&self, _gpa: u64, _data: &[u8]) -> bool {
        panic!("the walker replaces entries atomically");
    }

    fn replace_entry(&self, gpa: u64, width: u8, old: u64, new: u64) -> Replaced {
        if gpa >= self.end {
            return Replaced::NotRam;
        }
        let mut races = self.races.borrow_mut();
        if *races > 0 {
            *races -= 1;
            return Replaced::Changed;
        }
        assert_eq!(gpa % u64::from(width), 0);
        let mask = if width == 4 { 0xffff_ffff } else { u64::MAX };
        if self.get(gpa) & mask != old {
            return Replaced::Changed;
        }
        self.put(gpa, width, new);
        Replaced::Done
    }
}

fn long_mode() -> PagingState {
    PagingState {
        cr0: CR0_PG | CR0_WP | 1,
        cr3: 0x1000,
        cr4: CR4_PAE,
        efer: EFER_LMA | EFER_NXE | 1 << 8,
        pdptes: None,
        user: false,
        alignment_check: false,
        physical_bits: 40,
    }
}

const LINEAR: u64 = 0xffff_8123_4567_89ab;

/// Four levels that map [`LINEAR`]'s page to 0x5_5555_5000.
fn four_levels(flags: u64) -> (Tables, PagingState, [u64; 4]) {
    let tables = Tables::new();
    let at = [
        0x1000 + (LINEAR >> 39 & 0x1ff) * 8,
        0x2000 + (LINEAR >> 30 & 0x1ff) * 8,
        0x3000 + (LINEAR >> 21 & 0x1ff) * 8,
        0x4000 + (LINEAR >> 12 & 0x1ff) * 8,
    ];
    for (gpa, target) in at.iter().zip([0x2000, 0x3000, 0x4000, 0x5_5555_5000]) {
        tables.put(*gpa, 8, target | flags);
    }
    (tables, long_mode(), at)
}

const ALL: u64 = PRESENT | WRITABLE | USER;

#[test]
fn paging_off_is_identity_within_32_bits() {
    let state = PagingState { cr0: 1, ..long_mode() };
    let translation = translate(&Tables::new(), &state, 0x1_2345_6789, Access::Write).unwrap();
    assert_eq!(translation, Translation { gpa: 0x2345_6789, page_size: 0x1000 });
}

#[test]
fn four_level_walk_sets_accessed_everywhere_and_dirty_in_the_leaf() {
    let (tables, state, at) = four_levels(ALL);
    assert_eq!(
        translate(&tables, &state, LINEAR, Access::Read).unwrap(),
        Translation { gpa: 0x5_5555_59ab, page_size: 0x1000 }
    );
    for gpa in at {
        assert_eq!(tables.get(gpa) & (ACCESSED | DIRTY), ACCESSED, "{gpa:#x}");
    }
    translate(&tables, &state, LINEAR, Access::Write).unwrap();
    for (level, gpa) in at.iter().enumerate() {
        let dirty = if level == 3 { DIRTY } else { 0 };
        assert_eq!(tables.get(*gpa) & (ACCESSED | DIRTY), ACCESSED | dirty, "level {level}");
    }
}

#[test]
fn probe_sets_nothing_and_ignores_rights() {
    let (tables, mut state, at) = four_levels(PRESENT);
    state.user = true;
    assert_eq!(probe(&tables, &state, LINEAR).unwrap().gpa, 0x5_5555_59ab);
    assert!(at.iter().all(|gpa| tables.get(*gpa) & ACCESSED == 0));
}

#[test]
fn a_lost_race_walks_again_and_a_storm_of_them_ends() {
    let (tables, state, _) = four_levels(ALL);
    *tables.races.borrow_mut() = 3;
    assert!(translate(&tables, &state, LINEAR, Access::Read).is_ok());
    let (tables, state, _) = four_levels(ALL);
    *tables.races.borrow_mut() = u32::MAX;
    assert_eq!(
        translate(&tables, &state, LINEAR, Access::Read),
        Err(WalkError::Contended { linear: LINEAR })
    );
}

#[test]
fn large_pages() {
    let (tables, state, at) = four_levels(ALL);
    tables.put(at[2], 8, 0x7_ffe0_0000 | ALL | LARGE | 1 << 12);
    assert_eq!(
        translate(&tables, &state, LINEAR, Access::Write).unwrap(),
        Translation { gpa: 0x7_ffe0_0000 | LINEAR & 0x1f_ffff, page_size: 0x20_0000 }
    );
    assert_ne!(tables.get(at[2]) & DIRTY, 0);
    tables.put(at[1], 8, 0x8_4000_0000 | ALL | LARGE);
    assert_eq!(
        translate(&tables, &state, LINEAR, Access::Read).unwrap(),
        Translation { gpa: 0x8_4000_0000 | LINEAR & 0x3fff_ffff, page_size: 0x4000_0000 }
    );
}

#[test]
fn reserved_bits_fault_at_every_level() {
    let reserved = FAULT_PRESENT | FAULT_RESERVED | FAULT_WRITE;
    for (level, bad) in [
        (0, 1 << 40),
        (1, 1 << 51),
        (2, 1 << 45),
        (3, 1 << 40),
        (0, LARGE),
        (2, LARGE | 1 << 13),
        (1, LARGE | 1 << 29),
    ] {
        let (tables, state, at) = four_levels(ALL);
        tables.put(at[level], 8, tables.get(at[level]) & !0x3fff_e000 | bad);
        let Err(WalkError::PageFault { error_code, .. }) = translate(&tables, &state, LINEAR, Access::Write)
        else {
            panic!("level {level} bit {bad:#x} was accepted");
        };
        assert_eq!(error_code, reserved, "level {level} bit {bad:#x}");
    }
    let (tables, mut state, at) = four_levels(ALL);
    state.efer &= !EFER_NXE;
    tables.put(at[3], 8, tables.get(at[3]) | EXECUTE_DISABLE);
    assert_eq!(
        translate(&tables, &state, LINEAR, Access::Read),
        Err(WalkError::PageFault { linear: LINEAR, error_code: FAULT_PRESENT | FAULT_RESERVED })
    );
}

#[test]
fn not_present_at_every_level_says_so() {
    for level in 0..4 {
        let (tables, mut state, at) = four_levels(ALL);
        state.user = true;
        tables.put(at[level], 8, 0);
        assert_eq!(
            translate(&tables, &state, LINEAR, Access::Write),
            Err(WalkError::PageFault { linear: LINEAR, error_code: FAULT_USER | FAULT_WRITE })
        );
        assert!(at.iter().all(|gpa| tables.get(*gpa) & ACCESSED == 0));
    }
}

/// SDM vol. 3A §5.6.1, every combination against a second statement of the rule.
#[test]
fn rights_matrix() {
    for case in 0..1_u32 << 9 {
        let bit = |n: u32| case >> n & 1 != 0;
        let (u, w, x, user, wp, smep, smap, ac, nxe) =
            (bit(0), bit(1), bit(2), bit(3), bit(4), bit(5), bit(6), bit(7), bit(8));
        for level in 0..4 {
            for access in [Access::Read, Access::Write, Access::Fetch] {
                let (tables, mut state, at) = four_levels(ALL);
                let mut entry = tables.get(at[level]) & !(WRITABLE | USER);
                entry |= if u { USER } else { 0 } | if w { WRITABLE } else { 0 };
                if !x && nxe {
                    entry |= EXECUTE_DISABLE;
                }
                tables.put(at[level], 8, entry);
                state.user = user;
                state.alignment_check = ac;
                state.cr0 = CR0_PG | 1 | if wp { CR0_WP } else { 0 };
                state.cr4 = CR4_PAE | if smep { CR4_SMEP } else { 0 } | if smap { CR4_SMAP } else { 0 };
                state.efer = EFER_LMA | if nxe { EFER_NXE } else { 0 };
                let denied = match access {
                    Access::Fetch => user && !u || !user && u && smep || nxe && !x,
                    _ if user => !u || access == Access::Write && !w,
                    Access::Write => u && smap && !ac || !w && wp,
                    Access::Read => u && smap && !ac,
                };
                let answer = translate(&tables, &state, LINEAR, access);
                let expected_code = 1
                    | u32::from(access == Access::Write) << 1
                    | u32::from(user) << 2
                    | u32::from(access == Access::Fetch && (nxe || smep)) << 4;
                let expected = Err(WalkError::PageFault { linear: LINEAR, error_code: expected_code });
                if denied {
                    assert_eq!(answer, expected, "case {case:#x} level {level} {access:?}");
                    assert!(at.iter().all(|gpa| tables.get(*gpa) & (ACCESSED | DIRTY) == 0));
                } else {
                    assert!(answer.is_ok(), "case {case:#x} level {level} {access:?}: {answer:?}");
                }
            }
        }
    }
}

#[test]
fn tables_outside_ram_are_named() {
    let (tables, state, at) = four_levels(ALL);
    tables.put(at[1], 8, 0xfee0_0000 | ALL);
    let gpa = 0xfee0_0000 + (LINEAR >> 21 & 0x1ff) * 8;
    assert_eq!(
        translate(&tables, &state, LINEAR, Access::Read),
        Err(WalkError::TableOutsideRam { linear: LINEAR, gpa })
    );
}

#[test]
fn five_levels() {
    let linear = 0x00aa_8123_4567_89ab;
    let (tables, mut state, _) = four_levels(ALL);
    state.cr4 |= CR4_LA57;
    state.cr3 = 0x6000;
    tables.put(0x6000 + (linear >> 48 & 0x1ff) * 8, 8, 0x1000 | ALL);
    assert_eq!(translate(&tables, &state, linear, Access::Read).unwrap().gpa, 0x5_5555_59ab);
}

#[test]
fn pae_uses_held_or_stored_pointers() {
    let linear = 0xc765_4321_u64;
    let tables = Tables::new();
    let state = PagingState { efer: EFER_NXE, cr3: 0x1020, ..long_mode() };
    tables.put(0x1020 + 3 * 8, 8, 0x2000 | PRESENT);
    tables.put(0x2000 + (linear >> 21 & 0x1ff) * 8, 8, 0x3000 | ALL);
    tables.put(0x3000 + (linear >> 12 & 0x1ff) * 8, 8, 0x12_3456_7000 & !0xfff | ALL);
    let expected = Translation { gpa: 0x12_3456_7321, page_size: 0x1000 };
    assert_eq!(translate(&tables, &state, linear, Access::Write).unwrap(), expected);
    // Upper linear bits do not exist outside long mode.
    assert_eq!(translate(&tables, &state, linear | 1 << 32, Access::Write).unwrap(), expected);
    let held = PagingState { pdptes: Some([0, 0, 0, 0x2000 | PRESENT]), cr3: 0xdead_d000, ..state };
    assert_eq!(translate(&tables, &held, linear, Access::Write).unwrap(), expected);
    let absent = PagingState { pdptes: Some([0; 4]), ..state };
    assert_eq!(
        translate(&tables, &absent, linear, Access::Read),
        Err(WalkError::PageFault { linear, error_code: 0 })
    );
    tables.put(0x2000 + (linear >> 21 & 0x1ff) * 8, 8, 0x4020_0000 | ALL | LARGE);
    assert_eq!(
        translate(&tables, &state, linear, Access::Read).unwrap(),
        Translation { gpa: 0x4020_0000 | linear & 0x1f_ffff, page_size: 0x20_0000 }
    );
    // Bits 62:52 are ignored in long mode, reserved here.
    tables.put(0x2000 + (linear >> 21 & 0x1ff) * 8, 8, 0x4020_0000 | ALL | LARGE | 1 << 55);
    assert!(translate(&tables, &state, linear, Access::Read).is_err());
}

#[test]
fn thirty_two_bit_paging_with_4_mib_pages() {
    let linear = 0xc07f_1abc_u64;
    let tables = Tables::new();
    let state = PagingState { efer: 0, cr4: CR4_PSE, ..long_mode() };
    let directory = 0x1000 + (linear >> 22) * 4;
    let table = 0x3000 + (linear >> 12 & 0x3ff) * 4;
    tables.put(directory, 4, 0x3000 | ALL);
    tables.put(table, 4, 0x8765_4000 | ALL);
    assert_eq!(translate(&tables, &state, linear, Access::Write).unwrap().gpa, 0x8765_4abc);
    assert_eq!(tables.get(table) & 0xfff, ALL | ACCESSED | DIRTY);
    assert_eq!(tables.get(directory) & 0xfff, ALL | ACCESSED);
    // PSE-36: bits 13 up are address bits 32 up.
    tables.put(directory, 4, 0x0040_0000 | 0x5 << 13 | ALL | LARGE);
    assert_eq!(
        translate(&tables, &state, linear, Access::Read).unwrap(),
        Translation { gpa: 0x5_0040_0000 | linear & 0x3f_ffff, page_size: 0x40_0000 }
    );
    tables.put(directory, 4, 0x0040_0000 | 1 << 21 | ALL | LARGE);
    assert!(translate(&tables, &state, linear, Access::Read).is_err());
    // Without CR4.PSE the bit means nothing.
    tables.put(directory, 4, 0x3000 | ALL | LARGE);
    let no_pse = PagingState { cr4: 0, ..state };
    assert_eq!(translate(&tables, &no_pse, linear, Access::Read).unwrap().gpa, 0x8765_4abc);
}
