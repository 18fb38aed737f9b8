//! Qids: what makes a file the same file for the client.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Mutex;

use super::os::{FileId, Stat};
use super::wire::Qid;
use super::wire::spec::{file_type, qid_type};
use crate::lock;

/// Bits of an inode's number that are taken as they are.
const INODE_BITS: u32 = 48;
/// File systems below a share that get a number of their own; mounts beyond are told apart by hashing.
const MAX_DEVICES: usize = 0x7fff;
/// Marks a path that is a hash.
const HASHED: u64 = 1 << 63;

/// Gives files of all file systems below a share one space of qid paths: 15 bits of file system, 48 of inode. Other inode
/// numbers become a hash of 63 bits.
#[derive(Debug)]
pub(super) struct QidPaths {
    /// The share's root's file system first, so that the guest sees the host's inode numbers there.
    devices: Mutex<Vec<u64>>,
}

impl QidPaths {
    pub(super) fn new(root: FileId) -> Self {
        Self { devices: Mutex::new(vec![root.device]) }
    }

    /// The path of a file's qid.
    pub(super) fn path(&self, id: FileId) -> u64 {
        let number = if id.inode >> INODE_BITS == 0 { self.device(id.device) } else { None };
        match number {
            Some(number) => number << INODE_BITS | id.inode,
            None => {
                let mut hasher = DefaultHasher::new();
                id.hash(&mut hasher);
                hasher.finish() | HASHED
            }
        }
    }

    fn device(&self, device: u64) -> Option<u64> {
        let mut devices = lock(&self.devices);
        let known = devices.iter().position(|known| *known == device);
        let index = known.or_else(|| {
            (devices.len() < MAX_DEVICES).then(|| {
                devices.push(device);
                devices.len() - 1
            })
        });
        index.map(|index| index as u64)
    }

    /// The qid of a file with these attributes, `stat` being the host's.
    pub(super) fn qid(&self, stat: &Stat) -> Qid {
        Qid { kind: kind(stat.file_type()), version: version(stat), path: self.path(stat.id) }
    }

    /// The qid of a directory's entry, of which only inode and type are known. Linux takes nothing but the inode from it.
    pub(super) fn entry_qid(&self, device: u64, inode: u64, dirent_type: u8) -> Qid {
        let kind = kind(u32::from(dirent_type) << 12);
        Qid { kind, version: 1, path: self.path(FileId { device, inode }) }
    }
}

fn kind(file_type: u32) -> u8 {
    match file_type {
        file_type::DIRECTORY => qid_type::DIRECTORY,
        file_type::SYMLINK => qid_type::SYMLINK,
        _ => qid_type::FILE,
    }
}

/// Tells a file from an earlier one of the same inode number, where the host notes when files were made. Never 0, which
/// would keep Linux from caching.
///
/// It does not change with a file's content, as the protocol has it: a Linux client that caches (`cache=loose`) and looks a
/// name up again takes another version for another file. It would have two, one of them with what has not been written yet.
fn version(stat: &Stat) -> u32 {
    let made = stat.btime.unwrap_or_default();
    let nanoseconds =
        made.seconds.cast_unsigned().wrapping_mul(1_000_000_000).wrapping_add(u64::from(made.nanoseconds));
    let mixed = nanoseconds.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((mixed >> 32) as u32).max(1)
}
