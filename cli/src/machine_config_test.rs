use std::io::Write;

use clap::Parser;
use vmm::config::{CpuLevel, MachineConfig};

use super::*;
use crate::args::{Cli, Command};

fn arguments(flags: &[&str]) -> BootArgs {
    match Cli::parse_from(["rvmm", "boot"].iter().chain(flags)).command {
        Command::Boot(arguments) => *arguments,
        _ => panic!("not boot"),
    }
}

fn config(flags: &[&str]) -> MachineConfig {
    arguments(&[&["--kernel", "k"], flags].concat()).machine_config().unwrap()
}

fn with_file(text: &str, flags: &[&str]) -> Result<MachineConfig, String> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let path = file.path().to_str().unwrap();
    arguments(&[&["--config", path], flags].concat()).machine_config().map_err(|error| error.to_string())
}

#[test]
fn defaults_make_a_valid_machine() {
    let config = config(&[]);
    assert_eq!(config.validate(), Ok(()));
    assert_eq!(config.boot.cmdline, DEFAULT_CMDLINE);
    assert_eq!((config.memory_bytes, config.cpus), (512 << 20, 1));
}

#[test]
fn cmdline_replaces_and_append_adds() {
    let cmdline = |flags: &[&str]| config(flags).boot.cmdline;
    assert_eq!(cmdline(&["--cmdline", "a b"]), "a b");
    assert_eq!(cmdline(&["--append", "quiet", "--append", " x "]), format!("{DEFAULT_CMDLINE} quiet x"));
    assert_eq!(cmdline(&["--cmdline", "", "--append", "-- y"]), "-- y");
}

#[test]
fn unpacked_files_are_kept_where_the_flag_says() {
    let cache = |flags: &[&str]| config(flags).boot.unpack_cache;
    assert_eq!(cache(&["--unpack-cache", "off"]), None);
    assert_eq!(cache(&["--unpack-cache", "/a/b"]), Some("/a/b".into()));
    assert_eq!(cache(&[]), cache_folder::of_user());
}

#[test]
fn a_virtio_console_takes_standard_input_and_the_kernel_is_told() {
    let machine = config(&["--console", "stdio"]);
    assert_eq!((&machine.serial, &machine.console), (&SerialBackend::Null, &Some(SerialBackend::Stdio)));
    assert_eq!(machine.boot.cmdline, format!("{DEFAULT_CMDLINE} console=hvc0"));
    let machine = config(&["--console", "pty", "--cmdline", "quiet", "--append", "x"]);
    assert_eq!((&machine.serial, machine.boot.cmdline.as_str()), (&SerialBackend::Stdio, "quiet x"));
    let both = config(&["--console", "stdio", "--serial", "stdio"]);
    assert!(both.validate().unwrap_err().to_string().contains("only one of them can be stdio"));
}

#[test]
fn a_level_comes_from_the_flag_or_the_file() {
    assert_eq!(config(&[]).cpu, CpuLevel::HostSafe);
    assert_eq!(config(&["--cpu", "v2"]).cpu, CpuLevel::V2);
    let file = "memory = \"1G\"\ncpu = \"v3\"\n[boot]\nkernel = \"k\"\n";
    assert_eq!(with_file(file, &[]).unwrap().cpu, CpuLevel::V3);
    let machine = with_file(file, &["--cpu", "host-safe"]).unwrap();
    assert_eq!(machine.cpu, CpuLevel::HostSafe);
    assert!(to_toml(&machine).unwrap().contains("cpu = \"host-safe\""));
    assert!(with_file(&file.replace("v3", "v4"), &[]).is_err());
}

#[test]
fn a_size_for_the_balloon_brings_one() {
    let machine = config(&["--balloon-target", "128M"]);
    assert_eq!((machine.balloon, machine.balloon_target), (true, Some(128 << 20)));
    assert!(config(&["--balloon-target", "1G"]).validate().unwrap_err().to_string().contains("more than"));
    let file = "memory = \"1G\"\nballoon_target = \"1M\"\n[boot]\nkernel = \"k\"\n";
    assert!(with_file(file, &[]).unwrap().validate().unwrap_err().to_string().contains("no balloon"));
}

