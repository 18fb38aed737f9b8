//! Nothing leads out of the share.

use std::sync::atomic::{AtomicBool, Ordering};

use super::client::Set;
use super::{ROOT, Share};
use crate::p9::Errno;

/// A directory beside the share with a file that no test may reach.
struct Outside(tempfile::TempDir);

impl Outside {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("secret"), "secret").unwrap();
        Self(dir)
    }

    fn check(&self) {
        let names: Vec<_> =
            std::fs::read_dir(self.0.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names, ["secret"]);
        assert_eq!(std::fs::read_to_string(self.0.path().join("secret")).unwrap(), "secret");
    }
}

#[test]
fn symlinks_lead_nowhere() {
    let (share, outside) = (Share::new(), Outside::new());
    let c = &share.client;
    let target = outside.0.path().to_str().unwrap();
    c.symlink(ROOT, "dir", target).unwrap();
    c.symlink(ROOT, "file", format!("{target}/secret")).unwrap();
    c.symlink(ROOT, "new", format!("{target}/new")).unwrap();
    c.symlink(ROOT, "root", "/").unwrap();
    for name in ["dir", "root"] {
        let fid = share.fid(name);
        assert_eq!(c.walk(fid, 1, &["secret"]), Err(Errno::ENOTDIR));
        assert_eq!(c.walk(fid, 1, &[".."]), Err(Errno::ENOTDIR));
        assert_eq!(c.open(fid, 0), Err(Errno::ELOOP));
        assert_eq!(c.create_in(fid, "new", 2, 0o600), Err(Errno::ENOTDIR));
        assert_eq!(c.mkdir(fid, "new", 0o700), Err(Errno::ENOTDIR));
        assert_eq!(c.unlink(fid, "secret", 0), Err(Errno::ENOTDIR));
        assert_eq!(c.renameat(fid, "secret", ROOT, "x"), Err(Errno::ENOTDIR));
        assert_eq!(c.renameat(ROOT, "file", fid, "x"), Err(Errno::ENOTDIR));
        assert_eq!(
            c.walk(ROOT, 1, &[name, "secret"]).map(|qids| qids.len()),
            Ok(1),
            "it stops at the symlink"
        );
    }
    let fid = share.fid("file");
    assert_eq!(c.open(fid, 0), Err(Errno::ELOOP));
    assert_eq!(c.open(fid, 1 | 0o1000), Err(Errno::ELOOP));
    assert_eq!(c.create_in(ROOT, "file", 2 | 0o1000, 0o600), Err(Errno::ELOOP));
    assert_eq!(c.create_in(ROOT, "new", 2, 0o600), Err(Errno::ELOOP));
    c.setattr(fid, Set { valid: 0x120, mtime: (1, 1), ..Default::default() }).unwrap();
    let _ = c.setattr(fid, Set { valid: 1, mode: 0o777, ..Default::default() });
    let _ = c.set_xattr(fid, "user.x", b"x", 0);
    c.link(ROOT, fid, "linked").unwrap();
    assert!(std::fs::symlink_metadata(share.path("linked")).unwrap().is_symlink());
    let secret = std::fs::metadata(outside.0.path().join("secret")).unwrap();
    assert!(secret.modified().unwrap().elapsed().unwrap().as_secs() < 3600, "its times are its own");
    c.unlink(ROOT, "dir", 0).unwrap();
    outside.check();
}

#[test]
fn symlinks_of_the_hosts_do_not_either() {
    let (share, outside) = (Share::new(), Outside::new());
    std::fs::create_dir(share.path("dir")).unwrap();
    share.write("dir/secret", "inside");
    let (dir, file) = (share.fid("dir"), share.fid("dir/secret"));
    // What was a directory when it was walked to becomes a symlink out.
    std::fs::rename(share.path("dir"), share.path("was")).unwrap();
    std::os::unix::fs::symlink(outside.0.path(), share.path("dir")).unwrap();
    share.client.server.tree.close_idle();
    assert!(share.client.open(file, 2).is_err());
    assert!(share.client.getattr(file).is_err());
    assert!(share.client.create_in(dir, "new", 2, 0o600).is_err());
    assert!(share.client.unlink(dir, "secret", 0).is_err());
    assert!(share.client.walk_to(dir, "secret").is_err());
    outside.check();
    assert!(share.path("was/secret").exists());
}

/// A guest renames and a host renames, while another guest thread walks, opens and writes.
#[test]
fn nothing_is_won_by_racing() {
    let (share, outside) = (Share::with(|config| config.limits.cached_directories = 2), Outside::new());
    std::fs::create_dir_all(share.path("a/b")).unwrap();
    std::fs::create_dir(share.path("real")).unwrap();
    share.write("a/b/secret", "");
    share.write("real/secret", "");
    std::os::unix::fs::symlink(outside.0.path(), share.path("link")).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // "switch" is a directory, then a symlink out of the share, and so on.
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let _ = std::fs::rename(share.path("real"), share.path("switch"));
                let _ = std::fs::rename(share.path("switch"), share.path("real"));
                let _ = std::fs::rename(share.path("link"), share.path("switch"));
                let _ = std::fs::rename(share.path("switch"), share.path("link"));
            }
        });
        // The guest moves directories about below each other.
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let _ = share.client.renameat(ROOT, "a", ROOT, "c");
                if let Ok(c) = share.client.walk_to(ROOT, "c") {
                    let _ = share.client.renameat(c, "b", ROOT, "b");
                    let _ = share.client.renameat(ROOT, "b", c, "b");
                    let _ = share.client.clunk(c);
                }
                let _ = share.client.renameat(ROOT, "c", ROOT, "a");
            }
        });
        let mut reached = 0;
        for round in 0..3000 {
            for path in ["switch/secret", "a/b/secret", "c/b/secret", "b/secret"] {
                let Ok(fid) = share.client.walk_to(ROOT, path) else { continue };
                if share.client.open(fid, 2 | 0o1000).is_ok() {
                    reached += 1;
                    share.client.write(fid, 0, "overwritten").unwrap();
                    assert_ne!(share.client.read(fid, 0, 6).unwrap(), b"secret");
                }
                share.client.clunk(fid).unwrap();
            }
            for dir in ["switch", "a/b"] {
                let Ok(fid) = share.client.walk_to(ROOT, dir) else { continue };
                let name = format!("new{}", round % 10);
                if let Ok(new) = share.client.create_in(fid, &name, 2, 0o600) {
                    share.client.clunk(new).unwrap();
                }
                let _ = share.client.unlink(fid, &name, 0);
                share.client.clunk(fid).unwrap();
            }
        }
        stop.store(true, Ordering::Relaxed);
        assert!(reached > 0, "the race was run");
    });
    outside.check();
}
