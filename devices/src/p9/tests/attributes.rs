//! getattr, setattr, statfs.

use std::os::unix::fs::MetadataExt;

use super::client::{Body, Set};
use super::{ROOT, Share};
use crate::p9::Errno;

fn set(valid: u32) -> Set {
    Set { valid, ..Default::default() }
}

#[test]
fn attributes_are_the_hosts() {
    let share = Share::new();
    share.write("file", "content");
    std::fs::create_dir(share.path("dir")).unwrap();
    std::os::unix::fs::symlink("file", share.path("symlink")).unwrap();
    for name in ["file", "dir", "symlink", "."] {
        let (attr, host) = (
            share.client.getattr(share.fid(name)).unwrap(),
            std::fs::symlink_metadata(share.path(name)).unwrap(),
        );
        assert_eq!(attr.valid & 0x7ff, 0x7ff);
        assert_eq!((attr.mode, attr.uid, attr.gid), (host.mode(), host.uid(), host.gid()));
        assert_eq!((attr.size, attr.blocks, attr.blksize), (host.size(), host.blocks(), host.blksize()));
        assert_eq!((attr.nlink, attr.rdev, attr.qid.path), (host.nlink(), 0, host.ino()));
        let times = [
            (host.atime() as u64, host.atime_nsec() as u64),
            (host.mtime() as u64, host.mtime_nsec() as u64),
            (host.ctime() as u64, host.ctime_nsec() as u64),
        ];
        assert_eq!(attr.times[..3], times);
        assert_ne!(attr.qid.version, 0, "0 would keep Linux from caching");
    }
}

/// For Linux's client, when it caches, another version is another file.
#[test]
fn a_qid_stays_with_its_file() {
    let share = Share::new();
    share.write("file", "content");
    let fid = share.fid("file");
    let before = share.client.getattr(fid).unwrap().qid;
    share.write("file", "longer content");
    share.client.setattr(fid, Set { valid: 1, mode: 0o600, ..Default::default() }).unwrap();
    share.client.renameat(ROOT, "file", ROOT, "other").unwrap();
    assert_eq!(share.client.getattr(fid).unwrap().qid, before);
    assert_eq!(share.client.walk(ROOT, 99, &["other"]).unwrap(), [before]);
    // Another file is another one, even if the host gives it the inode of one that is gone.
    let mut seen = vec![before];
    for round in 0..20 {
        let name = format!("file{round}");
        share.write(&name, "");
        let qid = share.client.getattr(share.fid(&name)).unwrap().qid;
        assert!(!seen.contains(&qid), "{qid:?}");
        seen.push(qid);
        std::fs::remove_file(share.path(&name)).unwrap();
        // What the host knows of time is no finer than this.
        std::thread::sleep(std::time::Duration::from_millis(12));
    }
}

#[test]
fn device_numbers_are_as_linux_takes_them_apart() {
    // /dev as a share: getattr only looks.
    let share = Share::with(|config| config.root = "/dev".into());
    let host = std::fs::metadata("/dev/null").unwrap();
    let attr = share.client.getattr(share.fid("null")).unwrap();
    assert_eq!(attr.mode, host.mode());
    assert_eq!(attr.rdev, 0x103);
    let fid = share.fid("null");
    assert_eq!(share.client.open(fid, 0), Err(Errno::ENXIO), "not even a harmless one");
}

