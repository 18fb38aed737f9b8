//! Which flushes forget which keys.

use super::Generations;
use crate::mmu::Flush;

#[test]
fn a_flush_of_private_pages_keeps_global_supervisor_code() {
    let mut generations = Generations::new();
    let kernel = generations.key(0xffff_ffff_8100_0000, false, true);
    let user = generations.key(0x40_0000, true, false);
    generations.flush(Flush::NonGlobal);
    assert_eq!(generations.key(0xffff_ffff_8100_0000, false, true), kernel);
    assert_ne!(generations.key(0x40_0000, true, false), user);
}

#[test]
fn private_supervisor_code_is_forgotten_with_private_pages() {
    let mut generations = Generations::new();
    let kernel = generations.key(0x1000, false, false);
    generations.flush(Flush::NonGlobal);
    assert_ne!(generations.key(0x1000, false, false), kernel);
}

#[test]
fn a_page_is_forgotten_only_where_code_ran() {
    let mut generations = Generations::new();
    let kernel = generations.key(0x5123, false, true);
    generations.flush(Flush::Page(0x6000));
    assert_eq!(generations.key(0x5123, false, true), kernel);
    generations.flush(Flush::Page(0x5000));
    assert_ne!(generations.key(0x5123, false, true), kernel);
}

#[test]
fn keys_of_different_generations_never_meet() {
    let mut generations = Generations::new();
    let mut seen = std::collections::HashSet::new();
    while !generations.exhausted {
        for linear in [0x1000, 0xffff_ffff_ffff_f000] {
            assert!(seen.insert(generations.key(linear, true, false)));
        }
        generations.flush(Flush::NonGlobal);
    }
}
