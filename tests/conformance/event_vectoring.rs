//! Events cut short by an exit: the IDT-vectoring information (SDM vol. 3, 28.2.4).

use hypervisor_framework::x86_64::vmcs::Field;
use hypervisor_framework::x86_64::{
    EptQualification, ExitReason, InterruptionInfo, InterruptionKind, MemoryFlags,
};
use iced_x86::code_asm::*;

use crate::guest::{Guest, INTERRUPTS_ON};
use crate::layout::*;
use crate::provider::{Provider, each};

/// A guest whose stack lies in a page that the VM does not map.
fn without_stack(provider: &Provider, program: crate::guest::Program<'_>) -> Guest {
    let mut guest = Guest::long(provider, program);
    guest.vm.unmap(SPARE, 4096).unwrap();
    guest.set(Field::GUEST_RSP, SPARE + 0x800);
    guest
}

/// Maps the stack again and re-injects, as a VMM does.
fn repair_and_reinject(guest: &mut Guest) {
    let memory = std::sync::Arc::clone(&guest.ram);
    guest.vm.map(&memory, SPARE as usize, SPARE, 4096, MemoryFlags::RWX).unwrap();
    let info = guest.vectoring();
    guest.set(Field::CTRL_VMENTRY_EXC_ERROR, guest.get(Field::RO_IDT_VECTOR_ERROR));
    guest.set(Field::CTRL_VMENTRY_INSTR_LEN, guest.length());
    guest.inject(InterruptionInfo(info.0 & !InterruptionInfo::NMI_UNBLOCKED));
}

#[test]
fn an_injected_interrupt_cut_short_can_be_injected_again() {
    each(|provider| {
        let mut guest = without_stack(provider, &|a| a.hlt());
        guest.set(Field::GUEST_RFLAGS, INTERRUPTS_ON);
        guest.inject(InterruptionInfo::new(InterruptionKind::External, 0x66, false));

        guest.expect(ExitReason::EPT_VIOLATION);

        let vectoring = guest.vectoring();
        assert!(vectoring.is_valid());
        assert_eq!((vectoring.kind(), vectoring.vector()), (InterruptionKind::External, 0x66));
        assert!(EptQualification(guest.qualification()).is_write());
        assert_eq!(guest.rip(), CODE, "nothing has happened yet");
        repair_and_reinject(&mut guest);
        guest.expect_handler(0x66);
    });
}

#[test]
fn an_exception_of_the_guest_cut_short_carries_its_error_code() {
    each(|provider| {
        let mut guest = without_stack(provider, &|a| {
            a.mov(eax, 0x1234)?;
            a.mov(fs, ax)?;
            a.hlt()
        });

        guest.expect(ExitReason::EPT_VIOLATION);

        let vectoring = guest.vectoring();
        assert_eq!((vectoring.kind(), vectoring.vector()), (InterruptionKind::HardwareException, 13));
        assert!(vectoring.has_error_code());
        assert_eq!(guest.get(Field::RO_IDT_VECTOR_ERROR), 0x1234 & !3 | 0x1234 & 4);
        repair_and_reinject(&mut guest);
        guest.expect_handler(13);
    });
}

#[test]
fn a_software_interrupt_cut_short_tells_its_length() {
    each(|provider| {
        let mut guest = without_stack(provider, &|a| a.int(0x80));

        guest.expect(ExitReason::EPT_VIOLATION);

        let vectoring = guest.vectoring();
        assert_eq!((vectoring.kind(), vectoring.vector()), (InterruptionKind::SoftwareInterrupt, 0x80));
        assert_eq!(guest.length(), 2);
        repair_and_reinject(&mut guest);
        guest.expect_handler(0x80);
        assert_eq!(guest.read_u64(guest.get(Field::GUEST_RSP)), CODE + 2);
    });
}

#[test]
fn int3_cut_short_is_a_software_exception() {
    each(|provider| {
        let mut guest = without_stack(provider, &|a| a.int3());

        guest.expect(ExitReason::EPT_VIOLATION);

        let vectoring = guest.vectoring();
        assert_eq!((vectoring.kind(), vectoring.vector()), (InterruptionKind::SoftwareException, 3));
        assert_eq!(guest.length(), 1);
        repair_and_reinject(&mut guest);
        guest.expect_handler(3);
    });
}

#[test]
fn an_exit_that_cuts_nothing_short_says_so() {
    each(|provider| {
        let mut guest = Guest::long(provider, &|a| {
            a.mov(rax, qword_ptr(HOLE))?;
            a.hlt()
        });

        guest.expect(ExitReason::EPT_VIOLATION);

        assert!(!guest.vectoring().is_valid());
        assert!(!guest.interruption().is_valid());
    });
}

#[test]
fn an_iret_from_an_nmi_that_exits_tells_that_nmis_are_open() {
    each(|provider| {
        let mut guest = Guest::long(provider, &|a| a.hlt());
        // The handler moves the stack to the hole, and returns from there.
        guest.write(HANDLERS + 2 * HANDLER_SIZE, &[0xbc, 0, 0, 0, 8, 0x48, 0xcf]);
        guest.inject(InterruptionInfo::new(InterruptionKind::Nmi, 2, false));

        guest.expect(ExitReason::EPT_VIOLATION);

        assert!(EptQualification(guest.qualification()).nmi_unblocked());
        assert_eq!(guest.get(Field::GUEST_INTERRUPTIBILITY) & 8, 0);
    });
}
