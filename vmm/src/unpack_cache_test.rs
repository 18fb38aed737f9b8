#![allow(clippy::unwrap_used)] // a test that cannot set itself up has failed

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;

use tempfile::TempDir;

use super::*;

struct Folder {
    _parent: TempDir,
    path: PathBuf,
}

impl Folder {
    fn new() -> Self {
        let parent = tempfile::tempdir().unwrap();
        Self { path: parent.path().join("cache/rvmm"), _parent: parent }
    }

    fn open(&self) -> UnpackCache {
        UnpackCache::open(&self.path).unwrap()
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(&self.path)
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn mode(&self, name: &str) -> u32 {
        fs::metadata(self.path.join(name)).unwrap().permissions().mode() & 0o777
    }

    /// Says that an entry was last used so many seconds ago.
    fn age(&self, name: &str, seconds: u64) {
        let file = File::options().write(true).open(self.path.join(name)).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(seconds)).unwrap();
    }
}

fn got(cache: &UnpackCache, key: &str) -> Option<Vec<u8>> {
    cache.get(key).map(|kept| (*kept).as_ref().to_vec())
}

#[test]
fn what_was_put_is_there_the_next_time_and_only_for_its_user() {
    let folder = Folder::new();
    folder.open().put("kernel-1", [b"one", b"two"]);
    assert_eq!(got(&folder.open(), "kernel-1"), Some(b"onetwo".to_vec()));
    assert_eq!(got(&folder.open(), "kernel-2"), None);
    assert_eq!(folder.names(), ["kernel-1.unpacked"]);
    assert_eq!((folder.mode(""), folder.mode("kernel-1.unpacked")), (0o700, 0o600));
    folder.open().put("kernel-1", [b"three", b""]);
    assert_eq!(got(&folder.open(), "kernel-1"), Some(b"three".to_vec()));
}

#[test]
fn a_folder_that_others_write_to_is_not_used() {
    let folder = Folder::new();
    drop(folder.open());
    fs::set_permissions(&folder.path, fs::Permissions::from_mode(0o770)).unwrap();
    assert!(matches!(UnpackCache::open(&folder.path), Err(CacheError::NotPrivate)));
    fs::set_permissions(&folder.path, fs::Permissions::from_mode(0o755)).unwrap();
    assert!(UnpackCache::open(&folder.path).is_ok());
    let file = folder.path.join("file");
    fs::write(&file, b"").unwrap();
    assert!(matches!(UnpackCache::open(&file), Err(CacheError::Io(_))));
}

#[test]
fn links_and_folders_are_no_entries() {
    let folder = Folder::new();
    let cache = folder.open();
    fs::write(folder.path.join("elsewhere"), b"planted").unwrap();
    symlink(folder.path.join("elsewhere"), folder.path.join("link.unpacked")).unwrap();
    fs::create_dir(folder.path.join("folder.unpacked")).unwrap();
    assert_eq!(got(&cache, "link"), None);
    assert_eq!(got(&cache, "folder"), None);
    cache.put("link", [b"ours", b""]);
    assert_eq!(got(&cache, "link"), Some(b"ours".to_vec()));
    assert_eq!(fs::read(folder.path.join("elsewhere")).unwrap(), b"planted");
}

#[test]
fn what_was_not_used_for_longest_makes_room() {
    let folder = Folder::new();
    let cache = UnpackCache { max_bytes: 100, ..folder.open() };
    for (key, age) in [("a", 40), ("b", 30), ("c", 20)] {
        cache.put(key, [&[0; 30], b""]);
        folder.age(&format!("{key}.unpacked"), age);
    }
    fs::write(folder.path.join("not ours"), [0; 1000]).unwrap();
    assert!(cache.get("a").is_some(), "used now, so it stays");
    cache.put("d", [&[0; 35], b""]);
    assert_eq!(folder.names(), ["a.unpacked", "c.unpacked", "d.unpacked", "not ours"]);
    cache.put("too large", [&[0; 101], b""]);
    assert_eq!(folder.names(), ["a.unpacked", "c.unpacked", "d.unpacked", "not ours"]);
}

#[test]
fn what_a_dead_process_was_writing_goes_away() {
    let folder = Folder::new();
    let cache = folder.open();
    for name in ["old.1.0.unpacking", "new.2.0.unpacking"] {
        fs::write(folder.path.join(name), b"half").unwrap();
    }
    folder.age("old.1.0.unpacking", 2 * 3600);
    cache.put("a", [b"", b""]);
    assert_eq!(folder.names(), ["a.unpacked", "new.2.0.unpacking"]);
}

#[test]
fn a_folder_that_cannot_be_written_to_is_no_error() {
    let folder = Folder::new();
    let cache = folder.open();
    fs::remove_dir_all(&folder.path).unwrap();
    cache.put("a", [b"data", b""]);
    assert_eq!(got(&cache, "a"), None);
}
