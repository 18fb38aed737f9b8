//! What a process that is killed has flushed is there.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::DiskImage;
use super::qcow2::testing::check_structure_with_qemu;

/// Rounds that the writer says it has flushed, before it is killed in the middle of one.
const ROUNDS: u64 = 5;

const BYTES: u64 = 8 << 20;
const STEP: u64 = 300 << 10;

fn open(path: &Path, format: &str) -> DiskImage {
    let config = format!("{},format={format},size=8M", path.display());
    DiskImage::open(&config.parse().unwrap()).unwrap()
}

/// Round `round` fills its own part of the disk.
fn content(round: u64) -> Vec<u8> {
    (0..STEP).map(|at| (at / 512 + round * 7 + 1) as u8).collect()
}

#[test]
fn what_was_flushed_survives_kill_9() {
    for format in ["raw", "qcow2"] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("disk");
        let mut writer = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "disk::killed_test::writer", "--ignored", "--nocapture"])
            .env("RVMM_TEST_KILLED", &path)
            .env("RVMM_TEST_FORMAT", format)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(writer.stdout.take().unwrap()).lines();
        let flushed =
            lines.map_while(Result::ok).filter(|line| line.starts_with("flushed")).take(ROUNDS as usize);
        assert_eq!(flushed.count() as u64, ROUNDS);
        writer.kill().unwrap(); // SIGKILL
        writer.wait().unwrap();

        let image = open(&path, format);

        for round in 0..ROUNDS {
            let mut now = vec![0; STEP as usize];
            image.read_at(&mut now, round * STEP).unwrap();
            assert!(now == content(round), "{format}: round {round}");
        }
        // And it can be gone on with.
        image.write_at(&[1; 4096], BYTES - 4096).unwrap();
        image.flush().unwrap();
        drop(image);
        if format == "qcow2" {
            check_structure_with_qemu(&path);
        }
    }
}

/// Run by the test above: writes until it is killed.
#[test]
#[ignore = "run by what_was_flushed_survives_kill_9"]
fn writer() {
    let path = PathBuf::from(std::env::var_os("RVMM_TEST_KILLED").unwrap());
    let image = open(&path, &std::env::var("RVMM_TEST_FORMAT").unwrap());
    for round in 0..ROUNDS {
        image.write_at(&content(round), round * STEP).unwrap();
        image.flush().unwrap();
        println!("flushed {round}");
    }
    let start = ROUNDS * STEP;
    // Not for ever, in case nobody kills it.
    for byte in 0..20_000_u64 {
        let _ = image.write_at(&[byte as u8; 65536], start + byte * 4096 % (BYTES - start - 65536));
    }
}
