//! The server as a client sees it: every operation by its message, against a temporary directory.

mod attributes;
mod client;
mod create;
mod directories;
mod escape;
mod files;
mod identity;
mod locks;
mod model;
mod session;
mod unlinked;
mod walk;
mod xattrs;

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use client::Client;
use tempfile::TempDir;

use super::{IdMode, Server, ShareConfig};

/// A share in a temporary directory and a client that has attached to it as fid 0.
struct Share {
    dir: TempDir,
    client: Client,
}

const ROOT: u32 = 0;

impl Share {
    /// Files belong to whom they belong to on the host.
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut ShareConfig)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = ShareConfig::new(dir.path());
        config.ids = IdMode::Passthrough;
        change(&mut config);
        let client = Client::new(Server::new(&config).unwrap());
        client.version(8192).unwrap();
        let owner = std::fs::metadata(dir.path()).unwrap();
        client.attach_as(ROOT, owner.uid()).unwrap();
        Self { dir, client }
    }

    /// A path on the host.
    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, content: &str) {
        std::fs::write(self.path(name), content).unwrap();
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    /// A new fid for a path.
    fn fid(&self, path: &str) -> u32 {
        self.client.walk_to(ROOT, path).unwrap()
    }

    /// A new fid for a path, opened.
    fn open(&self, path: &str, flags: u32) -> u32 {
        let fid = self.fid(path);
        self.client.open(fid, flags).unwrap();
        fid
    }
}
