//! `hv_vcpu_run`, `hv_vcpu_run_until`, `hv_vcpu_interrupt`, `hv_vcpu_invalidate_tlb`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hypervisor_framework::x86_64::vmcs::Field;
use hypervisor_framework::x86_64::{Deadline, EptQualification, ExitReason, PinBased, ProcBased, Reg};
use iced_x86::code_asm::*;

use crate::guest::Guest;
use crate::layout::*;
use crate::provider::{Provider, each};

fn endless(provider: &Provider) -> Guest {
    Guest::long(provider, &|a| {
        let mut again = a.create_label();
        a.set_label(&mut again)?;
        a.inc(rax)?;
        a.jmp(again)
    })
}

/// Kicks until told to stop: a kick of a vCPU that is outside the guest may be lost.
fn kick_until(guest: &Guest, stop: &Arc<AtomicBool>) -> std::thread::JoinHandle<()> {
    let (vm, id, stop) = (Arc::clone(&guest.vm), guest.vcpu.id(), Arc::clone(stop));
    std::thread::spawn(move || {
        while !stop.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(5));
            vm.interrupt(&[id]).unwrap();
        }
    })
}

#[test]
fn a_deadline_ends_an_endless_loop() {
    each(|provider| {
        let mut guest = endless(provider);
        let start = Instant::now();
        let deadline = start + Duration::from_millis(30);

        let reason = loop {
            let reason = ExitReason(guest.vcpu.run_until(Deadline::At(deadline)).unwrap());
            if reason != ExitReason::EXTERNAL_INTERRUPT {
                break reason;
            }
        };

        assert_eq!(reason, ExitReason::PREEMPTION_TIMER);
        assert!(start.elapsed() >= Duration::from_millis(25), "{:?}", start.elapsed());
        assert!(guest.reg(Reg::RAX) > 1000, "the guest ran");
    });
}

#[test]
fn a_deadline_in_the_past_returns_at_once() {
    each(|provider| {
        let mut guest = endless(provider);
        let past = Instant::now() - Duration::from_millis(1);

        let reason = ExitReason(guest.vcpu.run_until(Deadline::At(past)).unwrap());

        assert!(matches!(reason, ExitReason::PREEMPTION_TIMER | ExitReason::EXTERNAL_INTERRUPT), "{reason}");
    });
}

#[test]
fn a_kick_from_another_thread_ends_a_run() {
    each(|provider| {
        let mut guest = endless(provider);
        let stop = Arc::new(AtomicBool::new(false));
        let kicker = kick_until(&guest, &stop);

        let reason = ExitReason(guest.vcpu.run_until(Deadline::Forever).unwrap());

        stop.store(true, Ordering::SeqCst);
        kicker.join().unwrap();
        assert_eq!(reason, ExitReason::EXTERNAL_INTERRUPT);
    });
}

#[test]
fn a_kick_reaches_a_halted_guest() {
    each(|provider| {
        let mut guest = Guest::long(provider, &|a| {
            a.hlt()?;
            a.cpuid()
        });
        guest.primary(ProcBased::HLT, false);
        let stop = Arc::new(AtomicBool::new(false));
        let kicker = kick_until(&guest, &stop);

        let reason = ExitReason(guest.vcpu.run_until(Deadline::Forever).unwrap());

        stop.store(true, Ordering::SeqCst);
        kicker.join().unwrap();
        assert_eq!(reason, ExitReason::EXTERNAL_INTERRUPT);
        assert_eq!(guest.get(Field::GUEST_ACTIVITY_STATE), 1, "still halted");
        assert_eq!(guest.rip(), CODE + 1, "past the HLT");
    });
}

#[test]
fn a_kick_of_a_vcpu_outside_the_guest_is_lost() {
    each(|provider| {
        let mut guest = endless(provider);
        guest.vm.interrupt(&[guest.vcpu.id()]).unwrap();

        let reason = ExitReason(
            guest.vcpu.run_until(Deadline::At(Instant::now() + Duration::from_millis(20))).unwrap(),
        );

        match provider.switch(|q| q.sticky_kicks) {
            Some(false) => assert_eq!(reason, ExitReason::PREEMPTION_TIMER),
            Some(true) => assert_eq!(reason, ExitReason::EXTERNAL_INTERRUPT),
            None => {}
        }
    });
}

#[test]
fn kicking_a_vcpu_that_does_not_exist_is_an_error() {
    each(|provider| {
        let guest = endless(provider);
        assert!(guest.vm.interrupt(&[guest.vcpu.id() + 1000]).is_err());
    });
}

