//! Decompression, bounded: a stream's format is known by its first bytes, its output never exceeds the caller's limit.

mod lz4;
pub(crate) mod store;
mod streams;
mod xz;
mod zstd;

use std::fmt;

pub use store::{KeptData, UnpackedStore};

/// Who unpacks a compressed kernel payload or initramfs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unpack {
    /// This crate, natively: the guest is handed a bare kernel and a raw cpio archive.
    #[default]
    Host,
    /// The guest's own code, the classic way: files are placed as they are.
    Guest,
}

/// How files are loaded.
#[derive(Clone, Copy)]
pub struct LoadOptions<'s> {
    /// Who unpacks.
    pub unpack: Unpack,
    /// The unpacked size in bytes that is not exceeded: the guest's RAM size is the natural choice.
    pub max_unpacked: u64,
    /// Where unpacked data is kept between runs, if anywhere.
    pub store: Option<&'s dyn UnpackedStore>,
}

impl LoadOptions<'_> {
    /// The bound as a size in memory.
    pub(crate) fn limit(&self) -> usize {
        usize::try_from(self.max_unpacked).unwrap_or(usize::MAX)
    }
}

/// A compression format, known by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// gzip (RFC 1952).
    Gzip,
    /// xz.
    Xz,
    /// LZMA in its older "alone" container.
    Lzma,
    /// bzip2.
    Bzip2,
    /// LZ4, legacy format (the one the Linux kernel uses).
    Lz4Legacy,
    /// LZ4, frame format.
    Lz4Frame,
    /// Zstandard (RFC 8878).
    Zstd,
    /// LZO (lzop). Recognised, not supported.
    Lzo,
}

impl Compression {
    /// Recognises a format by the first bytes of `data`.
    pub fn detect(data: &[u8]) -> Option<Self> {
        match data {
            // ID1, ID2, and CM = deflate; Linux also takes the old gzip's 1f 9e.
            [0x1f, 0x8b, 8, ..] | [0x1f, 0x9e, 8, ..] => Some(Self::Gzip),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some(Self::Xz),
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => Some(Self::Bzip2),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Self::Zstd),
            [0x02, 0x21, 0x4c, 0x18, ..] => Some(Self::Lz4Legacy),
            [0x04, 0x22, 0x4d, 0x18, ..] => Some(Self::Lz4Frame),
            [0x89, b'L', b'Z', b'O', ..] => Some(Self::Lzo),
            // Properties lc=3 lp=0 pb=2 and a dictionary of whole 64 KiB: the only "alone" files that Linux accepts too.
            [0x5d, 0, 0, ..] => Some(Self::Lzma),
            _ => None,
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gzip => "gzip",
            Self::Xz => "xz",
            Self::Lzma => "lzma",
            Self::Bzip2 => "bzip2",
            Self::Lz4Legacy => "lz4 (legacy)",
            Self::Lz4Frame => "lz4",
            Self::Zstd => "zstd",
            Self::Lzo => "lzo",
        })
    }
}

/// Why data could not be unpacked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnpackError {
    /// The decoder found an error.
    #[error("{format} data is damaged: {detail}")]
    Damaged {
        /// Format.
        format: Compression,
        /// The decoder's words.
        detail: String,
    },
    /// The data ends early.
    #[error("{format} data is cut short")]
    Truncated {
        /// Format.
        format: Compression,
    },
    /// More output than the caller allows.
    #[error("{format} data unpacks to more than {limit} bytes: give the guest more memory")]
    TooLarge {
        /// Format.
        format: Compression,
        /// The caller's bound in bytes.
        limit: u64,
    },
    /// A format that is recognised but not supported.
    #[error("{format} compression is not supported")]
    Unsupported {
        /// Format.
        format: Compression,
    },
}

/// How far a claim about content is believed: the content's size as a multiple of the data's. Real kernels and initramfs
/// stay below 20; what unpacks to more is unpacked too, only not into memory taken at once.
const MOST_GROWTH: usize = 64;

/// Unpacks the one stream of `format` that `data` begins with, appends its content to `out`, and returns how many bytes of
/// `data` it took.
///
/// `out` has `limit` bytes at most afterwards; decoders' own buffers are bounded by constants of [`streams`].
/// `size_hint` is the content's size where something in the file claims to know it; it is only a hint.
///
/// # Errors
/// [`UnpackError`]; `out` then holds what was unpacked so far.
pub(crate) fn unpack(
    format: Compression,
    data: &[u8],
    size_hint: usize,
    out: &mut Vec<u8>,
    limit: usize,
) -> Result<usize, UnpackError> {
    let room = limit.saturating_sub(out.len());
    let size_hint = size_hint.min(room).min(data.len().saturating_mul(MOST_GROWTH));
    match format {
        Compression::Gzip => streams::gzip(data, size_hint, out, limit),
        Compression::Xz => streams::xz(data, size_hint, out, limit),
        Compression::Lzma => streams::lzma(data, size_hint, out, limit),
        Compression::Bzip2 => streams::bzip2(data, size_hint, out, limit),
        Compression::Zstd => zstd::unpack(data, size_hint, out, limit),
        Compression::Lz4Legacy => lz4::legacy(data, out, limit),
        Compression::Lz4Frame => streams::lz4_frame(data, size_hint, out, limit),
        Compression::Lzo => Err(UnpackError::Unsupported { format }),
    }
}

#[cfg(test)]
#[path = "unpack_test.rs"]
mod unpack_test;
