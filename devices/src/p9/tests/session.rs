//! Version, attach, and frames that are no requests.

use super::client::{Body, Client};
use super::{ROOT, Share};
use crate::p9::{Errno, Server, ShareConfig, ShareError};

#[test]
fn msize_is_what_both_can() {
    let share = Share::new();
    assert_eq!(share.client.version(512_000), Ok((512_000, b"9P2000.L".to_vec())));
    assert_eq!(share.client.version(u32::MAX), Ok((1 << 20, b"9P2000.L".to_vec())));
    assert_eq!(share.client.version(4095), Err(Errno::EMSGSIZE));
}

#[test]
fn another_dialect_is_unknown_and_begins_no_session() {
    let share = Share::new();
    let mut reply = share.client.call(100, Body::default().u32(8192).str("9P2000.u")).unwrap();
    assert_eq!((reply.u32(), reply.str()), (8192, b"unknown".to_vec()));
    assert_eq!(share.client.attach_as(1, 0), Err(Errno::EPROTO));
}

#[test]
fn nothing_goes_before_the_version() {
    let dir = tempfile::tempdir().unwrap();
    let client = Client::new(Server::new(&ShareConfig::new(dir.path())).unwrap());
    assert_eq!(client.attach_as(0, 0), Err(Errno::EPROTO));
}

#[test]
fn a_version_ends_the_session() {
    let share = Share::new();
    share.write("file", "");
    let fid = share.open("file", 2);
    assert_eq!(share.client.lock(fid, 1, 0, 0, 1), Ok(0));
    share.client.version(8192).unwrap();
    assert_eq!(share.client.getattr(ROOT), Err(Errno::EBADF));
    assert_eq!(share.client.getattr(fid), Err(Errno::EBADF));
    assert_eq!(share.client.server.open_directories.used(), 0);
    share.client.attach_as(ROOT, 0).unwrap();
    let fid = share.open("file", 2);
    assert_eq!(share.client.lock(fid, 1, 0, 0, 2), Ok(0), "the lock is gone");
}

#[test]
fn nobody_authenticates() {
    let share = Share::new();
    let auth = Body::default().u32(1).str("user").str("").u32(0);
    assert!(matches!(share.client.call(102, auth), Err(Errno::EOPNOTSUPP)));
    let attach = Body::default().u32(1).u32(5).str("user").str("").u32(0);
    assert!(matches!(share.client.call(104, attach), Err(Errno::EOPNOTSUPP)));
}

#[test]
fn there_is_one_tree() {
    let share = Share::new();
    let attach = |name: &str| share.client.call(104, Body::default().u32(1).u32(!0).str("").str(name).u32(0));
    assert!(matches!(attach("other"), Err(Errno::ENOENT)));
    assert_eq!(attach("/").unwrap().qid().kind, 0x80);
    assert!(matches!(attach("/"), Err(Errno::EBADF)), "the fid is in use");
}

#[test]
fn frames_that_are_no_requests() {
    let share = Share::new();
    let error = |frame: &[u8]| {
        let reply = share.client.raw(frame, 64);
        assert_eq!((reply.len(), reply[4]), (11, 7));
        Errno(u32::from_le_bytes(reply[7..].try_into().unwrap()))
    };
    // No header: no answer.
    assert_eq!(share.client.raw(&[0; 6], 64), []);
    // A size that is shorter than the header, or longer than the message.
    assert_eq!(error(&[6, 0, 0, 0, 120, 1, 0]), Errno::EPROTO);
    assert_eq!(error(&[11, 0, 0, 0, 120, 1, 0, 0, 0]), Errno::EPROTO);
    assert_eq!(error(&[0xff, 0xff, 0xff, 0xff, 118, 1, 0]), Errno::EPROTO);
    // A field cut short; a string longer than what is left.
    assert_eq!(error(&Body::default().u16(0).frame(120, 1)), Errno::EPROTO);
    assert_eq!(error(&Body::default().u32(0).u16(9).frame(76, 1)), Errno::EPROTO);
    // Types that are replies, of other dialects, or nothing.
    for kind in [0, 6, 7, 101, 112, 114, 124, 126, 255] {
        assert_eq!(error(&Body::default().u64(0).u64(0).frame(kind, 1)), Errno::EOPNOTSUPP, "{kind}");
    }
    // More than any request has.
    assert_eq!(error(&Body(vec![0; 20_000]).frame(110, 1)), Errno::EMSGSIZE);
    // No room for a reply, room for an error only.
    assert_eq!(share.client.raw(&Body::default().u32(ROOT).u64(0).frame(24, 1), 10), []);
    let reply = share.client.raw(&Body::default().u32(ROOT).u64(0).frame(24, 1), 11);
    assert_eq!(reply[7..], Errno::EMSGSIZE.0.to_le_bytes());
}

#[test]
fn flush_is_answered_when_nothing_of_the_tag_is_under_way() {
    let share = Share::new();
    for tag in [0, 7, 0xffff] {
        share.client.call(108, Body::default().u16(tag)).unwrap();
    }
}

#[test]
fn a_directory_that_cannot_be_shared_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("missing");
    let error = Server::new(&ShareConfig::new(&missing)).unwrap_err();
    assert!(matches!(error, ShareError::Open { .. }));
    assert!(error.to_string().contains(missing.to_str().unwrap()), "{error}");
    std::fs::write(&missing, "").unwrap();
    assert!(Server::new(&ShareConfig::new(&missing)).is_err(), "no directory");
}
