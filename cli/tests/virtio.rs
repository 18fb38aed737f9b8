//! Virtio devices at work in a stock kernel: a console that is typed at, packed rings, sockets, memory that goes back.
#![allow(clippy::unwrap_used, clippy::panic)] // a test that cannot set itself up has failed
#![allow(clippy::print_stdout)] // a test that was skipped says so

mod booter;
mod session;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use booter::booter;
use session::Session;

const PROMPT: &str = "rvmm:~# ";

/// A shell in a guest, on the terminal; nothing where guests were never made.
fn shell(guest: &str, flags: &[&str]) -> Option<Session> {
    let mut session = Session::new(booter(guest)?.command(flags));
    session.wait_for(PROMPT);
    Some(session)
}

/// What a command says, once the shell is done with it.
fn run(session: &mut Session, command: &str) -> String {
    // The terminal echoes what is typed: the sums are not in it.
    session.press(format!("echo begun $((40 + 1)); {command}; echo done $((40 + 2))\r").as_bytes());
    session.wait_for("begun 41");
    let said = session.wait_for("done 42").replace('\r', "");
    session.wait_for(PROMPT);
    said.trim_start_matches('\n').to_owned()
}

fn quit(mut session: Session) {
    session.press(b"\x01x");
    assert_eq!(session.end().code(), Some(0));
}

#[test]
fn a_person_types_at_a_virtio_console() {
    let Some(booter) = booter("cloud") else { return };
    let mut session = Session::new(booter.command(&["--console", "stdio", "--append", "quiet"]));
    session.wait_for(PROMPT);
    assert!(session.is_raw());
    let said = run(&mut session, "cat /sys/class/tty/console/active; tty; cat /proc/cmdline");
    assert!(said.contains("ttyS0 hvc0\n"), "{said}");
    assert!(said.contains("/dev/hvc0\n") && said.contains("console=hvc0"), "{said}");
    // The screen's size is told, and a change of it.
    for (columns, rows) in [(101, 37), (90, 20)] {
        session.set_size(columns, rows);
        let told = format!("{rows} {columns}\n");
        session
            .wait_until("the guest knows its screen", |session| run(session, "stty size").starts_with(&told));
    }
    // Much output, in order; Ctrl-C is the guest's.
    let counted = run(&mut session, "seq 3000");
    let expected: String = (1..=3000).map(|number| format!("{number}\n")).collect();
    assert!(counted.starts_with(&expected), "{counted}");
    session.press(b"sh -c 'echo begun; exec sleep 1000'\r");
    session.wait_for("\nbegun\r");
    session.press(b"\x03");
    session.wait_for(PROMPT);
    quit(session);
}

#[test]
fn devices_work_with_packed_rings() {
    for transport in ["pci,packed=on", "mmio,packed=on"] {
        let folder = tempfile::tempdir().unwrap();
        let disk = format!("{},size=64M", folder.path().join("disk.img").display());
        let share = format!("{},tag=t,mount=off", folder.path().display());
        let flags = [
            "--virtio",
            transport,
            "--disk",
            &disk,
            "--net",
            "user",
            "--share",
            &share,
            "--rng",
            "--balloon",
            "--cpus",
            "2",
            "--console",
            "null",
            "--cmdline",
            "console=ttyS0 quiet",
        ];
        // The cloud kernel has no 9p.
        let Some(mut session) = shell("generic", &flags) else { return };
        // Feature 34 of all of them.
        let said = run(
            &mut session,
            "for d in /sys/bus/virtio/devices/*; do cut -c35 $d/features; done | sort | uniq -c",
        );
        assert_eq!(said.split_whitespace().take(2).collect::<Vec<_>>(), ["6", "1"], "{transport}: {said}");
        let said = run(
            &mut session,
            "dd if=/dev/urandom of=/tmp/r bs=1M count=16 2>/dev/null; dd if=/tmp/r of=/dev/vda bs=64k conv=fsync 2>/dev/null; \
             echo 3 > /proc/sys/vm/drop_caches; cmp -n 16777216 /tmp/r /dev/vda && echo the same",
        );
        assert!(said.contains("the same"), "{transport}: {said}");
        let said = run(
            &mut session,
            "mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144 t /mnt && cp /tmp/r /mnt/r && cmp /tmp/r /mnt/r && echo shared",
        );
        assert!(said.contains("shared"), "{transport}: {said}");
        assert!(
            fs::read(folder.path().join("r")).unwrap()
                == fs::read(folder.path().join("disk.img")).unwrap()[..16 << 20]
        );
        let said = run(&mut session, "ip link set eth0 up; udhcpc -q -n -i eth0 -s /bin/true && echo leased");
        assert!(said.contains("leased"), "{transport}: {said}");
        let said =
            run(&mut session, "head -c 1000 /dev/hwrng | wc -c; dmesg | grep -ciE 'virtio.*(error|fail)'");
        assert!(said.starts_with("1000\n0\n"), "{transport}: {said}");
        quit(session);
    }
}

#[test]
fn the_guest_has_the_hosts_entropy() {
    let Some(mut session) = shell("cloud", &["--rng", "--cmdline", "console=ttyS0 quiet"]) else { return };
    let said = run(&mut session, "cat /sys/class/misc/hw_random/rng_current");
    assert!(said.starts_with("virtio_rng"), "{said}");
    let said =
        run(&mut session, "for i in 1 2 3; do head -c 4096 /dev/hwrng | md5sum; done | sort -u | wc -l");
    assert!(said.starts_with("3\n"), "{said}");
    quit(session);
}

/// Makes the guest's program; false where no compiler is.
fn compile(into: &Path) -> bool {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/programs/vsock.c");
    match Command::new("cc").args(["-static", "-O2", "-o"]).arg(into).arg(source).status() {
        Ok(status) => {
            assert!(status.success(), "{source} does not compile");
            true
        }
        Err(error) => {
            println!("skipped: no C compiler: {error}");
            false
        }
    }
}

