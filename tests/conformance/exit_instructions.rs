//! Instructions that exit, always or when a control says so, each with its length.

use hypervisor_framework::x86_64::vmcs::Field;
use hypervisor_framework::x86_64::{ExitReason, ProcBased, ProcBased2, Reg, TaskSwitchQualification};
use iced_x86::code_asm::*;

use crate::guest::{Guest, Program, Wish};
use crate::layout::*;
use crate::provider::{Provider, each};

/// Is this secondary control on offer?
fn offered(provider: &Provider, bit: ProcBased2) -> bool {
    let id = hypervisor_framework::x86_64::VmxCapability::PROCBASED2;
    provider.hypervisor.vmx_capability(id).unwrap() >> 32 & u64::from(bit.bits()) != 0
}

#[track_caller]
fn exits(wish: impl Fn() -> Wish, program: Program<'_>, reason: ExitReason, length: u64) {
    each(|provider| {
        if !offered(provider, wish().secondary) {
            return;
        }
        let mut guest = Guest::long_with(provider, wish(), program);
        guest.expect(reason);
        assert_eq!((guest.rip(), guest.length()), (CODE, length));
        assert!(!guest.vectoring().is_valid());
    });
}

fn nothing() -> Wish {
    Wish::default()
}

fn primary(primary: ProcBased) -> impl Fn() -> Wish {
    move || Wish { primary, ..Wish::default() }
}

fn secondary(secondary: ProcBased2) -> impl Fn() -> Wish {
    move || Wish { secondary, ..Wish::default() }
}

#[test]
fn cpuid() {
    exits(nothing, &|a| a.cpuid(), ExitReason::CPUID, 2);
}

#[test]
fn prefixes_count_in_the_length() {
    exits(nothing, &|a| a.db(&[0x66, 0x66, 0x0f, 0xa2]), ExitReason::CPUID, 4);
}

#[test]
fn invd() {
    exits(nothing, &|a| a.invd(), ExitReason::INVD, 2);
}

#[test]
fn xsetbv() {
    each(|provider| {
        let mut guest = Guest::long(provider, &|a| {
            a.xor(ecx, ecx)?;
            a.mov(eax, 3)?;
            a.xor(edx, edx)?;
            a.xsetbv()
        });
        let value = guest.get(Field::GUEST_CR4) | 1 << 18;
        guest.set(Field::GUEST_CR4, value);

        guest.expect(ExitReason::XSETBV);

        assert_eq!((guest.rip(), guest.length()), (CODE + 9, 3));
        assert_eq!((guest.reg(Reg::RAX), guest.reg(Reg::RCX)), (3, 0));
    });
}

#[test]
fn vmx_instructions() {
    exits(nothing, &|a| a.vmcall(), ExitReason::VMCALL, 3);
    exits(nothing, &|a| a.vmlaunch(), ExitReason::VMLAUNCH, 3);
    exits(nothing, &|a| a.vmresume(), ExitReason::VMRESUME, 3);
    exits(nothing, &|a| a.vmxoff(), ExitReason::VMXOFF, 3);
    exits(nothing, &|a| a.vmread(rax, rbx), ExitReason::VMREAD, 3);
    exits(nothing, &|a| a.vmwrite(rax, rbx), ExitReason::VMWRITE, 3);
}

#[test]
fn hlt() {
    exits(nothing, &|a| a.hlt(), ExitReason::HLT, 1);
}

#[test]
fn rdmsr_and_wrmsr() {
    exits(nothing, &|a| a.rdmsr(), ExitReason::RDMSR, 2);
    exits(nothing, &|a| a.wrmsr(), ExitReason::WRMSR, 2);
}

#[test]
fn rdtsc_and_rdtscp() {
    exits(primary(ProcBased::RDTSC), &|a| a.rdtsc(), ExitReason::RDTSC, 2);
    let both = || Wish { primary: ProcBased::RDTSC, secondary: ProcBased2::RDTSCP, ..Wish::default() };
    exits(both, &|a| a.rdtscp(), ExitReason::RDTSCP, 3);
}

