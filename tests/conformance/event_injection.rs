//! Events injected by a VM entry (SDM vol. 3, 27.6).

use std::time::{Duration, Instant};

use hypervisor_framework::x86_64::vmcs::Field;
use hypervisor_framework::x86_64::{
    Deadline, ExitReason, Interruptibility, InterruptionInfo, InterruptionKind, Reg,
};

use crate::guest::{Guest, INTERRUPTS_ON};
use crate::layout::*;
use crate::provider::{Provider, each};

fn at_nop(provider: &Provider) -> Guest {
    Guest::long(provider, &|a| {
        a.nop()?;
        a.hlt()
    })
}

/// The frame a handler finds: RIP, CS, RFLAGS, RSP, SS.
fn frame(guest: &Guest, skip: u64) -> [u64; 5] {
    let stack = guest.get(Field::GUEST_RSP) + skip;
    [0, 8, 16, 24, 32].map(|offset| guest.read_u64(stack + offset))
}

#[test]
fn an_external_interrupt_reaches_its_handler() {
    each(|provider| {
        let mut guest = at_nop(provider);
        guest.set(Field::GUEST_RFLAGS, INTERRUPTS_ON);
        guest.inject(InterruptionInfo::new(InterruptionKind::External, 0x55, false));

        guest.expect_handler(0x55);

        let expected = [CODE, CODE_SELECTOR.into(), INTERRUPTS_ON, STACK, DATA_SELECTOR.into()];
        assert_eq!(frame(&guest, 0), expected);
        assert_eq!(guest.get(Field::GUEST_RFLAGS) & 0x200, 0, "an interrupt gate clears IF");
    });
}

#[test]
fn a_kick_does_not_take_the_event_with_it() {
    each(|provider| {
        let mut guest = at_nop(provider);
        guest.set(Field::GUEST_RFLAGS, INTERRUPTS_ON);
        guest.inject(InterruptionInfo::new(InterruptionKind::External, 0x55, false));
        // Where kicks are kept for the next run, it ends that run as it begins.
        guest.vm.interrupt(&[guest.vcpu.id()]).unwrap();

        guest.vcpu.run_until(Deadline::At(Instant::now() + Duration::from_millis(20))).unwrap();

        let info = InterruptionInfo(guest.get(Field::CTRL_VMENTRY_IRQ_INFO) as u32);
        assert!(!info.is_valid());
        assert_eq!(frame(&guest, 0)[0], CODE, "the handler has its frame");
        assert_eq!(guest.get(Field::GUEST_RFLAGS) & 0x200, 0);
    });
}

#[test]
fn an_exception_pushes_its_error_code() {
    each(|provider| {
        let mut guest = at_nop(provider);
        guest.set(Field::CTRL_VMENTRY_EXC_ERROR, 0xabc);
        guest.inject(InterruptionInfo::new(InterruptionKind::HardwareException, 13, true));

        guest.expect_handler(13);

        assert_eq!(guest.read_u64(guest.get(Field::GUEST_RSP)), 0xabc);
        assert_eq!(frame(&guest, 8)[0], CODE);
    });
}

#[test]
fn an_exception_without_an_error_code_pushes_none() {
    each(|provider| {
        let mut guest = at_nop(provider);
        guest.inject(InterruptionInfo::new(InterruptionKind::HardwareException, 6, false));

        guest.expect_handler(6);

        assert_eq!(frame(&guest, 0)[0], CODE);
    });
}

#[test]
fn a_software_exception_returns_behind_its_instruction() {
    each(|provider| {
        let mut guest = at_nop(provider);
        guest.set(Field::CTRL_VMENTRY_INSTR_LEN, 1);
        guest.inject(InterruptionInfo::new(InterruptionKind::SoftwareException, 3, false));

        guest.expect_handler(3);

        assert_eq!(frame(&guest, 0)[0], CODE + 1);
    });
}

#[test]
fn a_software_interrupt_returns_behind_its_instruction() {
    each(|provider| {
        let mut guest = at_nop(provider);
        guest.set(Field::CTRL_VMENTRY_INSTR_LEN, 2);
        guest.inject(InterruptionInfo::new(InterruptionKind::SoftwareInterrupt, 0x80, false));

        guest.expect_handler(0x80);

        assert_eq!(frame(&guest, 0)[0], CODE + 2);
    });
}

#[test]
fn an_nmi_blocks_further_nmis_until_iret() {
    each(|provider| {
        let mut guest = at_nop(provider);
        // iretq
        guest.write(HANDLERS + 2 * HANDLER_SIZE, &[0x0f, 0xa2, 0x48, 0xcf]);
        guest.inject(InterruptionInfo::new(InterruptionKind::Nmi, 2, false));

        guest.expect(ExitReason::CPUID);
        let blocked = Interruptibility::from_bits_retain(guest.get(Field::GUEST_INTERRUPTIBILITY) as u32);
        assert!(blocked.contains(Interruptibility::NMI), "in the handler");

        guest.skip();
        guest.expect(ExitReason::HLT);
        assert_eq!(guest.get(Field::GUEST_INTERRUPTIBILITY), 0, "after IRET");
        assert_eq!(guest.get(Field::GUEST_RSP), STACK);
    });
}

#[test]
fn an_injected_page_fault_finds_cr2_as_the_vmm_left_it() {
    each(|provider| {
        let mut guest = at_nop(provider);
        guest.write(HANDLERS + 14 * HANDLER_SIZE, &[0x0f, 0x20, 0xd0, 0xf4]); // mov rax, cr2; hlt
        guest.set_reg(Reg::CR2, 0xdead_b000);
        guest.set(Field::CTRL_VMENTRY_EXC_ERROR, 2);
        guest.inject(InterruptionInfo::new(InterruptionKind::HardwareException, 14, true));

        guest.expect(ExitReason::HLT);

        assert_eq!(guest.reg(Reg::RAX), 0xdead_b000);
    });
}

#[test]
fn real_mode_uses_the_vector_table() {
    each(|provider| {
        let mut guest = Guest::real(provider, &|a| {
            a.nop()?;
            a.hlt()
        });
        guest.write(0x30 * 4, &[0x00, 0x00, 0x00, 0x03]); // 0300:0000
        guest.write(0x3000, &[0xb0, 0x30, 0xe6, HANDLER_PORT as u8]);
        guest.set(Field::GUEST_RFLAGS, INTERRUPTS_ON);
        guest.inject(InterruptionInfo::new(InterruptionKind::External, 0x30, false));

        guest.expect_handler(0x30);

        assert_eq!(guest.get(Field::GUEST_RSP), 0x7000 - 6);
        assert_eq!(guest.read_u64(0x7000 - 6) & 0xffff_ffff, (CODE >> 4) << 16);
    });
}

#[test]
fn protected_mode_uses_its_gates() {
    each(|provider| {
        let mut guest = Guest::flat32(provider, &|a| {
            a.nop()?;
            a.hlt()
        });
        guest.set(Field::GUEST_RFLAGS, INTERRUPTS_ON);
        guest.inject(InterruptionInfo::new(InterruptionKind::External, 0x21, false));

        guest.expect_handler(0x21);

        assert_eq!(guest.get(Field::GUEST_RSP), STACK - 12);
    });
}
