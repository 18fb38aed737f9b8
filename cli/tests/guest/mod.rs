//! Tiny guests in machine code, and the program that runs them.
#![allow(clippy::unwrap_used)] // a test that cannot set itself up has failed
#![allow(dead_code)] // each test file uses its part

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use tempfile::TempDir;

/// `jmp $`.
pub(crate) const SPIN: &[u8] = &[0xeb, 0xfe];

/// Prints `x` for ever.
pub(crate) const CHATTER: &[u8] = &[0xba, 0xf8, 3, 0, 0, 0xb0, b'x', 0xee, 0xeb, 0xfd];

/// Sends back every byte it gets on COM1, after a `>`.
pub(crate) const ECHO: &[u8] = &[
    0xba, 0xf8, 3, 0, 0, 0xb0, b'>', 0xee, // mov edx, 0x3f8; mov al, '>'; out dx, al
    0xba, 0xfd, 3, 0, 0, 0xec, 0xa8, 1, 0x74, 0xf6, // mov edx, 0x3fd; again: in al, dx; test al, 1; jz
    0xba, 0xf8, 3, 0, 0, 0xec, 0xee, 0xeb, 0xed, // mov edx, 0x3f8; in al, dx; out dx, al; jmp
];

/// Writes `code` to port 0xf4.
pub(crate) fn exit(code: u8) -> Vec<u8> {
    vec![0xb8, code, 0, 0, 0, 0xba, 0xf4, 0, 0, 0, 0xef, 0xeb, 0xfe]
}

/// A folder with a kernel in it.
pub(crate) struct Guest {
    pub(crate) folder: TempDir,
}

impl Guest {
    pub(crate) fn new(code: &[u8]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("vmlinux"), elf(code, 0x10_0000)).unwrap();
        Self { folder }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `rvmm boot` of this guest, with a time limit that no test should reach.
    pub(crate) fn boot(&self, flags: &[&str]) -> Command {
        default_signals();
        let mut command = Command::new(env!("CARGO_BIN_EXE_rvmm"));
        command
            .args(["boot", "--memory", "32M", "--debug-exit-port", "0xf4", "--kernel"])
            .arg(self.path("vmlinux"));
        if !flags.contains(&"--timeout") {
            command.args(["--timeout", "60s"]);
        }
        command.args(flags).env_remove("RVMM_LOG").stdin(Stdio::null());
        command
    }
}

/// What this process ignores its children ignore, too; what it handles is theirs by default. A shell starts
/// background jobs with SIGINT and SIGQUIT ignored, `nohup` ignores SIGHUP.
fn default_signals() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        for signal in [SIGHUP, SIGINT, SIGQUIT, SIGTERM] {
            let always = Arc::new(AtomicBool::new(true));
            signal_hook::flag::register_conditional_default(signal, always).unwrap();
        }
    });
}

/// A 64-bit x86 ELF executable with one loaded segment.
pub(crate) fn elf(code: &[u8], address: u64) -> Vec<u8> {
    let mut file = Vec::new();
    file.extend(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    file.extend(2_u16.to_le_bytes());
    file.extend(62_u16.to_le_bytes());
    file.extend(1_u32.to_le_bytes());
    for word in [address, 64, 0] {
        file.extend(u64::to_le_bytes(word));
    }
    file.extend(0_u32.to_le_bytes());
    for half in [64_u16, 56, 1, 0, 0, 0] {
        file.extend(half.to_le_bytes());
    }
    file.extend(1_u32.to_le_bytes());
    file.extend(5_u32.to_le_bytes());
    let length = code.len() as u64;
    for word in [120, address, address, length, length, 4096] {
        file.extend(u64::to_le_bytes(word));
    }
    file.extend(code);
    file
}
