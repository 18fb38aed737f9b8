//! New files of every kind.

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};

use super::{ROOT, Share};
use crate::p9::Errno;

const RDWR: u32 = 2;
const EXCL: u32 = 0o200;
const TRUNC: u32 = 0o1000;

fn mode(share: &Share, name: &str) -> u32 {
    std::fs::symlink_metadata(share.path(name)).unwrap().mode()
}

#[test]
fn the_directorys_fid_becomes_the_files() {
    let share = Share::new();
    let fid = share.client.walk_to(ROOT, "").unwrap();
    let qid = share.client.create(fid, "file", RDWR, 0o640).unwrap();
    assert_eq!(qid.kind, 0);
    assert_eq!(share.client.write(fid, 0, "hello"), Ok(5));
    assert_eq!(share.client.getattr(fid).unwrap().qid.path, qid.path);
    assert_eq!(mode(&share, "file"), 0o100_640);
    assert_eq!(share.read("file"), "hello");
    assert_eq!(share.client.create(fid, "other", RDWR, 0o640), Err(Errno::EBADF), "no directory any more");
}

#[test]
fn a_file_without_write_permission_is_written_by_who_creates_it() {
    let share = Share::new();
    let fid = share.client.create_in(ROOT, "file", RDWR | EXCL, 0o444).unwrap();
    assert_eq!(share.client.write(fid, 0, "x"), Ok(1));
    assert_eq!(mode(&share, "file"), 0o100_444);
}

#[test]
fn modes_are_exact_whatever_the_umask() {
    let share = Share::new();
    for bits in [0o777, 0o666, 0o000, 0o4755, 0o1777] {
        let name = format!("{bits:o}");
        share.client.create_in(ROOT, &name, RDWR, bits).unwrap();
        assert_eq!(mode(&share, &name), 0o100_000 | bits);
        let name = format!("dir{bits:o}");
        share.client.mkdir(ROOT, &name, bits).unwrap();
        assert_eq!(mode(&share, &name), 0o040_000 | bits);
    }
}

#[test]
fn create_of_what_is_there() {
    let share = Share::new();
    share.write("file", "content");
    assert_eq!(share.client.create_in(ROOT, "file", RDWR | EXCL, 0o600), Err(Errno::EEXIST));
    let fid = share.client.create_in(ROOT, "file", RDWR, 0o600).unwrap();
    assert_eq!(share.client.read(fid, 0, 99).unwrap(), b"content");
    assert_eq!(mode(&share, "file") & 0o777, 0o644, "untouched");
    share.client.create_in(ROOT, "file", RDWR | TRUNC, 0o600).unwrap();
    assert_eq!(share.read("file"), "");
    share.client.mkdir(ROOT, "dir", 0o755).unwrap();
    assert_eq!(share.client.create_in(ROOT, "dir", RDWR, 0o600), Err(Errno::EISDIR));
    std::os::unix::fs::symlink("target", share.path("symlink")).unwrap();
    assert_eq!(share.client.create_in(ROOT, "symlink", RDWR, 0o600), Err(Errno::ELOOP));
    assert!(!share.path("target").exists());
    assert_eq!(share.client.mkdir(ROOT, "dir", 0o755), Err(Errno::EEXIST));
    assert_eq!(share.client.mkdir(ROOT, "file", 0o755), Err(Errno::EEXIST));
    assert_eq!(share.client.symlink(ROOT, "file", "x"), Err(Errno::EEXIST));
    let fid = share.fid("file");
    assert_eq!(share.client.link(ROOT, fid, "dir"), Err(Errno::EEXIST));
}

#[test]
fn names_of_any_bytes() {
    let share = Share::new();
    let mut names: Vec<Vec<u8>> =
        (1..=255u8).filter(|b| !matches!(b, b'/' | b'.')).map(|b| vec![b]).collect();
    names.push(b"...".to_vec());
    names.push(vec![0xff; 255]);
    names.push(b" \n\t\\\"'$*".to_vec());
    for name in &names {
        let fid = share.client.create_in(ROOT, name, RDWR, 0o600).unwrap();
        share.client.write(fid, 0, name).unwrap();
        share.client.clunk(fid).unwrap();
        let fid = share.client.walk_to(ROOT, "").unwrap();
        share.client.walk(fid, fid, &[name]).unwrap();
        assert_eq!(share.client.getattr(fid).unwrap().size, name.len() as u64);
        assert_eq!(std::fs::read(share.dir.path().join(std::ffi::OsStr::from_bytes(name))).unwrap(), *name);
    }
    names.sort();
    let root = share.client.walk_to(ROOT, "").unwrap();
    share.client.open(root, 0).unwrap();
    assert_eq!(share.client.list(root, 4096).unwrap(), names);
}

#[test]
fn names_that_nothing_may_have() {
    let share = Share::new();
    share.write("file", "");
    let c = &share.client;
    let fid = share.fid("file");
    for name in ["", ".", "..", "a/b", "/etc/x", "../x", "a\0b"] {
        assert_eq!(c.create_in(ROOT, name, RDWR, 0o600), Err(Errno::EINVAL), "{name:?}");
        assert_eq!(c.mkdir(ROOT, name, 0o700), Err(Errno::EINVAL));
        assert_eq!(c.symlink(ROOT, name, "x"), Err(Errno::EINVAL));
        assert_eq!(c.mknod(ROOT, name, 0o010_600, (0, 0)), Err(Errno::EINVAL));
        assert_eq!(c.link(ROOT, fid, name), Err(Errno::EINVAL));
        assert_eq!(c.rename(fid, ROOT, name), Err(Errno::EINVAL));
        assert_eq!(c.renameat(ROOT, name, ROOT, "x"), Err(Errno::EINVAL));
        assert_eq!(c.renameat(ROOT, "file", ROOT, name), Err(Errno::EINVAL));
        assert_eq!(c.unlink(ROOT, name, 0), Err(Errno::EINVAL));
        assert_eq!(c.unlink(ROOT, name, 0x200), Err(Errno::EINVAL));
    }
    let long = "x".repeat(256);
    assert_eq!(c.create_in(ROOT, &long, RDWR, 0o600), Err(Errno::ENAMETOOLONG));
    assert_eq!(std::fs::read_dir(share.dir.path()).unwrap().count(), 1);
}

