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
fn defaults_make_a_valid_machine() {
    let config = boot(&[]).unwrap().config();
    assert_eq!(config.validate(), Ok(()));
    assert_eq!(config.boot.cmdline, DEFAULT_CMDLINE);
    assert_eq!((config.memory_bytes, config.cpus), (512 << 20, 1));
}

#[test]
fn cmdline_replaces_and_append_adds() {
    let cmdline = |flags: &[&str]| boot(flags).unwrap().config().boot.cmdline;
    assert_eq!(cmdline(&["--cmdline", "a b"]), "a b");
    assert_eq!(cmdline(&["--append", "quiet", "--append", " x "]), format!("{DEFAULT_CMDLINE} quiet x"));
    assert_eq!(cmdline(&["--cmdline", "", "--append", "-- y"]), "-- y");
}

#[test]
fn unpacked_files_are_kept_where_the_flag_says() {
    let cache = |flags: &[&str]| boot(flags).unwrap().config().boot.unpack_cache;
    assert_eq!(cache(&["--unpack-cache", "off"]), None);
    assert_eq!(cache(&["--unpack-cache", "/a/b"]), Some("/a/b".into()));
    assert_eq!(cache(&[]), cache_folder::of_user());
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
