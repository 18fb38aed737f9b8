use clap::CommandFactory;

use super::*;

fn boot(flags: &[&str]) -> Result<BootArgs, clap::Error> {
    let arguments = ["rvmm", "boot", "--kernel", "k"].iter().chain(flags);
    match Cli::try_parse_from(arguments)?.command {
        Command::Boot(arguments) => Ok(*arguments),
        Command::Disk { .. } | Command::Doctor | Command::Probe { .. } => panic!("not boot"),
    }
}

#[test]
fn the_definition_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn bad_values_are_usage_errors() {
    for flags in [
        ["--memory", "12Q"],
        ["--memory", "1M"],
        ["--cpus", "0"],
        ["--cpus", "x"],
        ["--serial", "telnet"],
        ["--serial", "file="],
        ["--engine", "kvm"],
        ["--console", "telnet"],
        ["--virtio", "pci,packed"],
        ["--balloon-target", "many"],
        ["--timeout", "soon"],
        ["--expect", "("],
        ["--report", "xml"],
        ["--unpack", "nobody"],
        ["--unpack-cache", ""],
        ["--on-reboot", "maybe"],
        ["--debug-exit-port", "0x10000"],
    ] {
        let error = boot(&flags).unwrap_err();
        assert_eq!(error.exit_code(), i32::from(exit_code::USAGE), "{flags:?}");
        assert!(error.to_string().contains(flags[0]), "{flags:?}: {error}");
    }
}