#[test]
fn what_is_printed_is_what_is_read() {
    let everything = config(&[
        "--initrd",
        "i",
        "--memory",
        "1536M",
        "--cpus",
        "3",
        "--cpu",
        "v3",
        "--serial",
        "file=log",
        "--rng",
        "--virtio",
        "mmio,packed=on",
        "--console",
        "socket=c",
        "--balloon-target",
        "100M",
        "--disk",
        "d.img,size=20G,flush=os",
        "--disk",
        "b.qcow2,format=qcow2,ro",
        "--net",
        "user,mtu=9000",
        "--forward",
        "unix:/run/d.sock=tcp:2375",
        "--forward",
        "tcp:8080=80",
        "--share",
        "/Users,tag=u,ro",
        "--timeout",
        "90s",
        "--shutdown-timeout",
        "5s",
        "--expect",
        "x$",
        "--on-reboot",
        "exit",
        "--debug-exit-port",
        "0xf4",
        "--unpack",
        "guest",
        "--unpack-cache",
        "/c",
    ]);
    let text = to_toml(&everything).unwrap();
    assert_eq!(with_file(&text, &[]).unwrap(), everything, "{text}");
    let plain = config(&["--unpack-cache", "off"]);
    assert_eq!(with_file(&to_toml(&plain).unwrap(), &[]).unwrap(), plain);
}

#[test]
fn flags_change_what_the_file_says() {
    let file = "memory = \"1G\"\ncpus = 2\n[boot]\nkernel = \"bzImage\"\n[[disk]]\npath = \"a.img\"\n";
    let config =
        with_file(file, &["--cpus", "4", "--disk", "b.img", "--append", "x", "--forward", "tcp:80=80"])
            .unwrap();
    assert_eq!((config.memory_bytes, config.cpus), (1 << 30, 4));
    assert_eq!(config.boot.kernel, PathBuf::from("bzImage"));
    assert_eq!(config.disks.len(), 2);
    assert_eq!(config.boot.cmdline, format!("{DEFAULT_CMDLINE} x"));
    assert!(
        matches!(&config.nets[..], [NetConfig { backend: BackendConfig::User(user), .. }] if user.forward.len() == 1)
    );
}

#[test]
fn what_a_file_leaves_out_is_as_without_a_file() {
    assert_eq!(with_file("", &["--kernel", "k"]).unwrap(), config(&["--unpack-cache", "off"]));
    let file = "[boot]\nkernel = \"k\"\n";
    assert_eq!(with_file(file, &[]).unwrap(), config(&["--unpack-cache", "off"]));
}

#[test]
fn a_bad_file_is_told_in_one_line() {
    for (text, says) in [
        ("", "--kernel is missing"),
        ("cpus = 2\n[boot]\ncmdline = \"x\"\n", "--kernel is missing"),
        ("[boot]\nkernel = \"\"\n", "--kernel is missing"),
        ("memory = \"1G\"\n[boot]\nkernel = \"k\"\nkernl = 1\n", "line 4: unknown field `kernl`"),
        ("memory = \"1Q\"\n[boot]\nkernel = \"k\"\n", "\"1Q\" is not a size"),
        ("memory = \n", "line 1"),
    ] {
        let error = with_file(text, &[]).unwrap_err();
        assert!(error.contains(says) && error.lines().count() == 1, "{text:?}: {error}");
    }
    let missing = arguments(&["--config", "/nowhere/x.toml"]).machine_config().unwrap_err();
    assert_eq!(missing.exit_code(), exit_code::UNREADABLE);
    assert!(missing.to_string().contains("/nowhere/x.toml"));
}

#[test]
fn forwards_need_the_user_network() {
    let tap = arguments(&["--kernel", "k", "--net", "tap,name=t0", "--forward", "tcp:80=80"]);
    assert!(matches!(tap.machine_config(), Err(ConfigFileError::ForwardWithoutUser)));
}
