//! What outlives the guest, and the machine.

use std::thread;
use std::time::{Duration, Instant};

use super::{Outcome, same, start};
use crate::machine::Machine;

/// A volume, an image, a stopped container and one that restarts by itself.
pub(super) fn leave(machine: &Machine) -> Outcome {
    machine.script(&["-v", "left:/data"], "echo left > /data/file")?;
    start(machine, "stopped", &[], &["sh", "-c", "echo changed > /changed"])?;
    machine.ok(&["wait", "stopped"])?;
    machine.ok(&["commit", "stopped", "left:1"])?;
    start(machine, "again", &["--restart", "always"], &["sh", "-c", "echo started; sleep 100000"])
}

pub(super) fn found(machine: &Machine) -> Outcome {
    same("the volume", &machine.script(&["-v", "left:/data"], "cat /data/file")?, "left")?;
    same("the image", &machine.ok(&["run", "--rm", "left:1", "cat", "/changed"])?, "changed")?;
    same("the container", &machine.ok(&["inspect", "-f", "{{.State.Status}}", "stopped"])?, "exited")
}

pub(super) fn restarted(machine: &Machine) -> Outcome {
    let started = Instant::now();
    while machine.ok(&["logs", "again"])? != "started\nstarted" {
        if started.elapsed() > Duration::from_secs(60) {
            return Err(format!("it said {:?}", machine.ok(&["logs", "again"])?));
        }
        thread::sleep(Duration::from_millis(500));
    }
    same("its state", &machine.ok(&["inspect", "-f", "{{.State.Status}}", "again"])?, "running")?;
    machine.ok(&["rm", "-f", "again"])?;
    Ok(())
}

/// Files, their digests, a sync; and a container that goes on writing.
pub(super) fn write_and_sync(machine: &Machine) -> Outcome {
    let script =
        "for i in 1 2 3 4 5 6 7 8; do dd if=/dev/urandom of=/data/$i bs=64k count=16 2>/dev/null; done
        cd /data; sha256sum ? > sums; sync";
    machine.script(&["-v", "synced:/data"], script)?;
    let script = "while :; do dd if=/dev/urandom of=/data/noise bs=64k count=32 2>/dev/null; mv /data/noise /data/old; done";
    start(machine, "writer", &["-v", "unsynced:/data"], &["sh", "-c", script])?;
    thread::sleep(Duration::from_secs(3));
    Ok(())
}

pub(super) fn disk_mounts(machine: &Machine) -> Outcome {
    let console = machine.console();
    for bad in ["is left alone", "making a file system", "has had errors", "live in memory"] {
        if console.contains(bad) {
            return Err(format!("the console says {bad:?}: {console}"));
        }
    }
    Ok(())
}

pub(super) fn synced(machine: &Machine) -> Outcome {
    let said = machine.script(&["-v", "synced:/data"], "cd /data; sha256sum -c sums | grep -c OK")?;
    same("the files that are as they were", &said, "8")
}

/// For the power button to stop.
pub(super) fn leave_running(machine: &Machine) -> Outcome {
    start(machine, "running", &[], &["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.1; done"])
}
