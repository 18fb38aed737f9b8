//! The daemon itself, and images.

use std::fs;

use super::{Outcome, contains, same, start};
use crate::machine::Machine;

pub(super) fn version(machine: &Machine) -> Outcome {
    let text = machine.ok(&[
        "version",
        "-f",
        "{{.Client.Version}} {{.Server.Version}} {{.Server.Os}}/{{.Server.Arch}}",
    ])?;
    println!("          docker {text}");
    contains("the version", &text, "linux/amd64")
}

pub(super) fn info(machine: &Machine) -> Outcome {
    let text = machine.ok(&[
        "info",
        "-f",
        "{{.Driver}} {{.CgroupVersion}} {{.DockerRootDir}} {{json .DriverStatus}}",
    ])?;
    contains("the daemon", &text, "overlay2 2 /var/lib/docker ")?;
    // The disk, not memory.
    contains("the daemon", &text, r#"["Backing Filesystem","extfs"]"#)
}

pub(super) fn load(machine: &Machine) -> Outcome {
    let image = machine.place.image.to_string_lossy().into_owned();
    contains("the answer", &machine.ok(&["load", "-i", &image])?, "busybox:debian")?;
    contains("the list", &machine.ok(&["images"])?, "busybox")
}

/// Files copied, a command run, an environment, a default command, and a cache that is used the second time.
pub(super) fn build(machine: &Machine) -> Outcome {
    let scratch = machine.place.scratch("build");
    let io = |error: std::io::Error| error.to_string();
    fs::write(scratch.join("message"), "built\n").map_err(io)?;
    fs::write(
        scratch.join("Dockerfile"),
        "FROM busybox:debian\nCOPY message /etc/message\nRUN tr a-z A-Z < /etc/message > /etc/loud\n\
         ENV WORD=environment\nWORKDIR /etc\nCMD [\"sh\", \"-c\", \"cat message loud; echo $WORD\"]\n",
    )
    .map_err(io)?;
    let folder = scratch.to_string_lossy().into_owned();
    machine.ok(&["build", "-t", "built:1", &folder])?;
    same("what it prints", &machine.ok(&["run", "--rm", "built:1"])?, "built\nBUILT\nenvironment")?;
    contains("the second build", &machine.ok(&["build", "-t", "built:2", &folder])?, "Using cache")?;
    machine.ok(&["rmi", "built:1", "built:2"])?;
    Ok(())
}

/// A container's changes become an image, that becomes a file, and the file an image again.
pub(super) fn save(machine: &Machine) -> Outcome {
    start(machine, "saved", &[], &["sh", "-c", "echo kept > /kept"])?;
    machine.ok(&["wait", "saved"])?;
    machine.ok(&["commit", "saved", "saved:1"])?;
    super::remove(machine, "saved");
    let file = machine.place.scratch("save").join("saved.tar").to_string_lossy().into_owned();
    machine.ok(&["save", "-o", &file, "saved:1"])?;
    machine.ok(&["rmi", "saved:1"])?;
    machine.ok(&["load", "-i", &file])?;
    let said = machine.ok(&["run", "--rm", "saved:1", "cat", "/kept"])?;
    machine.ok(&["rmi", "saved:1"])?;
    same("the file", &said, "kept")
}

/// All that is unused goes, what is used stays.
pub(super) fn prune(machine: &Machine) -> Outcome {
    start(machine, "used", &["-v", "used:/data"], &["sleep", "1000"])?;
    start(machine, "unused", &["-v", "unused:/data"], &["true"])?;
    machine.ok(&["wait", "unused"])?;
    machine.ok(&["network", "create", "unused"])?;
    machine.ok(&["system", "prune", "-f"])?;
    machine.ok(&["volume", "rm", "unused"])?;
    same("the containers", &machine.ok(&["ps", "-a", "--format", "{{.Names}}"])?, "used")?;
    same("the networks", &machine.ok(&["network", "ls", "-q", "-f", "name=unused"])?, "")?;
    contains("the images", &machine.ok(&["images"])?, "busybox")?;
    super::remove(machine, "used");
    machine.ok(&["volume", "prune", "-f"])?;
    machine.ok(&["volume", "rm", "-f", "used"])?;
    same("the volumes", &machine.ok(&["volume", "ls", "-q"])?, "")
}
