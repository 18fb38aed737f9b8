//! Guest state that a VM entry refuses (SDM vol. 3, 27.3.1). One row per rule; each is made from a state that enters.

use hypervisor_framework::ReturnCode;
use hypervisor_framework::x86_64::vmcs::Field;
use hypervisor_framework::x86_64::{ExitReason, InterruptionInfo, InterruptionKind};
use iced_x86::code_asm::CodeAssembler;

use crate::guest::{Guest, LONG, NE_ET, PAE, PE, PG, VMXE};
use crate::layout::*;
use crate::provider::{Provider, each};

/// Fields to change, and what it breaks.
type Row = (&'static [(Field, u64)], &'static str);

#[track_caller]
fn must_not_enter(provider: &Provider, guest: &mut Guest, what: &str) {
    let answer = guest.try_run();
    let entered = match answer {
        Ok(reason) => !reason.is_entry_failure(),
        Err(error) => error.code != ReturnCode::ERROR,
    };
    assert!(!entered, "{what}: {answer:?}\n{}", guest.dump());
    let reason = ExitReason(guest.get(Field::RO_EXIT_REASON) as u32);
    if provider.switch(|q| q.invalid_guest_state).is_some() {
        assert_eq!(
            (reason.basic(), reason.is_entry_failure()),
            (ExitReason::INVALID_GUEST_STATE, true),
            "{what}"
        );
    }
    if provider.switch(|q| q.invalid_guest_state) == Some(ReturnCode::SUCCESS) {
        assert_eq!(answer.ok(), Some(reason), "{what}");
    }
}

fn refuse_all(rows: &[Row], make: impl Fn(&Provider) -> Guest) {
    each(|provider| {
        let mut guest = make(provider);
        guest.expect(ExitReason::HLT);
        for (changes, what) in rows {
            let before: Vec<_> = changes.iter().map(|(field, _)| (*field, guest.get(*field))).collect();
            for (field, value) in *changes {
                guest.set(*field, *value);
            }
            must_not_enter(provider, &mut guest, what);
            for (field, value) in before {
                guest.set(field, value);
            }
        }
        // Failed entries have left no trace: the good state still enters.
        let rip = guest.rip();
        guest.expect(ExitReason::HLT);
        assert_eq!(guest.rip(), rip);
    });
}

fn long(provider: &Provider) -> Guest {
    Guest::long(provider, &CodeAssembler::hlt)
}

fn flat32(provider: &Provider) -> Guest {
    Guest::flat32(provider, &CodeAssembler::hlt)
}

fn real(provider: &Provider) -> Guest {
    Guest::real(provider, &CodeAssembler::hlt)
}

const NON_CANONICAL: u64 = 1 << 47;

#[test]
fn control_registers_and_efer() {
    refuse_all(
        &[
            (&[(Field::GUEST_CR0, PE | PG | 0x10)], "CR0.NE is 0"),
            (&[(Field::GUEST_CR0, PE | NE_ET)], "IA-32e mode without PG"),
            (&[(Field::GUEST_CR0, PG | NE_ET)], "PG without PE"),
            (&[(Field::GUEST_CR4, PAE)], "CR4.VMXE is 0"),
            (&[(Field::GUEST_CR4, VMXE)], "IA-32e mode without PAE"),
            (&[(Field::GUEST_CR4, VMXE | PAE | 1 << 31)], "a reserved bit in CR4"),
            (&[(Field::GUEST_CR3, 1 << 60)], "CR3 beyond the physical address width"),
            (&[(Field::GUEST_IA32_EFER, LONG | 1 << 4)], "a reserved bit in EFER"),
            (&[(Field::GUEST_IA32_EFER, 0x100)], "LMA differs from the entry control"),
            (&[(Field::GUEST_IA32_EFER, 0x400)], "LMA without LME under paging"),
            (&[(Field::GUEST_IA32_EFER, 0)], "IA-32e mode with EFER 0"),
        ],
        long,
    );
}

#[test]
fn legacy_mode_refuses_long_mode_bits() {
    refuse_all(
        &[
            (&[(Field::GUEST_CR4, VMXE | 1 << 17)], "PCIDE outside of IA-32e mode"),
            (&[(Field::GUEST_IA32_EFER, LONG)], "LMA without the entry control"),
            (&[(Field::GUEST_RIP, 1 << 32)], "RIP beyond 32 bits"),
        ],
        flat32,
    );
}

#[test]
fn addresses_must_be_canonical() {
    refuse_all(
        &[
            (&[(Field::GUEST_SYSENTER_ESP, NON_CANONICAL)], "SYSENTER_ESP"),
            (&[(Field::GUEST_SYSENTER_EIP, NON_CANONICAL)], "SYSENTER_EIP"),
            (&[(Field::GUEST_GDTR_BASE, NON_CANONICAL)], "GDTR base"),
            (&[(Field::GUEST_IDTR_BASE, NON_CANONICAL)], "IDTR base"),
            (&[(Field::GUEST_FS_BASE, NON_CANONICAL)], "FS base"),
            (&[(Field::GUEST_GS_BASE, NON_CANONICAL)], "GS base"),
            (&[(Field::GUEST_TR_BASE, NON_CANONICAL)], "TR base"),
            (&[(Field::GUEST_RIP, NON_CANONICAL)], "RIP"),
            (&[(Field::GUEST_LDTR_AR, 0x82), (Field::GUEST_LDTR_BASE, NON_CANONICAL)], "LDTR base"),
        ],
        long,
    );
}

