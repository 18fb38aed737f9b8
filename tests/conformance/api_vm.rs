//! `hv_vm_create`, `hv_capability`, `hv_vmx_read_capability`, vCPU creation.

use hypervisor_framework::ReturnCode;
use hypervisor_framework::x86_64::{
    Capability, MsrInfo, ProcBased, VcpuOptions, VmOptions, VmxCapability, canonical_control,
};

use crate::provider::each;

#[test]
fn a_second_vm_in_a_process_is_busy_where_there_is_such_a_limit() {
    each(|provider| {
        let first = provider.hypervisor.create_vm(VmOptions::empty()).unwrap();

        let second = provider.hypervisor.create_vm(VmOptions::empty());

        if provider.switch(|q| q.one_vm) == Some(false) {
            assert!(second.is_ok());
        } else {
            assert_eq!(second.err().map(|e| e.code), Some(ReturnCode::BUSY));
        }
        drop(first);
    });
}

#[test]
fn a_vm_can_be_created_after_the_last_one_is_gone() {
    each(|provider| {
        for _ in 0..3 {
            drop(provider.hypervisor.create_vm(VmOptions::empty()).unwrap());
        }
    });
}

#[test]
fn a_vm_outlives_its_handle_while_a_vcpu_lives() {
    each(|provider| {
        let vm = provider.hypervisor.create_vm(VmOptions::empty()).unwrap();
        let vcpu = vm.vcpu_ticket(VcpuOptions::empty()).unwrap().claim().unwrap();

        drop(vm);

        assert!(vcpu.read_vmcs(hypervisor_framework::x86_64::vmcs::Field::GUEST_RIP).is_ok());
    });
}

#[test]
fn the_system_tells_how_many_vcpus_a_vm_may_have() {
    each(|provider| {
        assert!(provider.hypervisor.capability(Capability::VCPU_MAX).unwrap() >= 1);
    });
}

#[test]
fn controls_that_must_be_1_may_be_1() {
    each(|provider| {
        for id in [
            VmxCapability::PINBASED,
            VmxCapability::PROCBASED,
            VmxCapability::PROCBASED2,
            VmxCapability::ENTRY,
            VmxCapability::EXIT,
        ] {
            let value = provider.hypervisor.vmx_capability(id).unwrap();
            let (must, may) = (value as u32, (value >> 32) as u32);
            assert_eq!(must & !may, 0, "{id:?} = {value:#x}");
            assert_eq!(canonical_control(0, value), must);
            assert_eq!(canonical_control(u32::MAX, value), may);
        }
    });
}

#[test]
fn what_the_vmm_needs_is_offered() {
    each(|provider| {
        let may = provider.hypervisor.vmx_capability(VmxCapability::PROCBASED).unwrap() >> 32;
        let needed = ProcBased::HLT | ProcBased::IRQ_WINDOW | ProcBased::TSC_OFFSET | ProcBased::CR8_LOAD;
        assert_eq!(may as u32 & needed.bits(), needed.bits());
    });
}

#[test]
fn an_unknown_capability_is_refused() {
    each(|provider| {
        assert!(provider.hypervisor.vmx_capability(VmxCapability(0x7777)).is_err());
        assert!(provider.hypervisor.capability(Capability(0x7777)).is_err());
    });
}

#[test]
fn msr_information_is_readable() {
    each(|provider| {
        provider.hypervisor.msr_info(MsrInfo::VALID_SPEC_CTRL).unwrap();
        assert!(provider.hypervisor.msr_info(MsrInfo(0x7777)).is_err());
    });
}

#[test]
fn the_tsc_has_a_frequency() {
    each(|provider| {
        assert!(provider.hypervisor.tsc_frequency_hz().unwrap() >= 100_000_000);
    });
}

#[test]
fn vcpus_count_up_and_live_on_the_thread_that_claims_them() {
    each(|provider| {
        let vm = provider.hypervisor.create_vm(VmOptions::empty()).unwrap();
        let here = vm.vcpu_ticket(VcpuOptions::empty()).unwrap().claim().unwrap();
        let ticket = vm.vcpu_ticket(VcpuOptions::empty()).unwrap();

        let there = std::thread::spawn(move || ticket.claim().unwrap().id()).join().unwrap();

        assert_eq!(there, here.id() + 1);
    });
}