#[test]
fn plain_run_shows_first_touches_and_host_interrupts_and_nothing_else() {
    each(|provider| {
        let mut guest = Guest::long(provider, &|a| {
            a.mov(rax, qword_ptr(SPARE))?;
            a.mov(rbx, qword_ptr(SPARE + 0x20_0000))?;
            a.hlt()
        });
        let mut touches = 0;
        let reason = loop {
            match ExitReason(guest.vcpu.run().unwrap()) {
                ExitReason::EXTERNAL_INTERRUPT => {}
                ExitReason::EPT_VIOLATION => {
                    let gpa = guest.get(Field::GUEST_PHYSICAL_ADDRESS);
                    assert!(gpa < RAM as u64, "{gpa:#x} is no RAM");
                    assert!(!EptQualification(guest.qualification()).is_mapped());
                    touches += 1;
                    assert!(touches < 100, "touched again and again");
                }
                reason => break reason,
            }
        };
        assert_eq!(reason, ExitReason::HLT);
        if provider.switch(|q| q.lazy_fill).flatten().is_some() {
            assert!(touches >= 2, "{touches} first touches");
        }
    });
}

#[test]
fn run_until_hides_first_touches() {
    each(|provider| {
        let mut guest = Guest::long(provider, &|a| {
            a.mov(rax, qword_ptr(SPARE))?;
            a.mov(rbx, qword_ptr(SPARE + 0x20_0000))?;
            a.hlt()
        });
        guest.expect(ExitReason::HLT);
    });
}

#[test]
fn plain_run_returns_for_host_interrupts() {
    each(|provider| {
        let mut guest = endless(provider);
        let start = Instant::now();
        loop {
            match ExitReason(guest.vcpu.run().unwrap()) {
                ExitReason::EXTERNAL_INTERRUPT => break,
                ExitReason::EPT_VIOLATION => {}
                reason => panic!("{reason}"),
            }
            assert!(start.elapsed() < Duration::from_secs(10));
        }
    });
}

#[test]
fn a_zero_preemption_timer_exits_before_the_first_instruction() {
    each(|provider| {
        let mut guest = endless(provider);
        let pin = guest.get(Field::CTRL_PIN_BASED) | u64::from(PinBased::PREEMPTION_TIMER.bits());
        guest.set(Field::CTRL_PIN_BASED, pin);
        guest.set(Field::GUEST_VMX_TIMER_VALUE, 0);
        guest.set_reg(Reg::RAX, 0);

        let reason = ExitReason(guest.vcpu.run().unwrap());

        assert!(matches!(reason, ExitReason::PREEMPTION_TIMER | ExitReason::EXTERNAL_INTERRUPT), "{reason}");
        assert_eq!(guest.reg(Reg::RAX), 0);
    });
}

#[test]
fn a_changed_page_table_counts_after_invalidate_tlb() {
    each(|provider| {
        let mut guest = Guest::long(provider, &|a| {
            let mut again = a.create_label();
            a.set_label(&mut again)?;
            a.mov(rbx, qword_ptr(BEYOND - 0x20_0000))?;
            a.cpuid()?;
            a.jmp(again)
        });
        let entry = PAGE_DIRECTORY + 511 * 8;
        guest.write_u64(entry, 0x87);
        guest.write_u64(0, 1);
        guest.write_u64(0x20_0000, 2);
        guest.expect(ExitReason::CPUID);
        assert_eq!(guest.reg(Reg::RBX), 1);

        guest.write_u64(entry, 0x20_0087);
        guest.vcpu.invalidate_tlb().unwrap();

        guest.set(Field::GUEST_RIP, CODE);
        guest.expect(ExitReason::CPUID);
        assert_eq!(guest.reg(Reg::RBX), 2);
    });
}

#[test]
fn two_vcpus_share_memory() {
    each(|provider| {
        let mut first = Guest::long(provider, &|a| {
            let mut again = a.create_label();
            a.set_label(&mut again)?;
            a.pause()?;
            a.cmp(qword_ptr(DATA), 0)?;
            a.je(again)?;
            a.hlt()
        });
        let ticket = first.vm.vcpu_ticket(hypervisor_framework::x86_64::VcpuOptions::empty()).unwrap();
        let state: Vec<(Field, u64)> = Field::ALL
            .iter()
            .filter(|f| {
                !matches!(
                    f.write_right(),
                    Some(
                        hypervisor_framework::x86_64::vmcs::WriteRight::ReadOnly
                            | hypervisor_framework::x86_64::vmcs::WriteRight::Never
                    ) | None
                )
            })
            .map(|f| (*f, first.get(*f)))
            .collect();
        // mov [DATA], rsp; hlt
        first.write(SPARE, &[0x48, 0x89, 0x24, 0x25, 0, 0, 3, 0, 0xf4]);
        let other = std::thread::spawn(move || {
            let mut vcpu = ticket.claim().unwrap();
            for (field, value) in state {
                vcpu.write_vmcs(field, value).unwrap();
            }
            vcpu.write_vmcs(Field::GUEST_RIP, SPARE).unwrap();
            std::thread::sleep(Duration::from_millis(10));
            loop {
                match ExitReason(vcpu.run_until(Deadline::Forever).unwrap()) {
                    ExitReason::EXTERNAL_INTERRUPT => {}
                    reason => break reason,
                }
            }
        });

        first.expect(ExitReason::HLT);

        assert_eq!(other.join().unwrap(), ExitReason::HLT);
        assert_eq!(first.read_u64(DATA), STACK);
    });
}
