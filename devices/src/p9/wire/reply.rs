//! Replies: encoding.

use super::Errno;
use super::spec::{HEADER_LEN, message};

/// What identifies a file to the client: `path` is the same for the same file for as long as it exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::p9) struct Qid {
    /// `spec::qid_type`.
    pub(in crate::p9) kind: u8,
    /// Changes with the file's content; never 0, which tells Linux not to cache.
    pub(in crate::p9) version: u32,
    pub(in crate::p9) path: u64,
}

/// A reply that is made in our own memory; all but Rread's data is.
#[derive(Debug)]
pub(in crate::p9) struct Reply(Vec<u8>);

impl Reply {
    /// A reply to a request of type `request`, without fields yet.
    pub(in crate::p9) fn new(request: u8) -> Self {
        Self::with_type(request.wrapping_add(1), 64)
    }

    fn with_type(kind: u8, capacity: usize) -> Self {
        let mut bytes = Vec::with_capacity(capacity);
        bytes.extend([0; HEADER_LEN]);
        if let Some(byte) = bytes.get_mut(4) {
            *byte = kind;
        }
        Self(bytes)
    }

    /// Rlerror.
    pub(in crate::p9) fn error(error: Errno) -> Self {
        Self::with_type(message::RLERROR, 16).u32(error.0)
    }

    /// The header of an Rread or Rreaddir with `count` bytes of data, which lie behind it already.
    pub(in crate::p9) fn data_header(request: u8, count: u32) -> Self {
        Self::new(request).u32(count)
    }

    /// The message, `behind` bytes of it being elsewhere.
    pub(in crate::p9) fn finish(mut self, tag: u16, behind: u32) -> Vec<u8> {
        let size = u32::try_from(self.0.len()).unwrap_or(u32::MAX).saturating_add(behind);
        if let Some(header) = self.0.first_chunk_mut::<HEADER_LEN>() {
            let ([s0, s1, s2, s3], [t0, t1]) = (size.to_le_bytes(), tag.to_le_bytes());
            *header = [s0, s1, s2, s3, header[4], t0, t1];
        }
        self.0
    }

    pub(in crate::p9) fn u8(mut self, value: u8) -> Self {
        self.0.push(value);
        self
    }

    pub(in crate::p9) fn u16(mut self, value: u16) -> Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    pub(in crate::p9) fn u32(mut self, value: u32) -> Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    pub(in crate::p9) fn u64(mut self, value: u64) -> Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    /// A string; what exceeds its 16 bits of length is cut off.
    pub(in crate::p9) fn string(mut self, value: &[u8]) -> Self {
        let length = u16::try_from(value.len()).unwrap_or(u16::MAX);
        self.0.extend(length.to_le_bytes());
        self.0.extend(value.iter().take(length.into()));
        self
    }

    pub(in crate::p9) fn qid(self, qid: Qid) -> Self {
        self.u8(qid.kind).u32(qid.version).u64(qid.path)
    }
}

/// The data of an Rreaddir: as many entries as fit.
#[derive(Debug)]
pub(in crate::p9) struct DirectoryEntries {
    bytes: Vec<u8>,
    limit: usize,
}

impl DirectoryEntries {
    /// For up to `limit` bytes of entries.
    pub(in crate::p9) fn new(limit: usize) -> Self {
        Self { bytes: Vec::with_capacity(limit.min(4096)), limit }
    }

    /// Adds an entry; answers whether it had room. `next` is the offset at which the entry behind it is found.
    pub(in crate::p9) fn push(&mut self, qid: Qid, next: u64, kind: u8, name: &[u8]) -> bool {
        let Ok(length) = u16::try_from(name.len()) else {
            return false;
        };
        // qid[13] offset[8] type[1] name[2 and bytes]
        if self.bytes.len() + 24 + name.len() > self.limit {
            return false;
        }
        self.bytes.push(qid.kind);
        self.bytes.extend(qid.version.to_le_bytes());
        self.bytes.extend(qid.path.to_le_bytes());
        self.bytes.extend(next.to_le_bytes());
        self.bytes.push(kind);
        self.bytes.extend(length.to_le_bytes());
        self.bytes.extend(name);
        true
    }

    pub(in crate::p9) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}
