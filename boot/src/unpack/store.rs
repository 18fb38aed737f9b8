//! Unpacked data kept between runs: unpacking a xz kernel takes longer than all the rest of starting a guest.

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::Compression;

/// Kept data: a vector that was read, or a mapped file.
pub type KeptData = Arc<dyn AsRef<[u8]> + Send + Sync>;

/// A place where unpacked data may be kept. This crate does no input or output: the caller gives it one.
///
/// A store need not be reliable: data is sealed with its size and checksum, and unpacked anew where the seal is broken. It
/// should not be writable for others than the user, as what is kept there becomes the guest's kernel.
pub trait UnpackedStore: Sync {
    /// What was put under `key`, if it is still there. Keys are file names: letters, digits, dots and dashes.
    fn get(&self, key: &str) -> Option<KeptData>;

    /// Keeps `parts`, one behind the other, under `key`. A store that cannot does nothing.
    fn put(&self, key: &str, parts: [&[u8]; 2]);
}

/// Packed data below this many bytes is unpacked faster than it is looked up.
const WORTH_KEEPING: usize = 256 << 10;

/// Changes whenever what is kept under a key would change.
const KEY_VERSION: &str = "v1";

/// The key of what `packed`, of `format`, unpacks to as a `kind`; `None` where keeping does not pay.
pub(crate) fn key(kind: &str, format: Compression, packed: &[u8]) -> Option<String> {
    let fast = matches!(format, Compression::Lz4Legacy | Compression::Lz4Frame);
    if fast || packed.len() < WORTH_KEEPING {
        return None;
    }
    let hash = Sha256::digest(packed);
    let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    Some(format!("{kind}-{KEY_VERSION}-{hash}"))
}

/// Bytes of a seal: size (8), CRC32 (4), mark (4).
const SEAL: usize = 16;
const MARK: &[u8; 4] = b"RVU1";

fn seal(data: &[u8]) -> [u8; SEAL] {
    let mut crc = flate2::Crc::new();
    crc.update(data);
    let mut seal = [0; SEAL];
    seal[..8].copy_from_slice(&(data.len() as u64).to_le_bytes());
    seal[8..12].copy_from_slice(&crc.sum().to_le_bytes());
    seal[12..].copy_from_slice(MARK);
    seal
}

/// What `store` has under `key`, where its seal holds and it has `limit` bytes at most.
pub(crate) fn get(store: &dyn UnpackedStore, key: &str, limit: usize) -> Option<Bytes<'static>> {
    let kept = store.get(key)?;
    let (data, found) = (*kept).as_ref().split_last_chunk::<SEAL>()?;
    let size = data.len();
    (size <= limit && *found == seal(data)).then_some(Bytes::Kept { kept, size })
}

pub(crate) fn put(store: &dyn UnpackedStore, key: &str, data: &[u8]) {
    store.put(key, [data, &seal(data)]);
}

/// A file's bytes, or what was unpacked from it.
#[derive(Clone)]
pub(crate) enum Bytes<'a> {
    Given(Cow<'a, [u8]>),
    Kept { kept: KeptData, size: usize },
}

impl Deref for Bytes<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Given(bytes) => bytes,
            // A store whose data shrinks behind our back is not worth more than an empty kernel.
            Self::Kept { kept, size } => (**kept).as_ref().get(..*size).unwrap_or_default(),
        }
    }
}

impl From<Vec<u8>> for Bytes<'_> {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Given(Cow::Owned(bytes))
    }
}

impl fmt::Debug for Bytes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.len())
    }
}

#[cfg(test)]
#[path = "store_test.rs"]
mod store_test;
