use std::path::Path;

use clap::Parser;

use super::*;
use crate::args::{Cli, Command};

fn command(arguments: &[&str]) -> Result<DiskCommand, String> {
    let all = ["rvmm", "disk"].iter().chain(arguments);
    match Cli::try_parse_from(all).map_err(|error| error.to_string())?.command {
        Command::Disk { command } => Ok(command),
        other => panic!("{other:?}"),
    }
}

fn done(arguments: &[&str]) -> u8 {
    run(command(arguments).unwrap())
}

#[test]
fn sizes_are_checked_where_they_are_parsed() {
    assert!(command(&["create", "a", "20"]).unwrap_err().contains("write a number with a unit"));
    assert!(command(&["resize", "a", "-1G"]).is_err());
    assert!(command(&["resize", "a", "+"]).unwrap_err().contains("is not a size"));
    assert_eq!(resizing("+1G"), Ok(Resizing::By("1G".parse().unwrap())));
    assert_eq!(resizing("1G"), Ok(Resizing::To("1G".parse().unwrap())));
    assert!(command(&["convert", "a", "b"]).unwrap_err().contains("--to"));
}

#[test]
fn an_image_is_made_grown_converted_and_compacted() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (raw, qcow2) = (path("disk.img"), path("disk.qcow2"));

    assert_eq!(done(&["create", &raw, "1M"]), exit_code::SUCCESS);
    assert_eq!(done(&["create", &raw, "1M"]), exit_code::FAILURE);
    assert_eq!(done(&["resize", &raw, "+1M"]), exit_code::SUCCESS);
    assert_eq!(done(&["resize", &raw, "1M"]), exit_code::FAILURE);
    assert_eq!(done(&["convert", &raw, &qcow2, "--to", "qcow2"]), exit_code::SUCCESS);
    assert_eq!(done(&["compact", &qcow2, "--format", "qcow2"]), exit_code::SUCCESS);
    assert_eq!(done(&["compact", &qcow2]), exit_code::FAILURE);
    assert_eq!(done(&["info", &path("missing")]), exit_code::FAILURE);

    let info = disk::info(Path::new(&qcow2), None).unwrap();
    assert_eq!(info.disk_bytes, 2 << 20);
    let json: serde_json::Value = serde_json::from_str(&as_json(&info)).unwrap();
    assert_eq!((&json["format"], &json["disk_bytes"]), (&"qcow2".into(), &(2 << 20).into()));
    assert_eq!(json["qcow2"]["cluster_bytes"], 65536);
    assert!(!as_json(&info).trim_end().contains('\n'));
    let text = as_text(&info);
    assert!(
        text.contains("disk size      2 MiB (2097152 bytes)\n") && text.contains("cluster size   64 KiB"),
        "{text}"
    );
}

#[test]
fn bytes_are_rounded_to_what_people_read() {
    for (number, text) in [
        (0, "0 bytes"),
        (1023, "1023 bytes"),
        (1024, "1 KiB"),
        (1536, "1.5 KiB"),
        (20 << 30, "20 GiB"),
        (u64::MAX, "16384 PiB"),
    ] {
        assert_eq!(bytes(number), text);
    }
}
