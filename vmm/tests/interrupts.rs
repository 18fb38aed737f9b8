//! Interrupts and processors, in small guests: timers wake a halted vCPU, a second processor starts and is interrupted.
#![allow(clippy::unwrap_used)] // a test that cannot set itself up has failed

mod guest;

use guest::{BASE, Guest, exit, out8};
use iced_x86::code_asm::*;
use vmm::StopReason;

/// Memory behind the code, zero at first.
const IDT: u64 = BASE + 0x8_0000;
const STACK: u64 = BASE + 0x9_0000;
const APIC: u64 = 0xfee0_0000;

/// An IDT with one interrupt gate, a stack, and the local APIC enabled. Clobbers rax, rbx, rcx.
fn prepare(a: &mut CodeAssembler, vector: u8, handler: CodeLabel) -> Result<(), IcedError> {
    let gate = IDT + 16 * u64::from(vector);
    a.mov(rsp, STACK)?;
    a.lea(rax, qword_ptr(handler))?;
    a.mov(rbx, gate)?;
    a.mov(word_ptr(rbx), ax)?;
    a.mov(cx, cs)?;
    a.mov(word_ptr(rbx + 2), cx)?;
    a.mov(word_ptr(rbx + 4), 0x8e00_u32)?;
    a.shr(rax, 16)?;
    a.mov(word_ptr(rbx + 6), ax)?;
    a.shr(rax, 16)?;
    a.mov(dword_ptr(rbx + 8), eax)?;
    // The descriptor of the IDT lies behind it.
    a.mov(rbx, IDT + 0x2000)?;
    a.mov(word_ptr(rbx), 0xfff_u32)?;
    a.mov(rax, IDT)?;
    a.mov(qword_ptr(rbx + 2), rax)?;
    a.lidt(ptr(rbx))?;
    a.mov(rbx, APIC)?;
    a.mov(dword_ptr(rbx + 0xf0), 0x1ff)
}

/// `sti; hlt` again and again.
fn idle(a: &mut CodeAssembler) -> Result<(), IcedError> {
    let mut again = a.create_label();
    a.sti()?;
    a.set_label(&mut again)?;
    a.hlt()?;
    a.jmp(again)
}

fn apic_timer(lvt: u32, start: impl Fn(&mut CodeAssembler) -> Result<(), IcedError>, ticks: u32) -> Guest {
    Guest::new(|a| {
        let mut handler = a.create_label();
        prepare(a, 0x40, handler)?;
        a.xor(r12d, r12d)?;
        a.mov(dword_ptr(rbx + 0x3e0), 0xb)?;
        a.mov(dword_ptr(rbx + 0x320), lvt | 0x40)?;
        start(a)?;
        idle(a)?;
        a.set_label(&mut handler)?;
        let mut enough = a.create_label();
        a.inc(r12d)?;
        a.cmp(r12d, ticks)?;
        a.jae(enough)?;
        a.mov(dword_ptr(rbx + 0xb0), 0)?;
        start(a)?;
        a.iretq()?;
        a.set_label(&mut enough)?;
        exit(a, 11)
    })
}

#[test]
fn the_one_shot_timer_wakes_a_halted_vcpu() {
    let start = |a: &mut CodeAssembler| a.mov(dword_ptr(rbx + 0x380), 100_000);
    assert_eq!(apic_timer(0, start, 5).end(), StopReason::DebugExit { code: 11 });
}

#[test]
fn the_periodic_timer_keeps_coming() {
    let start = |a: &mut CodeAssembler| {
        // Written once: the handler's second time must not restart it.
        let mut running = a.create_label();
        a.test(r12d, r12d)?;
        a.jne(running)?;
        a.mov(dword_ptr(rbx + 0x380), 50_000)?;
        a.set_label(&mut running)?;
        a.nop()
    };
    assert_eq!(apic_timer(1 << 17, start, 20).end(), StopReason::DebugExit { code: 11 });
}

#[test]
fn the_deadline_timer_follows_the_time_stamp_counter() {
    let start = |a: &mut CodeAssembler| {
        a.rdtsc()?;
        a.shl(rdx, 32)?;
        a.or(rax, rdx)?;
        a.add(rax, 3_000_000)?;
        a.mov(rdx, rax)?;
        a.shr(rdx, 32)?;
        a.mov(ecx, 0x6e0)?;
        a.wrmsr()
    };
    assert_eq!(apic_timer(2 << 17, start, 5).end(), StopReason::DebugExit { code: 11 });
}

