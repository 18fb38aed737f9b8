//! Whole machines with small guests: how they end, what the console shows, what the owner can ask.
#![allow(clippy::unwrap_used, clippy::panic)] // a test that cannot set itself up has failed

mod guest;

use std::thread;
use std::time::{Duration, Instant};

use guest::{BASE, Guest, exit, out8, print};
use iced_x86::code_asm::*;
use vmm::config::{OnReboot, SerialBackend};
use vmm::lifecycle::{Request, State};
use vmm::machine::RequestError;
use vmm::{Event, StopReason};

/// An endless loop that shows a sign of life first.
fn busy(a: &mut CodeAssembler) -> Result<(), IcedError> {
    print(a, "busy\n")?;
    let mut again = a.create_label();
    a.set_label(&mut again)?;
    a.inc(rbx)?;
    a.jmp(again)
}

#[test]
fn a_guest_ends_by_its_debug_exit_port() {
    let guest = Guest::new(|a| exit(a, 42));
    let outcome = guest.run();
    assert_eq!(outcome.reason, StopReason::DebugExit { code: 42 });
    assert!(outcome.report.exits.iter().any(|exit| exit.reason == "IO" && exit.count == 1));
}

#[test]
fn a_guest_powers_off() {
    let guest = Guest::new(|a| {
        a.mov(edx, 0x604)?;
        a.mov(eax, 5 << 10 | 1 << 13)?;
        a.out(dx, ax)?;
        exit(a, 1)
    });
    assert_eq!(guest.end(), StopReason::PowerOff);
}

#[test]
fn what_a_guest_prints_is_shown_and_counted() {
    let guest = Guest::new(|a| {
        print(a, "hello\r\n")?;
        exit(a, 0)
    });
    let outcome = guest.run();
    assert_eq!(guest.console(), "hello\r\n");
    assert_eq!(outcome.report.console_bytes, 7);
    let phases: Vec<_> = outcome.report.phases.iter().map(|phase| phase.name).collect();
    assert_eq!(phases, ["load", "unpack", "first_instruction", "first_console_byte", "end"]);
    assert!(outcome.report.phases.is_sorted_by_key(|phase| phase.at_us));
}

#[test]
fn what_was_printed_last_is_not_lost() {
    let text = "x".repeat(3000);
    let guest = Guest::new(|a| {
        print(a, &text)?;
        exit(a, 0)
    });
    guest.end();
    assert_eq!(guest.console(), text);
}

#[test]
fn expectation_ends_the_run_as_soon_as_it_is_met() {
    let mut guest = Guest::new(|a| {
        print(a, "log")?;
        busy(a)
    });
    guest.config.expect = Some("^logb.s".to_owned());
    assert_eq!(guest.end(), StopReason::ExpectMatched);
}

#[test]
fn expectation_met_by_the_last_words_counts() {
    let mut guest = Guest::new(|a| {
        print(a, "done")?;
        exit(a, 3)
    });
    guest.config.expect = Some("done$".to_owned());
    assert_eq!(guest.end(), StopReason::ExpectMatched);
}

#[test]
fn a_kernels_panic_is_a_reason_of_its_own() {
    let panic = "[    1.0] Kernel panic - not syncing: test\r\n[    1.1] ---[ end Kernel panic - not syncing: test ]---\r\n";
    let guest = Guest::new(|a| {
        print(a, panic)?;
        busy(a)
    });
    let mut events = Vec::new();
    let outcome = guest.machine().run(&mut |event| events.push(event));
    assert_eq!(outcome.reason, StopReason::Panic);
    assert!(outcome.report.panicked);
    assert_eq!(events, [Event::Panicked]);
}

#[test]
fn a_reset_after_a_panic_does_not_boot_again() {
    let guest = Guest::new(|a| {
        print(a, "Kernel panic - not syncing: test\n")?;
        out8(a, 0xcf9, 6)?;
        busy(a)
    });
    assert_eq!(guest.end(), StopReason::Panic);
}

#[test]
fn a_guest_that_loops_is_timed_out() {
    let mut guest = Guest::new(busy);
    guest.config.timeout = Some(Duration::from_millis(300));
    let started = Instant::now();
    assert_eq!(guest.end(), StopReason::Timeout);
    assert!(started.elapsed() < Duration::from_secs(20));
}

#[test]
fn a_triple_fault_names_the_place() {
    let guest = Guest::new(|a| a.ud2());
    match guest.end() {
        StopReason::TripleFault { cpu: 0, registers } => {
            assert!(registers.registers.contains(&("rip", BASE)), "{registers}");
            assert_eq!(registers.code.get(..2), Some(&[0x0f, 0x0b][..]));
        }
        other => panic!("{other}"),
    }
}