#[test]
fn descriptor_table_limits_have_16_bits() {
    refuse_all(
        &[
            (&[(Field::GUEST_GDTR_LIMIT, 0x1_0000)], "GDTR limit"),
            (&[(Field::GUEST_IDTR_LIMIT, 0x1_0fff)], "IDTR limit"),
        ],
        long,
    );
}

#[test]
fn code_segment() {
    refuse_all(
        &[
            (&[(Field::GUEST_CS_AR, 0xa08b)], "S is 0"),
            (&[(Field::GUEST_CS_AR, 0xa01b)], "not present"),
            (&[(Field::GUEST_CS_AR, 0xa09a)], "not accessed"),
            (&[(Field::GUEST_CS_AR, 0xa0fb)], "DPL above that of SS"),
            (&[(Field::GUEST_CS_AR, 0xe09b)], "both L and D"),
            (&[(Field::GUEST_CS_AR, 0xa19b)], "a reserved bit"),
            (&[(Field::GUEST_CS_AR, 0x2_a09b)], "a reserved high bit"),
            (&[(Field::GUEST_CS_AR, 0x209b)], "G is 0 with a limit of 4 GiB"),
            (&[(Field::GUEST_CS_LIMIT, 0xffff_f000)], "G is 1 with a limit that ends within a page"),
            (&[(Field::GUEST_CS_BASE, 1 << 32)], "a base beyond 32 bits"),
        ],
        long,
    );
}

#[test]
fn stack_and_data_segments() {
    refuse_all(
        &[
            (&[(Field::GUEST_SS_AR, 0xc09b)], "SS is code"),
            (&[(Field::GUEST_SS_AR, 0xc091)], "SS is not writable"),
            (&[(Field::GUEST_SS_AR, 0xc0f3)], "DPL of SS differs from that of CS"),
            (&[(Field::GUEST_SS_AR, 0xc013)], "SS is not present"),
            (&[(Field::GUEST_SS_BASE, 1 << 32)], "SS base beyond 32 bits"),
            (&[(Field::GUEST_DS_AR, 0xc092)], "DS is not accessed"),
            (&[(Field::GUEST_DS_AR, 0xc099)], "DS is code that cannot be read"),
            (&[(Field::GUEST_DS_AR, 0xc083)], "DS is a system segment"),
            (&[(Field::GUEST_ES_AR, 0xc013)], "ES is not present"),
            (&[(Field::GUEST_ES_BASE, 1 << 32)], "ES base beyond 32 bits"),
            (&[(Field::GUEST_FS_AR, 0x4093)], "FS: G is 0 with a limit of 4 GiB"),
            (&[(Field::GUEST_GS_AR, 0xc293)], "GS: a reserved bit"),
        ],
        long,
    );
}

#[test]
fn task_register_and_ldtr() {
    refuse_all(
        &[
            (&[(Field::GUEST_TR_AR, 0x89)], "TSS is not busy"),
            (&[(Field::GUEST_TR_AR, 0x83)], "16-bit TSS in IA-32e mode"),
            (&[(Field::GUEST_TR_AR, 0x1_008b)], "TR is unusable"),
            (&[(Field::GUEST_TR_AR, 0x9b)], "TR: S is 1"),
            (&[(Field::GUEST_TR_AR, 0x0b)], "TR is not present"),
            (&[(Field::GUEST_TR, 0x1c)], "TR: TI is 1"),
            (&[(Field::GUEST_LDTR_AR, 0x83)], "LDTR: another type"),
            (&[(Field::GUEST_LDTR_AR, 0x92)], "LDTR: S is 1"),
            (&[(Field::GUEST_LDTR_AR, 0x02)], "LDTR is not present"),
            (&[(Field::GUEST_LDTR_AR, 0x82), (Field::GUEST_LDTR, 4)], "LDTR: TI is 1"),
        ],
        long,
    );
}

#[test]
fn real_mode_has_stack_privilege_0() {
    refuse_all(&[(&[(Field::GUEST_SS_AR, 0xf3), (Field::GUEST_CS_AR, 0xfb)], "DPL 3 without PE")], real);
}

#[test]
fn virtual_8086_mode_fixes_its_segments() {
    // With RFLAGS.VM the flat segments of protected mode are not what they must be.
    refuse_all(&[(&[(Field::GUEST_RFLAGS, 0x2_0002)], "flat segments in virtual-8086 mode")], flat32);
}