#[test]
fn the_pit_interrupts_through_the_8259() {
    let guest = Guest::new(|a| {
        let mut handler = a.create_label();
        prepare(a, 0x20, handler)?;
        // ICW1–4: vectors from 0x20, IRQ 2 cascades, 8086 mode; only IRQ 0 unmasked.
        for (port, value) in [(0x20, 0x11), (0x21, 0x20), (0x21, 4), (0x21, 1), (0x21, 0xfe)] {
            out8(a, port, value)?;
        }
        // Channel 0, mode 2, 5,966 ticks: 200 Hz.
        for (port, value) in [(0x43, 0x34), (0x40, 0x4e), (0x40, 0x17)] {
            out8(a, port, value)?;
        }
        // LINT0 takes the 8259's interrupts.
        a.mov(dword_ptr(rbx + 0x350), 0x700)?;
        a.xor(r12d, r12d)?;
        idle(a)?;
        a.set_label(&mut handler)?;
        let mut enough = a.create_label();
        a.inc(r12d)?;
        a.cmp(r12d, 5)?;
        a.jae(enough)?;
        out8(a, 0x20, 0x20)?;
        a.iretq()?;
        a.set_label(&mut enough)?;
        exit(a, 13)
    });
    assert_eq!(guest.end(), StopReason::DebugExit { code: 13 });
}

/// Real-mode code at page 8: sets the byte at 0x8100 and halts.
const TRAMPOLINE: [u8; 16] = [
    0x8c, 0xc8, // mov ax, cs
    0x8e, 0xd8, // mov ds, ax
    0xc6, 0x06, 0x00, 0x01, 0x5a, // mov byte [0x100], 0x5a
    0xfa, 0xf4, 0xeb, 0xfd, // cli; hlt; jmp to hlt
    0x90, 0x90, 0x90,
];

/// Puts the trampoline into memory and sends INIT and start-up to the processor with APIC ID 1.
fn start_second(a: &mut CodeAssembler) -> Result<(), IcedError> {
    let (low, high) = TRAMPOLINE.split_at(8);
    for (offset, half) in [(0, low), (8, high)] {
        a.mov(rax, u64::from_le_bytes(half.try_into().unwrap()))?;
        a.mov(rcx, 0x8000_u64 + offset)?;
        a.mov(qword_ptr(rcx), rax)?;
    }
    a.mov(rbx, APIC)?;
    for command in [0x4500, 0x4608] {
        a.mov(dword_ptr(rbx + 0x310), 1 << 24)?;
        a.mov(dword_ptr(rbx + 0x300), command)?;
    }
    Ok(())
}

#[test]
fn a_second_processor_starts() {
    let mut guest = Guest::new(|a| {
        let mut again = a.create_label();
        start_second(a)?;
        a.mov(rcx, 0x8100_u64)?;
        a.set_label(&mut again)?;
        a.cmp(byte_ptr(rcx), 0x5a)?;
        a.jne(again)?;
        exit(a, 12)
    });
    guest.config.cpus = 2;
    for _ in 0..20 {
        assert_eq!(guest.end(), StopReason::DebugExit { code: 12 });
    }
}

#[test]
fn when_both_processors_sleep_for_good_the_run_ends() {
    let mut guest = Guest::new(|a| {
        start_second(a)?;
        a.cli()?;
        a.hlt()
    });
    guest.config.cpus = 2;
    for _ in 0..20 {
        assert_eq!(guest.end(), StopReason::Halted);
    }
}

#[test]
fn a_processor_that_waits_is_not_asleep_for_good_while_another_works() {
    let mut guest = Guest::new(|a| {
        let mut again = a.create_label();
        a.mov(ecx, 50_000_000)?;
        a.set_label(&mut again)?;
        a.dec(ecx)?;
        a.jne(again)?;
        exit(a, 1)
    });
    guest.config.cpus = 4;
    assert_eq!(guest.end(), StopReason::DebugExit { code: 1 });
}
