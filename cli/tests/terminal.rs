//! rvmm on a terminal: raw while a guest is attached, restored whatever ends it.
#![allow(clippy::unwrap_used, clippy::panic)] // a test that cannot set itself up has failed
#![allow(unsafe_code)] // a child is given its controlling terminal between fork and exec

mod guest;

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use guest::{ECHO, Guest};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Termios, tcgetattr};

struct Session {
    child: Child,
    master: File,
    slave: File,
    before: Termios,
    _guest: Guest,
}

fn start(flags: &[&str]) -> Session {
    let guest = Guest::new(ECHO);
    let master: OwnedFd = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let path = PathBuf::from(ptsname(&master, Vec::new()).unwrap().into_string().unwrap());
    let slave = File::options().read(true).write(true).open(path).unwrap();
    let before = tcgetattr(&slave).unwrap();
    let mut command = guest.boot(flags);
    let end = || slave.try_clone().unwrap();
    command.stdin(end()).stdout(end()).stderr(end());
    // SAFETY: only two system calls happen between fork and exec.
    unsafe {
        command.pre_exec(|| {
            rustix::process::setsid()?;
            rustix::process::ioctl_tiocsctty(std::io::stdin())?;
            Ok(())
        });
    }
    let child = command.spawn().unwrap();
    Session { child, master: File::from(master), slave, before, _guest: guest }
}

impl Session {
    /// Output up to and including `text`.
    fn wait_for(&mut self, text: &str) -> String {
        let mut seen = Vec::new();
        while !String::from_utf8_lossy(&seen).contains(text) {
            let mut byte = [0];
            self.master.read_exact(&mut byte).unwrap();
            seen.push(byte[0]);
        }
        String::from_utf8_lossy(&seen).into_owned()
    }

    fn press(&mut self, keys: &[u8]) {
        self.master.write_all(keys).unwrap();
    }

    fn modes(&self) -> Termios {
        tcgetattr(&self.slave).unwrap()
    }

    fn is_raw(&self) -> bool {
        !self.modes().local_modes.intersects(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG)
    }

    fn kill(&self, signal: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", signal, &pid]).status().unwrap().success());
    }

    fn wait_until(&mut self, what: &str, mut holds: impl FnMut(&mut Self) -> bool) {
        let started = Instant::now();
        while !holds(self) {
            assert!(started.elapsed() < Duration::from_secs(30), "{what}");
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn end(mut self) -> ExitStatus {
        self.wait_until("it ends", |session| session.child.try_wait().unwrap().is_some());
        let after = self.modes();
        assert_eq!(after.local_modes, self.before.local_modes);
        assert_eq!(after.input_modes, self.before.input_modes);
        assert_eq!(after.output_modes, self.before.output_modes);
        self.child.wait().unwrap()
    }
}

#[test]
fn keys_go_to_the_guest_and_ctrl_a_x_quits() {
    let mut session = start(&[]);
    session.wait_for(">");
    assert!(session.is_raw());
    // Ctrl-C, Ctrl-Z and a literal Ctrl-A are the guest's.
    session.press(b"\x03\x1a\x01\x01done");
    assert_eq!(session.wait_for("done"), "\x03\x1a\x01done");
    session.press(b"\x01x");
    assert_eq!(session.end().code(), Some(0));
}

#[test]
fn ctrl_a_h_lists_the_keys() {
    let mut session = start(&[]);
    session.wait_for(">");
    session.press(b"\x01h");
    let help = session.wait_for("send Ctrl-A");
    assert!(help.contains("Ctrl-A x  quit"), "{help}");
    session.press(b"\x01x");
    session.end();
}

#[test]
fn the_terminal_is_restored_after_every_end() {
    for signal in ["TERM", "INT", "HUP", "QUIT"] {
        let mut session = start(&[]);
        session.wait_for(">");
        session.kill(signal);
        assert!(session.end().code().unwrap() > 128);
    }
    let mut session = start(&["--expect", "end"]);
    session.wait_for(">");
    session.press(b"end");
    assert_eq!(session.end().code(), Some(0));
    assert_eq!(start(&["--timeout", "500ms"]).end().code(), Some(124));
    assert_eq!(start(&["--initrd", "/nowhere"]).end().code(), Some(3));
}

#[test]
fn stopping_gives_the_terminal_back_and_continuing_takes_it() {
    let mut session = start(&[]);
    session.wait_for(">");
    session.kill("TSTP");
    session.wait_until("restored while stopped", |session| !session.is_raw());
    session.kill("CONT");
    session.wait_until("raw again", |session| session.is_raw());
    session.press(b"still here");
    session.wait_for("still here");
    session.press(b"\x01x");
    assert_eq!(session.end().code(), Some(0));
}
