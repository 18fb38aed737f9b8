//! EPT violations and APIC accesses.

use hypervisor_framework::x86_64::vmcs::Field;
use hypervisor_framework::x86_64::{
    ApicAccessQualification, EptQualification, ExitReason, ProcBased, ProcBased2, Reg,
};
use iced_x86::code_asm::*;

use crate::guest::{Guest, Program, Wish};
use crate::layout::*;
use crate::provider::{Provider, each};

#[track_caller]
fn violation(provider: &Provider, program: Program<'_>) -> (Guest, EptQualification) {
    let mut guest = Guest::long(provider, program);
    guest.expect(ExitReason::EPT_VIOLATION);
    let qualification = EptQualification(guest.qualification());
    (guest, qualification)
}

/// The instruction length where the provider promises one; on a Mac 0 is accepted as "unknown".
#[track_caller]
fn length_is(provider: &Provider, guest: &Guest, length: u64) {
    match provider.switch(|q| q.ept_instruction_length) {
        Some(true) => assert_eq!(guest.length(), length),
        Some(false) => assert_eq!(guest.length(), 0),
        None => assert!([0, length].contains(&guest.length())),
    }
}

#[test]
fn a_read_of_nothing() {
    each(|provider| {
        let (guest, qualification) = violation(provider, &|a| a.mov(ebx, dword_ptr(HOLE + 0x20)));
        assert!(qualification.is_read() && !qualification.is_write() && !qualification.is_fetch());
        assert!(qualification.is_final_access() && !qualification.is_mapped());
        assert_eq!(guest.get(Field::GUEST_PHYSICAL_ADDRESS), HOLE + 0x20);
        assert_eq!(guest.get(Field::RO_GUEST_LIN_ADDR), HOLE + 0x20);
        assert_eq!(guest.rip(), CODE);
        length_is(provider, &guest, 7);
    });
}

#[test]
fn a_write_to_nothing() {
    each(|provider| {
        let (guest, qualification) = violation(provider, &|a| a.mov(byte_ptr(HOLE + 3), 7));
        assert!(qualification.is_write() && !qualification.is_fetch());
        assert_eq!(guest.get(Field::GUEST_PHYSICAL_ADDRESS), HOLE + 3);
        length_is(provider, &guest, 8);
    });
}

#[test]
fn a_fetch_from_nothing() {
    each(|provider| {
        let (guest, qualification) = violation(provider, &|a| a.jmp(HOLE));
        assert!(qualification.is_fetch() && !qualification.is_read());
        assert_eq!((guest.rip(), guest.get(Field::GUEST_PHYSICAL_ADDRESS)), (HOLE, HOLE));
    });
}

#[test]
fn a_page_table_in_nothing_is_not_the_final_access() {
    each(|provider| {
        let mut guest = Guest::long(provider, &|a| a.mov(rax, qword_ptr(DATA + 0x4000_0000)));
        guest.write_u64(PDPT + 8, HOLE | 7);

        guest.expect(ExitReason::EPT_VIOLATION);

        let qualification = EptQualification(guest.qualification());
        assert!(qualification.has(EptQualification::LINEAR_VALID));
        assert!(!qualification.has(EptQualification::FINAL));
        assert_eq!(guest.get(Field::GUEST_PHYSICAL_ADDRESS), HOLE);
        assert_eq!(guest.get(Field::RO_GUEST_LIN_ADDR), DATA + 0x4000_0000);
    });
}

#[test]
fn linear_and_physical_addresses_differ_under_paging() {
    each(|provider| {
        let mut guest = Guest::long(provider, &|a| a.mov(eax, dword_ptr(0x3fe0_0044)));
        guest.write_u64(PAGE_DIRECTORY + 511 * 8, HOLE | 0x87);

        guest.expect(ExitReason::EPT_VIOLATION);

        assert_eq!(guest.get(Field::RO_GUEST_LIN_ADDR), 0x3fe0_0044);
        assert_eq!(guest.get(Field::GUEST_PHYSICAL_ADDRESS), HOLE + 0x44);
    });
}

#[test]
fn the_instruction_runs_again_when_the_exit_is_ignored() {
    each(|provider| {
        let mut guest = Guest::long(provider, &|a| a.mov(eax, dword_ptr(HOLE)));
        for _ in 0..3 {
            guest.expect(ExitReason::EPT_VIOLATION);
            assert_eq!(guest.rip(), CODE);
        }
    });
}

#[test]
fn a_write_that_straddles_into_nothing_changes_nothing() {
    each(|provider| {
        let mut guest = Guest::long(provider, &|a| a.mov(qword_ptr(SPARE - 4), rax));
        guest.set_reg(Reg::RAX, u64::MAX);
        guest.vm.unmap(SPARE, 4096).unwrap();

        guest.expect(ExitReason::EPT_VIOLATION);

        assert_eq!(guest.get(Field::GUEST_PHYSICAL_ADDRESS), SPARE);
        assert_eq!(guest.read_u64(SPARE - 8), 0);
    });
}

#[test]
fn a_string_move_stops_at_the_element_that_cannot_be_read() {
    each(|provider| {
        let mut guest = Guest::long(provider, &|a| {
            a.rep().movsb()?;
            a.hlt()
        });
        guest.vm.unmap(SPARE, 4096).unwrap();
        guest.set_reg(Reg::RSI, SPARE - 3);
        guest.set_reg(Reg::RDI, DATA);
        guest.set_reg(Reg::RCX, 10);

        guest.expect(ExitReason::EPT_VIOLATION);

        assert_eq!((guest.reg(Reg::RSI), guest.reg(Reg::RDI), guest.reg(Reg::RCX)), (SPARE, DATA + 3, 7));
        assert_eq!(guest.rip(), CODE);
    });
}

#[test]
fn the_apic_access_page_exits_with_its_own_reason() {
    each(|provider| {
        let wish =
            Wish { primary: ProcBased::TPR_SHADOW, secondary: ProcBased2::VIRTUAL_APIC, ..Wish::default() };
        let mut guest = Guest::long_with(provider, wish, &|a| {
            a.mov(ebx, dword_ptr(HOLE + 0x20))?;
            a.mov(dword_ptr(HOLE + 0x300), ebx)
        });
        guest.vcpu.set_apic_address(HOLE).unwrap();
        assert_eq!(guest.get(Field::CTRL_APIC_ACCESS), HOLE);

        guest.expect(ExitReason::APIC_ACCESS);
        let read = ApicAccessQualification(guest.qualification());
        assert_eq!((read.offset(), read.access()), (0x20, 0));
        guest.set(Field::GUEST_RIP, CODE + 7);

        guest.expect(ExitReason::APIC_ACCESS);
        let write = ApicAccessQualification(guest.qualification());
        assert_eq!((write.offset(), write.access()), (0x300, 1));
    });
}

#[test]
fn an_apic_address_is_page_aligned() {
    each(|provider| {
        let mut guest = Guest::long(provider, &|a| a.hlt());
        assert!(guest.vcpu.set_apic_address(HOLE + 8).is_err());
    });
}
