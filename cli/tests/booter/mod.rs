//! Stock kernels and the program as it ships.
//!
//! `RVMM_GUESTS` names the folder with the guests (`make guests` makes it; default `cache/guests` of the workspace), `RVMM` the
//! program (default: the workspace's release build). Without guests tests say so and pass, unless `RVMM_GUESTS` is set.
#![allow(clippy::unwrap_used, clippy::panic)] // a test that cannot set itself up has failed
#![allow(clippy::print_stdout)] // a test that was skipped says so
#![allow(dead_code)] // each test file uses its part

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;

/// Guests are given the machine one at a time: their timing is part of what is tested.
static TURN: Mutex<()> = Mutex::new(());

pub(crate) struct Booter {
    program: PathBuf,
    guest: PathBuf,
    _turn: MutexGuard<'static, ()>,
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The guest called `name` and the program, or nothing where guests were never made.
pub(crate) fn booter(name: &str) -> Option<Booter> {
    let told = env::var_os("RVMM_GUESTS").map(PathBuf::from);
    let guest = told.clone().unwrap_or_else(|| workspace().join("cache/guests")).join(name);
    if !guest.join("bzImage").exists() {
        assert!(told.is_none(), "no guest at {}", guest.display());
        println!("skipped: no guest at {}; `make guests` makes it", guest.display());
        return None;
    }
    let program = env::var_os("RVMM").map_or_else(
        || {
            let target =
                env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace().join("target"), PathBuf::from);
            target.join("release/rvmm")
        },
        PathBuf::from,
    );
    assert!(program.exists(), "no program at {}; build it with --release", program.display());
    Some(Booter { program, guest, _turn: TURN.lock().unwrap_or_else(PoisonError::into_inner) })
}

impl Booter {
    pub(crate) fn boot(&self, flags: &[&str]) -> Output {
        self.command(flags).args(["--report", "json"]).stdin(Stdio::null()).output().unwrap()
    }

    pub(crate) fn command(&self, flags: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .arg("boot")
            .arg("--kernel")
            .arg(self.guest.join("bzImage"))
            .arg("--initrd")
            .arg(self.guest.join("rootfs.cpio.xz"))
            .args(if flags.contains(&"--timeout") { &[][..] } else { &["--timeout", "180s"] })
            .args(flags);
        if !flags.contains(&"--unpack-cache") {
            command.args(["--unpack-cache", concat!(env!("CARGO_TARGET_TMPDIR"), "/unpacked")]);
        }
        command
    }
}

pub(crate) fn console(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub(crate) fn report(output: &Output) -> Value {
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    let line = errors.lines().rev().find(|line| line.starts_with('{')).unwrap_or_else(|| panic!("{errors}"));
    serde_json::from_str(line).unwrap()
}

/// The run's exit code, with what is needed to see why in the message when it is another.
pub(crate) fn assert_code(output: &Output, expected: i32) {
    let text = console(output);
    let tail: String = text.chars().rev().take(3000).collect::<Vec<_>>().into_iter().rev().collect();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(expected), "{tail}\n{errors}");
}
