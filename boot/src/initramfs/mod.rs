//! Initramfs files: raw or compressed cpio archives, one or several behind each other (Linux
//! Documentation/driver-api/early-userspace/buffer-format.rst).

mod cpio;

use std::borrow::Cow;

use crate::unpack::store::{self, Bytes};
use crate::unpack::{Compression, LoadOptions, Unpack, UnpackError, unpack};

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
    #[error(
        "{file}: not an initramfs: at offset {offset:#x} there is neither a cpio archive nor a known compression (found {:02x?})",
        .magic
    )]
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
    /// The unpacked archives exceed the caller's bound together.
    #[error("{file}: the initramfs unpacks to more than {limit} bytes: give the guest more memory")]
    TooLarge {
        /// File name.
        file: String,
        /// The caller's bound in bytes.
        limit: u64,
    },
    /// What a compressed archive holds is no cpio archive.
    #[error("{file}: not an initramfs: the {format} data holds no cpio archive (it begins {:02x?})", .magic)]
    NotCpio {
        /// File name.
        file: String,
        /// The compression it was found in.
        format: Compression,
        /// The content's first bytes.
        magic: Vec<u8>,
    },
}

/// An initramfs ready to be placed.
#[derive(Clone, Debug)]
pub struct Initramfs<'a> {
    file: String,
    bytes: Bytes<'a>,
    compression: Option<Compression>,
}

/// The mark of a boot configuration appended to an initramfs (Linux Documentation/admin-guide/bootconfig.rst).
const BOOTCONFIG: &[u8] = b"#BOOTCONFIG\n";

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
        Self::load_with(bytes, file, &LoadOptions { unpack, max_unpacked, store: None })
    }

    /// Like [`Self::load`], with all options.
    ///
    /// # Errors
    /// [`InitramfsError`] says what is wrong with the file.
    pub fn load_with(
        bytes: impl Into<Cow<'a, [u8]>>,
        file: &str,
        options: &LoadOptions<'_>,
    ) -> Result<Self, InitramfsError> {
        let bytes = bytes.into();
        if bytes.is_empty() {
            return Err(InitramfsError::Empty { file: file.to_owned() });
        }
        let source = Source::new(&bytes, file, options.limit());
        let first = source.first_compressed()?;
        let compression = first.map(|(_, format)| format);
        let bytes = match first {
            // Where a compressed archive ends only its decoder knows: what follows it is the guest's business.
            Some((raw, format)) if options.unpack == Unpack::Host => source.load(raw, format, options)?,
            _ => Bytes::Given(bytes),
        };
        Ok(Self { file: file.to_owned(), bytes, compression })
    }

    /// The file's name, as given to [`Self::load`].
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The compression of the first compressed archive in the file; `None` where all are raw.
    pub fn compression(&self) -> Option<Compression> {
        self.compression
    }

    /// What the guest is handed.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// A file and what its bytes may become.
struct Source<'a> {
    file: &'a str,
    data: &'a [u8],
    /// The file without a boot configuration at its end.
    archives: &'a [u8],
    /// The boot configuration with its mark.
    bootconfig: &'a [u8],
    max_unpacked: usize,
}

impl<'a> Source<'a> {
    fn new(data: &'a [u8], file: &'a str, max_unpacked: usize) -> Self {
        let (archives, bootconfig) = data.split_at(data.len() - bootconfig_size(data));
        Self { file, data, archives, bootconfig, max_unpacked }
    }

    /// Where the first compressed archive begins, if there is one, with its format. What lies before is raw.
    fn first_compressed(&self) -> Result<Option<(usize, Compression)>, InitramfsError> {
        let mut position = 0;
        let mut archives = 0;
        loop {
            position = self.skip_zeros(position);
            match self.archive_at(position)? {
                Archive::Raw(size) => position += size,
                Archive::Compressed(format) => return Ok(Some((position, format))),
                Archive::End if archives == 0 => return Err(self.unknown(0)),
                Archive::End => return Ok(None),
            }
            archives += 1;
        }
    }

