//! Owners and modes in each mode of user ids.

use std::os::unix::fs::{MetadataExt, PermissionsExt};

use super::Share;
use super::client::{Body, Set};
use crate::p9::{Errno, IdMode};

const GUEST: u32 = 50;

/// A share with a client that attached as user 1000, at fid [`GUEST`].
fn share(ids: IdMode) -> Share {
    let share = Share::with(|config| config.ids = ids);
    share.client.attach_as(GUEST, 1000).unwrap();
    share
}

/// Makes "file" and "dir" as user 1000 of group 2000.
fn make(share: &Share) {
    let c = &share.client;
    let fid = c.walk_to(GUEST, "").unwrap();
    c.call(14, Body::default().u32(fid).str("file").u32(2).u32(0o4640).u32(2000)).unwrap();
    c.clunk(fid).unwrap();
    c.call(72, Body::default().u32(GUEST).str("dir").u32(0o2750).u32(2000)).unwrap();
}

fn shown(share: &Share, name: &str) -> (u32, u32, u32) {
    let attr = share.client.getattr(share.fid(name)).unwrap();
    (attr.mode, attr.uid, attr.gid)
}

fn on_host(share: &Share, name: &str) -> (u32, u32, u32) {
    let host = std::fs::symlink_metadata(share.path(name)).unwrap();
    (host.mode(), host.uid(), host.gid())
}

fn own(share: &Share) -> (u32, u32) {
    let host = std::fs::metadata(share.dir.path()).unwrap();
    (host.uid(), host.gid())
}

#[test]
fn passthrough_gives_files_to_the_guests_user() {
    let share = share(IdMode::Passthrough);
    make(&share);
    let (uid, gid) = if own(&share).0 == 0 { (1000, 2000) } else { own(&share) };
    for (name, mode) in [("file", 0o104_640), ("dir", 0o042_750)] {
        assert_eq!(on_host(&share, name), (mode, uid, gid), "{name}");
        assert_eq!(shown(&share, name), (mode, uid, gid), "{name}");
    }
    let fid = share.fid("file");
    let chown =
        share.client.setattr(fid, Set { valid: 7, mode: 0o4711, uid: 3, gid: 4, ..Default::default() });
    if own(&share).0 == 0 {
        chown.unwrap();
        assert_eq!(on_host(&share, "file"), (0o104_711, 3, 4), "the mode survives the change of owner");
    } else {
        assert_eq!(chown, Err(Errno::EPERM));
    }
}

#[test]
fn squash_shows_one_owner_and_keeps_the_hosts() {
    let share = share(IdMode::Squash { uid: 7, gid: 8 });
    make(&share);
    let (uid, gid) = own(&share);
    assert_eq!(on_host(&share, "file"), (0o100_640, uid, gid), "no set-user-id program of the host's user");
    assert_eq!(on_host(&share, "dir").0, 0o042_750);
    assert_eq!(shown(&share, "file"), (0o100_640, 7, 8));
    let fid = share.fid("file");
    share.client.setattr(fid, Set { valid: 6, uid: 3, gid: 4, ..Default::default() }).unwrap();
    share.client.setattr(fid, Set { valid: 1, mode: 0o6755, ..Default::default() }).unwrap();
    assert_eq!(on_host(&share, "file"), (0o100_755, uid, gid));
    assert_eq!(shown(&share, "file"), (0o100_755, 7, 8));
    share.client.symlink(GUEST, "symlink", "x").unwrap();
    assert_eq!(shown(&share, "symlink"), (0o120_777, 7, 8));
}

#[test]
fn mapped_keeps_what_the_host_does_not() {
    let share = share(IdMode::Mapped);
    make(&share);
    let (uid, gid) = own(&share);
    assert_eq!(on_host(&share, "file"), (0o100_640, uid, gid));
    assert_eq!(on_host(&share, "dir").0 & 0o7777, 0o750);
    assert_eq!(shown(&share, "file"), (0o104_640, 1000, 2000));
    assert_eq!(shown(&share, "dir"), (0o042_750, 1000, 2000));
    // A mode that would lock the host's user out stays with the guest.
    let fid = share.fid("file");
    share.client.setattr(fid, Set { valid: 1, mode: 0, ..Default::default() }).unwrap();
    share.client.setattr(fid, Set { valid: 2, uid: 33, ..Default::default() }).unwrap();
    assert_eq!(shown(&share, "file"), (0o100_000, 33, 2000));
    assert_eq!(on_host(&share, "file"), (0o100_600, uid, gid));
    // It goes with the file.
    share.client.renameat(GUEST, "file", GUEST, "other").unwrap();
    assert_eq!(shown(&share, "other"), (0o100_000, 33, 2000));
    let open = share.open("other", 2);
    share.client.unlink(GUEST, "other", 0).unwrap();
    assert_eq!(share.client.getattr(open).unwrap().uid, 33);
}

