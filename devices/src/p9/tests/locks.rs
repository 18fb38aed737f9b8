//! Byte-range locks.

use super::Share;
use crate::p9::Errno;

const READ: u8 = 0;
const WRITE: u8 = 1;
const UNLOCK: u8 = 2;
const SUCCESS: Result<u8, Errno> = Ok(0);
const BLOCKED: Result<u8, Errno> = Ok(1);

#[test]
fn processes_exclude_each_other_and_not_themselves() {
    let share = Share::new();
    share.write("file", "");
    let (a, b) = (share.open("file", 2), share.open("file", 2));
    let c = &share.client;
    assert_eq!(c.lock(a, WRITE, 0, 10, 1), SUCCESS);
    assert_eq!(c.lock(b, WRITE, 5, 10, 2), BLOCKED);
    assert_eq!(c.lock(b, READ, 9, 1, 2), BLOCKED);
    assert_eq!(c.lock(b, WRITE, 10, 10, 2), SUCCESS, "beside it");
    assert_eq!(c.lock(b, WRITE, 5, 2, 1), SUCCESS, "the same process through another open file");
    assert_eq!(c.lock(a, UNLOCK, 0, 10, 1), SUCCESS);
    assert_eq!(c.lock(b, WRITE, 0, 10, 2), SUCCESS);
}

#[test]
fn readers_share() {
    let share = Share::new();
    share.write("file", "");
    let (a, b) = (share.open("file", 2), share.open("file", 2));
    let c = &share.client;
    assert_eq!(c.lock(a, READ, 0, 0, 1), SUCCESS);
    assert_eq!(c.lock(b, READ, 0, 0, 2), SUCCESS);
    assert_eq!(c.lock(a, WRITE, 0, 1, 1), BLOCKED, "no upgrade beside another reader");
    assert_eq!(c.lock(b, UNLOCK, 0, 0, 2), SUCCESS);
    assert_eq!(c.lock(a, WRITE, 0, 1, 1), SUCCESS);
    assert_eq!(c.lock(b, READ, 1, 1, 2), SUCCESS, "only the first byte is exclusive");
    assert_eq!(c.lock(b, READ, 0, 1, 2), BLOCKED);
}

#[test]
fn what_is_in_the_way() {
    let share = Share::new();
    share.write("file", "");
    let (a, b) = (share.open("file", 2), share.open("file", 2));
    let c = &share.client;
    assert_eq!(c.lock(a, WRITE, 10, 20, 1), SUCCESS);
    assert_eq!(c.getlock(b, READ, 0, 0, 2), Ok((WRITE, 10, 20, 1)));
    assert_eq!(c.getlock(b, READ, 0, 10, 2), Ok((UNLOCK, 0, 10, 2)));
    assert_eq!(c.getlock(a, WRITE, 0, 0, 1), Ok((UNLOCK, 0, 0, 1)), "one's own is not");
    // Linux's client always asks for this type.
    assert_eq!(c.getlock(b, UNLOCK, 0, 0, 2), Ok((WRITE, 10, 20, 1)));
    assert_eq!(c.getlock(b, UNLOCK, 30, 0, 2), Ok((UNLOCK, 30, 0, 2)));
    assert_eq!(c.lock(a, READ, 10, 0, 1), SUCCESS);
    assert_eq!(c.getlock(b, WRITE, 0, 0, 2), Ok((READ, 10, 0, 1)), "to the end");
}

#[test]
fn locks_end_with_the_file_they_were_taken_through() {
    let share = Share::new();
    share.write("file", "");
    let (a, b) = (share.open("file", 2), share.open("file", 2));
    let c = &share.client;
    assert_eq!(c.lock(a, WRITE, 0, 0, 1), SUCCESS);
    c.clunk(a).unwrap();
    assert_eq!(c.lock(b, WRITE, 0, 0, 2), SUCCESS);
    c.remove(b).unwrap();
    assert!(!share.path("file").exists());
}

#[test]
fn directories_too() {
    let share = Share::new();
    let (a, b) = (share.open("", 0), share.open("", 0));
    assert_eq!(share.client.lock(a, WRITE, 0, 0, 1), SUCCESS);
    assert_eq!(share.client.lock(b, READ, 0, 0, 2), BLOCKED);
    share.client.clunk(a).unwrap();
    assert_eq!(share.client.lock(b, READ, 0, 0, 2), SUCCESS);
}