    /// All archives as raw ones, from the store or unpacked; the first `raw` bytes are raw already, data of `format`
    /// follows.
    fn load(
        &self,
        raw: usize,
        format: Compression,
        options: &LoadOptions<'_>,
    ) -> Result<Bytes<'static>, InitramfsError> {
        let key = options.store.and_then(|store| Some((store, store::key("initramfs", format, self.data)?)));
        if let Some((store, key)) = &key
            && let Some(bytes) = store::get(*store, key, self.max_unpacked)
        {
            return Ok(bytes);
        }
        let unpacked = self.unpacked(raw)?;
        if let Some((store, key)) = &key {
            store::put(*store, key, &unpacked);
        }
        Ok(unpacked.into())
    }

    /// All archives as raw ones, the first `raw` bytes being raw already.
    fn unpacked(&self, raw: usize) -> Result<Vec<u8>, InitramfsError> {
        let mut out = Vec::new();
        self.append(&mut out, &self.archives[..raw])?;
        let mut position = raw;
        loop {
            position = self.skip_zeros(position);
            match self.archive_at(position)? {
                Archive::Raw(size) => {
                    self.append(&mut out, &self.archives[position..position + size])?;
                    position += size;
                }
                Archive::Compressed(format) => {
                    position += self.unpack_archive(format, position, &mut out)?;
                }
                Archive::End => break,
            }
        }
        self.append(&mut out, self.bootconfig)?;
        Ok(out)
    }

    fn unpack_archive(
        &self,
        format: Compression,
        position: usize,
        out: &mut Vec<u8>,
    ) -> Result<usize, InitramfsError> {
        let data = &self.archives[position..];
        self.append(out, &[])?;
        let start = out.len();
        // A gzip stream ends in its content's size, and most files have one stream.
        let size_hint = match format {
            Compression::Gzip => data.last_chunk().map_or(0, |size| u32::from_le_bytes(*size) as usize),
            _ => 0,
        };
        let taken = unpack(format, data, size_hint, out, self.max_unpacked)
            .map_err(|source| InitramfsError::Unpack { file: self.file.to_owned(), source })?;
        let content = &out[start..];
        let content = &content[zeros(content)..];
        if !cpio::is_archive(content) {
            let (file, magic) = (self.file.to_owned(), first_bytes(content));
            return Err(InitramfsError::NotCpio { file, format, magic });
        }
        // Every decoder takes at least its magic number; a walk must not stand still whatever they say.
        Ok(taken.max(1))
    }

    /// Appends bytes at a boundary where the kernel looks for an archive.
    fn append(&self, out: &mut Vec<u8>, bytes: &[u8]) -> Result<(), InitramfsError> {
        let start = out.len().next_multiple_of(cpio::ALIGNMENT);
        if start + bytes.len() > self.max_unpacked {
            let (file, limit) = (self.file.to_owned(), self.max_unpacked as u64);
            return Err(InitramfsError::TooLarge { file, limit });
        }
        out.resize(start, 0);
        out.extend_from_slice(bytes);
        Ok(())
    }

    /// What begins at `position`.
    fn archive_at(&self, position: usize) -> Result<Archive, InitramfsError> {
        let rest = self.archives.get(position..).unwrap_or_default();
        if rest.is_empty() {
            return Ok(Archive::End);
        }
        if cpio::is_archive(rest) {
            let size = cpio::archive_size(rest).map_err(|damage| InitramfsError::DamagedCpio {
                file: self.file.to_owned(),
                offset: (position + damage.offset) as u64,
                detail: damage.detail,
            })?;
            return Ok(Archive::Raw(size));
        }
        Compression::detect(rest).map(Archive::Compressed).ok_or_else(|| self.unknown(position))
    }

    /// Zeros may fill the space between archives.
    fn skip_zeros(&self, position: usize) -> usize {
        let rest = self.archives.get(position..).unwrap_or_default();
        position + zeros(rest)
    }

    fn unknown(&self, offset: usize) -> InitramfsError {
        let magic = first_bytes(self.archives.get(offset..).unwrap_or_default());
        InitramfsError::UnknownFormat { file: self.file.to_owned(), offset: offset as u64, magic }
    }
}

/// What a file continues with.
enum Archive {
    /// A cpio archive of so many bytes.
    Raw(usize),
    /// A compressed archive; its size is known once it is unpacked.
    Compressed(Compression),
    /// Nothing.
    End,
}

/// Bytes of the boot configuration at the end of `data`: the text, its size and checksum, the mark, and up to three bytes
/// that a boot loader may have added.
fn bootconfig_size(data: &[u8]) -> usize {
    let size = (0..4).find_map(|padding| {
        let before_mark = data.get(..data.len().checked_sub(padding)?)?.strip_suffix(BOOTCONFIG)?;
        let (text, size_and_checksum) = before_mark.split_last_chunk::<8>()?;
        let size = u32::from_le_bytes(*size_and_checksum.first_chunk()?) as usize;
        (size <= text.len()).then_some(size + 8 + BOOTCONFIG.len() + padding)
    });
    size.unwrap_or(0)
}

fn zeros(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|byte| **byte == 0).count()
}

fn first_bytes(bytes: &[u8]) -> Vec<u8> {
    bytes[..bytes.len().min(6)].to_vec()
}

#[cfg(test)]
#[path = "initramfs_test.rs"]
mod initramfs_test;
