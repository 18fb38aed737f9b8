//! Files that are held after their name is gone.

use super::client::Set;
use super::{ROOT, Share};
use crate::p9::Errno;

#[test]
fn an_open_file_stays_usable() {
    let share = Share::new();
    share.write("file", "content");
    let fid = share.open("file", 2);
    share.client.unlink(ROOT, "file", 0).unwrap();
    assert_eq!(share.client.write(fid, 7, "!"), Ok(1));
    assert_eq!(share.client.read(fid, 0, 99).unwrap(), b"content!");
    let attr = share.client.getattr(fid).unwrap();
    assert_eq!((attr.size, attr.nlink), (8, 0));
    share.client.setattr(fid, Set { valid: 8, size: 3, ..Default::default() }).unwrap();
    share.client.setattr(fid, Set { valid: 1, mode: 0o600, ..Default::default() }).unwrap();
    share.client.setattr(fid, Set { valid: 0x120, mtime: (5, 6), ..Default::default() }).unwrap();
    let attr = share.client.getattr(fid).unwrap();
    assert_eq!((attr.size, attr.mode, attr.times[1]), (3, 0o100_600, (5, 6)));
    share.client.fsync(fid, 0).unwrap();
    share.client.clunk(fid).unwrap();
}

#[test]
fn a_walked_file_stays_known() {
    let share = Share::new();
    share.write("file", "content");
    let fid = share.fid("file");
    share.client.unlink(ROOT, "file", 0).unwrap();
    assert_eq!(share.client.getattr(fid).unwrap().nlink, 0);
    share.client.setattr(fid, Set { valid: 1, mode: 0o640, ..Default::default() }).unwrap();
    share.client.setattr(fid, Set { valid: 8, size: 2, ..Default::default() }).unwrap();
    // It can even be opened, as the client does when a process has opened it before and another asks now.
    let clone = share.client.walk_to(fid, "").unwrap();
    share.client.open(clone, 0).unwrap();
    assert_eq!(share.client.read(clone, 0, 9).unwrap(), b"co");
    // A file of the same name is another one.
    share.write("file", "another");
    assert_eq!(share.client.getattr(fid).unwrap().size, 2);
    assert_eq!(share.client.remove(fid), Err(Errno::ESTALE));
    assert_eq!(share.read("file"), "another");
}

#[test]
fn a_removed_directory_is_empty_for_ever() {
    let share = Share::new();
    share.client.mkdir(ROOT, "dir", 0o755).unwrap();
    let (walked, open) = (share.fid("dir"), share.open("dir", 0));
    share.client.unlink(ROOT, "dir", 0x200).unwrap();
    share.client.mkdir(ROOT, "dir", 0o755).unwrap();
    assert_eq!(share.client.create_in(walked, "x", 2, 0o600), Err(Errno::ENOENT));
    assert_eq!(share.client.walk_to(walked, "x"), Err(Errno::ENOENT));
    let listed = share.client.list(open, 4096);
    assert!(
        matches!(&listed, Err(Errno::ENOENT)) || listed == Ok(Vec::new()),
        "as the host says: {listed:?}"
    );
    assert_eq!(share.client.getattr(walked).unwrap().mode & 0o170_000, 0o040_000);
    let up = share.client.walk(walked, 1, &[".."]).unwrap();
    assert_eq!(up[0].path, share.client.getattr(ROOT).unwrap().qid.path);
    assert!(share.path("dir").read_dir().unwrap().next().is_none());
}

#[test]
fn descriptors_of_removed_files_are_bounded() {
    let share = Share::with(|config| config.limits.cached_directories = 4);
    let fids: Vec<u32> = (0..20)
        .map(|index| {
            let name = index.to_string();
            share.write(&name, "");
            let fid = share.fid(&name);
            share.client.unlink(ROOT, &name, 0).unwrap();
            fid
        })
        .collect();
    let known = fids.iter().filter(|fid| share.client.getattr(**fid).is_ok()).count();
    assert_eq!(known, 4, "the last ones");
    assert_eq!(share.client.getattr(fids[0]), Err(Errno::ESTALE));
}
