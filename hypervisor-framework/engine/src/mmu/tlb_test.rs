//! What each flush forgets, and what address spaces keep.

use super::{ADDRESS_SPACES, Mmu, Space};
use crate::exit::Access;
use crate::memory::PhysicalMemory;

const ALL: (bool, bool, bool) = (true, true, true);

fn mmu() -> Mmu {
    Mmu::new(PhysicalMemory::new().snapshot())
}

fn put(mmu: &mut Mmu, space: Space, page: u64, global: bool) {
    mmu.set_space(space);
    for access in [Access::Read, Access::Fetch] {
        mmu.insert(page, access, 0x7000_0000, ALL, global, None);
    }
}

fn has(mmu: &mut Mmu, space: Space, page: u64) -> bool {
    mmu.set_space(space);
    let read = mmu.lookup_read(page, 8).is_some();
    assert_eq!(read, mmu.lookup_write(page, 8).is_some());
    assert_eq!(read, mmu.lookup_fetch(page).is_some());
    read
}

#[test]
fn an_access_across_the_page_border_is_no_hit() {
    let mut mmu = mmu();
    put(&mut mmu, Space::User, 0x5000, false);
    assert_eq!(mmu.lookup_read(0x5ff8, 8), Some(0x7000_0ff8));
    assert_eq!(mmu.lookup_read(0x5ff9, 8), None);
    assert_eq!(mmu.lookup_read(0x5000 + (1 << 22), 1), None);
}

#[test]
fn spaces_do_not_see_each_other() {
    let mut mmu = mmu();
    put(&mut mmu, Space::User, 0x5000, false);
    for space in [Space::Supervisor, Space::SupervisorAc, Space::Checked] {
        assert!(!has(&mut mmu, space, 0x5000), "{space:?}");
    }
    put(&mut mmu, Space::Checked, 0x5000, false);
    assert!(!has(&mut mmu, Space::Checked, 0x5000));
}

#[test]
fn global_pages_survive_what_spares_them() {
    for space in [Space::Supervisor, Space::User, Space::SupervisorAc] {
        let mut mmu = mmu();
        put(&mut mmu, space, 0x5000, true);
        put(&mut mmu, space, 0x6000, false);
        mmu.flush_non_global();
        assert!(has(&mut mmu, space, 0x5000));
        assert!(!has(&mut mmu, space, 0x6000));
        mmu.flush_all();
        assert!(!has(&mut mmu, space, 0x5000));
    }
}

#[test]
fn a_page_that_takes_the_place_of_a_global_one_is_private() {
    let mut mmu = mmu();
    put(&mut mmu, Space::Supervisor, 0x5000, true);
    put(&mut mmu, Space::Supervisor, 0x5000 + (1 << 22), false);
    mmu.flush_non_global();
    assert!(!has(&mut mmu, Space::Supervisor, 0x5000 + (1 << 22)));
}

#[test]
fn an_address_space_is_kept_for_who_asks_for_it() {
    let mut mmu = mmu();
    mmu.enter_address_space(1, false);
    put(&mut mmu, Space::User, 0x5000, false);
    put(&mut mmu, Space::Supervisor, 0x6000, true);
    put(&mut mmu, Space::Supervisor, 0x7000, false);
    mmu.enter_address_space(2, true);
    assert!(!has(&mut mmu, Space::User, 0x5000));
    assert!(has(&mut mmu, Space::Supervisor, 0x6000));
    assert!(!has(&mut mmu, Space::Supervisor, 0x7000));
    mmu.enter_address_space(1, true);
    assert!(has(&mut mmu, Space::User, 0x5000));
    mmu.enter_address_space(2, true);
    mmu.enter_address_space(1, false);
    assert!(!has(&mut mmu, Space::User, 0x5000));
}

#[test]
fn flushes_reach_address_spaces_that_are_not_current() {
    for flush in [Mmu::flush_all, Mmu::flush_non_global, |mmu: &mut Mmu| mmu.flush_page(0x5fff)] {
        let mut mmu = mmu();
        mmu.enter_address_space(1, false);
        put(&mut mmu, Space::User, 0x5000, false);
        put(&mut mmu, Space::SupervisorAc, 0x5000, false);
        mmu.enter_address_space(2, false);
        flush(&mut mmu);
        mmu.enter_address_space(1, true);
        assert!(!has(&mut mmu, Space::User, 0x5000));
        assert!(!has(&mut mmu, Space::SupervisorAc, 0x5000));
    }
}

#[test]
fn the_address_space_longest_unused_makes_room() {
    let mut mmu = mmu();
    for pcid in 0..=ADDRESS_SPACES as u16 {
        mmu.enter_address_space(pcid, true);
        put(&mut mmu, Space::User, 0x5000, true);
    }
    for (pcid, kept) in [(1, true), (ADDRESS_SPACES as u16, true), (0, false)] {
        mmu.enter_address_space(pcid, true);
        assert_eq!(has(&mut mmu, Space::User, 0x5000), kept, "PCID {pcid}");
    }
}

