//! A call from a thread that does not own the vCPU.
#![allow(unsafe_code)] // carries a vCPU to a foreign thread, which the types forbid

use super::machine::Machine;
use super::{Answer, code};
use crate::x86_64::vmcs::Field;
use crate::x86_64::{Hypervisor, Reg, Vcpu};
use crate::{Error, ReturnCode};

struct Carried<'a>(&'a dyn Vcpu);

// SAFETY: the owner waits while the other thread makes its calls, so they are never concurrent.
unsafe impl Send for Carried<'_> {}

pub(super) fn call(hypervisor: &dyn Hypervisor) -> Answer {
    let machine = Machine::real(hypervisor, &[0xf4])?;
    let carried = Carried(&*machine.vcpu);
    let answer = std::thread::scope(|scope| {
        let calls = move || {
            let carried = carried;
            let Carried(vcpu) = carried;
            format!(
                "read_register {}\nread_vmcs {}\nget_exec_time {}",
                code(&vcpu.read_register(Reg::RAX)),
                code(&vcpu.read_vmcs(Field::GUEST_RIP)),
                code(&vcpu.exec_time_ns())
            )
        };
        scope.spawn(calls).join()
    });
    answer.map_err(|_| Error { call: "a call from a foreign thread", code: ReturnCode::FAULT })
}
