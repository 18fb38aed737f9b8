//! The Docker guest, used by the real `docker` client on the host: one guest lives through all of it.
//!
//! A fresh disk, the client's commands one by one, a reboot, a `kill -9` of the machine, and the power button.
//!
//! Needs the Docker guest and an image (`make docker-guest`) and a docker client; says so and passes without them, unless
//! `RVMM_GUESTS` is set, which names the folder of the guests. Further settings:
//!
//! * `RVMM`: the program (default: the workspace's release build)
//! * `RVMM_TEST_VMM=qemu`: the same with QEMU's software emulation, which tells a fault of the guest or of the test from one of rvmm
//! * `RVMM_TEST_CPUS`, `RVMM_TEST_APPEND`: vCPUs (1); words for the kernel's command line
//! * `RVMM_TEST_FLAGS`: more flags for rvmm, such as `--virtio pci,packed=on`
//! * `RVMM_TEST_ONLY=WORDS`: only the checks whose name has one of these words, separated by commas (and `load`, which they need)
#![allow(clippy::unwrap_used, clippy::panic)] // a test that cannot set itself up has failed
#![allow(clippy::print_stdout)] // what is checked is told as it goes

#[path = "docker/checks/mod.rs"]
mod checks;
#[path = "docker/client.rs"]
mod client;
#[path = "docker/host.rs"]
mod host;
#[path = "docker/machine.rs"]
mod machine;
#[path = "docker/place.rs"]
mod place;

use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use checks::{Check, Outcome};
use machine::Machine;
use place::Place;

/// What one check may take, at most: an interpreter on a busy host is slow.
const CHECK_LIMIT: Duration = Duration::from_secs(600);

#[test]
fn the_docker_client_at_work() {
    let Some(place) = Place::find().map(Arc::new) else { return };
    let mut failures = Failures::default();

    let mut machine = Machine::boot(&place);
    failures.run("fresh disk", &machine, checks::FRESH);

    machine.reboot();
    failures.run("after a reboot", &machine, checks::AFTER_REBOOT);

    failures.run("before the kill", &machine, checks::BEFORE_KILL);
    machine.kill();
    machine = Machine::boot(&place);
    failures.run("after a kill", &machine, checks::AFTER_KILL);

    let console = machine.press_power_button();
    failures.note("power off", "unmounts", is_clean(&console));
    failures.note("power off", "file system", file_system_is_sound(&place));
    failures.tell(&console);
}

/// What went wrong, told at the end: one failure does not hide the next.
#[derive(Default)]
struct Failures(Vec<String>);

impl Failures {
    fn run(&mut self, part: &str, machine: &Machine, checks: &[(&str, Check)]) {
        let only = std::env::var("RVMM_TEST_ONLY").unwrap_or_default();
        for (name, check) in checks {
            if !only.split(',').any(|word| name.contains(word)) && *name != "load" {
                continue;
            }
            let started = Instant::now();
            let mut outcome = check(machine);
            if started.elapsed() > CHECK_LIMIT {
                outcome = outcome.and(Err(format!("took more than {CHECK_LIMIT:?}")));
            }
            print!("{:7.1} s ", started.elapsed().as_secs_f64());
            self.note(part, name, outcome);
        }
    }

    fn note(&mut self, part: &str, name: &str, outcome: Outcome) {
        match outcome {
            Ok(()) => println!("{part}: {name}: ok"),
            Err(error) => {
                println!("{part}: {name}: FAILED: {error}");
                self.0.push(format!("{part}: {name}: {error}"));
            }
        }
    }

    fn tell(self, console: &str) {
        assert!(self.0.is_empty(), "{}\nthe console:\n{console}", self.0.join("\n"));
    }
}

fn is_clean(console: &str) -> Outcome {
    for bad in ["could not be unmounted", "does not end", "Call Trace", "BUG:"] {
        if console.contains(bad) {
            return Err(format!("the console says \"{bad}\""));
        }
    }
    Ok(())
}

/// Whether the disk, now at rest, passes the file system's own check; where there is none, that it cannot be told.
fn file_system_is_sound(place: &Place) -> Outcome {
    let Ok(output) = Command::new("e2fsck").args(["-f", "-n"]).arg(place.disk()).output() else {
        println!("no e2fsck here: the disk is not checked");
        return Ok(());
    };
    let text = String::from_utf8_lossy(&output.stdout);
    if output.status.success() { Ok(()) } else { Err(format!("e2fsck: {text}")) }
}