#[test]
fn mode_size_and_times() {
    let share = Share::new();
    share.write("file", "content");
    let fid = share.fid("file");
    let c = &share.client;
    c.setattr(fid, Set { mode: 0o4711, ..set(1) }).unwrap();
    assert_eq!(c.getattr(fid).unwrap().mode, 0o104_711);
    c.setattr(fid, Set { size: 3, ..set(8) }).unwrap();
    assert_eq!(share.read("file"), "con");
    c.setattr(fid, Set { size: 5, ..set(8) }).unwrap();
    assert_eq!(share.read("file"), "con\0\0");
    c.setattr(fid, Set { atime: (1, 2), mtime: (3, 999_999_999), ..set(0x1b0) }).unwrap();
    let attr = c.getattr(fid).unwrap();
    assert_eq!(attr.times[..2], [(1, 2), (3, 999_999_999)]);
    // One time set, the other left; then to now.
    c.setattr(fid, Set { atime: (9, 9), ..set(0x90) }).unwrap();
    assert_eq!(c.getattr(fid).unwrap().times[..2], [(9, 9), (3, 999_999_999)]);
    c.setattr(fid, set(0x20)).unwrap();
    let attr = c.getattr(fid).unwrap();
    assert_eq!(attr.times[0], (9, 9));
    assert!(attr.times[1].0 > 1_600_000_000);
    // Before 1970.
    c.setattr(fid, Set { mtime: (-5i64 as u64, 0), ..set(0x120) }).unwrap();
    assert_eq!(c.getattr(fid).unwrap().times[1].0 as i64, -5);
    assert_eq!(c.setattr(fid, Set { mtime: (0, 1_000_000_000), ..set(0x120) }), Err(Errno::EINVAL));
    // Nothing at all, and the time of change only.
    c.setattr(fid, set(0)).unwrap();
    let before = c.getattr(fid).unwrap().times[2];
    std::thread::sleep(std::time::Duration::from_millis(20));
    c.setattr(fid, set(0x40)).unwrap();
    assert!(c.getattr(fid).unwrap().times[2] > before);
}

#[test]
fn a_symlinks_own_attributes() {
    let share = Share::new();
    share.write("target", "content");
    std::os::unix::fs::symlink("target", share.path("symlink")).unwrap();
    let fid = share.fid("symlink");
    let before = std::fs::metadata(share.path("target")).unwrap();
    share.client.setattr(fid, Set { mtime: (3, 4), atime: (1, 2), ..set(0x1b0) }).unwrap();
    let attr = share.client.getattr(fid).unwrap();
    assert_eq!(attr.times[..2], [(1, 2), (3, 4)]);
    assert_eq!(share.client.setattr(fid, Set { size: 0, ..set(8) }), Err(Errno::EINVAL));
    let chmod = share.client.setattr(fid, Set { mode: 0o600, ..set(1) });
    assert!(matches!(chmod, Ok(()) | Err(Errno::EOPNOTSUPP)), "as the host has it: {chmod:?}");
    if before.uid() == 0 {
        share.client.setattr(fid, Set { uid: 12, gid: 34, ..set(6) }).unwrap();
        let attr = share.client.getattr(fid).unwrap();
        assert_eq!((attr.uid, attr.gid), (12, 34));
    }
    let after = std::fs::metadata(share.path("target")).unwrap();
    assert_eq!((after.mode(), after.uid(), after.size()), (before.mode(), before.uid(), before.size()));
    assert_eq!(after.mtime_nsec(), before.mtime_nsec());
}

#[test]
fn size_of_what_has_none() {
    let share = Share::new();
    share.client.mkdir(ROOT, "dir", 0o755).unwrap();
    share.client.mknod(ROOT, "fifo", 0o010_600, (0, 0)).unwrap();
    let (dir, fifo) = (share.fid("dir"), share.fid("fifo"));
    assert_eq!(share.client.setattr(dir, Set { size: 0, ..set(8) }), Err(Errno::EISDIR));
    assert_eq!(share.client.setattr(fifo, Set { size: 0, ..set(8) }), Err(Errno::EINVAL));
    share.client.setattr(fifo, Set { mode: 0o640, ..set(1) }).unwrap();
    assert_eq!(share.client.getattr(fifo).unwrap().mode, 0o010_640);
}

#[test]
fn a_read_only_descriptor_does_not_keep_from_truncating() {
    let share = Share::new();
    share.write("file", "content");
    let fid = share.open("file", 0);
    share.client.setattr(fid, Set { size: 1, ..set(8) }).unwrap();
    assert_eq!(share.read("file"), "c");
}

#[test]
fn the_file_system() {
    let share = Share::new();
    share.write("file", "");
    for fid in [ROOT, share.fid("file"), share.open("file", 0)] {
        let mut r = share.client.call(8, Body::default().u32(fid)).unwrap();
        assert_eq!(r.u32(), 0x0102_1997);
        let unit = r.u32();
        assert!(unit.is_power_of_two(), "{unit}");
        let (blocks, free, available, files, free_files) = (r.u64(), r.u64(), r.u64(), r.u64(), r.u64());
        assert!(blocks >= free && free >= available && files >= free_files && blocks > 0);
        r.u64();
        assert_eq!(r.u32(), 255);
    }
}
