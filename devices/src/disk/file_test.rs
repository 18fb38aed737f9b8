use super::*;

/// Successful calls to the host that brought data to safety.
fn syncs(file: &ImageFile) -> usize {
    file.journal.changes().iter().filter(|change| **change == Change::Sync).count()
}

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
        file.journal.start();
        file.sync().unwrap();
        file.sync().unwrap();
        assert_eq!(syncs(&file), calls, "{flush:?}");
    }
}

#[test]
fn after_a_failed_flush_every_flush_fails() {
    // fdatasync(2) of a pipe fails.
    let (pipe, _other_end) = rustix::pipe::pipe().unwrap();
    let file = ImageFile::unlocked(File::from(pipe), "pipe".into(), false, FlushMode::Drive);
    file.journal.start();

    assert_eq!(file.sync().unwrap_err().raw_os_error(), Some(libc::EINVAL));
    let second = file.sync().unwrap_err();

    assert!(second.to_string().contains("an earlier flush failed"), "{second}");
    assert_eq!(syncs(&file), 0);
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