/// Loads an interrupt descriptor table of no bytes and asks for a breakpoint, as Linux does for `reboot=triple`.
fn reset_by_triple_fault(a: &mut CodeAssembler) -> Result<(), IcedError> {
    a.push(0)?;
    a.push(0)?;
    a.lidt(ptr(rsp))?;
    a.int3()
}

#[test]
fn a_triple_fault_can_be_a_reset() {
    let mut guest = Guest::new(|a| {
        print(a, "boot\n")?;
        reset_by_triple_fault(a)
    });
    guest.config.on_reboot = OnReboot::Exit;
    assert_eq!(guest.end(), StopReason::Reset);

    guest.config.on_reboot = OnReboot::Reset;
    guest.config.expect = Some("(boot\n){3}".to_owned());
    assert_eq!(guest.end(), StopReason::ExpectMatched);
}

#[test]
fn a_triple_fault_after_a_panic_is_the_panics() {
    let guest = Guest::new(|a| {
        print(a, "Kernel panic - not syncing: test\n")?;
        reset_by_triple_fault(a)
    });
    assert_eq!(guest.end(), StopReason::Panic);
}

#[test]
fn halting_for_good_ends_the_run() {
    let guest = Guest::new(|a| {
        a.cli()?;
        a.hlt()
    });
    assert_eq!(guest.end(), StopReason::Halted);
}

#[test]
fn jumping_out_of_memory_ends_the_guest_not_the_vmm() {
    let guest = Guest::new(|a| {
        a.mov(eax, 0xd000_0000_u32)?;
        a.jmp(rax)
    });
    match guest.end() {
        StopReason::GuestFault { what, .. } => assert!(what.contains("0xd0000000"), "{what}"),
        other => panic!("{other}"),
    }
}

#[test]
fn what_is_not_there_reads_as_ones_and_is_reported() {
    let guest = Guest::new(|a| {
        let mut wrong = a.create_label();
        a.mov(edx, 0x5555)?;
        a.in_(al, dx)?;
        a.cmp(al, 0xff)?;
        a.jne(wrong)?;
        a.mov(rbx, 0xd000_0000_u64)?;
        a.mov(ecx, dword_ptr(rbx))?;
        a.cmp(ecx, -1)?;
        a.jne(wrong)?;
        a.mov(dword_ptr(rbx + 8), ecx)?;
        exit(a, 7)?;
        a.set_label(&mut wrong)?;
        exit(a, 1)
    });
    let outcome = guest.run();
    assert_eq!(outcome.reason, StopReason::DebugExit { code: 7 });
    let seen: Vec<_> = outcome
        .report
        .unknown_accesses
        .iter()
        .map(|access| (access.space, access.address, access.write))
        .collect();
    assert_eq!(seen, [("port", 0x5555, false), ("mmio", 0xd000_0000, false), ("mmio", 0xd000_0008, true)]);
}

#[test]
fn a_guest_resets_in_place_and_boots_again() {
    // It counts its boots in CMOS memory, which a reset keeps.
    let mut guest = Guest::new(|a| {
        let mut done = a.create_label();
        print(a, "boot\n")?;
        out8(a, 0x70, 0x60)?;
        a.mov(edx, 0x71)?;
        a.in_(al, dx)?;
        a.inc(al)?;
        a.out(dx, al)?;
        a.cmp(al, 3)?;
        a.jae(done)?;
        out8(a, 0xcf9, 6)?;
        exit(a, 1)?;
        a.set_label(&mut done)?;
        exit(a, 9)
    });
    guest.config.cpus = 2;
    let outcome = guest.run();
    assert_eq!(outcome.reason, StopReason::DebugExit { code: 9 });
    assert_eq!(outcome.report.resets, 2);
    assert_eq!(guest.console(), "boot\nboot\nboot\n");
}

#[test]
fn a_reset_leaves_nothing_of_the_guest_in_memory() {
    // Looks for what it left: behind its own image, in the middle of RAM, and code that it ran there.
    let mut guest = Guest::new(|a| {
        let (mut dirty, mut again) = (a.create_label(), a.create_label());
        for address in [BASE + 0x8_0000, 0x100_0000, 0x180_0000] {
            a.cmp(qword_ptr(address), 0)?;
            a.jne(dirty)?;
            a.mov(qword_ptr(address), 1)?;
        }
        // mov bl, COUNT; ret, where COUNT is what CMOS memory says.
        out8(a, 0x70, 0x60)?;
        a.mov(edx, 0x71)?;
        a.in_(al, dx)?;
        a.inc(al)?;
        a.out(dx, al)?;
        a.mov(rsi, 0x140_0000_u64)?;
        a.mov(byte_ptr(rsi), 0xb3)?;
        a.mov(byte_ptr(rsi + 1), al)?;
        a.mov(byte_ptr(rsi + 2), 0xc3)?;
        a.call(rsi)?;
        a.cmp(bl, al)?;
        a.jne(dirty)?;
        a.cmp(al, 4)?;
        a.jb(again)?;
        exit(a, 9)?;
        a.set_label(&mut again)?;
        out8(a, 0xcf9, 6)?;
        a.set_label(&mut dirty)?;
        exit(a, 1)
    });
    guest.config.cpus = 2;
    let outcome = guest.run();
    assert_eq!(outcome.reason, StopReason::DebugExit { code: 9 });
    assert_eq!(outcome.report.resets, 3);
}

