//! Containers: running, talking, ending.

use std::thread;
use std::time::{Duration, Instant};

use super::{Outcome, contains, remove, same, start};
use crate::host::noise;
use crate::machine::Machine;

pub(super) fn echo(machine: &Machine) -> Outcome {
    let answer = machine.run(&["echo", "hello", "from a container"])?;
    answer.check(answer.stdout == b"hello from a container\n" && answer.code == Some(0), "should echo")
}

pub(super) fn exit_codes(machine: &Machine) -> Outcome {
    let cases: [(&[&str], i32); 3] =
        [(&["sh", "-c", "exit 42"], 42), (&["no-such-program"], 127), (&["/etc/passwd"], 126)];
    for (program, code) in cases {
        let answer = machine.run(program)?;
        answer.check(answer.code == Some(code), &format!("should exit with {code}"))?;
    }
    Ok(())
}

pub(super) fn streams(machine: &Machine) -> Outcome {
    let answer = machine.run(&["sh", "-c", "echo one; echo two >&2"])?;
    answer.check(answer.stdout == b"one\n" && answer.stderr == b"two\n", "should keep the streams apart")
}

/// A megabyte goes in and comes out as it was; the end of the input is seen.
pub(super) fn stdin(machine: &Machine) -> Outcome {
    let bytes = noise(1 << 20);
    machine.docker(&["run", "-i", "--rm", "busybox:debian", "cat"]).input(&bytes).run()?.printed(&bytes)
}

pub(super) fn terminal(machine: &Machine) -> Outcome {
    let answer =
        machine.docker(&["run", "-t", "--rm", "busybox:debian", "sh", "-c", "tty; stty size"]).run()?;
    let text = answer.success()?;
    contains("a terminal's output", &text, "/dev/pts/0\r\n")
}

pub(super) fn limits(machine: &Machine) -> Outcome {
    let script = "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/pids.max; touch /new 2>&1 || true; id -u";
    let flags = ["--memory", "64m", "--pids-limit", "50", "--read-only", "--user", "1000"];
    let text = machine.script(&flags, script)?;
    contains("limits", &text, "67108864\n50\n")?;
    contains("a read-only root", &text, "Read-only file system")?;
    contains("a user", &text, "\n1000")
}

pub(super) fn exec(machine: &Machine) -> Outcome {
    start(machine, "exec", &[], &["sleep", "1000"])?;
    let text = machine.ok(&[
        "exec",
        "-e",
        "WORD=there",
        "-w",
        "/tmp",
        "exec",
        "sh",
        "-c",
        "pwd; echo $WORD; hostname",
    ])?;
    contains("exec's output", &text, "/tmp\nthere\n")?;
    let answer = machine.docker(&["exec", "exec", "sh", "-c", "exit 9"]).run()?;
    answer.check(answer.code == Some(9), "should exit with 9")?;
    let answer = machine.docker(&["exec", "-i", "exec", "tr", "a-z", "A-Z"]).input(b"through exec").run()?;
    answer.check(answer.stdout == b"THROUGH EXEC", "should turn letters")?;
    let text = machine.ok(&["top", "exec"])?;
    contains("top", &text, "sleep 1000")?;
    remove(machine, "exec");
    Ok(())
}

pub(super) fn logs(machine: &Machine) -> Outcome {
    let script = "for i in 1 2 3; do echo line $i; sleep 1; done; echo done >&2";
    start(machine, "logs", &[], &["sh", "-c", script])?;
    let answer = machine.docker(&["logs", "-f", "logs"]).run()?; // ends with the container
    answer
        .check(answer.stdout == b"line 1\nline 2\nline 3\n" && answer.stderr == b"done\n", "should follow")?;
    let text = machine.ok(&["logs", "--tail", "2", "logs"])?;
    contains("the last lines", &text, "line 3")?;
    same("the exit code that wait tells", &machine.ok(&["wait", "logs"])?, "0")?;
    remove(machine, "logs");
    Ok(())
}

/// One that heeds SIGTERM ends at once and by itself, one that does not is killed when its time is up.
pub(super) fn stop(machine: &Machine) -> Outcome {
    let script = "trap 'echo told; exit 3' TERM; echo ready; while :; do sleep 0.1; done";
    start(machine, "stop", &[], &["sh", "-c", script])?;
    wait_for_log(machine, "stop", "ready")?;
    machine.ok(&["stop", "-t", "60", "stop"])?;
    contains("the log", &machine.ok(&["logs", "stop"])?, "told")?;
    same("the exit code", &exit_code(machine, "stop")?, "3")?;
    remove(machine, "stop");

    start(machine, "stubborn", &[], &["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.1; done"])?;
    wait_for_log(machine, "stubborn", "ready")?;
    machine.ok(&["stop", "-t", "2", "stubborn"])?;
    same("the exit code", &exit_code(machine, "stubborn")?, "137")?;
    machine.ok(&["start", "stubborn"])?;
    same("its state", &machine.ok(&["inspect", "-f", "{{.State.Running}}", "stubborn"])?, "true")?;
    machine.ok(&["pause", "stubborn"])?;
    machine.ok(&["unpause", "stubborn"])?;
    machine.ok(&["kill", "stubborn"])?;
    remove(machine, "stubborn");
    Ok(())
}

fn exit_code(machine: &Machine, name: &str) -> Result<String, String> {
    machine.ok(&["inspect", "-f", "{{.State.ExitCode}}", name])
}

/// Waits until a container has said `word`.
fn wait_for_log(machine: &Machine, name: &str, word: &str) -> Outcome {
    let started = Instant::now();
    while !machine.ok(&["logs", name])?.contains(word) {
        if started.elapsed() > Duration::from_secs(60) {
            return Err(format!("{name} never said {word}"));
        }
        thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}

pub(super) fn several_at_once(machine: &Machine) -> Outcome {
    thread::scope(|scope| {
        let runs = ["1", "2", "3"].map(|word| {
            scope.spawn(move || {
                let answer = machine.run(&["echo", word])?;
                answer.check(answer.stdout == format!("{word}\n").as_bytes(), "should echo")
            })
        });
        for run in runs {
            run.join().map_err(|_| "a thread of the test panicked".to_owned())??;
        }
        Ok(())
    })
}