#[test]
fn requests_that_make_no_sense() {
    let share = Share::new();
    share.write("file", "");
    let (open, walked) = (share.open("file", 2), share.fid("file"));
    let c = &share.client;
    assert_eq!(c.lock(walked, WRITE, 0, 0, 1), Err(Errno::EBADF));
    assert_eq!(c.lock(open, 3, 0, 0, 1), Err(Errno::EINVAL));
    assert_eq!(c.getlock(open, 3, 0, 0, 1), Err(Errno::EINVAL));
    assert_eq!(c.lock(open, WRITE, u64::MAX, 0, 1), Err(Errno::EINVAL));
    assert_eq!(c.lock(open, WRITE, 1, u64::MAX, 1), Err(Errno::EINVAL));
    assert_eq!(c.lock(open, WRITE, i64::MAX as u64, 1, 1), SUCCESS);
}

#[test]
fn the_number_of_ranges_is_bounded() {
    let share = Share::new();
    share.write("file", "");
    let fid = share.open("file", 2);
    let answers: Vec<u8> = (0..5000).map(|n| share.client.lock(fid, WRITE, 2 * n, 1, 1).unwrap()).collect();
    let granted = answers.iter().filter(|answer| **answer == 0).count();
    assert!((4000..4100).contains(&granted), "{granted}");
    assert_eq!(answers.last(), Some(&2));
    assert_eq!(share.client.lock(fid, UNLOCK, 0, 0, 1), SUCCESS);
    assert_eq!(share.client.lock(fid, WRITE, 0, 0, 1), SUCCESS);
}

/// Another program's locks, held by an open file of this test.
mod host {
    use super::*;
    use crate::p9::os::{LockKind, conflicting_lock, set_lock};
    use std::os::fd::AsFd;

    fn open(share: &Share) -> std::fs::File {
        std::fs::File::options().read(true).write(true).open(share.path("file")).unwrap()
    }

    /// Where the host has locks of this kind.
    fn supported(file: &std::fs::File) -> bool {
        conflicting_lock(file.as_fd(), LockKind::Exclusive, 0, 0).is_ok()
    }

    #[test]
    fn the_hosts_locks_block_the_guest() {
        let share = Share::new();
        share.write("file", "");
        let host = open(&share);
        if !supported(&host) {
            return;
        }
        set_lock(host.as_fd(), LockKind::Exclusive, 5, 9).unwrap();
        let fid = share.open("file", 2);
        assert_eq!(share.client.lock(fid, READ, 0, 0, 1), BLOCKED);
        let (kind, start, length, _) = share.client.getlock(fid, READ, 0, 0, 1).unwrap();
        assert_eq!((kind, start, length), (WRITE, 5, 5));
        assert_eq!(share.client.lock(fid, READ, 0, 5, 1), SUCCESS);
        set_lock(host.as_fd(), LockKind::Unlocked, 0, u64::MAX).unwrap();
        assert_eq!(share.client.lock(fid, WRITE, 0, 0, 1), SUCCESS);
    }

    #[test]
    fn the_guests_locks_block_the_host() {
        let share = Share::new();
        share.write("file", "");
        let host = open(&share);
        if !supported(&host) {
            return;
        }
        let locked =
            |byte| conflicting_lock(host.as_fd(), LockKind::Exclusive, byte, byte).unwrap().is_some();
        let (a, b) = (share.open("file", 2), share.open("file", 2));
        let c = &share.client;
        assert_eq!(c.lock(a, READ, 0, 10, 1), SUCCESS);
        assert_eq!(c.lock(b, READ, 5, 10, 2), SUCCESS);
        assert_eq!(c.lock(a, WRITE, 20, 1, 1), SUCCESS);
        assert_eq!([0, 7, 14, 15, 20].map(locked), [true, true, true, false, true]);
        // What the other still holds stays locked.
        assert_eq!(c.lock(a, UNLOCK, 0, 0, 1), SUCCESS);
        assert_eq!([0, 4, 5, 7, 14, 15, 20].map(locked), [false, false, true, true, true, false, false]);
        c.clunk(b).unwrap();
        assert_eq!([5, 14].map(locked), [false, false]);
    }
}
