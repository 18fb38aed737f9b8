//! Stock kernels, booted by the program as it ships.
#![allow(clippy::unwrap_used, clippy::panic)] // a test that cannot set itself up has failed

mod booter;
mod session;

use std::time::{Duration, Instant};

use booter::{Booter, assert_code, booter, console, report};
use session::Session;

fn powers_off(guest: &str, cpus: &str) {
    let Some(booter) = booter(guest) else { return };
    let output = booter.boot(&["--cpus", cpus, "--append", "rvmm.selftest"]);
    assert_code(&output, 0);
    let text = console(&output);
    assert!(text.contains("rvmm: /init reached"), "{text}");
    assert!(text.contains("rvmm: selftest passed"), "{text}");
    let report = report(&output);
    assert_eq!(report["stop"]["reason"], "power_off");
    for phase in ["load", "unpack", "first_instruction", "first_console_byte", "init"] {
        assert!(report["phases"].as_array().unwrap().iter().any(|p| p["name"] == phase), "{phase}: {report}");
    }
}

#[test]
fn cloud_with_one_cpu() {
    powers_off("cloud", "1");
}

#[test]
fn cloud_with_two_cpus() {
    powers_off("cloud", "2");
}

#[test]
fn generic_with_one_cpu() {
    powers_off("generic", "1");
}

#[test]
fn generic_with_two_cpus() {
    powers_off("generic", "2");
}

#[test]
fn expect_ends_at_the_prompt() {
    let Some(booter) = booter("cloud") else { return };
    let output = booter.boot(&["--expect", "^rvmm:~# "]);
    assert_code(&output, 0);
    assert_eq!(report(&output)["stop"]["reason"], "expect_matched");
}

/// The number of instructions and the console of a boot whose time is counted.
fn counted(booter: &Booter, options: &str, flags: &[&str]) -> (u64, String) {
    let options = format!("clock=virtual,{options}");
    let output = booter.boot(&[&["--engine", "soft", "--engine-opts", &options], flags].concat());
    assert_code(&output, 0);
    (report(&output)["guest_instructions"].as_u64().unwrap(), console(&output))
}

#[test]
fn a_boot_in_counted_time_repeats_itself_in_both_tiers() {
    let Some(booter) = booter("cloud") else { return };
    let flags = ["--append", "rvmm.poweroff"];
    let first = counted(&booter, "seed=7", &flags);
    assert!(first.1.contains("rvmm: /init reached"), "{}", first.1);
    assert_eq!(counted(&booter, "seed=7", &flags), first);
    assert_eq!(counted(&booter, "seed=7,jit=off", &flags), first);
    assert_ne!(counted(&booter, "seed=8", &flags).0, first.0, "the seed is used");
}

#[test]
fn a_boot_in_counted_time_repeats_itself_with_two_cpus() {
    let Some(booter) = booter("cloud") else { return };
    let flags = ["--cpus", "2", "--append", "rvmm.selftest"];
    let first = counted(&booter, "seed=1", &flags);
    assert!(first.1.contains("rvmm: selftest passed"), "{}", first.1);
    assert_eq!(counted(&booter, "seed=1", &flags), first);
}

#[test]
fn a_minute_of_counted_sleep_is_over_at_once() {
    let Some(booter) = booter("cloud") else { return };
    let sleeper = "rdinit=/bin/busybox -- sh -c \"date; sleep 60; date; poweroff -f\"";
    let started = Instant::now();
    let (_, text) = counted(&booter, "", &["--append", sleeper]);
    let lasted = started.elapsed();
    assert!(text.contains("00:00:0") && text.contains("00:01:0"), "{text}");
    assert!(lasted < Duration::from_secs(45), "{lasted:?}");
}

/// The interpreter beside the translator through a whole boot; `make lockstep` runs it.
#[test]
#[ignore = "takes minutes"]
fn boots_in_lock_step_show_no_difference() {
    for (name, cpu) in [("cloud", "v2"), ("cloud", "v3"), ("generic", "v3")] {
        let Some(booter) = booter(name) else { return };
        let flags = ["--memory", "256M", "--cpu", cpu, "--timeout", "30m", "--append", "rvmm.poweroff"];
        let (instructions, text) = counted(&booter, "check=200", &flags);
        assert!(text.contains("rvmm: /init reached"), "{text}");
        println!("{name}, {cpu}: {instructions} instructions");
    }
}

