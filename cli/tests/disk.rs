//! `rvmm disk`, interrupted.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test that cannot set itself up has failed

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

#[test]
fn a_signal_ends_a_conversion_and_nothing_is_left_behind() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source");
    let mut file = File::create(&source).unwrap();
    // Enough to be in the middle of it.
    for _ in 0..384 {
        file.write_all(&[7; 1 << 20]).unwrap();
    }
    let parts = || {
        let names = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|name| name.to_string_lossy().ends_with(".part")).count()
    };
    // Not SIGINT: who starts tests in the background has it ignored, and rvmm leaves that so.
    // A conversion that was over before the signal came is tried again.
    let ended = (0..20).find_map(|_| {
        let target = folder.path().join("target");
        let child = Command::new(env!("CARGO_BIN_EXE_rvmm"))
            .args(["disk", "convert", "--to", "qcow2"])
            .args([&source, &target])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let started = Instant::now();
        while parts() == 0 && !target.exists() {
            assert!(started.elapsed() < Duration::from_secs(30));
            thread::yield_now();
        }
        // It was not waited for: the number is still its own.
        kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
        let ended = child.wait_with_output().unwrap();
        let over = ended.status.success();
        if over {
            fs::remove_file(&target).unwrap();
        }
        (!over).then_some(ended)
    });
    let ended = ended.expect("no conversion was caught at work");
    assert_eq!(ended.status.signal(), Some(Signal::TERM.as_raw()), "{ended:?}");
    assert!(String::from_utf8_lossy(&ended.stderr).contains("stopped"), "{ended:?}");
    assert_eq!(parts(), 0);
    assert!(!folder.path().join("target").exists());
}
