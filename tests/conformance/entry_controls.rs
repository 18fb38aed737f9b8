//! Control fields that a VM entry refuses (SDM vol. 3, 27.2.1): error 7, and no exit.

use hypervisor_framework::ReturnCode;
use hypervisor_framework::x86_64::vmcs::Field;
use hypervisor_framework::x86_64::{
    EntryControls, ExitReason, InterruptionInfo, InterruptionKind, PinBased, ProcBased, Reg,
};
use iced_x86::code_asm::*;

use crate::guest::{Guest, INTERRUPTS_ON, LONG, PG};
use crate::layout::*;
use crate::provider::{Provider, each};

/// The instruction error of invalid control fields.
const INVALID_CONTROLS: u64 = 7;

fn long(provider: &Provider) -> Guest {
    Guest::long(provider, &CodeAssembler::hlt)
}

#[track_caller]
fn must_not_enter(guest: &mut Guest, what: &str) {
    let answer = guest.try_run();
    assert_eq!(answer.err().map(|e| e.code), Some(ReturnCode::ERROR), "{what}\n{}", guest.dump());
    assert_eq!(guest.get(Field::RO_INSTR_ERROR), INVALID_CONTROLS, "{what}");
}

#[test]
fn the_event_to_inject_must_make_sense() {
    use InterruptionKind::{HardwareException, Nmi, Other, Reserved, SoftwareException, SoftwareInterrupt};
    each(|provider| {
        for (info, code, length, what) in [
            (InterruptionInfo::new(Reserved, 0x30, false), 0, 0, "type 1"),
            (InterruptionInfo::new(Nmi, 3, false), 0, 0, "an NMI with vector 3"),
            (InterruptionInfo::new(HardwareException, 32, false), 0, 0, "an exception with vector 32"),
            (InterruptionInfo::new(Other, 1, false), 0, 0, "a pending MTF exit with a vector"),
            (InterruptionInfo::new(HardwareException, 6, true), 0, 0, "#UD with an error code"),
            (InterruptionInfo::new(HardwareException, 13, false), 0, 0, "#GP without an error code"),
            (InterruptionInfo::new(HardwareException, 13, true), 0x1_0000, 0, "an error code of 17 bits"),
            (InterruptionInfo::new(SoftwareException, 3, false), 0, 0, "#BP without a length"),
            (InterruptionInfo::new(SoftwareInterrupt, 0x80, false), 0, 16, "an instruction of 16 bytes"),
            (InterruptionInfo(0x8000_1330), 0, 0, "a reserved bit"),
        ] {
            let mut guest = long(provider);
            guest.set(Field::CTRL_VMENTRY_EXC_ERROR, code);
            guest.set(Field::CTRL_VMENTRY_INSTR_LEN, length);
            guest.inject(info);
            must_not_enter(&mut guest, what);
            guest.inject(InterruptionInfo(0));
            guest.expect(ExitReason::HLT);
        }
    });
}

#[test]
fn real_mode_exceptions_have_no_error_code() {
    each(|provider| {
        let mut guest = Guest::real(provider, &CodeAssembler::hlt);
        guest.inject(InterruptionInfo::new(InterruptionKind::HardwareException, 13, true));
        must_not_enter(&mut guest, "#GP with an error code in real mode");
    });
}

#[test]
fn an_nmi_window_needs_virtual_nmis() {
    each(|provider| {
        let mut guest = long(provider);
        let pin = guest.get(Field::CTRL_PIN_BASED) & !u64::from(PinBased::VIRTUAL_NMI.bits());
        guest.set(Field::CTRL_PIN_BASED, pin);
        guest.primary(ProcBased::NMI_WINDOW, true);
        must_not_enter(&mut guest, "NMI window without virtual NMIs");
    });
}

#[test]
fn the_tpr_threshold_is_not_above_the_tpr() {
    each(|provider| {
        let mut guest = long(provider);
        guest.primary(ProcBased::TPR_SHADOW, true);
        guest.set_reg(Reg::TPR, 0x20);
        guest.set(Field::CTRL_TPR_THRESHOLD, 3);
        must_not_enter(&mut guest, "threshold 3, TPR 2");
        guest.set(Field::CTRL_TPR_THRESHOLD, 0x10);
        must_not_enter(&mut guest, "a threshold of 5 bits");
        guest.set(Field::CTRL_TPR_THRESHOLD, 2);
        guest.expect(ExitReason::HLT);
    });
}

#[test]
fn the_valid_bit_is_gone_after_an_entry_and_kept_by_a_failed_one() {
    each(|provider| {
        let mut guest = long(provider);
        let info = InterruptionInfo::new(InterruptionKind::External, 0x41, false);
        guest.inject(info);
        assert!(guest.try_run().map_or(true, ExitReason::is_entry_failure), "IF is 0");
        assert_eq!(guest.get(Field::CTRL_VMENTRY_IRQ_INFO), u64::from(info.0));

        guest.set(Field::GUEST_RFLAGS, INTERRUPTS_ON);

        guest.expect_handler(0x41);
        assert_eq!(guest.get(Field::CTRL_VMENTRY_IRQ_INFO) >> 31, 0);
    });
}

#[test]
fn entering_long_mode_takes_efer_and_the_entry_control() {
    each(|provider| {
        // 32-bit code turns paging on under LME; PG is the host's, so it exits there.
        let mut guest = Guest::flat32(provider, &|a| {
            a.mov(eax, (PG | 0x31) as u32)?;
            a.mov(cr0, eax)?;
            a.nop()?;
            a.hlt()
        });
        guest.set(Field::GUEST_CR4, 0x2020);
        guest.write_u64(PML4, PDPT | 7);
        guest.set(Field::GUEST_CR3, PML4);
        guest.set(Field::GUEST_IA32_EFER, 0x100);
        guest.expect(ExitReason::CR_ACCESS);
        guest.skip();

        // What a VMM does on the way to long mode.
        guest.set(Field::CTRL_CR0_SHADOW, PG | 0x31);
        guest.set(Field::GUEST_CR0, PG | 0x31);
        guest.set(Field::GUEST_IA32_EFER, LONG);
        let entry = guest.get(Field::CTRL_VMENTRY_CONTROLS) | u64::from(EntryControls::GUEST_IA32E.bits());
        guest.set(Field::CTRL_VMENTRY_CONTROLS, entry);

        guest.expect(ExitReason::HLT);
        assert_eq!(guest.get(Field::GUEST_IA32_EFER), LONG);
    });
}
