//! Whose a file is: what the guest sees as owner and mode, and what becomes of what it sets.

use std::str::FromStr;

use rustix::fs::XattrFlags;

use super::os::{Handle, Stat};
use super::wire::spec::{NO_USER, PERMISSIONS, file_type};
use super::wire::{Errno, Result};

/// How users and modes of the guest and the host belong together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IdMode {
    /// The guest's numbers are the host's. New files are given to the guest's user, which takes a privileged process; in
    /// another one they stay with the process's user, and a chown fails as it does there for any program. A guest's root
    /// can make set-user-id programs of root: for guests that are trusted.
    Passthrough,
    /// Every file belongs, for the guest, to one user and group; on the host, to the process's user. A chown succeeds and
    /// does nothing. Set-user-id and set-group-id bits of files are dropped.
    Squash {
        /// User id shown to the guest.
        uid: u32,
        /// Group id shown to the guest.
        gid: u32,
    },
    /// Owner, mode and device number are kept in the extended attribute [`MAPPED_XATTR`] and belong to the process's user
    /// on the host, so that any guest user may own files without privileges on the host. A file without the attribute
    /// shows the host's owner and mode. FIFOs, sockets and device nodes are empty files on the host. Linux has no such
    /// attributes for symlinks: their owner there is the host's, and a chown of one does nothing.
    #[default]
    Mapped,
}

/// The attribute of [`IdMode::Mapped`]: `v1 MODE UID GID MAJOR MINOR`, mode octal with the file type, the rest decimal.
/// Names that begin with `user.rvmm.` are hidden from guests and refused to them, whatever the mode.
pub const MAPPED_XATTR: &str = "user.rvmm.stat";

/// What names of the attributes of our own begin with.
pub(super) const RESERVED_XATTRS: &[u8] = b"user.rvmm.";

/// [`MAPPED_XATTR`] as system calls want it.
const ATTRIBUTE: &std::ffi::CStr = c"user.rvmm.stat";

/// Longest text of it.
const MAX_TEXT: usize = 128;

/// Bits of a mode that give a program its owner's or group's rights.
const SET_IDS: u32 = 0o6000;

/// What [`IdMode::Mapped`] keeps of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mapped {
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) device: (u32, u32),
}

impl Mapped {
    fn of(stat: &Stat) -> Self {
        Self { mode: stat.mode, uid: stat.uid, gid: stat.gid, device: stat.device }
    }

    fn text(&self) -> String {
        let (major, minor) = self.device;
        format!("v1 {:o} {} {} {major} {minor}", self.mode, self.uid, self.gid)
    }

    /// Reads the text; none if it is of another make.
    fn parse(text: &[u8]) -> Option<Self> {
        let mut words = std::str::from_utf8(text).ok()?.split(' ');
        if words.next() != Some("v1") {
            return None;
        }
        let mode = u32::from_str_radix(words.next()?, 8).ok()?;
        let mut number = || words.next().and_then(|word| u32::from_str(word).ok());
        let mapped = Self { mode, uid: number()?, gid: number()?, device: (number()?, number()?) };
        words.next().is_none().then_some(mapped)
    }

    /// Reads a file's attribute. One that cannot be read or understood counts as none: the host's user may have written
    /// anything there.
    fn read(handle: &Handle) -> Option<Self> {
        let mut text = [0; MAX_TEXT];
        let length = handle.xattr_get(ATTRIBUTE, &mut text).ok()?;
        Self::parse(text.get(..length)?)
    }

    fn write(&self, handle: &Handle) -> Result<()> {
        Ok(handle.xattr_set(ATTRIBUTE, self.text().as_bytes(), XattrFlags::empty())?)
    }

    /// The host's permissions for it: the guest's, but the process's user must always be able to read and write.
    fn host_permissions(&self) -> u32 {
        let own = if self.mode & file_type::MASK == file_type::DIRECTORY { 0o700 } else { 0o600 };
        self.mode & 0o777 | own
    }

    /// May a file of the host's type `host` stand for one of this type?
    fn fits(&self, host: u32) -> bool {
        let special = [file_type::FIFO, file_type::SOCKET, file_type::CHARACTER, file_type::BLOCK];
        let kind = self.mode & file_type::MASK;
        kind == host || host == file_type::REGULAR && special.contains(&kind)
    }
}

/// Owner and permissions that a new file is to have.
#[derive(Clone, Copy, Debug)]
pub(super) struct NewFile {
    /// File type and permissions for the guest.
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) device: (u32, u32),
}

impl IdMode {
    /// Does showing a file's attributes take a handle to it?
    pub(super) fn needs_handle(self, host_type: u32) -> bool {
        self == Self::Mapped && host_type != file_type::SYMLINK
    }

    /// Turns the host's attributes into the guest's. `handle` is the file's, where [`Self::needs_handle`].
    pub(super) fn show(self, stat: &mut Stat, handle: Option<&Handle>) {
        match self {
            Self::Passthrough => {}
            Self::Squash { uid, gid } => (stat.uid, stat.gid) = (uid, gid),
            Self::Mapped => {
                let Some(mapped) = handle.and_then(Mapped::read) else { return };
                if mapped.fits(stat.file_type()) {
                    (stat.mode, stat.uid, stat.gid) = (mapped.mode, mapped.uid, mapped.gid);
                    stat.device = mapped.device;
                }
            }
        }
    }

