//! Reading, removing and renaming entries.

use std::collections::BTreeSet;

use super::client::Entry;
use super::{ROOT, Share};
use crate::p9::Errno;

#[test]
fn entries_with_their_types_and_inodes() {
    let share = Share::new();
    share.write("file", "");
    share.client.mkdir(ROOT, "dir", 0o755).unwrap();
    share.client.symlink(ROOT, "symlink", "x").unwrap();
    share.client.mknod(ROOT, "fifo", 0o010_600, (0, 0)).unwrap();
    let root = share.client.walk_to(ROOT, "").unwrap();
    share.client.open(root, 0).unwrap();
    let mut entries = share.client.readdir(root, 0, 4096).unwrap();
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    let seen: Vec<(&[u8], u8, u8)> = entries.iter().map(|e| (&e.name[..], e.kind, e.qid.kind)).collect();
    let expected: [(&[u8], u8, u8); 6] = [
        (b".", 4, 0x80),
        (b"..", 4, 0x80),
        (b"dir", 4, 0x80),
        (b"fifo", 1, 0),
        (b"file", 8, 0),
        (b"symlink", 10, 2),
    ];
    assert_eq!(seen, expected);
    for name in ["dir", "fifo", "file", "symlink"] {
        let fid = share.fid(name);
        let entry = entries.iter().find(|entry| entry.name == name.as_bytes()).unwrap();
        assert_eq!(entry.qid.path, share.client.getattr(fid).unwrap().qid.path);
    }
    assert_eq!(share.client.readdir(ROOT, 0, 4096), Err(Errno::EBADF), "not open");
    let file = share.open("file", 0);
    assert_eq!(share.client.readdir(file, 0, 4096), Err(Errno::EBADF));
}

fn big_directory(share: &Share, count: usize) -> BTreeSet<Vec<u8>> {
    let name = |index| format!("{index}-{}", "x".repeat(index % 60));
    (0..count)
        .map(|index| {
            share.write(&name(index), "");
            name(index).into_bytes()
        })
        .collect()
}

#[test]
fn a_directory_of_twelve_thousand() {
    let share = Share::new();
    let names = big_directory(&share, 12_000);
    for count in [400, 4096, 8192] {
        let root = share.client.walk_to(ROOT, "").unwrap();
        share.client.open(root, 0).unwrap();
        let listed = share.client.list(root, count).unwrap();
        assert_eq!(listed.len(), names.len(), "each once");
        assert!(listed.iter().all(|name| names.contains(name)));
    }
}

#[test]
fn every_entry_is_seen_while_they_are_removed() {
    let share = Share::new();
    let names = big_directory(&share, 3000);
    let root = share.client.walk_to(ROOT, "").unwrap();
    share.client.open(root, 0).unwrap();
    let (mut offset, mut seen) = (0, BTreeSet::new());
    loop {
        let entries = share.client.readdir(root, offset, 1024).unwrap();
        let Some(last) = entries.last() else { break };
        offset = last.next;
        for Entry { name, .. } in entries {
            if !matches!(&name[..], b"." | b"..") {
                share.client.unlink(ROOT, &name, 0).unwrap();
                assert!(seen.insert(name));
            }
        }
    }
    assert_eq!(seen, names);
    assert_eq!(std::fs::read_dir(share.dir.path()).unwrap().count(), 0);
}

#[test]
fn reading_goes_on_from_any_entry_and_starts_again() {
    let share = Share::new();
    big_directory(&share, 200);
    let root = share.client.walk_to(ROOT, "").unwrap();
    share.client.open(root, 0).unwrap();
    let all = share.client.readdir(root, 0, 8000).unwrap();
    assert!(all.len() > 50);
    for index in [10, 3, 40] {
        let rest = share.client.readdir(root, all[index].next, 8000).unwrap();
        assert_eq!(rest[0].name, all[index + 1].name);
    }
    share.write("new", "");
    let names = share.client.list(root, 8000).unwrap();
    assert!(names.contains(&b"new".to_vec()), "from the start again, with what is new");
}

