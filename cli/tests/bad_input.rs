//! What a person gets who names the wrong file or flag: one line with the name and the reason, and a code by cause.

#![allow(clippy::unwrap_used, clippy::panic)] // a test that cannot set itself up has failed

mod guest;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use guest::elf;
use tempfile::TempDir;

/// The program, with nothing to read.
fn rvmm(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_rvmm"))
        .args(arguments)
        .env_remove("RVMM_LOG")
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// Lines on standard error that are not the announcement of the engine.
fn complaints(output: &Output) -> Vec<String> {
    String::from_utf8_lossy(&output.stderr)
        .lines()
        .filter(|line| !line.starts_with("rvmm: engine soft ("))
        .map(str::to_owned)
        .collect()
}

fn assert_refused(arguments: &[&str], code: i32, words: &[&str]) {
    let output = rvmm(arguments);
    let lines = complaints(&output);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {lines:?}");
    assert_eq!(lines.len(), 1, "{arguments:?}: {lines:#?}");
    for word in words {
        assert!(lines[0].contains(word), "{arguments:?}: no {word:?} in {:?}", lines[0]);
    }
    assert!(output.stdout.is_empty());
}

struct Files {
    folder: TempDir,
}

impl Files {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn make(&self, name: &str, bytes: &[u8]) -> String {
        fs::write(self.path(name), bytes).unwrap();
        text(&self.path(name))
    }

    /// An ELF kernel that fits a small guest: `cli; hlt` at 1 MiB.
    fn tiny_kernel(&self) -> String {
        let program = elf(&[0xfa, 0xf4, 0xeb, 0xfc], 0x10_0000);
        self.make("vmlinux", &program)
    }

    fn is_as_left(&self, names: &[&str]) -> bool {
        let mut found: Vec<_> = fs::read_dir(self.folder.path())
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        found.sort();
        found == names
    }
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// The first page of a bzImage: enough header to be taken for one, and nothing behind it.
fn bzimage_header() -> Vec<u8> {
    let mut page = vec![0; 0x1000];
    page[0x1f1] = 4;
    page[0x1fe..0x200].copy_from_slice(&[0x55, 0xaa]);
    // The jump over the header says how long it is.
    page[0x200..0x202].copy_from_slice(&[0xeb, 0x66]);
    page[0x202..0x206].copy_from_slice(b"HdrS");
    page[0x206..0x208].copy_from_slice(&0x20f_u16.to_le_bytes());
    page[0x211] = 1;
    page[0x236..0x238].copy_from_slice(&1_u16.to_le_bytes());
    page[0x1f4..0x1f8].copy_from_slice(&0x10_0000_u32.to_le_bytes());
    page
}

fn arm64_image() -> Vec<u8> {
    let mut image = vec![0; 0x1000];
    image[..2].copy_from_slice(b"MZ");
    image[0x38..0x3c].copy_from_slice(b"ARMd");
    image
}

/// A cpio archive with one file of so many bytes.
fn cpio(size: usize) -> Vec<u8> {
    let entry = |name: &str, mode: u32, size: usize| {
        let fields = [1, mode, 0, 0, 1, 0, size as u32, 0, 0, 0, 0, name.len() as u32 + 1, 0];
        let mut entry = b"070701".to_vec();
        fields.iter().for_each(|field| entry.extend(format!("{field:08x}").bytes()));
        entry.extend(name.bytes());
        entry.push(0);
        entry.resize((entry.len().next_multiple_of(4) + size).next_multiple_of(4), 0);
        entry
    };
    [entry("file", 0o100_644, size), entry("TRAILER!!!", 0, 0)].concat()
}

#[test]
fn kernel_files_that_cannot_be_read() {
    let files = Files::new();
    assert_refused(&["boot", "--kernel", "/no/such/kernel"], 3, &["/no/such/kernel", "No such file"]);
    let folder = text(files.folder.path());
    assert_refused(&["boot", "--kernel", &folder], 3, &[&folder, "directory"]);
}

#[test]
fn kernel_files_that_are_none() {
    let files = Files::new();
    let cases: [(&str, Vec<u8>, &str); 5] = [
        ("empty", Vec::new(), "empty"),
        ("text", b"#!/bin/sh\necho hello\n".repeat(100), "not a"),
        ("short", bzimage_header()[..0x1f8].to_vec(), ""),
        ("headers-only", bzimage_header(), ""),
        ("arm64", arm64_image(), "arm64"),
    ];
    for (name, bytes, reason) in cases {
        let path = files.make(name, &bytes);
        assert_refused(&["boot", "--kernel", &path], 4, &[&path, reason]);
    }
}

#[test]
fn kernels_packed_in_unknown_ways() {
    let files = Files::new();
    for (magic, words) in [(b"\x01\x02\x03\x04", "compression"), (b"\x89LZO", "lzo")] {
        let mut image = bzimage_header();
        // Behind the setup: 0x600 bytes, of which 0x100 at 0x100 are the payload.
        image[0x1f4..0x1f8].copy_from_slice(&0x60_u32.to_le_bytes());
        image[0x248..0x24c].copy_from_slice(&0x100_u32.to_le_bytes());
        image[0x24c..0x250].copy_from_slice(&0x100_u32.to_le_bytes());
        image[0xb00..0xb04].copy_from_slice(magic);
        let path = files.make("packed", &image);
        assert_refused(&["boot", "--kernel", &path], 4, &[&path, words]);
    }
}

#[test]
fn every_truncation_of_a_kernel_is_an_error_and_never_a_crash() {
    let files = Files::new();
    let whole = elf(&[0xf4; 64], 0x10_0000);
    for length in [1, 3, 16, 52, 63, 64, 100, 119, 120, whole.len() - 1] {
        let path = files.make("cut", &whole[..length]);
        assert_refused(&["boot", "--kernel", &path], 4, &[&path]);
    }
}

#[test]
fn initramfs_files() {
    let files = Files::new();
    let kernel = files.tiny_kernel();
    let boot = |initrd: &str, code, words: &[&str]| {
        assert_refused(&["boot", "--kernel", &kernel, "--initrd", initrd], code, words);
    };
    boot("/no/such/initrd", 3, &["/no/such/initrd", "No such file"]);
    let empty = files.make("empty", b"");
    boot(&empty, 4, &[&empty, "empty"]);
    let junk = files.make("junk", &b"neither cpio nor compressed ".repeat(100));
    boot(&junk, 4, &[&junk]);
    let cut = files.make("cut.xz", b"\xfd7zXZ\0\0\x04\xe6\xd6\xb4F\x02\0");
    boot(&cut, 4, &[&cut]);
}

#[test]
fn what_does_not_fit() {
    let files = Files::new();
    let kernel = files.tiny_kernel();
    let high = files.make("high", &elf(&[0xf4; 64], 0x4000_0000));
    assert_refused(&["boot", "--kernel", &high, "--memory", "64M"], 5, &[&high, "memory"]);
    let large = files.make("large", &vec![0x5a; 3 << 20]);
    assert_refused(&["boot", "--kernel", &large, "--memory", "2M"], 5, &[&large, "memory"]);
    let initrd = files.make("initrd", &cpio(3 << 20));
    let boot = ["boot", "--kernel", &kernel, "--initrd", &initrd, "--memory"];
    assert_refused(&[&boot[..], &["2M"]].concat(), 5, &[&initrd, "memory"]);
    assert_refused(&[&boot[..], &["4M"]].concat(), 5, &[&initrd, "memory"]);
    let long = "x".repeat(70_000);
    assert_refused(&["boot", "--kernel", &kernel, "--cmdline", &long], 5, &["command line", "70000"]);
    assert_refused(&["boot", "--kernel", &kernel, "--cmdline", "a\nb"], 2, &["command line"]);
}

#[test]
fn serial_back_ends_that_cannot_be_opened() {
    let files = Files::new();
    let kernel = files.tiny_kernel();
    for serial in ["file=/no/such/folder/log", "socket=/no/such/folder/socket", "file=/"] {
        assert_refused(&["boot", "--kernel", &kernel, "--serial", serial], 6, &[serial]);
    }
    assert!(files.is_as_left(&["vmlinux"]));
}

#[test]
fn nothing_is_left_behind_when_the_kernel_is_bad() {
    let files = Files::new();
    let socket = format!("socket={}", text(&files.path("socket")));
    assert_refused(&["boot", "--kernel", "/no/such/kernel", "--serial", &socket], 3, &["/no/such/kernel"]);
    assert!(files.is_as_left(&[]));
    let log = files.make("log", b"of an earlier run");
    let (serial, junk) = (format!("file={log}"), files.make("junk", &[7; 5000]));
    assert_refused(&["boot", "--kernel", &junk, "--serial", &serial], 4, &[&junk]);
    assert_eq!(fs::read(&log).unwrap(), b"of an earlier run");
}

#[test]
fn a_forced_engine_is_not_replaced() {
    if std::env::consts::OS == "macos" {
        return;
    }
    let files = Files::new();
    let kernel = files.tiny_kernel();
    assert_refused(&["boot", "--kernel", &kernel, "--engine", "hvf"], 7, &["hvf", "macOS"]);
}

#[test]
fn flags_name_themselves() {
    let cases: [(&[&str], &str); 8] = [
        (&["boot"], "--kernel"),
        (&["boot", "--kernel", "k", "--memory", "much"], "--memory"),
        (&["boot", "--kernel", "k", "--memory", "1M"], "--memory"),
        (&["boot", "--kernel", "k", "--cpus", "0"], "--cpus"),
        (&["boot", "--kernel", "k", "--cpus", "1000"], "--cpus"),
        (&["boot", "--kernel", "k", "--expect", "("], "--expect"),
        (&["boot", "--kernel", "k", "--serial", "nowhere"], "--serial"),
        (&["launch"], "launch"),
    ];
    for (arguments, word) in cases {
        let output = rvmm(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(message.contains(word), "{arguments:?}: {message}");
    }
}

#[test]
fn help_version_and_doctor() {
    let help = rvmm(&["boot", "--help"]);
    assert!(help.status.success());
    let help = String::from_utf8_lossy(&help.stdout).into_owned();
    for word in ["--kernel", "--expect", "Exit codes", "124", "Ctrl-A"] {
        assert!(help.contains(word), "{word}");
    }
    let version = rvmm(&["--version"]);
    assert_eq!(String::from_utf8_lossy(&version.stdout), format!("rvmm {}\n", env!("CARGO_PKG_VERSION")));
    let doctor = rvmm(&["doctor"]);
    assert!(doctor.status.success());
    let doctor = String::from_utf8_lossy(&doctor.stdout).into_owned();
    for word in ["host", "macOS", "engine", "soft"] {
        assert!(doctor.contains(word), "{word}: {doctor}");
    }
}

#[test]
fn output_survives_a_reader_that_is_gone() {
    let script = format!(
        "{} doctor | true; {} boot --help | true",
        env!("CARGO_BIN_EXE_rvmm"),
        env!("CARGO_BIN_EXE_rvmm")
    );
    let output = Command::new("sh").args(["-c", &script]).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!errors.contains("panicked"), "{errors}");
}