#[test]
fn after_a_flush_of_all_no_address_space_is_known() {
    let mut mmu = mmu();
    mmu.enter_address_space(1, false);
    mmu.flush_all();
    // CR3 may have been written without telling.
    put(&mut mmu, Space::User, 0x5000, false);
    mmu.enter_address_space(2, true);
    mmu.enter_address_space(1, true);
    assert!(!has(&mut mmu, Space::User, 0x5000));
}

#[test]
fn invlpg_within_a_large_page_forgets_all_of_it() {
    let mut mmu = mmu();
    mmu.set_space(Space::Supervisor);
    for access in [Access::Write, Access::Fetch] {
        mmu.insert(0x20_1000, access, 0x7000_0000, ALL, true, Some(1 << 21));
        mmu.insert(0xffff_8000_0000_0000, access, 0x7000_0000, ALL, true, Some(1 << 30));
    }
    mmu.flush_page(0x4000_0000);
    assert!(has(&mut mmu, Space::Supervisor, 0x20_1000));
    mmu.flush_page(0x3f_f000);
    assert!(!has(&mut mmu, Space::Supervisor, 0x20_1000));
}

#[test]
fn a_protected_host_page_is_read_but_not_written() {
    let mut mmu = mmu();
    mmu.enter_address_space(3, false);
    put(&mut mmu, Space::User, 0x5000, false);
    mmu.enter_address_space(4, false);
    mmu.write_protect(0x7000_0000);
    mmu.enter_address_space(3, true);
    mmu.set_space(Space::User);
    assert!(mmu.lookup_read(0x5000, 8).is_some());
    assert!(mmu.lookup_write(0x5000, 8).is_none());
}

#[test]
fn the_second_level_has_what_the_first_lost() {
    let mut mmu = mmu();
    let other = 0x5000 + (1 << 22);
    mmu.set_space(Space::User);
    mmu.insert(0x5000, Access::Read, 0x7000_0000, (true, false, false), false, None);
    put(&mut mmu, Space::User, other, false);
    assert!(!has(&mut mmu, Space::User, 0x5000));
    assert_eq!(mmu.refill(0x5000, Access::Write), None);
    assert_eq!(mmu.refill(0x5000, Access::Fetch), None);
    assert_eq!(mmu.refill(0x5123, Access::Read), Some(0x7000_0123));
    assert_eq!(mmu.lookup_read(0x5123, 1), Some(0x7000_0123));
    assert_eq!(mmu.lookup_write(0x5123, 1), None);
    mmu.set_space(Space::SupervisorAc);
    assert_eq!(mmu.refill(0x5000, Access::Read), None);
}

#[test]
fn no_flush_spares_the_second_level() {
    type Flushes = [(&'static str, fn(&mut Mmu)); 5];
    let flushes: Flushes = [
        ("all", Mmu::flush_all),
        ("non-global", Mmu::flush_non_global),
        ("page", |mmu| mmu.flush_page(0x5000)),
        ("CR3", |mmu| mmu.enter_address_space(1, false)),
        ("other and back", |mmu| {
            (2..10).for_each(|pcid| mmu.enter_address_space(pcid, true));
            mmu.enter_address_space(1, true);
        }),
    ];
    for space in [Space::User, Space::SupervisorAc, Space::Supervisor] {
        for (name, flush) in flushes {
            let mut mmu = mmu();
            mmu.enter_address_space(1, false);
            put(&mut mmu, space, 0x5000, false);
            assert!(mmu.refill(0x5000, Access::Read).is_some(), "{name}");
            flush(&mut mmu);
            mmu.set_space(space);
            assert_eq!(mmu.refill(0x5000, Access::Read), None, "{name} of {space:?}");
        }
    }
}

#[test]
fn global_pages_stay_in_the_second_level() {
    let mut mmu = mmu();
    put(&mut mmu, Space::Supervisor, 0x5000, true);
    mmu.enter_address_space(1, false);
    mmu.flush_non_global();
    assert!(mmu.refill(0x5000, Access::Write).is_some());
    mmu.write_protect(0x7000_0000);
    assert_eq!(mmu.refill(0x5000, Access::Write), None);
    mmu.flush_all();
    assert_eq!(mmu.refill(0x5000, Access::Read), None);
}

#[test]
fn code_and_data_do_not_drive_each_other_out() {
    let mut mmu = mmu();
    let other = 0x5000 + (1 << 22);
    mmu.set_space(Space::Supervisor);
    mmu.insert(0x5000, Access::Fetch, 0x7000_0000, ALL, true, None);
    mmu.insert(other, Access::Write, 0x7000_0000, ALL, true, None);
    assert_eq!(mmu.lookup_fetch(0x5004), Some(0x7000_0004));
    assert_eq!(mmu.lookup_write(other, 8), Some(0x7000_0000));
    assert_eq!((mmu.lookup_read(0x5000, 1), mmu.lookup_fetch(other)), (None, None));
    assert!(mmu.refill(0x5000, Access::Read).is_some());
    assert_eq!(mmu.lookup_write(other, 8), None);
    assert!(mmu.lookup_fetch(0x5000).is_some());
}