#[test]
fn in_what_is_no_directory() {
    let share = Share::new();
    share.write("file", "");
    let c = &share.client;
    let fid = share.fid("file");
    assert_eq!(c.create_in(fid, "x", RDWR, 0o600), Err(Errno::ENOTDIR));
    assert_eq!(c.mkdir(fid, "x", 0o700), Err(Errno::ENOTDIR));
    assert_eq!(c.symlink(fid, "x", "x"), Err(Errno::ENOTDIR));
    assert_eq!(c.mknod(fid, "x", 0o010_600, (0, 0)), Err(Errno::ENOTDIR));
    assert_eq!(c.link(fid, fid, "x"), Err(Errno::ENOTDIR));
    assert_eq!(c.unlink(fid, "x", 0), Err(Errno::ENOTDIR));
    assert_eq!(c.renameat(fid, "x", ROOT, "y"), Err(Errno::ENOTDIR));
    assert_eq!(c.renameat(ROOT, "file", fid, "y"), Err(Errno::ENOTDIR));
}

#[test]
fn symlinks_hold_any_text() {
    let share = Share::new();
    for (name, target) in [("a", "/etc/passwd"), ("b", "../../.."), ("c", "\u{1}\n x"), ("d", "e")] {
        let qid = share.client.symlink(ROOT, name, target).unwrap();
        assert_eq!(qid.kind, 2);
        let fid = share.fid(name);
        assert_eq!(share.client.readlink(fid).unwrap(), target.as_bytes());
        let attr = share.client.getattr(fid).unwrap();
        assert_eq!((attr.mode, attr.size), (0o120_777, target.len() as u64));
        assert_eq!(std::fs::read_link(share.path(name)).unwrap().as_os_str(), target);
    }
    assert_eq!(share.client.symlink(ROOT, "x", ""), Err(Errno::ENOENT));
    assert_eq!(share.client.symlink(ROOT, "x", "a\0b"), Err(Errno::EINVAL));
    assert_eq!(share.client.symlink(ROOT, "x", "a".repeat(5000)), Err(Errno::ENAMETOOLONG));
    share.write("file", "");
    let fid = share.fid("file");
    assert_eq!(share.client.readlink(fid), Err(Errno::EINVAL));
}

#[test]
fn special_files() {
    let share = Share::new();
    share.client.mknod(ROOT, "file", 0o644, (0, 0)).unwrap();
    assert_eq!(mode(&share, "file"), 0o100_644);
    share.client.mknod(ROOT, "fifo", 0o010_622, (0, 0)).unwrap();
    let metadata = std::fs::metadata(share.path("fifo")).unwrap();
    assert!(metadata.file_type().is_fifo());
    assert_eq!(metadata.permissions().mode() & 0o777, 0o622);
    let fid = share.fid("fifo");
    assert_eq!(share.client.getattr(fid).unwrap().mode, 0o010_622);
    let socket = share.client.mknod(ROOT, "socket", 0o140_755, (0, 0));
    if socket.is_ok() {
        assert!(std::fs::metadata(share.path("socket")).unwrap().file_type().is_socket());
    }
    for kind in [0o020_000, 0o060_000] {
        assert_eq!(share.client.mknod(ROOT, "device", kind | 0o666, (1, 3)), Err(Errno::EPERM));
    }
    for kind in [0o040_000, 0o120_000, 0o160_000] {
        assert_eq!(share.client.mknod(ROOT, "device", kind, (0, 0)), Err(Errno::EINVAL));
    }
    assert!(!share.path("device").exists());
}

#[test]
fn hard_links_are_the_same_file() {
    let share = Share::new();
    share.write("a", "content");
    share.client.mkdir(ROOT, "dir", 0o755).unwrap();
    let (a, dir) = (share.fid("a"), share.fid("dir"));
    share.client.link(dir, a, "b").unwrap();
    let b = share.fid("dir/b");
    let (of_a, of_b) = (share.client.getattr(a).unwrap(), share.client.getattr(b).unwrap());
    assert_eq!((of_a.qid, of_a.nlink), (of_b.qid, 2));
    assert_eq!(of_b.nlink, 2);
    // Each fid is the name that it was walked to.
    share.client.remove(b).unwrap();
    assert!(share.path("a").exists() && !share.path("dir/b").exists());
    assert_eq!(share.client.getattr(a).unwrap().nlink, 1);
    assert_eq!(share.client.link(ROOT, dir, "x"), Err(Errno::EPERM), "directories have one name");
    share.client.symlink(ROOT, "symlink", "a").unwrap();
    let symlink = share.fid("symlink");
    share.client.link(ROOT, symlink, "second").unwrap();
    assert_eq!(std::fs::read_link(share.path("second")).unwrap().as_os_str(), "a", "not what it leads to");
}