#[test]
fn mapped_shows_the_hosts_files_as_they_are() {
    let share = share(IdMode::Mapped);
    share.write("file", "");
    let expected = on_host(&share, "file");
    assert_eq!(shown(&share, "file"), expected);
    // Changing one thing keeps the others.
    let fid = share.fid("file");
    share.client.setattr(fid, Set { valid: 4, gid: 77, ..Default::default() }).unwrap();
    assert_eq!(shown(&share, "file"), (expected.0, expected.1, 77));
    share.client.symlink(GUEST, "symlink", "x").unwrap();
    let fid = share.fid("symlink");
    share.client.setattr(fid, Set { valid: 6, uid: 1, gid: 1, ..Default::default() }).unwrap();
    assert_eq!(share.client.getattr(fid).unwrap().mode, 0o120_777);
}

#[test]
fn mapped_special_files_are_empty_files() {
    let share = share(IdMode::Mapped);
    let c = &share.client;
    for (name, mode, device, rdev) in [
        ("fifo", 0o010_600, (0, 0), 0),
        ("socket", 0o140_755, (0, 0), 0),
        ("char", 0o020_666, (1, 3), 0x103),
        ("block", 0o060_660, (8, 0x12_345), 0x1230_0845),
    ] {
        c.mknod(GUEST, name, mode, device).unwrap();
        let attr = c.getattr(share.fid(name)).unwrap();
        assert_eq!((attr.mode, attr.uid), (mode, 1000), "{name}");
        assert_eq!(attr.rdev, rdev, "{name}");
        let host = std::fs::symlink_metadata(share.path(name)).unwrap();
        assert!(host.is_file() && host.len() == 0);
        assert_eq!(host.permissions().mode() & 0o600, 0o600);
    }
    let root = share.open("", 0);
    let entries = c.readdir(root, 0, 4096).unwrap();
    let kinds: Vec<u8> = entries.iter().filter(|e| e.name.len() > 2).map(|e| e.kind).collect();
    assert_eq!(kinds, [0; 4], "not claimed to be regular");
}

#[test]
fn mapped_attributes_of_another_make_count_as_none() {
    let share = share(IdMode::Mapped);
    let texts: [&[u8]; 8] = [
        b"",
        b"v2 100644 1 1 0 0",
        b"v1 100644 1 1 0",
        b"v1 100644 1 1 0 0 0",
        b"v1 888 1 1 0 0",
        b"v1 100644 -1 1 0 0",
        &[0xff; 20],
        b"v1 040755 1 1 0 0", // a file that claims to be a directory
    ];
    for (index, text) in texts.iter().enumerate() {
        let name = format!("file{index}");
        share.write(&name, "");
        rustix::fs::setxattr(
            share.path(&name),
            crate::p9::MAPPED_XATTR,
            text,
            rustix::fs::XattrFlags::empty(),
        )
        .unwrap();
        assert_eq!(shown(&share, &name), on_host(&share, &name), "{index}");
    }
}

#[test]
fn a_write_by_another_than_root_drops_set_ids() {
    let all = [IdMode::Mapped, IdMode::Passthrough];
    for ids in all {
        let share = share(ids);
        let c = &share.client;
        share.write("file", "");
        c.attach_as(60, 0).unwrap();
        let set = |mode| c.setattr(share.fid("file"), Set { valid: 1, mode, ..Default::default() }).unwrap();
        let mode = || shown(&share, "file").0 & 0o7777;
        let opened = |from| {
            let fid = c.walk_to(from, "file").unwrap();
            c.open(fid, 1).unwrap();
            fid
        };
        let early = opened(GUEST);
        c.write(early, 0, "x").unwrap();
        for (before, after) in
            [(0o4755, 0o755), (0o6777, 0o777), (0o2771, 0o771), (0o2705, 0o2705), (0o1644, 0o1644)]
        {
            set(before);
            let root = opened(60);
            c.read(root, 0, 1).unwrap_err();
            assert_eq!(mode(), before, "opening changes nothing");
            if own(&share).0 == 0 || ids == IdMode::Mapped {
                c.write(root, 0, "x").unwrap();
                assert_eq!(mode(), before, "{ids:?}: root may");
            }
            let user = opened(GUEST);
            c.write(user, 0, "x").unwrap();
            assert_eq!(mode(), after, "{ids:?}: {before:o}");
            // A file that was open before it became one.
            set(before);
            c.write(early, 0, "x").unwrap();
            assert_eq!(mode(), after, "{ids:?}: {before:o}, opened earlier");
        }
        // One that is made as one.
        let fid = c.walk_to(GUEST, "").unwrap();
        c.create(fid, "made", 1, 0o4755).unwrap();
        assert_eq!(shown(&share, "made").0 & 0o7777, 0o4755);
        c.write(fid, 0, "x").unwrap();
        assert_eq!(shown(&share, "made").0 & 0o7777, 0o755, "{ids:?}: made");
    }
}
