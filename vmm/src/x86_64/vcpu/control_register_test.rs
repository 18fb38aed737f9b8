use super::*;

fn real_mode() -> ModeState {
    ModeState { cr0: CR0_RESET, cr4: 0, efer: 0, cs_long: false }
}

fn protected(cr4: u64, efer: u64) -> ModeState {
    ModeState { cr0: cr0::PE | cr0::ET | cr0::NE, cr4, efer, cs_long: false }
}

fn long_mode(cs_long: bool) -> ModeState {
    let cr0 = cr0::PE | cr0::PG | cr0::ET | cr0::NE;
    ModeState { cr0, cr4: cr4::PAE, efer: efer::LME | efer::LMA, cs_long }
}

#[test]
fn protection_turns_on_and_et_stays() {
    assert_eq!(cr0_after_write(real_mode(), cr0::PE), Some((cr0::PE | cr0::ET, 0)));
}

#[test]
fn reserved_low_bits_are_dropped_high_ones_fault() {
    assert_eq!(cr0_after_write(real_mode(), cr0::PE | 1 << 20), Some((cr0::PE | cr0::ET, 0)));
    assert_eq!(cr0_after_write(real_mode(), cr0::PE | 1 << 32), None);
}

#[test]
fn impossible_combinations_fault() {
    assert_eq!(cr0_after_write(real_mode(), cr0::PG), None, "paging without protection");
    assert_eq!(cr0_after_write(real_mode(), cr0::NW), None, "NW without CD");
    assert!(cr0_after_write(real_mode(), cr0::NW | cr0::CD).is_some());
}

#[test]
fn long_mode_starts_with_paging() {
    let on = cr0::PE | cr0::PG;
    assert_eq!(cr0_after_write(protected(cr4::PAE, efer::LME), on).unwrap().1, efer::LME | efer::LMA);
    assert_eq!(cr0_after_write(protected(cr4::PAE, 0), on).unwrap().1, 0, "plain PAE paging");
    assert_eq!(cr0_after_write(protected(0, efer::LME), on), None, "without PAE");
    let long_cs = ModeState { cs_long: true, ..protected(cr4::PAE, efer::LME) };
    assert_eq!(cr0_after_write(long_cs, on), None, "from a 64-bit code segment");
}

#[test]
fn long_mode_ends_with_paging() {
    let off = cr0::PE;
    assert_eq!(cr0_after_write(long_mode(false), off).unwrap().1, efer::LME);
    assert_eq!(cr0_after_write(long_mode(true), off), None, "from 64-bit mode");
    let pcid = ModeState { cr4: cr4::PAE | cr4::PCIDE, ..long_mode(false) };
    assert_eq!(cr0_after_write(pcid, off), None, "with PCIDs");
}

#[test]
fn other_bits_change_in_long_mode() {
    let value = long_mode(true).cr0 | cr0::CD;
    assert_eq!(cr0_after_write(long_mode(true), value), Some((value, efer::LME | efer::LMA)));
}

#[test]
fn cr4_takes_what_cpuid_offers() {
    let allowed = cr4::PAE | cr4::PCIDE | 1 << 7;
    assert!(cr4_write_is_legal(real_mode(), cr4::PAE, allowed, 0));
    assert!(!cr4_write_is_legal(real_mode(), cr4::VMXE, allowed, 0));
    assert!(!cr4_write_is_legal(long_mode(true), 0, allowed, 0), "PAE stays in long mode");
    assert!(
        !cr4_write_is_legal(protected(cr4::PAE, 0), cr4::PAE | cr4::PCIDE, allowed, 0),
        "PCIDs are for long mode"
    );
    assert!(cr4_write_is_legal(long_mode(true), cr4::PAE | cr4::PCIDE, allowed, 0x1000));
    assert!(!cr4_write_is_legal(long_mode(true), cr4::PAE | cr4::PCIDE, allowed, 0x1001));
}

#[test]
fn pdptes_have_reserved_bits_only_when_present() {
    assert!(pdpte_is_legal(0x1001, 40));
    assert!(pdpte_is_legal(0x1001 | 0b1_1000, 40), "PWT and PCD");
    assert!(!pdpte_is_legal(0x1003, 40), "writable is reserved here");
    assert!(!pdpte_is_legal(1 << 40 | 1, 40));
    assert!(pdpte_is_legal(u64::MAX - 1, 40), "not present");
}
