//! What can be wrong with a kernel file.

use crate::unpack::UnpackError;

/// Why a kernel file cannot be loaded. Every message names the file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KernelError {
    /// The file has no bytes.
    #[error("{file}: the kernel file is empty")]
    Empty {
        /// File name.
        file: String,
    },
    /// The file ends before what its headers promise.
    #[error("{file}: the kernel file is cut short: {what} needs {needed:#x} bytes, the file has {found:#x}")]
    Truncated {
        /// File name.
        file: String,
        /// The part that is missing bytes.
        what: &'static str,
        /// Bytes needed, counted from the start of the file (or of the unpacked kernel).
        needed: u64,
        /// Bytes there are.
        found: u64,
    },
    /// Neither a bzImage nor an ELF file.
    #[error("{file}: not a Linux kernel (neither bzImage nor ELF)")]
    NotAKernel {
        /// File name.
        file: String,
    },
    /// An arm64 kernel for an x86 machine.
    #[error("{file}: an arm64 Image needs an arm64 engine, this machine is x86")]
    Arm64Image {
        /// File name.
        file: String,
    },
    /// An ELF file for another architecture, or one that is no executable.
    #[error("{file}: ELF file is not a kernel for x86: {detail}")]
    WrongElf {
        /// File name.
        file: String,
        /// What is wrong with it.
        detail: String,
    },
    /// A boot protocol before 2.06.
    #[error("{file}: boot protocol {}.{:02} is too old, 2.06 (Linux 2.6.22) is the oldest supported", .version >> 8, .version & 0xff)]
    OldProtocol {
        /// File name.
        file: String,
        /// Version as in the setup header: major in the high byte.
        version: u16,
    },
    /// A zImage, loaded below 1 MiB.
    #[error("{file}: a zImage (kernel loaded low) is not supported, only bzImage")]
    ZImage {
        /// File name.
        file: String,
    },
    /// A header's field contradicts the others.
    #[error("{file}: the kernel's header is damaged: {detail}")]
    Damaged {
        /// File name.
        file: String,
        /// What is wrong with it.
        detail: String,
    },
    /// The payload's first bytes are of no known format.
    #[error("{file}: the kernel's payload has an unknown compression (it begins {:02x?}); try --unpack guest", .magic)]
    UnknownCompression {
        /// File name.
        file: String,
        /// The payload's first bytes.
        magic: [u8; 6],
    },
    /// The payload does not unpack.
    #[error("{file}: the kernel's payload cannot be unpacked")]
    Unpack {
        /// File name.
        file: String,
        /// Why.
        source: UnpackError,
    },
}
