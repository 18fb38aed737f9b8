//! Files: copied, in volumes, and in the folder shared with the host.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::{Outcome, remove, same, start};
use crate::host::noise;
use crate::machine::Machine;

fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap_or_default()
}

/// Into a container and out of it again, a file and a folder.
pub(super) fn copy(machine: &Machine) -> Outcome {
    let scratch = machine.place.scratch("copy");
    let bytes = noise(300_000);
    let (one, folder) = (scratch.join("one"), scratch.join("folder"));
    fs::write(&one, &bytes).map_err(|error| error.to_string())?;
    fs::create_dir(&folder).map_err(|error| error.to_string())?;
    fs::write(folder.join("inside"), b"inside\n").map_err(|error| error.to_string())?;

    start(machine, "copy", &[], &["sleep", "1000"])?;
    machine.ok(&["cp", text(&one), "copy:/root/one"])?;
    machine.ok(&["cp", text(&folder), "copy:/root/"])?;
    same("the copied file", &machine.ok(&["exec", "copy", "cat", "/root/folder/inside"])?, "inside")?;
    machine.ok(&["exec", "copy", "mv", "/root/one", "/root/folder/two"])?;
    machine.ok(&["cp", "copy:/root/folder", text(&scratch.join("back"))])?;
    remove(machine, "copy");
    let back = read(&scratch.join("back/two"))?;
    if back != bytes {
        return Err(format!("{} bytes came back, not the {} that went in", back.len(), bytes.len()));
    }
    same("the file", &String::from_utf8_lossy(&read(&scratch.join("back/inside"))?), "inside\n")
}

/// A named volume outlives its containers.
pub(super) fn volume(machine: &Machine) -> Outcome {
    machine.ok(&["volume", "create", "kept"])?;
    machine.script(&["-v", "kept:/data"], "echo content > /data/file")?;
    let found = machine.script(&["-v", "kept:/data:ro"], "cat /data/file; ! touch /data/new 2>/dev/null");
    machine.ok(&["volume", "rm", "kept"])?;
    same("the file", &found?, "content")
}

/// The shared folder, seen from both sides, through a container's volume.
pub(super) fn share(machine: &Machine) -> Outcome {
    let share = machine.place.share();
    let io = |error: std::io::Error| error.to_string();
    for entry in fs::read_dir(&share).map_err(io)? {
        let path = entry.map_err(io)?.path();
        drop(if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) });
    }
    let bytes = noise(2 << 20);
    fs::write(share.join("large"), &bytes).map_err(io)?;
    fs::write(share.join("from-host"), "host\n").map_err(io)?;
    fs::write(share.join("program"), "#!/bin/sh\necho ran\n").map_err(io)?;
    fs::set_permissions(share.join("program"), fs::Permissions::from_mode(0o755)).map_err(io)?;

    let volume = ["-v", "/share:/data"];
    let script = "cat /data/from-host; /data/program; sha256sum < /data/large; cp /data/large /data/copy
        mkdir /data/folder; echo guest > /data/folder/new; mv /data/folder/new /data/folder/from-guest
        ln -s from-guest /data/folder/link; ln /data/folder/from-guest /data/folder/hard; chmod 640 /data/folder/hard
        exec 3> /data/gone; rm /data/gone; echo still >&3
        for i in 1 2 3 4 5 6 7 8 9; do echo $i > /data/folder/$i; done; ls /data/folder | wc -l";
    let said = machine.script(&volume, script)?;
    let mut lines = said.lines();
    same("the host's file", lines.next().unwrap_or_default(), "host")?;
    same("the host's program", lines.next().unwrap_or_default(), "ran")?;
    let digest = lines.next().unwrap_or_default().to_owned();
    same("the number of files", lines.next().unwrap_or_default(), "12")?;

    if read(&share.join("copy"))? != bytes {
        return Err("the copy made in the guest differs on the host".to_owned());
    }
    same("the guest's file", &String::from_utf8_lossy(&read(&share.join("folder/from-guest"))?), "guest\n")?;
    let link = fs::read_link(share.join("folder/link")).map_err(io)?;
    same("the link", text(&link), "from-guest")?;
    let hard = fs::metadata(share.join("folder/hard")).map_err(io)?;
    if hard.nlink() != 2 || hard.mode() & 0o777 != 0o640 {
        return Err(format!("the hard link has {} names and mode {:o}", hard.nlink(), hard.mode()));
    }

    // What the host changes, the guest sees the next time it looks.
    fs::write(share.join("from-host"), "changed, and longer\n").map_err(io)?;
    fs::remove_dir_all(share.join("folder")).map_err(io)?;
    fs::rename(share.join("copy"), share.join("renamed")).map_err(io)?;
    let said = machine.script(&volume, "cat /data/from-host; ls /data; sha256sum < /data/renamed")?;
    same(
        "what the guest sees",
        &said,
        &format!("changed, and longer\nfrom-host\nlarge\nprogram\nrenamed\n{digest}"),
    )
}

/// What is deleted in the guest is given back by the disk's image.
pub(super) fn shrinks(machine: &Machine) -> Outcome {
    const MIB: u64 = 1 << 20;
    let used = || fs::metadata(machine.place.disk()).map(|found| found.blocks() * 512).unwrap_or(0);
    let before = used();
    machine.script(
        &["-v", "large:/data"],
        "dd if=/dev/urandom of=/data/file bs=1M count=48 2>/dev/null; sync",
    )?;
    let full = used();
    machine.ok(&["volume", "rm", "large"])?;
    let started = Instant::now();
    // The file system commits, and with that discards, every five seconds.
    while used() > before + 16 * MIB && started.elapsed() < Duration::from_secs(60) {
        thread::sleep(Duration::from_millis(500));
    }
    let after = used();
    if full < before + 40 * MIB || after > before + 16 * MIB {
        return Err(format!("{} MiB, then {}, then {}", before / MIB, full / MIB, after / MIB));
    }
    Ok(())
}
