//! Port accesses.

use hypervisor_framework::x86_64::vmcs::Field;
use hypervisor_framework::x86_64::{ExitReason, IoQualification, Reg, StringIoInfo};
use iced_x86::code_asm::*;

use crate::guest::{Guest, Program};
use crate::layout::*;
use crate::provider::each;

/// What an exit must say: port, width, in, string, rep, immediate, length.
type Said = (u16, u8, bool, bool, bool, bool, u64);

fn said(guest: &Guest) -> Said {
    let q = IoQualification(guest.qualification());
    (q.port(), q.width(), q.is_in(), q.is_string(), q.is_rep(), q.is_immediate(), guest.length())
}

#[track_caller]
fn says(program: Program<'_>, expected: Said) {
    each(|provider| {
        let mut guest = Guest::long(provider, program);
        guest.set_reg(Reg::RDX, 0x1234);
        guest.set_reg(Reg::RCX, 3);
        guest.expect(ExitReason::IO);
        assert_eq!(said(&guest), expected);
        assert_eq!(guest.rip(), CODE);
    });
}

#[test]
fn out_with_a_port_in_dx() {
    says(&|a| a.out(dx, al), (0x1234, 1, false, false, false, false, 1));
    says(&|a| a.out(dx, ax), (0x1234, 2, false, false, false, false, 2));
    says(&|a| a.out(dx, eax), (0x1234, 4, false, false, false, false, 1));
}

#[test]
fn in_with_a_port_in_dx() {
    says(&|a| a.in_(al, dx), (0x1234, 1, true, false, false, false, 1));
    says(&|a| a.in_(ax, dx), (0x1234, 2, true, false, false, false, 2));
    says(&|a| a.in_(eax, dx), (0x1234, 4, true, false, false, false, 1));
}

#[test]
fn immediate_ports() {
    says(&|a| a.out(0x80, al), (0x80, 1, false, false, false, true, 2));
    says(&|a| a.in_(eax, 0xfe), (0xfe, 4, true, false, false, true, 2));
}

#[test]
fn string_output_tells_segment_and_address() {
    each(|provider| {
        let mut guest = Guest::long(provider, &|a| a.db(&[0x64, 0xf3, 0x6e])); // rep outsb fs:[rsi]
        guest.set_reg(Reg::RDX, 0x3f8);
        guest.set_reg(Reg::RCX, 5);
        guest.set_reg(Reg::RSI, DATA);
        guest.set(Field::GUEST_FS_BASE, 0x100);

        guest.expect(ExitReason::IO);

        assert_eq!(said(&guest), (0x3f8, 1, false, true, true, false, 3));
        assert_eq!(guest.get(Field::RO_GUEST_LIN_ADDR), DATA + 0x100);
        let info = StringIoInfo(guest.get(Field::RO_VMX_INSTR_INFO) as u32);
        assert_eq!((info.address_size(), info.segment()), (8, 4));
        assert_eq!((guest.reg(Reg::RCX), guest.reg(Reg::RSI)), (5, DATA), "nothing has moved");
    });
}

#[test]
fn string_input_tells_its_destination() {
    each(|provider| {
        let mut guest = Guest::long(provider, &|a| a.insd());
        guest.set_reg(Reg::RDX, 0x1f0);
        guest.set_reg(Reg::RDI, DATA + 0x40);

        guest.expect(ExitReason::IO);

        assert_eq!(said(&guest), (0x1f0, 4, true, true, false, false, 1));
        assert_eq!(guest.get(Field::RO_GUEST_LIN_ADDR), DATA + 0x40);
        let info = StringIoInfo(guest.get(Field::RO_VMX_INSTR_INFO) as u32);
        assert_eq!(info.address_size(), 8);
    });
}

#[test]
fn a_rep_string_with_count_zero_does_nothing() {
    each(|provider| {
        let mut guest = Guest::long(provider, &|a| {
            a.rep().outsb()?;
            a.hlt()
        });
        guest.set_reg(Reg::RCX, 0);

        guest.expect(ExitReason::HLT);
    });
}

#[test]
fn real_mode_strings_use_16_bit_addresses() {
    each(|provider| {
        let mut guest = Guest::real(provider, &|a| a.outsw());
        guest.set_reg(Reg::RDX, 0x1f0);
        guest.set_reg(Reg::RSI, 0x4000);
        guest.set(Field::GUEST_DS_BASE, 0x2_0000);

        guest.expect(ExitReason::IO);

        assert_eq!(said(&guest), (0x1f0, 2, false, true, false, false, 1));
        assert_eq!(guest.get(Field::RO_GUEST_LIN_ADDR), 0x2_4000);
        let info = StringIoInfo(guest.get(Field::RO_VMX_INSTR_INFO) as u32);
        assert_eq!((info.address_size(), info.segment()), (2, 3));
    });
}

#[test]
fn a_program_goes_on_with_the_value_the_vmm_supplies() {
    each(|provider| {
        let mut guest = Guest::long(provider, &|a| {
            a.in_(al, dx)?;
            a.add(al, 1)?;
            a.out(dx, al)
        });
        guest.expect(ExitReason::IO);
        guest.set_reg(Reg::RAX, 0x41);
        guest.skip();

        guest.expect(ExitReason::IO);

        assert_eq!(guest.reg(Reg::RAX) as u8, 0x42);
    });
}