    /// The mode that a new file of the guest's `mode` is made with, before [`Self::settle`]: no more than it will have.
    pub(super) fn first_permissions(self, mode: u32) -> u32 {
        match self {
            Self::Mapped => 0o600 | mode & 0o100,
            Self::Passthrough | Self::Squash { .. } => mode & 0o777,
        }
    }

    /// Gives what has just been made its owner and mode; answers its attributes on the host.
    ///
    /// # Errors
    /// What the host says; the caller removes the file then.
    pub(super) fn settle(self, handle: &Handle, new: &NewFile) -> Result<Stat> {
        let mut stat = handle.stat()?;
        let permissions = match self {
            Self::Passthrough => {
                if give_away(handle, &stat, new)? {
                    stat = handle.stat()?; // a new owner may have cost it mode bits
                }
                new.mode & PERMISSIONS
            }
            Self::Squash { .. } => squashed(new.mode, stat.file_type()),
            Self::Mapped if stat.file_type() == file_type::SYMLINK => return Ok(stat),
            Self::Mapped => {
                let uid = if new.uid == NO_USER { stat.uid } else { new.uid };
                let gid = if new.gid == NO_USER { stat.gid } else { new.gid };
                let mapped = Mapped { mode: new.mode, uid, gid, device: new.device };
                mapped.write(handle)?;
                mapped.host_permissions()
            }
        };
        if stat.file_type() == file_type::SYMLINK || stat.mode & PERMISSIONS == permissions {
            return Ok(stat);
        }
        handle.chmod(permissions)?;
        Ok(handle.stat()?)
    }

    /// Takes from a regular file that is about to be written to the right to run as its owner or group, as a kernel does.
    /// The caller sees to it as in [`Self::change`].
    ///
    /// # Errors
    /// What the host says.
    pub(super) fn drop_set_ids(self, handle: &Handle) -> Result<()> {
        let mut stat = handle.stat()?;
        self.show(&mut stat, Some(handle));
        if !gives_rights(stat.mode) {
            return Ok(());
        }
        let group = if stat.mode & 0o010 == 0 { 0 } else { 0o2000 };
        match self.change(handle, Some(stat.mode & !(0o4000 | group)), None, None) {
            // Neither the file's owner nor privileged: then the host's kernel does it as well.
            Err(Errno::EPERM) => Ok(()),
            other => other,
        }
    }

    /// Changes owner, group and permissions, those that are given. The caller sees to it that no two of these go on at
    /// once.
    ///
    /// # Errors
    /// What the host says.
    pub(super) fn change(
        self,
        handle: &Handle,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
    ) -> Result<()> {
        match self {
            Self::Passthrough => {
                // The owner first: that takes set-user-id bits away, which the mode may bring.
                if uid.is_some() || gid.is_some() {
                    handle.chown(uid, gid)?;
                }
                match mode {
                    Some(mode) => Ok(handle.chmod(mode & PERMISSIONS)?),
                    None => Ok(()),
                }
            }
            Self::Squash { .. } => match mode {
                Some(mode) => Ok(handle.chmod(squashed(mode, handle.stat()?.file_type()))?),
                None => Ok(()),
            },
            Self::Mapped => change_mapped(handle, mode, uid, gid),
        }
    }
}

/// Does it make a program of its owner's or its group's rights? Without the right to execute, set-group-id means another
/// thing.
pub(super) fn gives_rights(mode: u32) -> bool {
    mode & 0o4000 != 0 || mode & 0o2010 == 0o2010
}

/// Gives a new file to the guest's user, if it is another's; answers whether something was changed.
fn give_away(handle: &Handle, stat: &Stat, new: &NewFile) -> Result<bool> {
    let uid = Some(new.uid).filter(|uid| *uid != stat.uid && *uid != NO_USER);
    let gid = Some(new.gid).filter(|gid| *gid != stat.gid && *gid != NO_USER);
    if uid.is_none() && gid.is_none() {
        return Ok(false);
    }
    match handle.chown(uid, gid) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::PERM) => Ok(false), // not privileged: the file stays with the process's user
        Err(error) => Err(error.into()),
    }
}

/// Permissions that [`IdMode::Squash`] gives a file on the host.
fn squashed(mode: u32, kind: u32) -> u32 {
    let dropped = if kind == file_type::DIRECTORY { 0 } else { SET_IDS };
    mode & PERMISSIONS & !dropped
}

fn change_mapped(handle: &Handle, mode: Option<u32>, uid: Option<u32>, gid: Option<u32>) -> Result<()> {
    let stat = handle.stat()?;
    if stat.file_type() == file_type::SYMLINK {
        return if mode.is_some() { Err(Errno::EOPNOTSUPP) } else { Ok(()) };
    }
    let mut mapped =
        Mapped::read(handle).filter(|mapped| mapped.fits(stat.file_type())).unwrap_or(Mapped::of(&stat));
    if let Some(mode) = mode {
        mapped.mode = mapped.mode & file_type::MASK | mode & PERMISSIONS;
    }
    mapped.uid = uid.unwrap_or(mapped.uid);
    mapped.gid = gid.unwrap_or(mapped.gid);
    mapped.write(handle)?;
    match mode {
        Some(_) => Ok(handle.chmod(mapped.host_permissions())?),
        None => Ok(()),
    }
}

#[cfg(test)]
#[path = "identity_test.rs"]
mod identity_test;