#[test]
fn no_room_for_an_entry_is_not_the_end() {
    let share = Share::new();
    share.write(&"x".repeat(255), "");
    let root = share.client.walk_to(ROOT, "").unwrap();
    share.client.open(root, 0).unwrap();
    assert_eq!(share.client.readdir(root, 0, 10), Err(Errno::EINVAL));
    assert_eq!(share.client.list(root, 279).unwrap(), [vec![b'x'; 255]]);
}

#[test]
fn unlink_tells_files_from_directories() {
    let share = Share::new();
    share.write("file", "");
    share.client.mkdir(ROOT, "dir", 0o755).unwrap();
    share.write("dir/file", "");
    let dir = share.fid("dir");
    assert_eq!(share.client.unlink(ROOT, "dir", 0), Err(Errno::EISDIR));
    assert_eq!(share.client.unlink(ROOT, "file", 0x200), Err(Errno::ENOTDIR));
    assert_eq!(share.client.unlink(ROOT, "dir", 0x200), Err(Errno::ENOTEMPTY));
    assert_eq!(share.client.unlink(ROOT, "none", 0), Err(Errno::ENOENT));
    share.client.unlink(dir, "file", 0).unwrap();
    share.client.unlink(ROOT, "dir", 0x200).unwrap();
    share.client.unlink(ROOT, "file", 0).unwrap();
    assert_eq!(std::fs::read_dir(share.dir.path()).unwrap().count(), 0);
}

#[test]
fn remove_takes_the_fid_along() {
    let share = Share::new();
    share.write("file", "");
    share.client.mkdir(ROOT, "dir", 0o755).unwrap();
    share.write("dir/file", "");
    let (file, dir) = (share.fid("file"), share.fid("dir"));
    share.client.remove(file).unwrap();
    assert_eq!(share.client.remove(dir), Err(Errno::ENOTEMPTY));
    for fid in [file, dir] {
        assert_eq!(share.client.getattr(fid), Err(Errno::EBADF));
    }
    let root = share.client.walk_to(ROOT, "").unwrap();
    assert_eq!(share.client.remove(root), Err(Errno::EBUSY));
    assert!(share.path("dir").exists() && !share.path("file").exists());
}

#[test]
fn rename_by_name_and_by_fid() {
    let share = Share::new();
    share.write("a", "a");
    share.client.mkdir(ROOT, "dir", 0o755).unwrap();
    let (a, dir) = (share.fid("a"), share.fid("dir"));
    share.client.renameat(ROOT, "a", dir, "b").unwrap();
    assert_eq!(share.read("dir/b"), "a");
    // The fid went along, so it can be renamed again.
    share.client.rename(a, ROOT, "c").unwrap();
    assert_eq!(share.read("c"), "a");
    share.client.rename(a, ROOT, "c").unwrap();
    assert_eq!(share.client.getattr(a).unwrap().size, 1);
    assert_eq!(share.client.renameat(ROOT, "none", ROOT, "x"), Err(Errno::ENOENT));
    assert_eq!(share.client.renameat(ROOT, "dir", dir, "x"), Err(Errno::EINVAL), "into itself");
    assert_eq!(share.client.rename(dir, dir, "x"), Err(Errno::EINVAL));
    assert_eq!(share.client.renameat(ROOT, "dir", ROOT, "c"), Err(Errno::ENOTDIR));
    assert_eq!(share.client.renameat(ROOT, "c", ROOT, "dir"), Err(Errno::EISDIR));
    assert_eq!(share.client.rename(ROOT, dir, "x"), Err(Errno::EBUSY));
}

#[test]
fn what_is_below_a_renamed_directory_follows() {
    let share = Share::with(|config| config.limits.cached_directories = 0);
    std::fs::create_dir_all(share.path("a/b/c")).unwrap();
    std::fs::create_dir(share.path("other")).unwrap();
    share.write("a/b/c/file", "content");
    let (c, file, other) = (share.fid("a/b/c"), share.fid("a/b/c/file"), share.fid("other"));
    share.client.renameat(ROOT, "a", other, "z").unwrap();
    assert_eq!(share.client.getattr(file).unwrap().size, 7);
    share.client.open(file, 0).unwrap();
    assert_eq!(share.client.read(file, 0, 9).unwrap(), b"content");
    share.client.create_in(c, "new", 2, 0o600).unwrap();
    assert!(share.path("other/z/b/c/new").exists());
    // Its way up is the new one.
    let up = share.client.walk(c, 1, &["..", "..", ".."]).unwrap();
    assert_eq!(up[2], share.client.getattr(other).unwrap().qid);
}

