//! Decompression, bounded.

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
