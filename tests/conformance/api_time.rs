//! `hv_vm_sync_tsc`, `hv_tsc_clock`, `hv_vcpu_set_tsc_relative`, `hv_vcpu_get_exec_time`.

use hypervisor_framework::x86_64::vmcs::Field;
use hypervisor_framework::x86_64::{ExitReason, ProcBased, Reg, VcpuOptions};
use iced_x86::code_asm::*;

use crate::guest::{Guest, Wish};
use crate::provider::{Provider, each};

/// Reads the TSC, then halts.
fn clock(provider: &Provider, options: VcpuOptions) -> Guest {
    let wish = Wish { primary: ProcBased::TSC_OFFSET, options, ..Wish::default() };
    Guest::long_with(provider, wish, &|a| {
        a.rdtsc()?;
        a.hlt()
    })
}

fn read(guest: &mut Guest) -> u64 {
    guest.expect(ExitReason::HLT);
    guest.reg(Reg::RDX) << 32 | guest.reg(Reg::RAX)
}

#[test]
fn rdtsc_does_not_exit_and_counts_at_the_frequency_told() {
    each(|provider| {
        let hz = provider.hypervisor.tsc_frequency_hz().unwrap();
        let mut guest = clock(provider, VcpuOptions::empty());
        let host = std::time::Instant::now();
        let first = read(&mut guest);
        std::thread::sleep(std::time::Duration::from_millis(20));
        guest.set(Field::GUEST_RIP, crate::layout::CODE);

        let second = read(&mut guest);

        let elapsed = host.elapsed().as_nanos() as u64;
        let ticks = second - first;
        let nanos = (u128::from(ticks) * 1_000_000_000 / u128::from(hz)) as u64;
        assert!((20_000_000..=elapsed).contains(&nanos), "{nanos} ns by the TSC, {elapsed} ns by the host");
    });
}

#[test]
fn sync_tsc_sets_every_vcpus_counter() {
    each(|provider| {
        let hz = provider.hypervisor.tsc_frequency_hz().unwrap();
        let mut guest = clock(provider, VcpuOptions::empty());

        guest.vm.sync_tsc(5_000_000_000_000).unwrap();

        let value = read(&mut guest);
        assert!((5_000_000_000_000..5_000_000_000_000 + 5 * hz).contains(&value), "{value}");
        guest.vm.sync_tsc(0).unwrap();
        guest.set(Field::GUEST_RIP, crate::layout::CODE);
        let value = read(&mut guest);
        assert!(value < 5 * hz, "{value}");
    });
}

#[test]
fn a_relative_tsc_is_the_frameworks_clock_plus_an_offset() {
    each(|provider| {
        let mut guest = clock(provider, VcpuOptions::TSC_RELATIVE);
        let offset = 1_i64 << 40;
        guest.vcpu.set_tsc_relative(offset).unwrap();

        let before = guest.vm.tsc_clock().unwrap();
        let value = read(&mut guest);
        let after = guest.vm.tsc_clock().unwrap();

        let value = value.wrapping_sub(offset as u64);
        assert!((before..=after).contains(&value), "{before} {value} {after}");
    });
}

#[test]
fn time_in_the_guest_adds_up() {
    each(|provider| {
        let mut guest = Guest::long(provider, &|a| {
            let mut again = a.create_label();
            a.mov(ecx, 300_000_u32)?;
            a.set_label(&mut again)?;
            a.dec(ecx)?;
            a.jne(again)?;
            a.hlt()
        });
        let before = guest.vcpu.exec_time_ns().unwrap();

        guest.expect(ExitReason::HLT);

        assert!(guest.vcpu.exec_time_ns().unwrap() > before);
    });
}

#[test]
fn retired_instructions_are_counted_where_they_are_counted() {
    each(|provider| {
        let mut guest = Guest::long(provider, &|a| {
            a.nop()?;
            a.nop()?;
            a.nop()?;
            a.hlt()
        });
        let before = guest.vcpu.instructions_retired();

        guest.expect(ExitReason::HLT);

        match (before, guest.vcpu.instructions_retired()) {
            (Some(before), Some(after)) => assert!((3..=4).contains(&(after - before)), "{}", after - before),
            (None, None) => {}
            other => panic!("{other:?}"),
        }
    });
}