#[test]
fn the_guest_has_the_instructions_asked_for() {
    for (cpu, count) in [("v2", "0"), ("v3", "1")] {
        let Some(booter) = booter("cloud") else { return };
        let mut session = Session::new(booter.command(&["--cpu", cpu, "--cmdline", "console=ttyS0 quiet"]));
        session.wait_for("rvmm:~# ");
        session.press(b"grep -c 'fma.* movbe.* avx .*f16c.* abm.* bmi1 avx2.* bmi2' /proc/cpuinfo\r");
        session.wait_for(&format!("\n{count}\r"));
        session.wait_for("rvmm:~# ");
        // What the kernel saves of each task: 256 bytes more.
        session.press(b"dmesg | grep -c 'context size is 832 bytes'\r");
        session.wait_for(&format!("\n{count}\r"));
        session.wait_for("rvmm:~# ");
        session.press(b"\x01x");
        assert_eq!(session.end().code(), Some(0));
    }
}

#[test]
fn a_person_types_at_the_shell() {
    let Some(booter) = booter("cloud") else { return };
    let mut session = Session::new(booter.command(&["--cmdline", "console=ttyS0 quiet"]));
    session.wait_for("rvmm:~# ");
    assert!(session.is_raw());
    session.press(b"echo $((6 * 7))\r");
    session.wait_for("\n42\r");
    session.wait_for("rvmm:~# ");
    // Ctrl-C is the guest's: it ends the guest's program, not the guest.
    session.press(b"sh -c 'echo begun; exec sleep 1000'\r");
    session.wait_for("\nbegun\r");
    session.press(b"\x03");
    session.wait_for("rvmm:~# ");
    session.press(b"\x01x");
    assert_eq!(session.end().code(), Some(0));
}

#[test]
fn a_reboot_by_triple_fault_is_a_reboot() {
    let Some(booter) = booter("cloud") else { return };
    let output = booter.boot(&["--append", "rvmm.reboot reboot=t", "--on-reboot", "exit"]);
    assert_code(&output, 22);
    assert!(console(&output).contains("rvmm: /init reached"));
}

#[test]
fn a_second_boot_need_not_unpack() {
    let Some(booter) = booter("generic") else { return };
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("cache");
    let boot = || {
        let flags = ["--unpack-cache", cache.to_str().unwrap(), "--expect", "^rvmm:~# "];
        assert_code(&booter.boot(&flags), 0);
    };
    let entries = || {
        let mut entries: Vec<_> =
            std::fs::read_dir(&cache).unwrap().map(|entry| entry.unwrap().path()).collect();
        entries.sort();
        entries
    };
    boot();
    let first = entries();
    assert_eq!(first.len(), 2, "kernel and initramfs: {first:?}");
    // A damaged entry is noticed and made anew.
    let kernel = first.iter().find(|path| path.to_string_lossy().contains("kernel-")).unwrap();
    let mut damaged = std::fs::read(kernel).unwrap();
    let whole = damaged.clone();
    damaged[1 << 20] ^= 1;
    std::fs::write(kernel, &damaged).unwrap();
    boot();
    assert!(std::fs::read(kernel).unwrap() == whole, "the damaged entry is replaced");
    // What is used from there boots, too.
    boot();
    assert_eq!(entries(), first);
}

#[test]
fn a_reboot_boots_again_in_place() {
    let Some(booter) = booter("cloud") else { return };
    // It would reboot for ever; the time is enough for some boots.
    let output = booter.boot(&["--timeout", "40s", "--append", "rvmm.reboot"]);
    assert_code(&output, 124);
    assert!(console(&output).matches("rvmm: /init reached").count() >= 2);
    assert!(report(&output)["resets"].as_u64().unwrap() >= 2);
}

#[test]
fn a_reboot_can_end_the_run() {
    let Some(booter) = booter("cloud") else { return };
    assert_code(&booter.boot(&["--append", "rvmm.reboot", "--on-reboot", "exit"]), 22);
}

#[test]
fn a_panic_is_told() {
    let Some(booter) = booter("cloud") else { return };
    let output = booter.boot(&["--append", "rvmm.panic"]);
    assert_code(&output, 20);
    assert!(console(&output).contains("Kernel panic - not syncing"));
}

#[test]
fn a_panic_without_reboot_ends_a_boot_test() {
    let Some(booter) = booter("cloud") else { return };
    let cmdline = "console=ttyS0 panic=0 rvmm.panic";
    assert_code(&booter.boot(&["--cmdline", cmdline, "--expect", "never"]), 20);
}

#[test]
fn the_guest_may_unpack_itself() {
    let Some(booter) = booter("cloud") else { return };
    let output = booter.boot(&["--unpack", "guest", "--append", "rvmm.poweroff"]);
    assert_code(&output, 0);
    assert!(console(&output).contains("rvmm: /init reached"));
}

#[test]
fn memory_above_the_hole_is_used() {
    let Some(booter) = booter("cloud") else { return };
    let output = booter.boot(&["--memory", "4G", "--append", "rvmm.poweroff"]);
    assert_code(&output, 0);
    assert!(console(&output).contains("rvmm: /init reached"));
}
