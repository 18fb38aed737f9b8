//! A vCPU belongs to the thread that created it.
#![allow(unsafe_code)] // carries a vCPU to a foreign thread, which the types forbid

use hypervisor_framework::ReturnCode;
use hypervisor_framework::x86_64::vmcs::Field;
use hypervisor_framework::x86_64::{Reg, Vcpu, VcpuOptions, VmOptions};

use crate::provider::each;

struct Carried<'a>(&'a dyn Vcpu);

// SAFETY: the owner waits while the other thread makes its calls, so they are never concurrent.
unsafe impl Send for Carried<'_> {}

#[test]
fn calls_from_a_foreign_thread_fail() {
    each(|provider| {
        let vm = provider.hypervisor.create_vm(VmOptions::empty()).unwrap();
        let vcpu = vm.vcpu_ticket(VcpuOptions::empty()).unwrap().claim().unwrap();
        let carried = Carried(&*vcpu);

        let answers = std::thread::scope(|scope| {
            let call = move || {
                let carried = carried;
                let Carried(vcpu) = carried;
                [
                    vcpu.read_register(Reg::RAX).err(),
                    vcpu.read_vmcs(Field::GUEST_RIP).err(),
                    vcpu.read_msr(0x10).err(),
                ]
            };
            scope.spawn(call).join().unwrap()
        });

        for answer in answers {
            let code = answer.map_or(ReturnCode::SUCCESS, |e| e.code);
            match provider.switch(|q| q.wrong_thread) {
                Some(expected) => assert_eq!(code, expected),
                None => assert_ne!(code, ReturnCode::SUCCESS),
            }
        }
        assert!(vcpu.read_register(Reg::RAX).is_ok(), "the owner still may");
    });
}
