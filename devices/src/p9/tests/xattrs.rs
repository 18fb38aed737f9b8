//! Extended attributes.

use super::client::Body;
use super::{ROOT, Share};
use crate::p9::{Errno, IdMode};

const CREATE: u32 = 1;
const REPLACE: u32 = 2;

fn file(share: &Share) -> u32 {
    share.write("file", "");
    share.fid("file")
}

#[test]
fn set_get_list_remove() {
    let share = Share::new();
    let fid = file(&share);
    let c = &share.client;
    assert_eq!(c.xattr(fid, "user.a"), Err(Errno::ENODATA));
    c.set_xattr(fid, "user.a", b"one", 0).unwrap();
    c.set_xattr(fid, "user.b", &[7; 2000], CREATE).unwrap();
    assert_eq!(c.xattr(fid, "user.a").unwrap(), b"one");
    assert_eq!(c.xattr(fid, "user.b").unwrap(), [7; 2000]);
    assert_eq!(c.set_xattr(fid, "user.a", b"two", CREATE), Err(Errno::EEXIST));
    c.set_xattr(fid, "user.a", b"two", REPLACE).unwrap();
    assert_eq!(c.xattr(fid, "user.a").unwrap(), b"two");
    assert_eq!(c.set_xattr(fid, "user.c", b"x", REPLACE), Err(Errno::ENODATA));
    let mut names: Vec<_> = c.xattr(fid, "").unwrap().split(|b| *b == 0).map(<[u8]>::to_vec).collect();
    names.sort();
    assert_eq!(names, [&b""[..], b"user.a", b"user.b"]);
    // "Replace by nothing" is how Linux says remove.
    c.set_xattr(fid, "user.a", b"", REPLACE).unwrap();
    assert_eq!(c.xattr(fid, "user.a"), Err(Errno::ENODATA));
    c.set_xattr(fid, "user.empty", b"", 0).unwrap();
    assert_eq!(c.xattr(fid, "user.empty").unwrap(), b"");
}

#[test]
fn through_open_and_removed_files() {
    let share = Share::new();
    file(&share);
    let fid = share.open("file", 2);
    let walked = share.fid("file");
    share.client.set_xattr(walked, "user.a", b"x", 0).unwrap();
    share.client.unlink(ROOT, "file", 0).unwrap();
    assert_eq!(share.client.xattr(fid, "user.a").unwrap(), b"x");
    assert_eq!(share.client.xattr(walked, "user.a").unwrap(), b"x");
}

#[test]
fn parts_of_a_value() {
    let share = Share::new();
    let fid = file(&share);
    let c = &share.client;
    c.walk(fid, 1, &[""; 0]).unwrap();
    c.xattr_create(1, "user.a", 6, 0).unwrap();
    assert_eq!(c.write(1, 3, "def"), Ok(3));
    assert_eq!(c.write(1, 0, "abc"), Ok(3));
    assert_eq!(c.write(1, 4, "xyz"), Err(Errno::ENOSPC), "more than announced");
    assert_eq!(c.write(1, u64::MAX, "x"), Err(Errno::ENOSPC));
    assert_eq!(c.read(1, 0, 1), Err(Errno::EBADF));
    c.clunk(1).unwrap();
    c.call(30, Body::default().u32(fid).u32(2).str("user.a")).unwrap();
    assert_eq!(c.read(2, 0, 2).unwrap(), b"ab");
    assert_eq!(c.read(2, 4, 99).unwrap(), b"ef");
    assert_eq!(c.read(2, u64::MAX, 1).unwrap(), b"");
    assert_eq!(c.write(2, 0, "x"), Err(Errno::EBADF));
    assert_eq!(c.walk(2, 3, &[""; 0]), Err(Errno::EBADF), "no file to walk from");
}

#[test]
fn a_value_that_did_not_come_is_not_set() {
    let share = Share::new();
    let fid = file(&share);
    share.client.walk(fid, 1, &[""; 0]).unwrap();
    share.client.xattr_create(1, "user.a", 6, 0).unwrap();
    assert_eq!(share.client.write(1, 0, "abc"), Ok(3));
    assert_eq!(share.client.clunk(1), Err(Errno::EINVAL));
    assert_eq!(share.client.clunk(1), Err(Errno::EBADF), "gone all the same");
    assert_eq!(share.client.xattr(fid, "user.a"), Err(Errno::ENODATA));
}

#[test]
fn sizes_are_bounded() {
    let share = Share::with(|config| config.limits.memory = 100_000);
    let fid = file(&share);
    let c = &share.client;
    for number in 1..5 {
        c.walk(fid, number, &[""; 0]).unwrap();
    }
    assert_eq!(c.xattr_create(1, "user.a", 65_537, 0), Err(Errno::E2BIG));
    assert_eq!(c.xattr_create(1, "user.a", u64::MAX, 0), Err(Errno::E2BIG));
    c.xattr_create(1, "user.a", 65_536, 0).unwrap();
    assert_eq!(c.xattr_create(2, "user.a", 65_536, 0), Err(Errno::ENOMEM), "all of them together");
    assert_eq!(c.clunk(1), Err(Errno::EINVAL));
    c.xattr_create(2, "user.a", 65_536, 0).unwrap();
}

#[test]
fn names_that_are_not_the_guests() {
    for ids in [IdMode::Passthrough, IdMode::Mapped, IdMode::Squash { uid: 0, gid: 0 }] {
        let share = Share::with(|config| config.ids = ids);
        let fid = share.client.create_in(ROOT, "file", 2, 0o600).unwrap();
        let fid = share.client.walk_to(fid, "").unwrap();
        let c = &share.client;
        for name in ["user.rvmm.stat", "user.rvmm.x"] {
            assert_eq!(c.xattr(fid, name), Err(Errno::EOPNOTSUPP));
            assert_eq!(c.xattr_create(fid, name, 1, 0), Err(Errno::EOPNOTSUPP));
        }
        assert_eq!(c.xattr(fid, "").unwrap(), b"", "nor seen");
        if ids != IdMode::Passthrough {
            for name in ["security.capability", "trusted.x", "system.posix_acl_access"] {
                assert_eq!(c.xattr(fid, name), Err(Errno::EOPNOTSUPP));
                assert_eq!(c.set_xattr(fid, name, b"x", 0), Err(Errno::EOPNOTSUPP));
            }
        }
    }
}
