//! Exceptions: the bitmap, page-fault filtering, and what happens without it.

use hypervisor_framework::x86_64::vmcs::Field;
use hypervisor_framework::x86_64::{ExitReason, InterruptionKind, Reg};
use iced_x86::code_asm::*;

use crate::guest::Guest;
use crate::layout::*;
use crate::provider::each;

#[test]
fn an_exception_outside_the_bitmap_goes_to_the_guest() {
    each(|provider| {
        let mut guest = Guest::long(provider, &|a| a.ud2());

        guest.expect_handler(6);

        assert_eq!(guest.read_u64(guest.get(Field::GUEST_RSP)), CODE);
    });
}

#[test]
fn an_undefined_instruction_exits() {
    each(|provider| {
        let mut guest = Guest::long(provider, &|a| a.ud2());
        guest.set(Field::CTRL_EXC_BITMAP, 1 << 6);

        guest.expect(ExitReason::EXCEPTION_NMI);

        let info = guest.interruption();
        assert!(info.is_valid() && !info.has_error_code());
        assert_eq!((info.kind(), info.vector()), (InterruptionKind::HardwareException, 6));
        assert_eq!(guest.rip(), CODE);
    });
}

#[test]
fn a_page_fault_exits_with_address_and_code_and_leaves_cr2_alone() {
    each(|provider| {
        let mut guest = Guest::long(provider, &|a| {
            a.mov(rbx, BEYOND + 0x123)?;
            a.mov(qword_ptr(rbx), rax)
        });
        guest.set(Field::CTRL_EXC_BITMAP, 1 << 14);
        guest.set_reg(Reg::CR2, 0x77);

        guest.expect(ExitReason::EXCEPTION_NMI);

        assert_eq!(guest.interruption().vector(), 14);
        assert_eq!(guest.get(Field::RO_VMEXIT_IRQ_ERROR), 2, "a write to a page that is not present");
        assert_eq!(guest.qualification(), BEYOND + 0x123);
        assert_eq!(guest.reg(Reg::CR2), 0x77);
    });
}

#[test]
fn the_page_fault_mask_chooses_by_error_code() {
    each(|provider| {
        for (mask, matching, exits) in [(2, 2, true), (2, 0, false), (0, 1, false)] {
            let mut guest = Guest::long(provider, &|a| {
                a.mov(rbx, BEYOND)?;
                a.mov(qword_ptr(rbx), rax)
            });
            guest.set(Field::CTRL_EXC_BITMAP, 1 << 14);
            guest.set(Field::CTRL_PF_ERROR_MASK, mask);
            guest.set(Field::CTRL_PF_ERROR_MATCH, matching);

            if exits {
                guest.expect(ExitReason::EXCEPTION_NMI);
            } else {
                guest.expect_handler(14);
                assert_eq!(guest.reg(Reg::CR2), BEYOND);
            }
        }
    });
}

#[test]
fn a_general_protection_fault_exits_with_its_code() {
    each(|provider| {
        let mut guest = Guest::long(provider, &|a| {
            a.mov(eax, 0x2228)?;
            a.mov(ds, ax)
        });
        guest.set(Field::CTRL_EXC_BITMAP, 1 << 13);

        guest.expect(ExitReason::EXCEPTION_NMI);

        assert!(guest.interruption().has_error_code());
        assert_eq!(guest.get(Field::RO_VMEXIT_IRQ_ERROR), 0x2228);
        assert_eq!(guest.rip(), CODE + 5);
    });
}

#[test]
fn a_breakpoint_exits_as_software_exception_with_its_length() {
    each(|provider| {
        let mut guest = Guest::long(provider, &|a| a.int3());
        guest.set(Field::CTRL_EXC_BITMAP, 1 << 3);

        guest.expect(ExitReason::EXCEPTION_NMI);

        let info = guest.interruption();
        assert_eq!((info.kind(), info.vector()), (InterruptionKind::SoftwareException, 3));
        assert_eq!((guest.rip(), guest.length()), (CODE, 1));
    });
}

#[test]
fn a_single_step_exits_with_debug_status_bits() {
    each(|provider| {
        let mut guest = Guest::long(provider, &|a| {
            a.nop()?;
            a.hlt()
        });
        guest.set(Field::CTRL_EXC_BITMAP, 1 << 1);
        guest.set(Field::GUEST_RFLAGS, 0x102);

        guest.expect(ExitReason::EXCEPTION_NMI);

        assert_eq!(guest.interruption().vector(), 1);
        assert_eq!(guest.qualification() & 0x400f, 0x4000, "BS");
        assert_eq!(guest.rip(), CODE + 1);
    });
}

#[test]
fn a_division_by_zero_is_a_fault() {
    each(|provider| {
        let mut guest = Guest::long(provider, &|a| {
            a.xor(ecx, ecx)?;
            a.div(ecx)
        });
        guest.set(Field::CTRL_EXC_BITMAP, 1);

        guest.expect(ExitReason::EXCEPTION_NMI);

        assert_eq!((guest.interruption().vector(), guest.rip()), (0, CODE + 2));
    });
}

#[test]
fn a_fault_without_a_handler_ends_as_triple_fault() {
    each(|provider| {
        let mut guest = Guest::long(provider, &|a| a.ud2());
        guest.set(Field::GUEST_IDTR_LIMIT, 0);

        guest.expect(ExitReason::TRIPLE_FAULT);
    });
}

#[test]
fn a_double_fault_can_be_watched() {
    each(|provider| {
        let mut guest = Guest::long(provider, &|a| a.ud2());
        // #UD's gate is not present, and neither is #NP's: #UD, #NP, #DF.
        for vector in [6, 11] {
            let gate = guest.read_u64(IDT + vector * 16);
            guest.write_u64(IDT + vector * 16, gate & !(1 << 47));
        }
        guest.set(Field::CTRL_EXC_BITMAP, 1 << 8);

        guest.expect(ExitReason::EXCEPTION_NMI);

        let info = guest.interruption();
        assert_eq!((info.vector(), info.has_error_code()), (8, true));
    });
}
