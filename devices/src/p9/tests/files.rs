//! Opening, reading and writing.

use std::os::unix::fs::PermissionsExt;

use super::{ROOT, Share};
use crate::p9::Errno;

const RDONLY: u32 = 0;
const WRONLY: u32 = 1;
const RDWR: u32 = 2;
const TRUNC: u32 = 0o1000;
const APPEND: u32 = 0o2000;
const DIRECT: u32 = 0o40_000;
const DIRECTORY: u32 = 0o200_000;

#[test]
fn bytes_are_where_they_belong() {
    let share = Share::new();
    share.write("file", "0123456789");
    let fid = share.open("file", RDWR);
    assert_eq!(share.client.read(fid, 2, 4).unwrap(), b"2345");
    assert_eq!(share.client.read(fid, 8, 4).unwrap(), b"89");
    assert_eq!(share.client.read(fid, 10, 4).unwrap(), b"");
    assert_eq!(share.client.write(fid, 4, "xyz"), Ok(3));
    assert_eq!(share.client.write(fid, 12, "!"), Ok(1));
    assert_eq!(share.read("file"), "0123xyz789\0\0!");
}

#[test]
fn access_is_what_was_opened() {
    let share = Share::new();
    share.write("file", "content");
    let (reader, writer) = (share.open("file", RDONLY), share.open("file", WRONLY));
    assert_eq!(share.client.write(reader, 0, "x"), Err(Errno::EBADF));
    assert_eq!(share.client.read(writer, 0, 1), Err(Errno::EBADF));
    let walked = share.fid("file");
    assert_eq!(share.client.read(walked, 0, 1), Err(Errno::EBADF));
    assert_eq!(share.client.write(walked, 0, "x"), Err(Errno::EBADF));
    assert_eq!(share.client.fsync(walked, 0), Err(Errno::EBADF));
    assert_eq!(share.client.open(walked, 3), Err(Errno::EINVAL));
    assert_eq!(share.client.open(reader, RDONLY), Err(Errno::EBADF), "twice");
    assert_eq!(share.read("file"), "content");
}

#[test]
fn offsets_end_where_files_do() {
    let share = Share::new();
    share.write("file", "x");
    let fid = share.open("file", RDWR);
    assert_eq!(share.client.read(fid, u64::MAX, 1), Err(Errno::EINVAL));
    assert_eq!(share.client.write(fid, 1 << 63, "x"), Err(Errno::EINVAL));
    let last = i64::MAX as u64 - 1;
    assert_eq!(share.client.read(fid, last, 1).unwrap(), b"");
    assert_eq!(share.client.write(fid, last, "x"), Err(Errno(27)), "EFBIG");
}

#[test]
fn a_reply_is_no_longer_than_msize() {
    let share = Share::new();
    share.write("file", &"x".repeat(20_000));
    let fid = share.open("file", RDONLY);
    assert_eq!(share.client.read(fid, 0, u32::MAX).unwrap().len(), 8192 - 11);
}

#[test]
fn a_write_that_claims_more_than_it_brings_is_refused() {
    let share = Share::new();
    share.write("file", "");
    let fid = share.open("file", RDWR);
    let body = super::client::Body::default().u32(fid).u64(0).u32(5).u32(0);
    assert!(matches!(share.client.call(118, body), Err(Errno::EPROTO)));
    assert_eq!(share.read("file"), "");
}

#[test]
fn a_size_without_the_data_is_an_old_linux() {
    let share = Share::new();
    share.write("file", "");
    let fid = share.open("file", RDWR);
    let mut body = super::client::Body::default().u32(fid).u64(0).u32(5);
    let mut frame = body.frame(118, 7);
    frame.extend(b"hello");
    let reply = share.client.raw(&frame, 64);
    assert_eq!((reply[4], reply[7]), (119, 5));
    body.0.clear();
    assert_eq!(share.read("file"), "hello");
}

#[test]
fn open_flags() {
    let share = Share::new();
    share.write("file", "content");
    let fid = share.open("file", RDWR | APPEND);
    assert_eq!(share.client.write(fid, 0, "+"), Ok(1));
    assert_eq!(share.read("file"), "content+");
    let fid = share.open("file", RDWR | DIRECT);
    assert_eq!(share.client.read(fid, 1, 3).unwrap(), b"ont", "unaligned");
    share.open("file", WRONLY | TRUNC);
    assert_eq!(share.read("file"), "");
    let fid = share.fid("file");
    assert_eq!(share.client.open(fid, RDONLY | DIRECTORY), Err(Errno::ENOTDIR));
    let root = share.client.walk_to(ROOT, "").unwrap();
    assert_eq!(share.client.open(root, RDWR), Err(Errno::EISDIR));
    assert_eq!(share.client.open(root, TRUNC), Err(Errno::EISDIR));
    share.client.open(root, RDONLY | DIRECTORY).unwrap();
    assert_eq!(share.client.read(root, 0, 1), Err(Errno::EISDIR));
}

#[test]
fn only_files_and_directories_are_opened() {
    let share = Share::new();
    std::os::unix::fs::symlink("/etc/passwd", share.path("symlink")).unwrap();
    let _listener = std::os::unix::net::UnixListener::bind(share.path("socket")).unwrap();
    let fid = share.fid("symlink");
    assert_eq!(share.client.open(fid, RDONLY), Err(Errno::ELOOP));
    let fid = share.fid("socket");
    assert_eq!(share.client.open(fid, RDONLY), Err(Errno::ENXIO));
    if share.client.mknod(ROOT, "fifo", 0o010_644, (0, 0)).is_ok() {
        let fid = share.fid("fifo");
        // Opening it would wait for a writer.
        assert_eq!(share.client.open(fid, RDONLY), Err(Errno::ENXIO));
    }
}