#[test]
fn sockets_lead_from_host_to_guest_and_back() {
    let folder = tempfile::tempdir().unwrap();
    if !compile(&folder.path().join("vsock")) {
        return;
    }
    let socket = folder.path().join("s");
    let vsock = format!("cid=42,path={}", socket.display());
    // A disk is whole sectors: what follows the program in the last one does not matter.
    let mut program = fs::read(folder.path().join("vsock")).unwrap();
    program.resize(program.len().next_multiple_of(512), 0);
    let disk = folder.path().join("disk");
    fs::write(&disk, program).unwrap();
    let disk = format!("{},ro", disk.display());
    let flags = ["--vsock", &vsock, "--disk", &disk, "--cmdline", "console=ttyS0 quiet"];
    let Some(mut session) = shell("cloud", &flags) else { return };
    run(&mut session, "cat /dev/vda > /bin/vsock; chmod +x /bin/vsock");

    // The guest listens, a program of the host's connects.
    session.press(b"vsock listen 1234\r");
    session.wait_for("listens");
    let mut host = UnixStream::connect(&socket).unwrap();
    host.write_all(b"CONNECT 1234\n").unwrap();
    let mut host = BufReader::new(host);
    let mut answer = String::new();
    host.read_line(&mut answer).unwrap();
    assert!(answer.starts_with("OK "), "{answer}");
    let text: String = (0..200_000).map(|number| format!("line {number}\n")).collect();
    let (sent, mut sender) = (text.clone(), host.get_ref().try_clone().unwrap());
    let sending = thread::spawn(move || {
        sender.write_all(sent.as_bytes()).unwrap();
        sender.shutdown(Shutdown::Write).unwrap();
    });
    let mut heard = String::new();
    host.read_to_string(&mut heard).unwrap();
    sending.join().unwrap();
    assert!(heard == text.to_uppercase(), "{} bytes of {}", heard.len(), text.len());
    session.wait_for(PROMPT);

    // Nobody listens in the guest.
    let mut refused = UnixStream::connect(&socket).unwrap();
    refused.write_all(b"CONNECT 4321\n").unwrap();
    let mut answer = String::new();
    refused.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "");

    // The host listens, a program of the guest's connects.
    let listener = UnixListener::bind(folder.path().join("s_52")).unwrap();
    let serving = thread::spawn(move || {
        let (mut guest, _) = listener.accept().unwrap();
        let mut heard = Vec::new();
        guest.read_to_end(&mut heard).unwrap();
        guest.write_all(format!("{} bytes\n", heard.len()).as_bytes()).unwrap();
        heard
    });
    let said = run(&mut session, "seq 100000 | vsock connect 2 52");
    let heard = serving.join().unwrap();
    let expected: String = (1..=100_000).map(|number| format!("{number}\n")).collect();
    assert!(heard == expected.as_bytes());
    assert!(said.starts_with(&format!("{} bytes\n", heard.len())), "{said}");
    // Nobody listens on the host.
    let said = run(&mut session, "vsock connect 2 53 < /dev/null");
    assert!(said.contains("onnection reset") || said.contains("efused"), "{said}");
    quit(session);
}

/// Memory that the process has now, KiB.
fn resident(session: &Session) -> i64 {
    let said = Command::new("ps").args(["-o", "rss=", "-p", &session.pid().to_string()]).output().unwrap();
    String::from_utf8(said.stdout).unwrap().trim().parse().unwrap()
}

const MIB: i64 = 1 << 10;

#[test]
fn memory_that_the_guest_frees_goes_back_to_the_host() {
    let Some(mut session) = shell("cloud", &["--balloon", "--cmdline", "console=ttyS0 quiet"]) else {
        return;
    };
    run(&mut session, "mount -t tmpfs -o size=400M none /mnt");
    for round in 0..2 {
        let before = resident(&session);
        run(&mut session, "dd if=/dev/zero of=/mnt/full bs=1M count=300");
        let full = resident(&session);
        // What was free but not given back is used again in the second round.
        assert!(full > before + 200 * MIB, "round {round}: {before} KiB, then {full} KiB");
        run(&mut session, "rm /mnt/full");
        let started = Instant::now();
        while resident(&session) > full - 250 * MIB {
            let now = resident(&session);
            assert!(started.elapsed() < Duration::from_secs(60), "round {round}: still {now} of {full} KiB");
            thread::sleep(Duration::from_millis(100));
        }
    }
    quit(session);
}

#[test]
fn a_guest_that_runs_out_of_memory_takes_it_back_from_the_balloon() {
    let flags = ["--memory", "512M", "--balloon-target", "300M", "--cmdline", "console=ttyS0 quiet"];
    let Some(mut session) = shell("cloud", &flags) else { return };
    let free = |session: &mut Session| -> i64 {
        let said = run(session, "awk '/^MemFree/ { print $2 }' /proc/meminfo");
        said.lines().next().unwrap().parse().unwrap()
    };
    session.wait_until("the balloon is full", |session| free(session) < 170 * MIB);
    let inflated = resident(&session);
    run(&mut session, "mount -t tmpfs -o size=400M none /mnt");
    // More than is free: without the balloon's 300 MiB, programs would be killed.
    let said = run(&mut session, "dd if=/dev/zero of=/mnt/full bs=1M count=300 && echo whole");
    assert!(said.contains("300+0 records out") && said.contains("whole"), "{said}");
    assert!(run(&mut session, "dmesg | grep -c 'Killed process'").starts_with("0\n"));
    assert!(resident(&session) > inflated + 150 * MIB);
    quit(session);
}
