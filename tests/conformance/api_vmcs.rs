//! `hv_vmx_vcpu_read_vmcs`, `hv_vmx_vcpu_write_vmcs`, `hv_vmx_vcpu_get_cap_write_vmcs`.

use hypervisor_framework::ReturnCode;
use hypervisor_framework::x86_64::vmcs::{Field, WriteRight};
use hypervisor_framework::x86_64::{PinBased, VmxCapability};
use iced_x86::code_asm::CodeAssembler;

use crate::guest::Guest;
use crate::provider::{Provider, each};

fn idle(provider: &Provider) -> Guest {
    Guest::long(provider, &CodeAssembler::hlt)
}

/// A write that must not be allowed, with the answer the provider promises.
#[track_caller]
fn refused(provider: &Provider, guest: &mut Guest, field: Field, value: u64) {
    let before = guest.get(field);
    let answer = guest.vcpu.write_vmcs(field, value);
    let code = answer.err().unwrap_or_else(|| panic!("{field:?} took {value:#x}")).code;
    match provider.switch(|q| q.refused_write) {
        Some(expected) => assert_eq!(code, expected, "{field:?}"),
        None => assert_ne!(code, ReturnCode::SUCCESS),
    }
    assert_eq!(guest.get(field), before, "{field:?} changed all the same");
}

#[test]
fn freely_writable_fields_round_trip() {
    each(|provider| {
        let mut guest = idle(provider);
        for &field in Field::ALL.iter().filter(|f| f.write_right() == Some(WriteRight::Free)) {
            // A value that is legal for whatever the field means.
            let value = match field {
                Field::GUEST_RFLAGS => 0x246,
                Field::GUEST_CR4 => 0x2020,
                Field::GUEST_IA32_EFER => 0x501,
                Field::GUEST_IA32_DEBUGCTL => 0,
                Field::GUEST_INTERRUPTIBILITY => 0,
                Field::GUEST_DEBUG_EXC => 0,
                Field::CTRL_TPR_THRESHOLD => 3,
                _ => 0x1000 & field.width().mask() | 0x10,
            };
            guest.set(field, value);
            assert_eq!(guest.get(field), value, "{field:?}");
        }
    });
}

#[test]
fn no_two_fields_are_the_same() {
    each(|provider| {
        let mut guest = idle(provider);
        let bases: Vec<_> = Field::ALL.iter().filter(|f| f.name().unwrap().ends_with("_BASE")).collect();
        let free: Vec<_> = bases.into_iter().filter(|f| f.write_right() == Some(WriteRight::Free)).collect();
        for (field, value) in free.iter().zip((0x1000..).step_by(0x1000)) {
            guest.set(**field, value);
        }
        for (field, value) in free.iter().zip((0x1000..).step_by(0x1000)) {
            assert_eq!(guest.get(**field), value, "{field:?}");
        }
    });
}

#[test]
fn read_only_fields_refuse_writes() {
    each(|provider| {
        let mut guest = idle(provider);
        for &field in Field::ALL.iter().filter(|f| f.write_right() == Some(WriteRight::ReadOnly)) {
            refused(provider, &mut guest, field, 1);
        }
    });
}

#[test]
fn the_frameworks_own_fields_refuse_writes() {
    each(|provider| {
        let mut guest = idle(provider);
        // Only those that programs have seen refused, on a real Mac.
        for field in [
            Field::GUEST_IA32_PAT,
            Field::GUEST_LINK_POINTER,
            Field::CTRL_EPTP,
            Field::CTRL_VPID,
            Field::HOST_RIP,
        ] {
            refused(provider, &mut guest, field, 0x1000);
        }
    });
}

#[test]
fn an_encoding_that_is_no_field_is_refused() {
    each(|provider| {
        let mut guest = idle(provider);
        assert!(guest.vcpu.read_vmcs(Field(0x6cfe)).is_err());
        assert!(guest.vcpu.write_vmcs(Field(0x6cfe), 0).is_err());
    });
}

