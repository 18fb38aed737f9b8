//! What a guest may enable and execute at the levels of `cpu`.
#![allow(clippy::unwrap_used)] // a test that cannot set itself up has failed

mod guest;

use guest::{Guest, exit};
use iced_x86::IcedError;
use iced_x86::code_asm::*;
use vmm::StopReason;
use vmm::config::CpuLevel;

/// CR4.OSXSAVE.
const OSXSAVE: u32 = 1 << 18;

/// Loads XCR0.
fn enable(a: &mut CodeAssembler, xcr0: u32) -> Result<(), IcedError> {
    a.mov(rax, cr4)?;
    a.or(eax, OSXSAVE as i32)?;
    a.mov(cr4, rax)?;
    a.mov(eax, xcr0)?;
    a.xor(edx, edx)?;
    a.xor(ecx, ecx)?;
    a.xsetbv()
}

/// How a guest ends that does something behind XSETBV, and then leaves with EBX.
fn end(
    cpu: CpuLevel,
    xcr0: u32,
    then: impl FnOnce(&mut CodeAssembler) -> Result<(), IcedError>,
) -> StopReason {
    let mut guest = Guest::new(|a| {
        enable(a, xcr0)?;
        a.mov(ebx, 9)?;
        then(a)?;
        a.mov(eax, ebx)?;
        a.mov(edx, u32::from(guest::EXIT_PORT))?;
        a.out(dx, eax)
    });
    guest.config.cpu = cpu;
    guest.end()
}

fn loads(cpu: CpuLevel, xcr0: u32) -> bool {
    let end = end(cpu, xcr0, |_| Ok(()));
    // There is no table of handlers: #GP is a triple fault.
    assert!(matches!(end, StopReason::DebugExit { code: 9 } | StopReason::TripleFault { .. }), "{end:?}");
    matches!(end, StopReason::DebugExit { .. })
}

#[test]
fn xcr0_takes_what_the_level_has() {
    for xcr0 in [1, 3] {
        assert!(loads(CpuLevel::V2, xcr0) && loads(CpuLevel::V3, xcr0), "{xcr0:#x}");
    }
    assert!(loads(CpuLevel::V3, 7));
    for (cpu, xcr0) in [
        (CpuLevel::V2, 7),
        (CpuLevel::V3, 0),
        (CpuLevel::V3, 6),
        (CpuLevel::V3, 5),
        (CpuLevel::V3, 0xe7),
        (CpuLevel::V3, 0x207),
    ] {
        assert!(!loads(cpu, xcr0), "{cpu:?} {xcr0:#x}");
    }
}

#[test]
fn sizes_follow_xcr0() {
    let size = |xcr0, ask: fn(&mut CodeAssembler) -> Result<(), IcedError>| {
        let end = end(CpuLevel::V3, xcr0, |a| {
            a.mov(eax, 0xd)?;
            ask(a)
        });
        let StopReason::DebugExit { code } = end else { return None };
        Some(code)
    };
    // Leaf 0Dh, subleaf 0: EBX for what is enabled, ECX for all there is; subleaf 2: offset in EBX.
    let enabled = |a: &mut CodeAssembler| {
        a.xor(ecx, ecx)?;
        a.cpuid()
    };
    let all = |a: &mut CodeAssembler| {
        a.xor(ecx, ecx)?;
        a.cpuid()?;
        a.mov(ebx, ecx)
    };
    let offset = |a: &mut CodeAssembler| {
        a.mov(ecx, 2)?;
        a.cpuid()
    };
    assert_eq!([size(3, enabled), size(7, enabled)], [Some(576), Some(832)]);
    assert_eq!([size(1, all), size(7, all), size(3, offset)], [Some(832), Some(832), Some(576)]);
}

#[test]
fn vector_code_runs_where_it_is_offered() {
    let add = |a: &mut CodeAssembler| {
        a.vpxor(ymm1, ymm1, ymm1)?;
        a.vpcmpeqd(ymm2, ymm2, ymm2)?;
        a.vpsubd(ymm3, ymm1, ymm2)?;
        // The upper half's lowest doubleword: 1.
        a.vextracti128(xmm4, ymm3, 1)?;
        a.vmovd(ebx, xmm4)?;
        a.mov(ecx, 0b1100)?;
        a.mov(edx, 0b10)?;
        a.pdep(edx, edx, ecx)?;
        a.add(ebx, edx)
    };
    assert_eq!(end(CpuLevel::V3, 7, add), StopReason::DebugExit { code: 9 });
    assert!(matches!(end(CpuLevel::V3, 3, add), StopReason::TripleFault { .. }), "XCR0 has no AVX state");
    assert!(matches!(end(CpuLevel::V2, 3, add), StopReason::TripleFault { .. }), "there is no AVX");
}

#[test]
fn nothing_of_it_is_there_for_a_guest_that_does_not_ask() {
    let mut guest = Guest::new(|a| exit(a, 3));
    guest.config.cpu = CpuLevel::V3;
    assert_eq!(guest.end(), StopReason::DebugExit { code: 3 });
}