#[test]
fn flags() {
    refuse_all(
        &[
            (&[(Field::GUEST_RFLAGS, 0)], "bit 1 is 0"),
            (&[(Field::GUEST_RFLAGS, 0xa)], "bit 3"),
            (&[(Field::GUEST_RFLAGS, 0x22)], "bit 5"),
            (&[(Field::GUEST_RFLAGS, 0x8002)], "bit 15"),
            (&[(Field::GUEST_RFLAGS, 0x40_0002)], "bit 22"),
            (&[(Field::GUEST_RFLAGS, 1 << 40 | 2)], "bit 40"),
            (&[(Field::GUEST_RFLAGS, 0x2_0002)], "VM in IA-32e mode"),
        ],
        long,
    );
}

#[test]
fn blocking_and_activity() {
    const HALTED: (Field, u64) = (Field::GUEST_ACTIVITY_STATE, 1);
    const ON: (Field, u64) = (Field::GUEST_RFLAGS, 0x202);
    refuse_all(
        &[
            (&[(Field::GUEST_INTERRUPTIBILITY, 1)], "STI blocking without IF"),
            (&[(Field::GUEST_INTERRUPTIBILITY, 3), ON], "both STI and MOV SS blocking"),
            (&[(Field::GUEST_INTERRUPTIBILITY, 4)], "SMI blocking outside of SMM"),
            (&[(Field::GUEST_INTERRUPTIBILITY, 0x10)], "a reserved bit"),
            (&[(Field::GUEST_INTERRUPTIBILITY, 1), ON, HALTED], "halted in the shadow of STI"),
            (&[HALTED, (Field::GUEST_SS_AR, 0xc0f3), (Field::GUEST_CS_AR, 0xa0fb)], "halted in ring 3"),
        ],
        long,
    );
}

#[test]
fn pending_debug_exceptions() {
    refuse_all(
        &[
            (&[(Field::GUEST_DEBUG_EXC, 1 << 4)], "a reserved bit"),
            (&[(Field::GUEST_DEBUG_EXC, 1 << 20)], "a reserved high bit"),
            (
                &[(Field::GUEST_INTERRUPTIBILITY, 2), (Field::GUEST_RFLAGS, 0x102)],
                "TF in the shadow of MOV SS without a pending single-step",
            ),
            (
                &[(Field::GUEST_INTERRUPTIBILITY, 2), (Field::GUEST_DEBUG_EXC, 1 << 14)],
                "a pending single-step in the shadow of MOV SS without TF",
            ),
        ],
        long,
    );
}

#[test]
fn page_directory_pointers_have_no_reserved_bits() {
    each(|provider| {
        let mut guest = flat32(provider);
        guest.set(Field::GUEST_CR0, PE | PG | NE_ET);
        guest.set(Field::GUEST_CR4, VMXE | PAE);
        guest.set(Field::GUEST_CR3, PDPT);
        guest.vcpu.invalidate_tlb().unwrap();
        guest.write_u64(PAGE_DIRECTORY, 0x87);
        guest.set(Field::GUEST_PDPTE0, PAGE_DIRECTORY | 1);
        guest.expect(ExitReason::HLT);

        guest.set(Field::GUEST_PDPTE2, PAGE_DIRECTORY | 7);

        must_not_enter(provider, &mut guest, "R/W and U/S in a PDPTE");
        if !provider.is_native() {
            assert_eq!(guest.qualification(), 2, "the qualification tells of the PDPTEs");
        }
    });
}

#[test]
fn injection_needs_an_interruptible_guest() {
    each(|provider| {
        let interrupt = InterruptionInfo::new(InterruptionKind::External, 0x30, false);
        let nmi = InterruptionInfo::new(InterruptionKind::Nmi, 2, false);
        for (info, flags, blocking, what) in [
            (interrupt, 0x2, 0, "an interrupt without IF"),
            (interrupt, 0x202, 1, "an interrupt in the shadow of STI"),
            (interrupt, 0x202, 2, "an interrupt in the shadow of MOV SS"),
            (nmi, 0x2, 2, "an NMI in the shadow of MOV SS"),
            (nmi, 0x2, 8, "an NMI during an NMI"),
        ] {
            let mut guest = long(provider);
            guest.set(Field::GUEST_RFLAGS, flags);
            guest.set(Field::GUEST_INTERRUPTIBILITY, blocking);
            guest.inject(info);
            must_not_enter(provider, &mut guest, what);
        }
    });
}

#[test]
fn a_halted_guest_takes_interrupts_but_no_page_faults() {
    each(|provider| {
        let mut guest = long(provider);
        guest.set(Field::GUEST_ACTIVITY_STATE, 1);
        guest.inject(InterruptionInfo::new(InterruptionKind::HardwareException, 14, true));
        must_not_enter(provider, &mut guest, "#PF into a halted guest");

        guest.set(Field::GUEST_RFLAGS, 0x202);
        guest.inject(InterruptionInfo::new(InterruptionKind::External, 0x30, false));
        guest.expect_handler(0x30);
        assert_eq!(guest.get(Field::GUEST_ACTIVITY_STATE), 0, "awake");
    });
}
