//! A shared folder, as a user asks for it.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Most bytes of a tag: what fits into the device's configuration with room to spare.
const MAX_TAG_BYTES: usize = 255;

/// A folder of the host that the guest mounts over virtio-9p.
///
/// As text, `PATH[,tag=TAG][,mount=PATH|off][,ro][,ids=passthrough|mapped|squash][,uid=N][,gid=N]`; a comma in a path is
/// written twice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShareConfig {
    /// The folder on the host.
    pub path: PathBuf,
    /// The name by which the guest mounts it; `share` and its number without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// Where the guest is asked to mount it (`rvmm.share=TAG:PATH` on its command line): the host's path without, `off` for
    /// no request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mount: Option<String>,
    /// The guest cannot change anything.
    #[serde(default, skip_serializing_if = "is_false")]
    pub ro: bool,
    /// Whose the files are.
    #[serde(default, skip_serializing_if = "ShareIds::is_default")]
    pub ids: ShareIds,
    /// With `ids=squash`, the user whose all files are; the host's user without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// With `ids=squash`, the group; the host's without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gid: Option<u32>,
}

/// Whose the files of a share are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ShareIds {
    /// The host's users, groups and modes as they are; what rvmm's user may not do fails.
    Passthrough,
    /// Owners, modes and device nodes that the guest sets are kept in extended attributes; on the host, files are rvmm's
    /// user's.
    #[default]
    Mapped,
    /// All files are one user's and group's.
    Squash,
}

impl ShareIds {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

fn is_false(value: &bool) -> bool {
    !value
}

/// Text that is no [`ShareConfig`], or a share that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ShareTextError {
    /// No path.
    #[error("the path is empty")]
    NoPath,
    /// Not an option.
    #[error(
        "{0:?} is not an option of a share: there are tag, mount, ro, ids, uid and gid; a comma in a path is written twice"
    )]
    UnknownOption(String),
    /// A value that the option cannot have.
    #[error("{option}={value}: must be {choices}")]
    BadValue {
        /// The option.
        option: &'static str,
        /// What was given.
        value: String,
        /// What it can be.
        choices: &'static str,
    },
}

impl ShareConfig {
    /// A writable share of `path`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            tag: None,
            mount: None,
            ro: false,
            ids: ShareIds::default(),
            uid: None,
            gid: None,
        }
    }

    /// Checks what can be checked without touching a file.
    ///
    /// # Errors
    /// [`ShareTextError::BadValue`].
    pub fn validate(&self) -> Result<(), ShareTextError> {
        let bad = |option, value: String, choices| ShareTextError::BadValue { option, value, choices };
        if self.path.as_os_str().is_empty() {
            return Err(ShareTextError::NoPath);
        }
        let word = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        if let Some(tag) = self
            .tag
            .as_ref()
            .filter(|tag| !word(tag) || tag.len() > MAX_TAG_BYTES || tag.contains([':', ',', '"']))
        {
            let choices = "1 to 255 printable characters other than ':', ',' and '\"'";
            return Err(bad("tag", tag.clone(), choices));
        }
        match &self.mount {
            Some(mount) if mount != "off" && !is_mountable(mount) => {
                Err(bad("mount", mount.clone(), "an absolute path without ':' and ',', or off"))
            }
            _ if self.ids != ShareIds::Squash && (self.uid.is_some() || self.gid.is_some()) => {
                let value = self.uid.or(self.gid).unwrap_or_default().to_string();
                Err(bad("uid", value, "given with ids=squash"))
            }
            _ => Ok(()),
        }
    }

    /// The tag of the share that is number `index`.
    pub fn tag(&self, index: usize) -> String {
        self.tag.clone().unwrap_or_else(|| format!("share{index}"))
    }

    /// What the guest's command line says of share number `index`: `rvmm.share=TAG:PATH[:ro]`.
    pub fn cmdline(&self, index: usize) -> Option<String> {
        let absolute;
        let mount = match self.mount.as_deref() {
            Some("off") => return None,
            Some(mount) => mount,
            None => {
                absolute = std::path::absolute(&self.path).ok()?;
                absolute.to_str().filter(|path| is_mountable(path))?
            }
        };
        let mount = mount.replace(' ', "\\040");
        Some(format!("rvmm.share={}:{mount}{}", self.tag(index), if self.ro { ":ro" } else { "" }))
    }
}

/// Can this path stand in `rvmm.share`?
fn is_mountable(path: &str) -> bool {
    Path::new(path).is_absolute() && !path.contains([':', ',', '"']) && !path.chars().any(char::is_control)
}

impl FromStr for ShareConfig {
    type Err = ShareTextError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // A doubled comma is a comma of the path.
        let marked = text.replace(",,", "\0");
        let mut words = marked.split(',').map(|word| word.replace('\0', ","));
        let mut share = Self::new(words.next().unwrap_or_default());
        let mut ids = None;
        for word in words {
            let (option, value) = word.split_once('=').unwrap_or((&word, ""));
            let bad = |option, choices| ShareTextError::BadValue { option, value: value.to_owned(), choices };
            let number = |option| value.parse().map(Some).map_err(|_| bad(option, "a number"));
            match option {
                "tag" => share.tag = Some(value.to_owned()),
                "mount" => share.mount = Some(value.to_owned()),
                "ro" if matches!(value, "" | "on") => share.ro = true,
                "ro" if value == "off" => share.ro = false,
                "ids" => {
                    ids = Some(match value {
                        "passthrough" => ShareIds::Passthrough,
                        "mapped" => ShareIds::Mapped,
                        "squash" => ShareIds::Squash,
                        _ => return Err(bad("ids", "passthrough, mapped or squash")),
                    });
                }
                "uid" => share.uid = number("uid")?,
                "gid" => share.gid = number("gid")?,
                _ => return Err(ShareTextError::UnknownOption(word)),
            }
        }
        share.ids = ids.unwrap_or_default();
        // An owner is only ever given to squash to it.
        if ids.is_none() && (share.uid.is_some() || share.gid.is_some()) {
            share.ids = ShareIds::Squash;
        }
        share.validate()?;
        Ok(share)
    }
}

#[cfg(test)]
#[path = "share_test.rs"]
mod share_test;