#[test]
fn rdpmc() {
    exits(primary(ProcBased::RDPMC), &|a| a.rdpmc(), ExitReason::RDPMC, 2);
}

#[test]
fn monitor_and_mwait() {
    exits(primary(ProcBased::MONITOR), &|a| a.monitor(), ExitReason::MONITOR, 3);
    exits(primary(ProcBased::MWAIT), &|a| a.mwait(), ExitReason::MWAIT, 3);
}

#[test]
fn pause() {
    exits(primary(ProcBased::PAUSE), &|a| a.pause(), ExitReason::PAUSE, 2);
}

#[test]
fn invlpg() {
    each(|provider| {
        let wish = Wish { primary: ProcBased::INVLPG, ..Wish::default() };
        let mut guest = Guest::long_with(provider, wish, &|a| {
            a.mov(rbx, 0x1234_5000_u64)?;
            a.invlpg(byte_ptr(rbx + 0x10))
        });

        guest.expect(ExitReason::INVLPG);

        assert_eq!(guest.qualification(), 0x1234_5010);
    });
}

#[test]
fn wbinvd() {
    exits(secondary(ProcBased2::WBINVD), &|a| a.wbinvd(), ExitReason::WBINVD, 2);
}

#[test]
fn rdrand_and_rdseed() {
    exits(secondary(ProcBased2::RDRAND), &|a| a.rdrand(eax), ExitReason::RDRAND, 3);
    exits(secondary(ProcBased2::RDSEED), &|a| a.rdseed(eax), ExitReason::RDSEED, 3);
}

#[test]
fn invpcid_exits_with_invlpg_exiting() {
    let wish = || Wish { primary: ProcBased::INVLPG, secondary: ProcBased2::INVPCID, ..Wish::default() };
    exits(wish, &|a| a.invpcid(rax, xmmword_ptr(DATA)), ExitReason::INVPCID, 10);
}

#[test]
fn descriptor_table_instructions() {
    let wish = || secondary(ProcBased2::DESCRIPTOR_TABLE)();
    exits(wish, &|a| a.sidt(ptr(DATA)), ExitReason::GDTR_IDTR_ACCESS, 8);
    exits(wish, &|a| a.str(eax), ExitReason::LDTR_TR_ACCESS, 3);
}

#[test]
fn instructions_without_their_control_are_undefined() {
    each(|provider| {
        let programs: [Program<'_>; 2] = [&|a| a.rdtscp(), &|a| a.invpcid(rax, xmmword_ptr(DATA))];
        for program in programs {
            let mut guest = Guest::long(provider, program);
            guest.expect_handler(6);
        }
    });
}

#[test]
fn a_task_switch_tells_selector_and_source() {
    each(|provider| {
        // jmp 0x20:0
        let mut guest = Guest::flat32(provider, &|a| a.db(&[0xea, 0, 0, 0, 0, 0x20, 0]));
        guest.write_u64(GDT + 0x20, 0x0000_8900_0000_0067 | (TSS + 0x100) << 16);

        guest.expect(ExitReason::TASK_SWITCH);

        let qualification = TaskSwitchQualification(guest.qualification());
        assert_eq!((qualification.selector(), qualification.source()), (0x20, 2));
        assert_eq!(guest.length(), 7);
    });
}

#[test]
fn instructions_that_may_not_run_fault_before_they_exit() {
    each(|provider| {
        // In ring 3, HLT is #GP; there is no way to ring 3's handler but through the TSS, so it is watched.
        let mut guest = Guest::long(provider, &|a| a.hlt());
        guest.set(Field::GUEST_CS_AR, 0xa0fb);
        guest.set(Field::GUEST_SS_AR, 0xc0f3);
        guest.set(Field::CTRL_EXC_BITMAP, 1 << 13);
        for table in [PML4, PDPT, PAGE_DIRECTORY] {
            assert_ne!(guest.read_u64(table) & 4, 0, "user pages");
        }

        guest.expect(ExitReason::EXCEPTION_NMI);

        assert_eq!(guest.interruption().vector(), 13);
    });
}