#[test]
fn rename_over_a_file_that_is_held() {
    let share = Share::new();
    share.write("old", "old");
    share.write("new", "new");
    let (walked, open) = (share.fid("old"), share.open("old", 2));
    let new = share.fid("new");
    share.client.renameat(ROOT, "new", ROOT, "old").unwrap();
    assert_eq!(share.client.read(open, 0, 9).unwrap(), b"old");
    assert_eq!(share.client.getattr(open).unwrap().nlink, 0);
    assert_eq!(share.client.getattr(walked).unwrap().nlink, 0);
    assert_eq!(share.client.getattr(new).unwrap().nlink, 1);
    let again = share.open("old", 0);
    assert_eq!(share.client.read(again, 0, 9).unwrap(), b"new");
    assert_eq!(share.client.remove(walked), Err(Errno::ESTALE), "it has no name");
    assert_eq!(share.read("old"), "new");
}

#[test]
fn the_hosts_renames_never_lead_to_another_file() {
    // Without kept descriptors, everything is found by name.
    let share = Share::with(|config| config.limits.cached_directories = 0);
    share.write("a", "a");
    share.write("b", "b");
    std::fs::create_dir(share.path("dir")).unwrap();
    share.write("dir/file", "inside");
    let (a, b, dir, file) = (share.fid("a"), share.fid("b"), share.fid("dir"), share.fid("dir/file"));
    std::fs::rename(share.path("a"), share.path("moved")).unwrap();
    std::fs::rename(share.path("b"), share.path("a")).unwrap();
    std::fs::rename(share.path("dir"), share.path("elsewhere")).unwrap();
    std::fs::create_dir(share.path("dir")).unwrap();
    share.write("dir/file", "another");
    for fid in [a, dir, file] {
        assert_eq!(share.client.getattr(fid), Err(Errno::ESTALE));
    }
    assert_eq!(share.client.open(a, 1 | 0o1000), Err(Errno::ESTALE));
    assert_eq!(share.client.open(file, 1), Err(Errno::ESTALE));
    assert!(share.client.getattr(b).is_err());
    assert_eq!(share.client.create_in(dir, "x", 2, 0o600), Err(Errno::ESTALE));
    assert!(share.client.remove(a).is_err());
    assert!(share.client.rename(file, ROOT, "x").is_err());
    assert_eq!((share.read("a"), share.read("dir/file")), ("b".to_owned(), "another".to_owned()));
    // Walked to again, they are what they are now.
    let a = share.open("a", 0);
    assert_eq!(share.client.read(a, 0, 9).unwrap(), b"b");
}

#[test]
fn a_name_that_became_another_file_is_a_new_one() {
    let share = Share::new();
    share.write("file", "first");
    let first = share.open("file", 0);
    let held = share.fid("file");
    std::fs::remove_file(share.path("file")).unwrap();
    std::fs::create_dir(share.path("file")).unwrap();
    let second = share.fid("file");
    assert_eq!(share.client.getattr(second).unwrap().qid.kind, 0x80);
    assert_eq!(share.client.read(first, 0, 9).unwrap(), b"first");
    assert_eq!(share.client.getattr(held), Err(Errno::ESTALE));
}

#[test]
fn a_deep_tree_is_let_go_of() {
    let share = Share::with(|config| config.limits.cached_directories = 8);
    let at = share.client.walk_to(ROOT, "").unwrap();
    for _ in 0..600 {
        share.client.mkdir(at, "d", 0o755).unwrap();
        share.client.walk(at, at, &["d"]).unwrap();
    }
    assert_eq!(share.client.getattr(at).unwrap().nlink, 2);
    // Up and down again, with nearly no descriptor kept.
    for _ in 0..37 {
        share.client.walk(at, at, &[".."; 16]).unwrap();
    }
    share.client.clunk(at).unwrap();
    std::fs::remove_dir_all(share.path("d")).unwrap();
}
