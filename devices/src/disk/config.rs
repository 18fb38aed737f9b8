//! How a disk is asked for: plain data, the same for a command line, a file and an embedding program.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::MAX_SERIAL_BYTES;
use super::size::{DiskSize, ParseSizeError};

/// A disk: a file or block device and how it is used.
///
/// As text: `PATH[,OPTION]...` with the fields' names as options, for example `disk.img,size=20G,flush=os`. A comma in the
/// path is written twice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiskConfig {
    /// The image file or block device.
    pub path: PathBuf,
    /// The disk's size. A missing or empty file becomes a sparse image of this size; one that exists must have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<DiskSize>,
    /// The image's format: raw or qcow2. Never guessed: raw if not stated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<ImageFormat>,
    /// The guest cannot write (`ro`). Several machines can share the image.
    #[serde(default, skip_serializing_if = "is_false")]
    pub ro: bool,
    /// The serial number that the guest sees: at most 20 printable ASCII characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// What a guest's flush waits for: none, os or drive.
    #[serde(default, skip_serializing_if = "FlushMode::is_default")]
    pub flush: FlushMode,
    /// With tmp, writes go to a temporary file that is gone afterwards, and the image is not changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlay: Option<OverlayMode>,
    /// Whether a qcow2 image may use the backing file that it names.
    #[serde(default, skip_serializing_if = "is_false")]
    pub backing: bool,
}

/// The format of an image file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ImageFormat {
    /// The disk's bytes as they are: a file, sparse where the file system can, or a block device.
    Raw,
    /// QEMU's copy-on-write format, versions 2 and 3.
    Qcow2,
}

/// What a flush by the guest waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FlushMode {
    /// Nothing: data survives the end of rvmm, whatever its cause, but not the end of the host. The fastest.
    None,
    /// The host's `fsync`. On Linux that reaches the drive's medium; on macOS it can stop at the drive's own cache, which
    /// a power cut empties.
    Os,
    /// The drive's medium: `F_FULLFSYNC` on macOS, where it is much slower than `os`; `fdatasync` on Linux. The default,
    /// as nothing less keeps the promise that a flush makes to a guest.
    #[default]
    Drive,
}

/// Where writes go instead of into the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OverlayMode {
    /// Into a sparse temporary file without a name, in `$TMPDIR` or else `/var/tmp`.
    Tmp,
}

/// Text that is no [`DiskConfig`], or a configuration that contradicts itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseDiskError {
    /// No path.
    #[error("the path is empty")]
    NoPath,
    /// Not an option.
    #[error(
        "{name:?} is not an option of a disk: there are size, format, ro, serial, flush, overlay and backing; a comma in \
         a path is written twice"
    )]
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
    /// An option without its value.
    #[error("{name} needs a value: {choices}")]
    NoValue {
        /// The option.
        name: &'static str,
        /// What it can be.
        choices: &'static str,
    },
    /// A value that the option cannot have.
    #[error("{name}={value}: must be {choices}")]
    BadValue {
        /// The option.
        name: &'static str,
        /// What was given.
        value: String,
        /// What it can be.
        choices: &'static str,
    },
    /// Not a size.
    #[error("size: {0}")]
    Size(ParseSizeError),
    /// Not a serial number.
    #[error("serial={serial:?}: must be 1 to {MAX_SERIAL_BYTES} printable ASCII characters without a comma")]
    Serial {
        /// What was given.
        serial: String,
    },
    /// Two options that exclude each other.
    #[error("{first} and {second} exclude each other: {reason}")]
    Contradiction {
        /// One of the two.
        first: &'static str,
        /// The other.
        second: &'static str,
        /// Why.
        reason: &'static str,
    },
}

impl DiskConfig {
    /// A raw, writable disk in `path`, which must exist.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            size: None,
            format: None,
            ro: false,
            serial: None,
            flush: FlushMode::default(),
            overlay: None,
            backing: false,
        }
    }

    /// The format in force: the stated one, or raw.
    pub fn format_in_force(&self) -> ImageFormat {
        self.format.unwrap_or(ImageFormat::Raw)
    }

    /// Checks what can be checked without touching a file.
    ///
    /// # Errors
    /// Names the field and the value.
    pub fn validate(&self) -> Result<(), ParseDiskError> {
        if self.path.as_os_str().is_empty() {
            return Err(ParseDiskError::NoPath);
        }
        if let Some(serial) = &self.serial {
            let printable = |byte: u8| byte == b' ' || byte.is_ascii_graphic();
            let fits = (1..=MAX_SERIAL_BYTES).contains(&serial.len());
            if !fits || !serial.bytes().all(|byte| printable(byte) && byte != b',') {
                return Err(ParseDiskError::Serial { serial: serial.clone() });
            }
        }
        let contradiction =
            |first, second, reason| Err(ParseDiskError::Contradiction { first, second, reason });
        if self.ro && self.size.is_some() {
            return contradiction("ro", "size", "a read-only disk must exist already");
        }
        if self.ro && self.overlay.is_some() {
            return contradiction("ro", "overlay", "an overlay is there to be written");
        }
        if self.overlay.is_some() && self.size.is_some() {
            return contradiction("overlay", "size", "the image below an overlay must exist already");
        }
        if self.backing && self.format_in_force() == ImageFormat::Raw {
            return contradiction("backing=on", "format=raw", "only qcow2 has backing files");
        }
        Ok(())
    }
}

