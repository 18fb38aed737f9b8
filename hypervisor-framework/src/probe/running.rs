//! Entries, exits and kicks.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::machine::Machine;
use super::{Answer, code};
use crate::x86_64::vmcs::Field;
use crate::x86_64::{Deadline, ExitReason, Hypervisor, InterruptionInfo, InterruptionKind};

const HALT: [u8; 1] = [0xf4];
/// jmp to itself
const LOOP: [u8; 2] = [0xeb, 0xfe];

/// What a run that should fail leaves behind.
fn failure(machine: &mut Machine) -> Answer {
    let result = machine.vcpu.run_until(Deadline::At(Instant::now() + Duration::from_secs(1)));
    let outcome = match result {
        Ok(reason) => format!("HV_SUCCESS with reason {reason:#x}"),
        Err(_) => code(&result),
    };
    Ok(format!(
        "{outcome}; exit reason {:#x}, qualification {:#x}, instruction error {}, vmx status {}",
        machine.get(Field::RO_EXIT_REASON)?,
        machine.get(Field::RO_EXIT_QUALIFIC)?,
        machine.get(Field::RO_INSTR_ERROR)?,
        machine
            .vcpu
            .vmx_status()
            .map_or_else(|error| error.code.to_string(), |status| format!("{status:#x}"))
    ))
}

pub(super) fn invalid_guest_state(hypervisor: &dyn Hypervisor) -> Answer {
    let mut answer = String::new();
    for (what, field, value) in [
        ("RFLAGS bit 1 is 0", Field::GUEST_RFLAGS, 0),
        ("TSS not busy", Field::GUEST_TR_AR, 0x83 & !2),
        ("CR4.VMXE is 0", Field::GUEST_CR4, 0),
    ] {
        let mut machine = Machine::real(hypervisor, &HALT)?;
        let outcome = match machine.set(field, value) {
            Ok(()) => failure(&mut machine)?,
            Err(error) => format!("the write is refused: {}", error.code),
        };
        let _ = writeln!(answer, "{what}: {outcome}");
    }
    Ok(answer)
}

pub(super) fn invalid_controls(hypervisor: &dyn Hypervisor) -> Answer {
    let mut machine = Machine::real(hypervisor, &HALT)?;
    let info = InterruptionInfo::new(InterruptionKind::Reserved, 0x30, false);
    machine.set(Field::CTRL_VMENTRY_IRQ_INFO, info.0.into())?;
    failure(&mut machine)
}

pub(super) fn kick_before_run(hypervisor: &dyn Hypervisor) -> Answer {
    let mut machine = Machine::real(hypervisor, &LOOP)?;
    let mut answer = String::new();
    for _ in 0..3 {
        machine.vm.interrupt(&[machine.vcpu.id()])?;
        let start = Instant::now();
        let reason = machine.vcpu.run_until(Deadline::At(start + Duration::from_millis(100)))?;
        let _ = writeln!(answer, "{} after {} us", ExitReason(reason), start.elapsed().as_micros());
    }
    Ok(answer)
}

pub(super) fn kick_information(hypervisor: &dyn Hypervisor) -> Answer {
    let mut machine = Machine::real(hypervisor, &LOOP)?;
    let stop = Arc::new(AtomicBool::new(false));
    let kicker = {
        let (vm, id, stop) = (Arc::clone(&machine.vm), machine.vcpu.id(), Arc::clone(&stop));
        std::thread::spawn(move || {
            while !stop.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(20));
                if vm.interrupt(&[id]).is_err() {
                    break;
                }
            }
        })
    };
    let reason = machine.vcpu.run_until(Deadline::At(Instant::now() + Duration::from_secs(2)));
    stop.store(true, Ordering::SeqCst);
    let joined = if kicker.join().is_ok() { "" } else { "; the kicking thread failed" };
    Ok(format!(
        "{}, interruption information {:#x}, instruction length {}{joined}",
        ExitReason(reason?),
        machine.get(Field::RO_VMEXIT_IRQ_INFO)?,
        machine.get(Field::RO_VMEXIT_INSTR_LEN)?
    ))
}

pub(super) fn spurious_exits(hypervisor: &dyn Hypervisor) -> Answer {
    const TIME: Duration = Duration::from_millis(300);
    let mut machine = Machine::real(hypervisor, &LOOP)?;
    let mut plain = 0_u32;
    let start = Instant::now();
    while start.elapsed() < TIME {
        match ExitReason(machine.vcpu.run()?) {
            ExitReason::EXTERNAL_INTERRUPT => plain += 1,
            ExitReason::EPT_VIOLATION => {}
            reason => return Ok(format!("{reason} under plain run")),
        }
    }
    let mut until = 0_u32;
    let deadline = Instant::now() + TIME;
    let last = loop {
        match ExitReason(machine.vcpu.run_until(Deadline::At(deadline))?) {
            ExitReason::EXTERNAL_INTERRUPT => until += 1,
            reason => break reason,
        }
    };
    Ok(format!("in 300 ms: plain run {plain}; run_until {until}, then {last}"))
}

pub(super) fn deadline(hypervisor: &dyn Hypervisor) -> Answer {
    let mut machine = Machine::real(hypervisor, &LOOP)?;
    let mut answer = String::new();
    for millis in [0, 1, 10, 100] {
        let start = Instant::now();
        let reason = machine.vcpu.run_until(Deadline::At(start + Duration::from_millis(millis)))?;
        let _ =
            writeln!(answer, "{millis} ms: {} after {} us", ExitReason(reason), start.elapsed().as_micros());
    }
    Ok(answer)
}

pub(super) fn exec_time(hypervisor: &dyn Hypervisor) -> Answer {
    let mut machine = Machine::real(hypervisor, &LOOP)?;
    let before = machine.vcpu.exec_time_ns()?;
    let start = Instant::now();
    machine.vcpu.run_until(Deadline::At(start + Duration::from_millis(100)))?;
    let host = start.elapsed().as_nanos();
    let guest = machine.vcpu.exec_time_ns()?.wrapping_sub(before);
    Ok(format!("{guest} for {host} ns of the host"))
}
