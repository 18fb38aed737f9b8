//! `hv_vcpu_enable_native_msr`, `_enable_managed_msr`, `_set_msr_access`, `_read_msr`, `_write_msr`.

use hypervisor_framework::x86_64::{ExitReason, MsrFlags, Reg};
use iced_x86::code_asm::*;

use crate::guest::Guest;
use crate::provider::{Provider, each};

const LSTAR: u32 = 0xc000_0082;
const KERNEL_GS_BASE: u32 = 0xc000_0102;
const PAT: u32 = 0x277;

/// The MSRs every VMM makes native, and a value each can hold.
const NATIVE: [(u32, u64); 11] = [
    (0xc000_0081, 0x0023_0010_0000_0000),
    (LSTAR, 0xffff_ffff_8100_0000),
    (0xc000_0083, 0xffff_ffff_8100_1000),
    (0xc000_0084, 0x4_7700),
    (0xc000_0100, 0x7fff_0000_1000),
    (0xc000_0101, 0xffff_8880_0000_0000),
    (KERNEL_GS_BASE, 0x7fff_0000_2000),
    (0xc000_0103, 3),
    (0x174, 0x10),
    (0x175, 0xffff_c900_0000_0000),
    (0x176, 0xffff_ffff_8100_2000),
];

fn write_then_read(provider: &Provider, msr: u32, value: u64) -> Guest {
    Guest::long(provider, &move |a| {
        a.mov(ecx, msr)?;
        a.mov(eax, value as u32)?;
        a.mov(edx, (value >> 32) as u32)?;
        a.wrmsr()?;
        a.xor(eax, eax)?;
        a.xor(edx, edx)?;
        a.rdmsr()?;
        a.hlt()
    })
}

#[test]
fn an_msr_exits_until_it_is_enabled() {
    each(|provider| {
        let mut guest = write_then_read(provider, LSTAR, 0x1234);

        guest.expect(ExitReason::WRMSR);
        assert_eq!((guest.length(), guest.reg(Reg::RCX)), (2, LSTAR.into()));
        guest.skip();
        guest.expect(ExitReason::RDMSR);
        assert_eq!(guest.length(), 2);
    });
}

#[test]
fn native_msrs_do_not_exit_and_hold_their_value() {
    each(|provider| {
        for (msr, value) in NATIVE {
            let mut guest = write_then_read(provider, msr, value);
            guest.vcpu.enable_native_msr(msr, true).unwrap();

            guest.expect(ExitReason::HLT);

            let read = guest.reg(Reg::RDX) << 32 | guest.reg(Reg::RAX);
            assert_eq!(read, value, "{msr:#x}");
            assert_eq!(guest.vcpu.read_msr(msr).unwrap(), value, "{msr:#x}");
        }
    });
}

#[test]
fn an_msr_exits_again_when_it_is_disabled() {
    each(|provider| {
        let mut guest = write_then_read(provider, LSTAR, 1);
        guest.vcpu.enable_native_msr(LSTAR, true).unwrap();
        guest.vcpu.enable_native_msr(LSTAR, false).unwrap();

        guest.expect(ExitReason::WRMSR);
    });
}

#[test]
fn what_the_client_writes_the_guest_reads() {
    each(|provider| {
        for (msr, value) in NATIVE {
            let mut guest = Guest::long(provider, &move |a| {
                a.mov(ecx, msr)?;
                a.rdmsr()?;
                a.hlt()
            });
            guest.vcpu.enable_native_msr(msr, true).unwrap();

            guest.vcpu.write_msr(msr, value).unwrap();

            guest.expect(ExitReason::HLT);
            assert_eq!(guest.reg(Reg::RDX) << 32 | guest.reg(Reg::RAX), value, "{msr:#x}");
        }
    });
}

#[test]
fn the_page_attribute_table_is_no_native_msr() {
    each(|provider| {
        let mut guest = write_then_read(provider, PAT, 0);

        assert!(guest.vcpu.enable_native_msr(PAT, true).is_err());

        guest.expect(ExitReason::WRMSR);
    });
}

#[test]
fn an_msr_that_was_not_enabled_may_be_out_of_reach() {
    each(|provider| {
        let mut guest = write_then_read(provider, KERNEL_GS_BASE, 0);
        match provider.switch(|q| q.msr_needs_enabling) {
            Some(true) => {
                assert!(guest.vcpu.read_msr(KERNEL_GS_BASE).is_err());
                assert!(guest.vcpu.write_msr(KERNEL_GS_BASE, 1).is_err());
            }
            Some(false) => {
                guest.vcpu.write_msr(KERNEL_GS_BASE, 1).unwrap();
                assert_eq!(guest.vcpu.read_msr(KERNEL_GS_BASE).unwrap(), 1);
            }
            None => {}
        }
        assert!(guest.vcpu.read_msr(0x1234_5678).is_err());
    });
}

#[test]
fn a_managed_msr_has_the_rights_it_is_given() {
    each(|provider| {
        let mut guest = write_then_read(provider, LSTAR, 0x77);
        guest.vcpu.enable_managed_msr(LSTAR, true).unwrap();

        guest.expect(ExitReason::WRMSR);

        guest.vcpu.set_msr_access(LSTAR, MsrFlags::WRITE).unwrap();
        guest.expect(ExitReason::RDMSR);

        guest.vcpu.set_msr_access(LSTAR, MsrFlags::READ | MsrFlags::WRITE).unwrap();
        guest.expect(ExitReason::HLT);
        assert_eq!(guest.reg(Reg::RAX), 0x77);
    });
}

#[test]
fn rights_are_for_managed_msrs() {
    each(|provider| {
        let mut guest = write_then_read(provider, LSTAR, 0);
        assert!(guest.vcpu.set_msr_access(LSTAR, MsrFlags::READ).is_err());
    });
}

#[test]
fn giving_up_a_managed_msr_removes_its_rights() {
    each(|provider| {
        let mut guest = write_then_read(provider, LSTAR, 0);
        guest.vcpu.enable_managed_msr(LSTAR, true).unwrap();
        guest.vcpu.set_msr_access(LSTAR, MsrFlags::READ | MsrFlags::WRITE).unwrap();

        guest.vcpu.enable_managed_msr(LSTAR, false).unwrap();

        guest.expect(ExitReason::WRMSR);
    });
}
