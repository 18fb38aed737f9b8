//! Interrupt and NMI windows, shadows, single-stepping.

use hypervisor_framework::x86_64::vmcs::Field;
use hypervisor_framework::x86_64::{ExitReason, InterruptionInfo, InterruptionKind, ProcBased};
use iced_x86::code_asm::*;

use crate::guest::{Guest, INTERRUPTS_ON};
use crate::layout::*;
use crate::provider::each;

#[test]
fn the_interrupt_window_opens_one_instruction_after_sti() {
    each(|provider| {
        let mut guest = Guest::long(provider, &|a| {
            a.nop()?;
            a.sti()?;
            a.nop()?;
            a.hlt()
        });
        guest.primary(ProcBased::IRQ_WINDOW, true);

        guest.expect(ExitReason::INTERRUPT_WINDOW);

        assert_eq!(guest.rip(), CODE + 3);
        assert_eq!(guest.get(Field::GUEST_INTERRUPTIBILITY), 0);
        guest.primary(ProcBased::IRQ_WINDOW, false);
        guest.inject(InterruptionInfo::new(InterruptionKind::External, 0x31, false));
        guest.expect_handler(0x31);
    });
}

#[test]
fn an_open_interrupt_window_exits_before_the_first_instruction() {
    each(|provider| {
        let mut guest = Guest::long(provider, &|a| a.hlt());
        guest.set(Field::GUEST_RFLAGS, INTERRUPTS_ON);
        guest.primary(ProcBased::IRQ_WINDOW, true);

        guest.expect(ExitReason::INTERRUPT_WINDOW);

        assert_eq!(guest.rip(), CODE);
    });
}

#[test]
fn the_interrupt_window_wakes_a_halted_guest() {
    each(|provider| {
        let mut guest = Guest::long(provider, &|a| a.cpuid());
        guest.set(Field::GUEST_RFLAGS, INTERRUPTS_ON);
        guest.set(Field::GUEST_ACTIVITY_STATE, 1);
        guest.primary(ProcBased::IRQ_WINDOW, true);

        guest.expect(ExitReason::INTERRUPT_WINDOW);
    });
}

#[test]
fn sti_hlt_exits_at_the_hlt_with_the_shadow_in_place() {
    each(|provider| {
        let mut guest = Guest::long(provider, &|a| {
            a.sti()?;
            a.hlt()
        });

        guest.expect(ExitReason::HLT);

        assert_eq!(guest.rip(), CODE + 1);
        assert_eq!(guest.get(Field::GUEST_INTERRUPTIBILITY), 1);
    });
}

#[test]
fn loading_ss_blocks_for_one_instruction() {
    each(|provider| {
        let mut guest = Guest::long(provider, &|a| {
            a.mov(eax, u32::from(DATA_SELECTOR))?;
            a.mov(ss, ax)?;
            a.hlt()
        });

        guest.expect(ExitReason::HLT);

        assert_eq!(guest.get(Field::GUEST_INTERRUPTIBILITY), 2);
    });
}

#[test]
fn the_nmi_window_opens_when_the_handler_returns() {
    each(|provider| {
        let mut guest = Guest::long(provider, &|a| {
            a.nop()?;
            a.hlt()
        });
        guest.write(HANDLERS + 2 * HANDLER_SIZE, &[0x90, 0x48, 0xcf]); // nop; iretq
        guest.inject(InterruptionInfo::new(InterruptionKind::Nmi, 2, false));
        guest.primary(ProcBased::NMI_WINDOW, true);

        guest.expect(ExitReason::NMI_WINDOW);

        assert_eq!(guest.rip(), CODE, "back from the handler");
    });
}

#[test]
fn the_monitor_trap_exits_after_each_instruction() {
    each(|provider| {
        let mut guest = Guest::long(provider, &|a| {
            a.nop()?;
            a.mov(eax, 1)?;
            a.jmp(CODE)
        });
        guest.primary(ProcBased::MONITOR_TRAP, true);

        for rip in [CODE + 1, CODE + 6, CODE, CODE + 1] {
            guest.expect(ExitReason::MONITOR_TRAP);
            assert_eq!(guest.rip(), rip);
        }
    });
}

#[test]
fn the_monitor_trap_exits_in_front_of_an_injected_events_handler() {
    each(|provider| {
        let mut guest = Guest::long(provider, &|a| a.hlt());
        guest.set(Field::GUEST_RFLAGS, INTERRUPTS_ON);
        guest.primary(ProcBased::MONITOR_TRAP, true);
        guest.inject(InterruptionInfo::new(InterruptionKind::External, 0x40, false));

        guest.expect(ExitReason::MONITOR_TRAP);

        assert_eq!(guest.rip(), HANDLERS + 0x40 * HANDLER_SIZE);
    });
}

#[test]
fn single_stepping_by_the_guest_traps_after_the_instruction() {
    each(|provider| {
        let mut guest = Guest::long(provider, &|a| {
            a.nop()?;
            a.hlt()
        });
        guest.set(Field::GUEST_RFLAGS, 0x102);

        guest.expect_handler(1);

        assert_eq!(guest.read_u64(guest.get(Field::GUEST_RSP)), CODE + 1);
    });
}