#[test]
fn cr0_must_not_disable_caches() {
    each(|provider| {
        let mut guest = idle(provider);
        refused(provider, &mut guest, Field::GUEST_CR0, 0x8000_0031 | 1 << 30);
        refused(provider, &mut guest, Field::GUEST_CR0, 0x8000_0031 | 1 << 29);
        guest.set(Field::GUEST_CR0, 0x8000_0031);
    });
}

#[test]
fn the_cr0_mask_owns_cd_and_nw() {
    each(|provider| {
        let mut guest = idle(provider);
        refused(provider, &mut guest, Field::CTRL_CR0_MASK, 0);
        refused(provider, &mut guest, Field::CTRL_CR0_MASK, 1 << 30);
        guest.set(Field::CTRL_CR0_MASK, 3 << 29 | 1);
    });
}

#[test]
fn the_activity_state_is_active_or_halted() {
    each(|provider| {
        let mut guest = idle(provider);
        guest.set(Field::GUEST_ACTIVITY_STATE, 1);
        guest.set(Field::GUEST_ACTIVITY_STATE, 0);
        refused(provider, &mut guest, Field::GUEST_ACTIVITY_STATE, 2);
        refused(provider, &mut guest, Field::GUEST_ACTIVITY_STATE, 3);
    });
}

#[test]
fn controls_stay_within_their_capabilities() {
    each(|provider| {
        let mut guest = idle(provider);
        for (field, id) in [
            (Field::CTRL_PIN_BASED, VmxCapability::PINBASED),
            (Field::CTRL_CPU_BASED, VmxCapability::PROCBASED),
            (Field::CTRL_CPU_BASED2, VmxCapability::PROCBASED2),
            (Field::CTRL_VMENTRY_CONTROLS, VmxCapability::ENTRY),
        ] {
            let capability = provider.hypervisor.vmx_capability(id).unwrap();
            let (must, may) = (capability & 0xffff_ffff, capability >> 32);
            guest.set(field, must);
            assert_eq!(guest.get(field), must);
            if must != 0 {
                refused(provider, &mut guest, field, must & (must - 1));
            }
            if let Some(bit) = (0..32).find(|bit| may >> bit & 1 == 0) {
                refused(provider, &mut guest, field, must | 1 << bit);
            }
        }
    });
}

#[test]
fn the_exit_controls_are_writable_within_their_capability() {
    each(|provider| {
        let mut guest = idle(provider);
        let capability = provider.hypervisor.vmx_capability(VmxCapability::EXIT).unwrap();
        guest.set(Field::CTRL_VMEXIT_CONTROLS, capability & 0xffff_ffff);
        refused(provider, &mut guest, Field::CTRL_VMEXIT_CONTROLS, 0);
    });
}

#[test]
fn write_capabilities_agree_with_what_is_writable() {
    each(|provider| {
        let guest = idle(provider);
        let (must, may) = guest.vcpu.vmcs_write_capability(Field::CTRL_PIN_BASED).unwrap();
        assert_eq!(must & !may, 0);
        assert_ne!(may & u64::from(PinBased::INTR.bits()), 0);
        let (must, may) = guest.vcpu.vmcs_write_capability(Field::GUEST_CR0).unwrap();
        assert_eq!((must & 3 << 29, may & 3 << 29), (0, 0), "CD and NW must be 0");
    });
}

#[test]
fn values_are_cut_to_the_fields_width() {
    each(|provider| {
        let mut guest = idle(provider);
        guest.set(Field::GUEST_ES, 0x12_0030);
        assert_eq!(guest.get(Field::GUEST_ES), 0x30);
        guest.set(Field::GUEST_ES_LIMIT, 0x7_ffff_ffff);
        assert_eq!(guest.get(Field::GUEST_ES_LIMIT), 0xffff_ffff);
    });
}
