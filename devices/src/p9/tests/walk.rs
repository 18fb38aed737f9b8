//! Walk, clunk, and the numbers of fids.

use super::{ROOT, Share};
use crate::p9::Errno;

#[test]
fn names_lead_down_and_back() {
    let share = Share::new();
    std::fs::create_dir_all(share.path("a/b")).unwrap();
    share.write("a/b/file", "");
    let qids = share.client.walk(ROOT, 1, &["a", "b", "file"]).unwrap();
    assert_eq!(qids.iter().map(|qid| qid.kind).collect::<Vec<_>>(), [0x80, 0x80, 0]);
    assert_eq!(share.client.getattr(1).unwrap().qid, qids[2]);
    let up = share.client.walk(ROOT, 2, &["a", "b", ".."]).unwrap();
    assert_eq!(up[2], qids[0]);
    let same = share.client.walk(ROOT, 3, &["a", "."]).unwrap();
    assert_eq!(same[1], qids[0]);
}

#[test]
fn what_is_above_the_share_is_the_share() {
    let share = Share::new();
    let root = share.client.getattr(ROOT).unwrap().qid;
    let qids = share.client.walk(ROOT, 1, &["..", "..", ".."]).unwrap();
    assert_eq!(qids, [root; 3]);
    let fid = share.client.walk_to(ROOT, "").unwrap();
    share.client.open(fid, 0).unwrap();
    let entries = share.client.readdir(fid, 0, 4096).unwrap();
    let dotdot = entries.iter().find(|entry| entry.name == b"..").unwrap();
    assert_eq!(dotdot.qid.path, root.path);
}

#[test]
fn a_walk_that_ends_early_makes_no_fid() {
    let share = Share::new();
    std::fs::create_dir(share.path("dir")).unwrap();
    share.write("file", "");
    assert_eq!(share.client.walk(ROOT, 1, &["none"]), Err(Errno::ENOENT));
    assert_eq!(share.client.walk(ROOT, 1, &["dir", "none", "more"]).unwrap().len(), 1);
    assert_eq!(share.client.walk(ROOT, 1, &["file", "more"]).unwrap().len(), 1);
    assert_eq!(share.client.walk(ROOT, 1, &["file", ".."]).unwrap().len(), 1);
    assert_eq!(share.client.getattr(1), Err(Errno::EBADF));
    let file = share.fid("file");
    assert_eq!(share.client.walk(file, 1, &["more"]), Err(Errno::ENOTDIR));
    assert_eq!(share.client.walk(file, 1, &[".."]), Err(Errno::ENOTDIR));
}

#[test]
fn names_that_are_none() {
    let share = Share::new();
    for name in [&b""[..], b"/", b"a/b", b"../x", b"a\0b"] {
        assert_eq!(share.client.walk(ROOT, 1, &[name]), Err(Errno::EINVAL), "{name:?}");
    }
    assert_eq!(share.client.walk(ROOT, 1, &["x".repeat(256)]), Err(Errno::ENAMETOOLONG));
    assert_eq!(share.client.walk(ROOT, 1, &["x".repeat(255)]), Err(Errno::ENOENT));
    assert_eq!(share.client.walk(ROOT, 1, &["x"; 17]), Err(Errno::EINVAL));
    assert_eq!(share.client.walk(ROOT, 1, &["."; 16]).unwrap().len(), 16);
}

#[test]
fn a_fid_stands_for_one_file_at_a_time() {
    let share = Share::new();
    std::fs::create_dir(share.path("dir")).unwrap();
    let fid = share.fid("dir");
    assert_eq!(share.client.walk(ROOT, fid, &["dir"]), Err(Errno::EBADF), "in use");
    // Onto itself is a move.
    share.client.walk(fid, fid, &[".."]).unwrap();
    assert_eq!(share.client.getattr(fid).unwrap().qid, share.client.getattr(ROOT).unwrap().qid);
    share.client.walk(fid, fid, &["dir"]).unwrap();
    share.client.open(fid, 0).unwrap();
    assert_eq!(share.client.walk(fid, fid, &[".."]), Err(Errno::EBADF), "open");
    share.client.walk(fid, 1, &[".."]).unwrap();
    share.client.clunk(fid).unwrap();
    assert_eq!(share.client.clunk(fid), Err(Errno::EBADF));
    assert_eq!(share.client.getattr(fid), Err(Errno::EBADF));
}

#[test]
fn fids_are_bounded() {
    let share = Share::with(|config| config.limits.fids = 3);
    share.client.walk(ROOT, 1, &[""; 0]).unwrap();
    share.client.walk(ROOT, 2, &[""; 0]).unwrap();
    assert_eq!(share.client.walk(ROOT, 3, &[""; 0]), Err(Errno::ENFILE));
    share.client.clunk(1).unwrap();
    share.client.walk(ROOT, 3, &[""; 0]).unwrap();
}

#[test]
fn nodes_are_bounded_and_given_back() {
    let share = Share::with(|config| config.limits.nodes = 2);
    for name in ["a", "b", "c"] {
        share.write(name, "");
    }
    let (a, _b) = (share.fid("a"), share.fid("b"));
    assert_eq!(share.client.walk(ROOT, 1, &["c"]), Err(Errno::ENFILE));
    share.fid("a");
    share.client.clunk(a).unwrap();
    assert_eq!(share.client.walk(ROOT, 1, &["c"]), Err(Errno::ENFILE), "another fid holds it");
}

#[test]
fn a_fid_costs_no_descriptor() {
    let share = Share::new();
    for index in 0..3000 {
        share.write(&index.to_string(), "");
    }
    let before = std::fs::read_dir("/proc/self/fd").map(Iterator::count);
    for index in 0..3000 {
        share.fid(&index.to_string());
    }
    let after = std::fs::read_dir("/proc/self/fd").map(Iterator::count);
    if let (Ok(before), Ok(after)) = (before, after) {
        assert!(after < before + 500, "{before} descriptors became {after}"); // other tests run beside this
    }
    assert_eq!(share.client.server.fids.len(), 3001);
}
