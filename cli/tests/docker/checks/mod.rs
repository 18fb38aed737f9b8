//! What is checked, in the order it is done.

mod containers;
mod files;
mod images;
mod network;
mod restarts;

use crate::machine::Machine;

/// Nothing, or what was not as it should be.
pub(crate) type Outcome = Result<(), String>;

/// One check of a running guest.
pub(crate) type Check = fn(&Machine) -> Outcome;

/// On a disk that was blank.
pub(crate) const FRESH: &[(&str, Check)] = &[
    ("version", images::version),
    ("info", images::info),
    ("load", images::load),
    ("run echo", containers::echo),
    ("exit codes", containers::exit_codes),
    ("standard streams", containers::streams),
    ("stdin through a pipe", containers::stdin),
    ("a terminal", containers::terminal),
    ("limits", containers::limits),
    ("exec", containers::exec),
    ("logs", containers::logs),
    ("stop", containers::stop),
    ("several at once", containers::several_at_once),
    ("cp", files::copy),
    ("a volume", files::volume),
    ("a shared folder", files::share),
    ("the image file shrinks", files::shrinks),
    ("build", images::build),
    ("save and load", images::save),
    ("ping the gateway", network::ping),
    ("fetch from the host", network::fetch_from_host),
    ("a published port", network::published_port),
    ("two on one network", network::two_on_one_network),
    ("the guest's port is the host's alone", network::daemon_port_is_closed),
    ("prune", images::prune),
    ("leave things behind", restarts::leave),
];

/// After the guest has rebooted itself.
pub(crate) const AFTER_REBOOT: &[(&str, Check)] = &[
    ("what was left is there", restarts::found),
    ("what restarts runs", restarts::restarted),
    ("run echo", containers::echo),
    ("exec", containers::exec),
    ("a shared folder", files::share),
    ("fetch from the host", network::fetch_from_host),
    ("a published port", network::published_port),
    ("build", images::build),
];

/// Before the machine is killed.
pub(crate) const BEFORE_KILL: &[(&str, Check)] = &[("write and sync", restarts::write_and_sync)];

/// After the machine was killed while a container wrote.
pub(crate) const AFTER_KILL: &[(&str, Check)] = &[
    ("the disk mounts", restarts::disk_mounts),
    ("what was synced is there", restarts::synced),
    ("what was left is there", restarts::found),
    ("run echo", containers::echo),
    ("stdin through a pipe", containers::stdin),
    ("a volume", files::volume),
    ("leave one running", restarts::leave_running),
];

/// An error that says what `found` is, unless it is `wanted`.
fn same(what: &str, found: &str, wanted: &str) -> Outcome {
    if found == wanted { Ok(()) } else { Err(format!("{what} is {found:?}, not {wanted:?}")) }
}

/// An error with the `found` text in it, unless it has `wanted` in it.
fn contains(what: &str, found: &str, wanted: &str) -> Outcome {
    if found.contains(wanted) { Ok(()) } else { Err(format!("no {wanted:?} in {what}: {found:?}")) }
}

/// Removes a container that may not be there.
fn remove(machine: &Machine, name: &str) {
    drop(machine.docker(&["rm", "-f", "-v", name]).run());
}

/// Starts a container of the image in the background.
fn start(machine: &Machine, name: &str, flags: &[&str], program: &[&str]) -> Outcome {
    remove(machine, name);
    machine.ok(&[&["run", "-d", "--name", name], flags, &["busybox:debian"], program].concat())?;
    Ok(())
}
