//! `rvmm disk`, interrupted.
#![allow(clippy::unwrap_used)] // a test that cannot set itself up has failed

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

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
    for (name, number) in [("INT", 2), ("TERM", 15)] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_rvmm"))
            .args(["disk", "convert", "--to", "qcow2"])
            .args([&source, &folder.path().join("target")])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let started = Instant::now();
        while parts() == 0 {
            assert!(started.elapsed() < Duration::from_secs(30) && child.try_wait().unwrap().is_none());
            thread::sleep(Duration::from_millis(1));
        }
        assert!(Command::new("kill").args(["-s", name, &child.id().to_string()]).status().unwrap().success());
        let ended = child.wait_with_output().unwrap();
        assert_eq!(ended.status.signal(), Some(number), "{ended:?}");
        assert!(String::from_utf8_lossy(&ended.stderr).contains("stopped"), "{ended:?}");
        assert_eq!(parts(), 0);
        assert!(!folder.path().join("target").exists());
    }
}
