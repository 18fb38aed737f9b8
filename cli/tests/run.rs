//! Runs of tiny guests: exit codes, output, what is left behind.
#![allow(clippy::unwrap_used, clippy::panic)] // a test that cannot set itself up has failed

mod guest;

use std::io::{Read, Write};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use guest::{CHATTER, ECHO, Guest, SPIN, exit};

fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or_else(|| panic!("{output:?}"))
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn the_engine_is_announced() {
    let output = Guest::new(&exit(0)).boot(&[]).output().unwrap();
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert!(stderr(&output).starts_with("rvmm: engine "), "{}", stderr(&output));
}

#[test]
fn exit_codes_tell_causes() {
    let triple_fault = [0x0f, 0x0b];
    let halted = [0xfa, 0xf4];
    let astray = [0xb8, 0, 0, 0, 0xd0, 0xff, 0xe0];
    let reset = [0xba, 0xf9, 0xc, 0, 0, 0xb0, 6, 0xee, 0xeb, 0xfe];
    let cases: [(&[u8], &[&str], i32); 9] = [
        (&exit(0), &[], 0),
        (&exit(3), &[], 67),
        (&exit(0), &["--expect", "never"], 24),
        (SPIN, &["--timeout", "300ms"], 124),
        (SPIN, &["--timeout", "300ms", "--expect", "never"], 124),
        (&triple_fault, &[], 21),
        (&halted, &[], 23),
        (&astray, &[], 25),
        (&reset, &["--on-reboot", "exit"], 22),
    ];
    for (program, flags, expected) in cases {
        let output = Guest::new(program).boot(flags).output().unwrap();
        assert_eq!(code(&output), expected, "{program:02x?} {flags:?}: {}", stderr(&output));
        let reasons = stderr(&output).lines().count() - 1;
        assert_eq!(reasons, usize::from(expected != 0), "{}", stderr(&output));
    }
}

#[test]
fn expect_ends_a_guest_that_would_go_on() {
    let output = Guest::new(CHATTER).boot(&["--expect", "x{100}"]).output().unwrap();
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert!(output.stdout.starts_with(&[b'x'; 100]));
}

#[test]
fn piped_input_reaches_the_guest_and_its_end_does_not_end_the_run() {
    let guest = Guest::new(ECHO);
    let mut child = guest
        .boot(&["--expect", ">hello\n$"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"hello\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert_eq!(output.stdout, b">hello\n");
}

#[test]
fn input_from_a_file() {
    let guest = Guest::new(ECHO);
    let text: String = (0..500).map(|n| format!("line {n}\n")).collect();
    std::fs::write(guest.path("input"), &text).unwrap();
    let file = std::fs::File::open(guest.path("input")).unwrap();
    let output = guest.boot(&["--expect", "line 499\n"]).stdin(file).output().unwrap();
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert_eq!(String::from_utf8(output.stdout).unwrap(), format!(">{text}"));
}

#[test]
fn a_reader_that_goes_away_ends_the_run_without_a_panic() {
    let guest = Guest::new(CHATTER);
    let mut child = guest.boot(&[]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut [0; 10]).unwrap();
    drop(stdout);
    let output = child.wait_with_output().unwrap();
    assert_eq!(code(&output), 141, "{}", stderr(&output));
    assert!(!stderr(&output).contains("panicked"));
}

#[test]
fn all_readers_may_go_away() {
    let guest = Guest::new(CHATTER);
    let mut child =
        guest.boot(&["--report", "text"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stderr.take());
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut [0; 10]).unwrap();
    drop(stdout);
    assert_eq!(child.wait().unwrap().code(), Some(141));
}

#[test]
fn a_slow_reader_gets_every_byte() {
    // Counts through all byte values for ever: any loss shows.
    let counter = [0xba, 0xf8, 3, 0, 0, 0x31, 0xc0, 0xee, 0xfe, 0xc0, 0xeb, 0xfb];
    let guest = Guest::new(&counter);
    let mut child = guest.boot(&[]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let mut expected = 0_u8;
    let mut buffer = [0; 64 << 10];
    for round in 0..40 {
        if round < 3 {
            thread::sleep(Duration::from_millis(300));
        }
        let count = stdout.read(&mut buffer).unwrap();
        for byte in &buffer[..count] {
            assert_eq!(*byte, expected);
            expected = expected.wrapping_add(1);
        }
    }
    drop(stdout);
    assert_eq!(child.wait().unwrap().code(), Some(141));
}

#[test]
fn signals_end_the_run_with_their_code() {
    for (signal, expected) in [("TERM", 143), ("INT", 130), ("HUP", 129), ("QUIT", 131)] {
        let guest = Guest::new(ECHO);
        let mut child = guest.boot(&[]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdout.as_mut().unwrap().read_exact(&mut [0; 1]).unwrap();
        let pid = child.id().to_string();
        assert!(Command::new("kill").args(["-s", signal, &pid]).status().unwrap().success());
        let output = child.wait_with_output().unwrap();
        assert_eq!(code(&output), expected, "{}", stderr(&output));
    }
}

#[test]
fn ignored_signals_stay_ignored() {
    let guest = Guest::new(ECHO);
    let boot = guest.boot(&[]);
    let mut child = Command::new("nohup")
        .arg(boot.get_program())
        .args(boot.get_args())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    child.stdout.as_mut().unwrap().read_exact(&mut [0; 1]).unwrap();
    let pid = child.id().to_string();
    for signal in ["HUP", "TERM"] {
        assert!(Command::new("kill").args(["-s", signal, &pid]).status().unwrap().success());
        thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(child.wait().unwrap().code(), Some(143));
}

#[test]
fn sockets_and_files_as_consoles() {
    let guest = Guest::new(ECHO);
    let path = guest.path("socket");
    let serial = format!("socket={}", path.display());
    let mut child = guest.boot(&["--serial", &serial]).stderr(Stdio::piped()).spawn().unwrap();
    let started = Instant::now();
    let mut stream = loop {
        match std::os::unix::net::UnixStream::connect(&path) {
            Ok(stream) => break stream,
            Err(_) if started.elapsed() < Duration::from_secs(30) => thread::sleep(Duration::from_millis(20)),
            Err(error) => panic!("{error}"),
        }
    };
    stream.write_all(b"ping").unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"ping") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        answer.push(byte[0]);
    }
    let pid = child.id().to_string();
    assert!(Command::new("kill").arg(&pid).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(143));
    assert!(!path.exists(), "the socket is left behind");

    let log = guest.path("log");
    let output =
        guest.boot(&["--serial", &format!("file={}", log.display()), "--expect", ">"]).output().unwrap();
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert_eq!(std::fs::read_to_string(&log).unwrap(), ">");
    assert!(output.stdout.is_empty());
}

#[test]
fn the_json_report_is_one_line_with_everything() {
    let output = Guest::new(&exit(3)).boot(&["--report", "json"]).output().unwrap();
    let errors = stderr(&output);
    let line = errors.lines().last().unwrap();
    let report: serde_json::Value = serde_json::from_str(line).unwrap();
    assert_eq!(report["exit_code"], 67);
    assert_eq!(report["stop"]["reason"], "debug_exit");
    assert_eq!(report["stop"]["code"], 3);
    assert_eq!(report["cpus"], 1);
    for phase in ["load", "unpack", "first_instruction"] {
        assert!(report["phases"].as_array().unwrap().iter().any(|p| p["name"] == phase), "{phase}");
    }
}
