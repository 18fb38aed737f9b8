//! Flags of Tlopen and Tlcreate: Linux's open flags with fixed numbers (`P9_DOTL_…`), whatever guest and host call them.

use rustix::fs::OFlags;

use super::{Errno, Result};

/// What becomes of a flag on the host.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    /// It is the host's flag of that name (rustix knows its number on each host).
    Host(OFlags),
    /// The server does it itself, on the file that it has checked.
    Server,
    /// It has no effect here.
    Ignored,
}

/// Number on the wire, name, fate, and why.
#[rustfmt::skip]
const TABLE: &[(u32, &str, Fate)] = &[
    (0o000_000_100, "CREATE", Fate::Server),     // Tlcreate means it; Tlopen does not create
    (0o000_000_200, "EXCL", Fate::Server),       // Tlcreate
    (0o000_000_400, "NOCTTY", Fate::Ignored),    // terminals are not opened
    (0o000_001_000, "TRUNC", Fate::Server),      // after the file was checked
    (0o000_002_000, "APPEND", Fate::Host(OFlags::APPEND)),
    (0o000_004_000, "NONBLOCK", Fate::Ignored),  // only files and directories are opened, which do not block
    (0o000_010_000, "DSYNC", Fate::Host(OFlags::SYNC)),
    (0o000_020_000, "FASYNC", Fate::Ignored),    // signals are the guest's
    (0o000_040_000, "DIRECT", Fate::Ignored),    // the guest's cache is left out by the guest; its buffers lie anyhow
    (0o000_100_000, "LARGEFILE", Fate::Ignored), // all are
    (0o000_200_000, "DIRECTORY", Fate::Server),
    (0o000_400_000, "NOFOLLOW", Fate::Server),   // never followed
    (0o001_000_000, "NOATIME", Fate::Ignored),   // a hint, refused to who does not own the file
    (0o002_000_000, "CLOEXEC", Fate::Ignored),   // the guest's processes are not ours
    (0o004_000_000, "SYNC", Fate::Host(OFlags::SYNC)),
];

const ACCESS_MODE: u32 = 3;
const READ_ONLY: u32 = 0;
const WRITE_ONLY: u32 = 1;
const READ_WRITE: u32 = 2;

/// Flags as they came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::p9) struct OpenFlags(pub(in crate::p9) u32);

impl OpenFlags {
    fn has(self, flag: u32) -> bool {
        self.0 & flag != 0
    }

    /// Must the file not be there yet?
    pub(in crate::p9) fn exclusive(self) -> bool {
        self.has(0o200)
    }

    /// Is the file to be emptied?
    pub(in crate::p9) fn truncate(self) -> bool {
        self.has(0o1000)
    }

    /// Must it be a directory?
    pub(in crate::p9) fn directory(self) -> bool {
        self.has(0o200_000)
    }

    /// Does the open file allow writing, or opening it change the file?
    pub(in crate::p9) fn writes(self) -> bool {
        self.0 & ACCESS_MODE != READ_ONLY || self.truncate()
    }

    /// Access mode and flags for the host's open. Bits that the table does not know are ignored, as Linux does.
    ///
    /// # Errors
    /// EINVAL for access mode 3.
    pub(in crate::p9) fn to_host(self) -> Result<OFlags> {
        let access = match self.0 & ACCESS_MODE {
            READ_ONLY if self.truncate() => OFlags::RDWR, // emptied through this descriptor
            READ_ONLY => OFlags::RDONLY,
            WRITE_ONLY => OFlags::WRONLY,
            READ_WRITE => OFlags::RDWR,
            _ => return Err(Errno::EINVAL),
        };
        let flags = TABLE.iter().filter(|(bit, _, _)| self.has(*bit)).filter_map(|(_, _, fate)| match fate {
            Fate::Host(flag) => Some(*flag),
            Fate::Server | Fate::Ignored => None,
        });
        Ok(flags.fold(access, |all, flag| all | flag))
    }
}

#[cfg(test)]
#[path = "open_flags_test.rs"]
mod open_flags_test;
