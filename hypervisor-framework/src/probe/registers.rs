//! Registers with a behaviour of their own.

use std::fmt::Write as _;

use super::machine::Machine;
use super::{Answer, code};
use crate::x86_64::vmcs::Field;
use crate::x86_64::{ExitReason, Hypervisor, ProcBased, Reg};

/// HLT
const HALT: [u8; 1] = [0xf4];

pub(super) fn control(hypervisor: &dyn Hypervisor) -> Answer {
    let mut machine = Machine::real(hypervisor, &HALT)?;
    let mut answer = String::new();
    for (reg, value, fields) in [
        (Reg::CR0, 0x11, [Field::GUEST_CR0, Field::CTRL_CR0_MASK, Field::CTRL_CR0_SHADOW]),
        (Reg::CR4, 0x600, [Field::GUEST_CR4, Field::CTRL_CR4_MASK, Field::CTRL_CR4_SHADOW]),
    ] {
        let before: Vec<_> = fields.iter().map(|f| machine.get(*f)).collect::<Result<_, _>>()?;
        let result = machine.vcpu.write_register(reg, value);
        let after: Vec<_> = fields.iter().map(|f| machine.get(*f)).collect::<Result<_, _>>()?;
        let read = machine.vcpu.read_register(reg)?;
        let _ = writeln!(
            answer,
            "{reg:?} = {value:#x}: {}, reads {read:#x}; field, mask, shadow {before:x?} -> {after:x?}",
            code(&result)
        );
    }
    Ok(answer)
}

pub(super) fn xcr0_mpx(hypervisor: &dyn Hypervisor) -> Answer {
    let mut machine = Machine::real(hypervisor, &HALT)?;
    let mut answer = String::new();
    for value in [1, 3, 7, 0x1b, 0x1f, 0xe7] {
        let result = machine.vcpu.write_register(Reg::XCR0, value);
        let read = machine.vcpu.read_register(Reg::XCR0)?;
        let _ = writeln!(answer, "XCR0 = {value:#x}: {}, reads {read:#x}", code(&result));
    }
    Ok(answer)
}

pub(super) fn tpr_readback(hypervisor: &dyn Hypervisor) -> Answer {
    // mov ebx, cr8 (as rbx); mov ecx, 7; mov cr8, rcx; hlt
    let program = [0x44, 0x0f, 0x20, 0xc3, 0xb9, 7, 0, 0, 0, 0x44, 0x0f, 0x22, 0xc1, 0xf4];
    let mut machine = Machine::long(hypervisor, &program)?;
    let primary = machine.get(Field::CTRL_CPU_BASED)? | u64::from(ProcBased::TPR_SHADOW.bits());
    machine.set(Field::CTRL_CPU_BASED, primary)?;
    machine.vcpu.write_register(Reg::TPR, 0x50)?;
    let before = machine.vcpu.read_register(Reg::TPR)?;
    let reason = machine.run()?;
    let after = machine.vcpu.read_register(Reg::TPR)?;
    let seen = machine.vcpu.read_register(Reg::RBX)?;
    if reason != ExitReason::HLT {
        return Ok(format!("{reason} instead of HLT"));
    }
    Ok(format!("written 0x50, reads {before:#x}; the guest saw CR8 {seen:#x} and wrote 7: reads {after:#x}"))
}

pub(super) fn fpstate_size(hypervisor: &dyn Hypervisor) -> Answer {
    let machine = Machine::real(hypervisor, &HALT)?;
    let mut answer = String::new();
    for size in [256, 512, 576, 832, 1024, 1088, 2048, 2696, 4096] {
        let mut buffer = vec![0; size];
        let _ = writeln!(answer, "{size}: {}", code(&machine.vcpu.read_fpstate(&mut buffer)));
    }
    Ok(answer)
}