#[test]
fn a_reset_can_end_the_run_instead() {
    for (port, value) in [(0xcf9, 6), (0x64, 0xfe), (0x92, 1)] {
        let mut guest = Guest::new(|a| {
            out8(a, port, value)?;
            exit(a, 1)
        });
        guest.config.on_reboot = OnReboot::Exit;
        assert_eq!(guest.end(), StopReason::Reset, "{port:#x}");
    }
}

#[test]
fn pausing_stops_the_guest_and_resuming_lets_it_go() {
    let guest = Guest::new(busy);
    let machine = guest.machine();
    let handle = machine.handle();
    let asker = thread::spawn(move || {
        assert_eq!(handle.request(Request::Pause), Ok(State::Paused));
        assert_eq!(handle.request(Request::Pause), Ok(State::Paused));
        assert!(matches!(handle.request(Request::PowerButton), Err(RequestError::Refused(_))));
        assert_eq!(handle.request(Request::Resume), Ok(State::Running));
        assert_eq!(handle.request(Request::Reset), Ok(State::Running));
        assert_eq!(handle.request(Request::Stop), Ok(State::Stopped));
        handle
    });
    let outcome = machine.run(&mut |_| {});
    assert_eq!(outcome.reason, StopReason::Quit);
    assert_eq!(outcome.report.resets, 1);
    let handle = asker.join().unwrap();
    assert_eq!(handle.request(Request::Pause), Err(RequestError::Ended));
}

#[test]
fn pause_and_resume_a_thousand_times_while_two_vcpus_work() {
    let mut guest = Guest::new(busy);
    guest.config.cpus = 2;
    let machine = guest.machine();
    let handle = machine.handle();
    let asker = thread::spawn(move || {
        for _ in 0..1000 {
            assert_eq!(handle.request(Request::Pause), Ok(State::Paused));
            assert_eq!(handle.request(Request::Resume), Ok(State::Running));
        }
        handle.quit();
    });
    assert_eq!(machine.run(&mut |_| {}).reason, StopReason::Quit);
    asker.join().unwrap();
}

#[test]
fn signals_and_quitting_end_the_run() {
    for _ in 0..20 {
        let guest = Guest::new(busy);
        let machine = guest.machine();
        machine.handle().signal(15);
        assert_eq!(machine.run(&mut |_| {}).reason, StopReason::Signal { number: 15 });
    }
}

#[test]
fn a_machine_that_never_runs_ends_its_threads() {
    for _ in 0..20 {
        let mut guest = Guest::new(busy);
        guest.config.cpus = 3;
        drop(guest.machine());
    }
}

#[test]
fn input_reaches_the_guest_and_is_not_lost() {
    use std::io::{Read, Write};
    // Echoes bytes until 'q'.
    let mut guest = Guest::new(|a| {
        let (mut again, mut end) = (a.create_label(), a.create_label());
        a.set_label(&mut again)?;
        a.mov(edx, 0x3fd)?;
        a.in_(al, dx)?;
        a.test(al, 1)?;
        a.je(again)?;
        a.mov(edx, 0x3f8)?;
        a.in_(al, dx)?;
        a.cmp(al, i32::from(b'q'))?;
        a.je(end)?;
        a.out(dx, al)?;
        a.jmp(again)?;
        a.set_label(&mut end)?;
        exit(a, 5)
    });
    let path = guest.path("socket");
    guest.config.serial = SerialBackend::Socket(path.clone());
    let machine = guest.machine();
    let typed: Vec<u8> = (0..2000_u32).map(|n| b'a' + (n % 13) as u8).collect();
    let expected = typed.clone();
    let client = thread::spawn(move || {
        let mut stream = std::os::unix::net::UnixStream::connect(path).unwrap();
        let mut reader = stream.try_clone().unwrap();
        let writer = thread::spawn(move || stream.write_all(&typed).map(|()| stream));
        let mut echoed = vec![0; expected.len()];
        reader.read_exact(&mut echoed).unwrap();
        assert!(echoed == expected, "bytes were lost or changed");
        writer.join().unwrap().unwrap().write_all(b"q").unwrap();
    });
    assert_eq!(machine.run(&mut |_| {}).reason, StopReason::DebugExit { code: 5 });
    client.join().unwrap();
}
