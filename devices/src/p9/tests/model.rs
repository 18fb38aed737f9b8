//! Random operations through the server and, the same, done directly on a twin directory: both end alike.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::client::{Result, Set};
use super::{ROOT, Share};
use crate::p9::Errno;

const RDWR: u32 = 2;

/// A place: one of a few names, up to three deep, so that operations meet.
#[derive(Clone, Debug)]
struct Place(Vec<&'static str>);

#[derive(Clone, Debug)]
enum Op {
    Create { at: Place, exclusive: bool, truncate: bool, mode: u32 },
    Open { at: Place },
    Write { file: usize, offset: u64, length: usize },
    Read { file: usize, offset: u64 },
    Truncate { file: usize, size: u64 },
    Stat { file: usize },
    Close { file: usize },
    Mkdir { at: Place, mode: u32 },
    Unlink { at: Place, directory: bool },
    Remove { at: Place },
    Rename { from: Place, to: Place },
    RenameFid { from: Place, to: Place },
    Symlink { at: Place },
    Link { from: Place, to: Place },
    Chmod { at: Place, mode: u32 },
    List { at: Place },
}

fn place() -> impl Strategy<Value = Place> {
    let name = prop_oneof![Just("a"), Just("b"), Just("c")];
    prop::collection::vec(name, 1..4).prop_map(Place)
}

fn op() -> impl Strategy<Value = Op> {
    // Directories stay open to their owner, who need not be root.
    let mode = prop_oneof![Just(0o755), Just(0o710), Just(0o700)];
    let file = 0..4usize;
    prop_oneof![
        4 => (place(), any::<bool>(), any::<bool>(), mode.clone())
            .prop_map(|(at, exclusive, truncate, mode)| Op::Create { at, exclusive, truncate, mode }),
        2 => place().prop_map(|at| Op::Open { at }),
        3 => (file.clone(), 0..5000u64, 0..3000usize)
            .prop_map(|(file, offset, length)| Op::Write { file, offset, length }),
        2 => (file.clone(), 0..5000u64).prop_map(|(file, offset)| Op::Read { file, offset }),
        1 => (file.clone(), 0..5000u64).prop_map(|(file, size)| Op::Truncate { file, size }),
        1 => file.clone().prop_map(|file| Op::Stat { file }),
        1 => file.prop_map(|file| Op::Close { file }),
        4 => (place(), mode.clone()).prop_map(|(at, mode)| Op::Mkdir { at, mode }),
        2 => (place(), any::<bool>()).prop_map(|(at, directory)| Op::Unlink { at, directory }),
        1 => place().prop_map(|at| Op::Remove { at }),
        3 => (place(), place()).prop_map(|(from, to)| Op::Rename { from, to }),
        2 => (place(), place()).prop_map(|(from, to)| Op::RenameFid { from, to }),
        1 => place().prop_map(|at| Op::Symlink { at }),
        2 => (place(), place()).prop_map(|(from, to)| Op::Link { from, to }),
        1 => (place(), mode).prop_map(|(at, mode)| Op::Chmod { at, mode }),
        1 => place().prop_map(|at| Op::List { at }),
    ]
}

impl Place {
    fn split(&self) -> (&[&'static str], &'static str) {
        let (name, parent) = self.0.split_last().unwrap();
        (parent, name)
    }

    fn under(&self, root: &Path) -> PathBuf {
        root.join(self.0.join("/"))
    }
}

/// The twin: what the same operations do when nobody is in between.
struct Twin(tempfile::TempDir);

fn errno(error: &io::Error) -> Errno {
    Errno::from(io::Error::from_raw_os_error(error.raw_os_error().unwrap()))
}

impl Twin {
    fn path(&self, at: &Place) -> PathBuf {
        at.under(self.0.path())
    }

    /// As the client does: the directory must be there, and no symlink on the way.
    fn has_parent(&self, at: &Place) -> bool {
        let (parent, _) = at.split();
        let mut path = self.0.path().to_owned();
        parent.iter().all(|name| {
            path.push(name);
            fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_dir())
        })
    }
}

struct Pair {
    share: Share,
    twin: Twin,
    /// Files open in both.
    files: Vec<(u32, File)>,
}

impl Pair {
    /// A fid for the directory of `at`, if the way there is one of directories; in both or in neither.
    fn parent(&self, at: &Place) -> Option<u32> {
        let (parent, _) = at.split();
        let fid = self.share.client.walk_to(ROOT, parent.join("/")).ok().filter(|fid| {
            let is_dir = self.share.client.getattr(*fid).unwrap().mode & 0o170_000 == 0o040_000;
            if !is_dir {
                self.share.client.clunk(*fid).unwrap();
            }
            is_dir
        });
        assert_eq!(fid.is_some(), self.twin.has_parent(at), "the way to {at:?}");
        fid
    }

    /// Does something in the directory of `at` on both sides, with the same outcome.
    fn both(
        &self,
        at: &Place,
        ours: impl FnOnce(u32, &str) -> Result<()>,
        theirs: impl FnOnce(&Path) -> io::Result<()>,
    ) {
        let Some(parent) = self.parent(at) else { return };
        let ours = ours(parent, at.split().1);
        let theirs = theirs(&self.twin.path(at)).map_err(|error| errno(&error));
        assert_eq!(ours, theirs, "{at:?}");
        self.share.client.clunk(parent).unwrap();
    }

    /// A fid for `at` and its path in the twin, if it is there in both.
    fn existing(&self, at: &Place) -> Option<(u32, PathBuf)> {
        let parent = self.parent(at)?;
        let fid = self.share.client.walk_to(parent, at.split().1);
        self.share.client.clunk(parent).unwrap();
        let path = self.twin.path(at);
        assert_eq!(fid.is_ok(), fs::symlink_metadata(&path).is_ok(), "{at:?}");
        fid.ok().map(|fid| (fid, path))
    }

    fn apply(&mut self, op: Op) {
        let c = &self.share.client;
        match op {
            Op::Create { at, exclusive, truncate, mode } => {
                let Some(parent) = self.parent(&at) else { return };
                let flags = RDWR | if exclusive { 0o200 } else { 0 } | if truncate { 0o1000 } else { 0 };
                let ours = c.create_in(parent, at.split().1, flags, mode);
                c.clunk(parent).unwrap();
                let mut options = OpenOptions::new();
                options.read(true).write(true).create(true).truncate(truncate).mode(mode);
                options.create_new(exclusive).custom_flags(libc::O_NOFOLLOW);
                match (ours, options.open(self.twin.path(&at))) {
                    (Ok(fid), Ok(file)) => self.files.push((fid, file)),
                    (ours, theirs) => {
                        assert_eq!(ours.err(), theirs.err().map(|error| errno(&error)), "create {at:?}");
                    }
                }
            }
            Op::Open { at } => {
                let Some((fid, path)) = self.existing(&at) else { return };
                let mut options = OpenOptions::new();
                let theirs = options.read(true).write(true).custom_flags(libc::O_NOFOLLOW).open(path);
                match (c.open(fid, RDWR), theirs) {
                    (Ok(_), Ok(file)) => self.files.push((fid, file)),
                    (ours, theirs) => {
                        assert_eq!(ours.err(), theirs.err().map(|error| errno(&error)), "open {at:?}");
                        c.clunk(fid).unwrap();
                    }
                }
            }
            Op::Write { file, offset, length } => {
                let Some((fid, twin)) = self.files.get(file) else { return };
                let data = vec![(offset % 251) as u8; length];
                assert_eq!(c.write(*fid, offset, &data), Ok(length as u32));
                twin.write_all_at(&data, offset).unwrap();
            }
            Op::Read { file, offset } => {
                let Some((fid, twin)) = self.files.get(file) else { return };
                let mut data = vec![0; 4000];
                let count = twin.read_at(&mut data, offset).unwrap();
                assert_eq!(c.read(*fid, offset, 4000).unwrap(), data[..count]);
            }
            Op::Truncate { file, size } => {
                let Some((fid, twin)) = self.files.get(file) else { return };
                c.setattr(*fid, Set { valid: 8, size, ..Default::default() }).unwrap();
                twin.set_len(size).unwrap();
            }
            Op::Stat { file } => {
                let Some((fid, twin)) = self.files.get(file) else { return };
                let (ours, theirs) = (c.getattr(*fid).unwrap(), twin.metadata().unwrap());
                assert_eq!(
                    (ours.size, ours.mode, ours.nlink),
                    (theirs.size(), theirs.mode(), theirs.nlink())
                );
            }
            Op::Close { file } => {
                if file < self.files.len() {
                    c.clunk(self.files.swap_remove(file).0).unwrap();
                }
            }
            Op::Mkdir { at, mode } => self.both(
                &at,
                |dir, name| c.mkdir(dir, name, mode).map(drop),
                |path| {
                    fs::create_dir(path)?;
                    fs::set_permissions(path, Permissions::from_mode(mode))
                },
            ),
            Op::Unlink { at, directory } => self.both(
                &at,
                |dir, name| c.unlink(dir, name, if directory { 0x200 } else { 0 }),
                |path| if directory { fs::remove_dir(path) } else { fs::remove_file(path) },
            ),
            Op::Remove { at } => {
                let Some((fid, path)) = self.existing(&at) else { return };
                let is_dir = fs::symlink_metadata(&path).unwrap().is_dir();
                let theirs = if is_dir { fs::remove_dir(path) } else { fs::remove_file(path) };
                assert_eq!(c.remove(fid), theirs.map_err(|error| errno(&error)), "remove {at:?}");
            }
            Op::Rename { from, to } => {
                let Some(new_dir) = self.parent(&to) else { return };
                let new_path = self.twin.path(&to);
                self.both(
                    &from,
                    |dir, name| c.renameat(dir, name, new_dir, to.split().1),
                    |path| fs::rename(path, new_path),
                );
                c.clunk(new_dir).unwrap();
            }
            Op::RenameFid { from, to } => {
                let Some(new_dir) = self.parent(&to) else { return };
                if let Some((fid, path)) = self.existing(&from) {
                    let theirs = fs::rename(path, self.twin.path(&to)).map_err(|error| errno(&error));
                    assert_eq!(c.rename(fid, new_dir, to.split().1), theirs, "rename {from:?} {to:?}");
                    c.clunk(fid).unwrap();
                }
                c.clunk(new_dir).unwrap();
            }
            Op::Symlink { at } => self.both(
                &at,
                |dir, name| c.symlink(dir, name, "nowhere").map(drop),
                |path| std::os::unix::fs::symlink("nowhere", path),
            ),
            Op::Link { from, to } => {
                let Some((fid, path)) = self.existing(&from) else { return };
                self.both(&to, |dir, name| c.link(dir, fid, name), |new_path| fs::hard_link(path, new_path));
                c.clunk(fid).unwrap();
            }
            Op::Chmod { at, mode } => {
                let Some((fid, path)) = self.existing(&at) else { return };
                if !path.is_symlink() {
                    c.setattr(fid, Set { valid: 1, mode, ..Default::default() }).unwrap();
                    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
                }
                c.clunk(fid).unwrap();
            }
            Op::List { at } => {
                let Some((fid, path)) = self.existing(&at) else { return };
                if path.is_dir() {
                    c.open(fid, 0).unwrap();
                    assert_eq!(c.list(fid, 300).unwrap(), names(&path), "{at:?}");
                }
                c.clunk(fid).unwrap();
            }
        }
    }
}

fn names(path: &Path) -> Vec<Vec<u8>> {
    let name = |entry: io::Result<fs::DirEntry>| entry.unwrap().file_name().into_encoded_bytes();
    let mut names: Vec<_> = fs::read_dir(path).unwrap().map(name).collect();
    names.sort();
    names
}

/// Everything below a directory: name, mode, links, content.
fn contents(path: &Path) -> Vec<(PathBuf, u32, u64, Vec<u8>)> {
    let mut all = Vec::new();
    let mut below = vec![PathBuf::new()];
    while let Some(relative) = below.pop() {
        for name in names(&path.join(&relative)) {
            let relative = relative.join(String::from_utf8(name).unwrap());
            let full = path.join(&relative);
            let metadata = fs::symlink_metadata(&full).unwrap();
            let content = if metadata.is_file() { fs::read(&full).unwrap() } else { Vec::new() };
            all.push((relative.clone(), metadata.mode(), metadata.nlink(), content));
            if metadata.is_dir() {
                below.push(relative);
            }
        }
    }
    all.sort();
    all
}

fn run(ops: Vec<Op>, cached_directories: usize, open_files: usize) {
    let share = Share::with(|config| {
        (config.limits.cached_directories, config.limits.open_files) = (cached_directories, open_files);
    });
    let mut pair = Pair { share, twin: Twin(tempfile::tempdir().unwrap()), files: Vec::new() };
    // The twin's files get exact modes through the umask of this process only if it takes nothing away.
    for op in ops {
        pair.apply(op);
    }
    assert_eq!(contents(pair.share.dir.path()), contents(pair.twin.0.path()));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_same_as_done_directly(ops in prop::collection::vec(op(), 1..120)) {
        run(ops, 1024, 1024);
    }

    /// Every directory is found anew each time.
    #[test]
    fn the_same_without_kept_descriptors(ops in prop::collection::vec(op(), 1..120)) {
        run(ops, 0, 1024);
    }

    /// Every file is opened again for each use.
    #[test]
    fn the_same_with_one_open_file(ops in prop::collection::vec(op(), 1..120)) {
        run(ops, 1024, 1);
    }
}
