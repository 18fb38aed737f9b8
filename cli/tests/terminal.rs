//! rvmm on a terminal: raw while a guest is attached, restored whatever ends it.
#![allow(clippy::unwrap_used)] // a test that cannot set itself up has failed

mod guest;
mod session;

use guest::{ECHO, Guest};
use session::Session;

/// A terminal with a guest that echoes, and the guest's files.
fn start(flags: &[&str]) -> (Session, Guest) {
    let guest = Guest::new(ECHO);
    (Session::new(guest.boot(flags)), guest)
}

#[test]
fn keys_go_to_the_guest_and_ctrl_a_x_quits() {
    let (mut session, _guest) = start(&[]);
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
    let (mut session, _guest) = start(&[]);
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
        let (mut session, _guest) = start(&[]);
        session.wait_for(">");
        session.kill(signal);
        assert!(session.end().code().unwrap() > 128);
    }
    let (mut session, _guest) = start(&["--expect", "end"]);
    session.wait_for(">");
    session.press(b"end");
    assert_eq!(session.end().code(), Some(0));
    let (session, _guest) = start(&["--timeout", "500ms"]);
    assert_eq!(session.end().code(), Some(124));
    let (session, _guest) = start(&["--initrd", "/nowhere"]);
    assert_eq!(session.end().code(), Some(3));
}

#[test]
fn stopping_gives_the_terminal_back_and_continuing_takes_it() {
    let (mut session, _guest) = start(&[]);
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