#[test]
fn open_directories_are_bounded() {
    let share = Share::with(|config| config.limits.open_files = 1);
    let first = share.open("", RDONLY);
    let second = share.fid("");
    assert_eq!(share.client.open(second, RDONLY), Err(Errno::ENFILE));
    share.client.clunk(first).unwrap();
    share.client.open(second, RDONLY).unwrap();
}

/// How many descriptors of this process lead into the share, where the host tells.
fn descriptors(share: &Share) -> Option<usize> {
    let inside = |entry: std::io::Result<std::fs::DirEntry>| {
        std::fs::read_link(entry.unwrap().path()).is_ok_and(|to| to.starts_with(share.dir.path()))
    };
    Some(std::fs::read_dir("/proc/self/fd").ok()?.map(inside).filter(|inside| *inside).count())
}

#[test]
fn more_files_are_open_than_have_descriptors() {
    let share = Share::with(|config| config.limits.open_files = 4);
    let c = &share.client;
    share.client.mkdir(ROOT, "dir", 0o755).unwrap();
    let dir = share.fid("dir");
    let mut fids = Vec::new();
    for index in 0..40u32 {
        // Made and opened, or opened again; one of them to append.
        let (name, flags) = (format!("file{index}"), if index == 7 { RDWR | APPEND } else { RDWR });
        let fid = c.create_in(dir, &name, flags | TRUNC, 0o600).unwrap();
        c.write(fid, 0, format!("content {index:02}")).unwrap();
        fids.push(if index % 3 == 0 { share.open(&format!("dir/{name}"), RDWR) } else { fid });
    }
    let held = descriptors(&share);
    assert!(held.is_none_or(|held| held < 12), "{held:?}");
    // Renamed or not, they are what they were; with what was written, and not emptied again.
    c.renameat(ROOT, "dir", ROOT, "moved").unwrap();
    c.renameat(dir, "file3", ROOT, "elsewhere").unwrap();
    for (index, fid) in fids.iter().enumerate() {
        let content = format!("content {index:02}");
        assert_eq!(c.read(*fid, 0, 99).unwrap(), content.as_bytes());
        assert_eq!(c.write(*fid, 8, "ab"), Ok(2));
        let expected = if index == 7 { "content 07ab".to_owned() } else { "content ab".to_owned() };
        assert_eq!(c.read(*fid, 0, 99).unwrap(), expected.as_bytes());
        assert_eq!(c.getattr(*fid).unwrap().size, expected.len() as u64);
        c.fsync(*fid, 0).unwrap();
    }
    assert_eq!(share.read("elsewhere"), "content ab");
    // Removed ones stay as long as nodes keep their files.
    for index in 20..40 {
        c.unlink(dir, format!("file{index}"), 0).unwrap();
    }
    for fid in &fids[20..] {
        assert_eq!(c.read(*fid, 0, 99).unwrap(), b"content ab");
        assert_eq!(c.getattr(*fid).unwrap().nlink, 0);
    }
}

#[test]
fn sync_of_files_and_directories() {
    let share = Share::new();
    share.write("file", "");
    let file = share.open("file", RDWR);
    let dir = share.client.walk_to(ROOT, "").unwrap();
    share.client.open(dir, RDONLY).unwrap();
    for fid in [file, dir] {
        share.client.fsync(fid, 0).unwrap();
        share.client.fsync(fid, 1).unwrap();
    }
    // Without the datasync field, as clients of old send it.
    share.client.call(50, super::client::Body::default().u32(file)).unwrap();
}

#[test]
fn a_read_only_share_is_read_only() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("file"), "content").unwrap();
    let mut share = Share::with(|config| {
        config.read_only = true;
        config.root = dir.path().to_owned();
    });
    share.dir = dir;
    let c = &share.client;
    let fid = share.fid("file");
    let attr = super::client::Set { valid: 1, mode: 0o600, ..Default::default() };
    assert_eq!(c.setattr(fid, attr), Err(Errno::EROFS));
    assert_eq!(c.set_xattr(fid, "user.x", b"x", 0), Err(Errno::EROFS));
    assert_eq!(c.rename(fid, ROOT, "other"), Err(Errno::EROFS));
    assert_eq!(c.renameat(ROOT, "file", ROOT, "other"), Err(Errno::EROFS));
    assert_eq!(c.link(ROOT, fid, "other"), Err(Errno::EROFS));
    assert_eq!(c.unlink(ROOT, "file", 0), Err(Errno::EROFS));
    assert_eq!(c.mkdir(ROOT, "dir", 0o755), Err(Errno::EROFS));
    assert_eq!(c.symlink(ROOT, "symlink", "x"), Err(Errno::EROFS));
    assert_eq!(c.mknod(ROOT, "fifo", 0o010_600, (0, 0)), Err(Errno::EROFS));
    assert_eq!(c.create_in(ROOT, "new", RDWR, 0o600), Err(Errno::EROFS));
    for flags in [WRONLY, RDWR, RDONLY | TRUNC] {
        assert_eq!(c.open(fid, flags), Err(Errno::EROFS));
    }
    c.open(fid, RDONLY).unwrap();
    assert_eq!(c.read(fid, 0, 9).unwrap(), b"content");
    assert_eq!(c.write(fid, 0, "x"), Err(Errno::EBADF));
    let fid = share.fid("file");
    assert_eq!(c.remove(fid), Err(Errno::EROFS));
    assert_eq!(c.clunk(fid), Err(Errno::EBADF), "Tremove clunks in any case");
    assert_eq!(std::fs::read_dir(share.dir.path()).unwrap().count(), 1);
    assert_eq!(share.read("file"), "content");
    assert_eq!(std::fs::metadata(share.path("file")).unwrap().permissions().mode() & 0o777, 0o644);
}