impl FlushMode {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_false(value: &bool) -> bool {
    !value
}

/// A choice by name.
type Choice<T> = (&'static str, T);

const FORMATS: [Choice<ImageFormat>; 2] = [("raw", ImageFormat::Raw), ("qcow2", ImageFormat::Qcow2)];
const FLUSHES: [Choice<FlushMode>; 3] =
    [("none", FlushMode::None), ("os", FlushMode::Os), ("drive", FlushMode::Drive)];
const OVERLAYS: [Choice<OverlayMode>; 1] = [("tmp", OverlayMode::Tmp)];
const SWITCH: [Choice<bool>; 2] = [("on", true), ("off", false)];

impl FromStr for DiskConfig {
    type Err = ParseDiskError;

    fn from_str(text: &str) -> Result<Self, ParseDiskError> {
        let (path, options) = split_path(text);
        let mut config = Self::new(path);
        let (mut ro, mut flush, mut backing) = (None, None, None);
        for option in options.into_iter().flat_map(|options| options.split(',')) {
            let (name, value) = match option.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (option, None),
            };
            match name {
                "size" => {
                    let size = needed("size", value, "a size, for example 20G")?;
                    set("size", &mut config.size, size.parse().map_err(ParseDiskError::Size)?)?;
                }
                "format" => {
                    set("format", &mut config.format, choose("format", value, &FORMATS, "raw or qcow2")?)?
                }
                "ro" => set("ro", &mut ro, switch("ro", value)?)?,
                "serial" => {
                    set(
                        "serial",
                        &mut config.serial,
                        needed("serial", value, "up to 20 characters")?.to_owned(),
                    )?;
                }
                "flush" => set("flush", &mut flush, choose("flush", value, &FLUSHES, "none, os or drive")?)?,
                "overlay" => {
                    set("overlay", &mut config.overlay, choose("overlay", value, &OVERLAYS, "tmp")?)?
                }
                "backing" => set("backing", &mut backing, switch("backing", value)?)?,
                _ => return Err(ParseDiskError::UnknownOption { name: name.to_owned() }),
            }
        }
        config.ro = ro.unwrap_or_default();
        config.flush = flush.unwrap_or_default();
        config.backing = backing.unwrap_or_default();
        config.validate()?;
        Ok(config)
    }
}

/// The path, its doubled commas made single, and what follows the first single comma.
fn split_path(text: &str) -> (String, Option<&str>) {
    let mut path = String::new();
    let mut rest = text;
    while let Some((front, behind)) = rest.split_once(',') {
        path.push_str(front);
        match behind.strip_prefix(',') {
            Some(behind) => {
                path.push(',');
                rest = behind;
            }
            None => return (path, Some(behind)),
        }
    }
    path.push_str(rest);
    (path, None)
}

fn needed<'a>(
    name: &'static str,
    value: Option<&'a str>,
    choices: &'static str,
) -> Result<&'a str, ParseDiskError> {
    value.filter(|value| !value.is_empty()).ok_or(ParseDiskError::NoValue { name, choices })
}

fn choose<T: Copy>(
    name: &'static str,
    value: Option<&str>,
    table: &[Choice<T>],
    choices: &'static str,
) -> Result<T, ParseDiskError> {
    let value = needed(name, value, choices)?;
    let found = table.iter().find(|(choice, _)| *choice == value);
    found.map(|(_, meaning)| *meaning).ok_or_else(|| ParseDiskError::BadValue {
        name,
        value: value.to_owned(),
        choices,
    })
}

/// A switch is on if it is named.
fn switch(name: &'static str, value: Option<&str>) -> Result<bool, ParseDiskError> {
    value.map_or(Ok(true), |value| choose(name, Some(value), &SWITCH, "on or off"))
}

fn set<T>(name: &'static str, field: &mut Option<T>, value: T) -> Result<(), ParseDiskError> {
    if field.replace(value).is_some() { Err(ParseDiskError::Twice { name }) } else { Ok(()) }
}

/// What [`FromStr`] reads.
impl fmt::Display for DiskConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display().to_string().replace(',', ",,"))?;
        let name = |table: &[(&'static str, bool)]| {
            table.iter().find(|(_, here)| *here).map_or("", |(name, _)| name)
        };
        if let Some(size) = self.size {
            write!(f, ",size={size}")?;
        }
        if let Some(format) = self.format {
            write!(f, ",format={}", name(&FORMATS.map(|(name, meaning)| (name, meaning == format))))?;
        }
        if self.ro {
            write!(f, ",ro")?;
        }
        if let Some(serial) = &self.serial {
            write!(f, ",serial={serial}")?;
        }
        if !self.flush.is_default() {
            write!(f, ",flush={}", name(&FLUSHES.map(|(name, meaning)| (name, meaning == self.flush))))?;
        }
        if let Some(overlay) = self.overlay {
            write!(f, ",overlay={}", name(&OVERLAYS.map(|(name, meaning)| (name, meaning == overlay))))?;
        }
        if self.backing {
            write!(f, ",backing=on")?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "config_test.rs"]
mod config_test;
