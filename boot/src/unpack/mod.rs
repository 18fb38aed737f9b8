//! Decompression, bounded: a stream's format is known by its first bytes, its output never exceeds the caller's limit.

mod lz4;
mod streams;

use std::fmt;

/// Who unpacks a compressed kernel payload or initramfs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unpack {
    /// This crate, natively: the guest is handed a bare kernel and a raw cpio archive.
    #[default]
    Host,
    /// The guest's own code, the classic way: files are placed as they are.
    Guest,
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
    #[error("{format} data unpacks to more than {limit} bytes")]
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

/// Unpacks the one stream of `format` that `data` begins with, appends its content to `out`, and returns how many bytes of
/// `data` it took.
///
/// `out` never grows beyond `limit` bytes in all; decoders' own buffers are bounded by constants of [`streams`].
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
    // A false hint costs address space, no memory: pages are touched as they are filled. Where even that fails, growing
    // step by step may still do.
    let _ = out.try_reserve_exact(size_hint.min(limit.saturating_sub(out.len())));
    match format {
        Compression::Gzip => streams::gzip(data, out, limit),
        Compression::Xz => streams::xz(data, out, limit),
        Compression::Lzma => streams::lzma(data, out, limit),
        Compression::Bzip2 => streams::bzip2(data, out, limit),
        Compression::Zstd => streams::zstd(data, out, limit),
        Compression::Lz4Legacy => lz4::legacy(data, out, limit),
        Compression::Lz4Frame => streams::lz4_frame(data, out, limit),
        Compression::Lzo => Err(UnpackError::Unsupported { format }),
    }
}

#[cfg(test)]
#[path = "unpack_test.rs"]
mod unpack_test;
