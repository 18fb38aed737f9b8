//! A program that makes machines and lets go of them. In a process of its own: it looks at the process's memory.
#![allow(clippy::unwrap_used, clippy::panic)] // a test that cannot set itself up has failed

mod guest;

use guest::{Guest, exit};
use iced_x86::code_asm::*;
use vmm::StopReason;

/// Guest memory that each machine touches: what a leak costs.
const TOUCHED: u32 = 8 << 20;

/// A number from a field of /proc/self/status, or nothing on other hosts.
fn status(field: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    line.split_whitespace().next()?.parse().ok()
}

#[test]
fn machines_that_are_gone_leave_nothing_behind() {
    let mut guest = Guest::new(|a| {
        a.mov(edi, 0x100_0000)?;
        a.mov(ecx, TOUCHED / 8)?;
        a.mov(rax, -1_i64)?;
        a.rep().stosq()?;
        exit(a, 0)
    });
    guest.config.cpus = 2;
    let use_some = |count: usize| {
        for _ in 0..count {
            assert_eq!(guest.end(), StopReason::DebugExit { code: 0 });
            drop(guest.machine());
        }
        (status("VmRSS"), status("VmSize"), status("Threads"))
    };
    let (resident_kib, size_kib, threads) = use_some(10);
    let (resident_after_kib, size_after_kib, threads_after) = use_some(50);
    let grown =
        |before: Option<u64>, after: Option<u64>| after.unwrap_or(0).saturating_sub(before.unwrap_or(0));
    // One leaked machine has more of either than this.
    assert!(
        grown(resident_kib, resident_after_kib) < u64::from(TOUCHED >> 10),
        "{resident_kib:?} {resident_after_kib:?}"
    );
    assert!(grown(size_kib, size_after_kib) < 32 << 10, "{size_kib:?} {size_after_kib:?}");
    assert_eq!(threads, threads_after);
}
