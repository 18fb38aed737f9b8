use super::*;

#[test]
fn each_flush_mode_has_its_call() {
    assert_eq!(sync_call(FlushMode::None, false), None);
    assert_eq!(sync_call(FlushMode::None, true), None);
    assert_eq!(sync_call(FlushMode::Os, false), Some(SyncCall::Data));
    assert_eq!(sync_call(FlushMode::Os, true), Some(SyncCall::Data));
    assert_eq!(sync_call(FlushMode::Drive, false), Some(SyncCall::Data));
    assert_eq!(sync_call(FlushMode::Drive, true), Some(SyncCall::Full));
}

#[test]
fn a_flush_is_a_call_to_the_host_unless_none_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    for (flush, calls) in [(FlushMode::None, 0), (FlushMode::Os, 2), (FlushMode::Drive, 2)] {
        let file = ImageFile::create(&folder.path().join(format!("{flush:?}")), 4096, flush).unwrap();
        file.sync().unwrap();
        file.sync().unwrap();
        assert_eq!(file.syncs(), calls, "{flush:?}");
    }
}

#[test]
fn after_a_failed_flush_every_flush_fails() {
    // fdatasync(2) of a pipe fails.
    let (pipe, _other_end) = rustix::pipe::pipe().unwrap();
    let file = ImageFile::unlocked(File::from(pipe), "pipe".into(), false, FlushMode::Drive);

    assert_eq!(file.sync().unwrap_err().raw_os_error(), Some(libc::EINVAL));
    let second = file.sync().unwrap_err();

    assert!(second.to_string().contains("an earlier flush failed"), "{second}");
    assert_eq!(file.syncs(), 0);
}

#[test]
fn whole_blocks_lie_within_the_range() {
    for (range, inner) in [
        (0..0, 0..0),
        (0..4096, 0..4096),
        (1..4096, 4096..4096),
        (512..12288, 4096..12288),
        (512..12287, 4096..8192),
        (100..200, 200..200),
        (u64::MAX - 10..u64::MAX, u64::MAX..u64::MAX),
    ] {
        let whole = whole_blocks(&range);
        assert_eq!(whole, inner, "{range:?}");
        assert!(range.start <= whole.start && whole.end <= range.end);
    }
}

#[test]
fn offsets_beyond_what_files_have_are_errors() {
    let file = ImageFile::temporary(&std::env::temp_dir(), 4096).unwrap();

    assert_eq!(file.write(Source::of_bytes(&[1]), 1 << 63).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    assert_eq!(
        file.read(Target::of_bytes(&mut [1]), u64::MAX).unwrap_err().kind(),
        io::ErrorKind::InvalidInput
    );
    assert!(file.punch(0..u64::MAX).is_err() || !file.has_holes.load(Ordering::Relaxed));
}

#[test]
fn data_is_found_between_holes() {
    let file = ImageFile::temporary(Path::new("/var/tmp"), 16 << 20).unwrap();
    assert_eq!(file.next_data(0, 16 << 20).unwrap(), None);
    file.write(Source::of_bytes(&[1; 4096]), 8 << 20).unwrap();

    let data = file.next_data(0, 16 << 20).unwrap().unwrap();

    assert!(data.contains(&(8 << 20)) && data.end >= (8 << 20) + 4096 && data.end < 16 << 20, "{data:?}");
    assert_eq!(file.next_data(data.end, 16 << 20).unwrap(), None);
    assert_eq!(file.next_data(16 << 20, 16 << 20).unwrap(), None);
    assert_eq!(file.next_data(0, 4096).unwrap(), None);
}

/// A file system of 1 MiB, where the tests may mount one.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_an_error_and_loses_nothing_that_was_flushed() {
    let folder = tempfile::tempdir().unwrap();
    let script = format!(
        "mount -t tmpfs -o size=1m none {0} && exec {1} --exact disk::file::file_test::full_disk_child --ignored --nocapture",
        folder.path().display(),
        std::env::current_exe().unwrap().display()
    );
    let child = std::process::Command::new("unshare")
        .args(["-m", "sh", "-c", &script])
        .env("RVMM_TEST_FULL_DISK", folder.path())
        .output();
    match child {
        Ok(output) if output.status.success() => {}
        Ok(output) if String::from_utf8_lossy(&output.stderr).contains("ermi") => {
            eprintln!(
                "skipped: no right to mount a file system: {}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
        Ok(output) => {
            panic!("{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
        }
        Err(error) => eprintln!("skipped: no unshare: {error}"),
    }
}

/// Run by the test above, in its file system.
#[test]
#[ignore = "run by a_full_disk_is_an_error_and_loses_nothing_that_was_flushed"]
fn full_disk_child() {
    use crate::disk::DiskImage;
    let folder = PathBuf::from(std::env::var_os("RVMM_TEST_FULL_DISK").unwrap());
    for format in ["raw", "qcow2"] {
        let path = folder.join(format);
        let config = format!("{},format={format},size=4M,flush=os", path.display());
        let image = DiskImage::open(&config.parse().unwrap()).unwrap();
        image.write_at(&[1; 65536], 0).unwrap();
        image.flush().unwrap();

        let mut failure = None;
        for piece in 1..64 {
            if let Err(error) = image.write_at(&[2; 65536], piece * 65536) {
                failure = Some(error);
                break;
            }
        }

        let failure = failure.expect("4 MiB do not fit");
        assert_eq!(failure.raw_os_error(), Some(libc::ENOSPC), "{format}: {failure}");
        let mut start = vec![0; 65536];
        image.read_at(&mut start, 0).unwrap();
        assert!(start.iter().all(|byte| *byte == 1), "{format}");
        // Space comes back, and work goes on.
        image.discard(65536, (4 << 20) - 65536).unwrap();
        image.write_at(&[3; 65536], 65536).unwrap();
        image.flush().unwrap();
        drop(image);
        let image = DiskImage::open(&config.parse().unwrap()).unwrap();
        image.read_at(&mut start, 0).unwrap();
        assert!(start.iter().all(|byte| *byte == 1), "{format}");
        image.read_at(&mut start, 65536).unwrap();
        assert!(start.iter().all(|byte| *byte == 3), "{format}");
        drop(image);
        std::fs::remove_file(&path).unwrap();
    }
}
