//! How a vsock device is asked for.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The smallest context identifier of a guest; those below are the hypervisor's, the loop-back's and the host's.
pub const MIN_CID: u32 = 3;

/// Longest path: a socket's address has 104 bytes on macOS with the zero behind it, and `_4294967295` is appended to it.
const MAX_PATH_BYTES: usize = 103 - 11;

/// Sockets between guest and host.
///
/// As text: `cid=3,path=/tmp/v.sock`; without `cid` it is 3.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VsockConfig {
    /// The guest's context identifier, 3 to 4294967294.
    #[serde(default = "min_cid")]
    pub cid: u32,
    /// The Unix socket to be made on the host. Who connects to it and sends `CONNECT 1234` and a line feed reaches the
    /// guest's port 1234; the guest reaches whoever listens on the socket of this path with `_` and the port behind it.
    pub path: PathBuf,
}

/// Not a vsock device.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseVsockError {
    /// Not an option.
    #[error("{name:?} is not an option of vsock: there are cid and path, for example cid=3,path=/tmp/v.sock")]
    UnknownOption {
        /// What was given.
        name: String,
    },
    /// An option twice.
    #[error("{name} is given twice")]
    Twice {
        /// The option.
        name: &'static str,
    },
    /// No path.
    #[error("vsock needs a path, for example cid=3,path=/tmp/v.sock")]
    NoPath,
    /// A path that no socket can have.
    #[error("vsock path {path:?} is longer than {MAX_PATH_BYTES} bytes")]
    LongPath {
        /// The path.
        path: PathBuf,
    },
    /// An identifier that a guest cannot have.
    #[error("vsock cid {cid}: must be {MIN_CID} to {}", u32::MAX - 1)]
    Cid {
        /// What was given.
        cid: String,
    },
}

impl VsockConfig {
    /// Checks what can be checked without touching a file.
    ///
    /// # Errors
    /// Names the field and the value.
    pub fn validate(&self) -> Result<(), ParseVsockError> {
        if !(MIN_CID..u32::MAX).contains(&self.cid) {
            return Err(ParseVsockError::Cid { cid: self.cid.to_string() });
        }
        match self.path.as_os_str().len() {
            0 => Err(ParseVsockError::NoPath),
            1..=MAX_PATH_BYTES => Ok(()),
            _ => Err(ParseVsockError::LongPath { path: self.path.clone() }),
        }
    }
}

impl FromStr for VsockConfig {
    type Err = ParseVsockError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (mut cid, mut path) = (None, None);
        for option in text.split(',') {
            match option.split_once('=') {
                Some(("cid", _)) if cid.is_some() => return Err(ParseVsockError::Twice { name: "cid" }),
                Some(("path", _)) if path.is_some() => return Err(ParseVsockError::Twice { name: "path" }),
                Some(("cid", value)) => {
                    let bad = |_| ParseVsockError::Cid { cid: value.to_owned() };
                    cid = Some(value.parse().map_err(bad)?);
                }
                Some(("path", value)) => path = Some(PathBuf::from(value)),
                _ => {
                    let name = option.split('=').next().unwrap_or(option).to_owned();
                    return Err(ParseVsockError::UnknownOption { name });
                }
            }
        }
        let config = Self { cid: cid.unwrap_or(MIN_CID), path: path.ok_or(ParseVsockError::NoPath)? };
        config.validate()?;
        Ok(config)
    }
}

impl fmt::Display for VsockConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cid={},path={}", self.cid, self.path.display())
    }
}

fn min_cid() -> u32 {
    MIN_CID
}
