//! Requests: decoding of everything but a Twrite's data, which stays where it is.

use super::spec::{MAX_WALK_NAMES, message};
use super::{Errno, OpenFlags, Result};

/// A request, with names as they came: checked where they are used.
#[derive(Debug, PartialEq)]
pub(in crate::p9) enum Request<'a> {
    Statfs { fid: u32 },
    Lopen { fid: u32, flags: OpenFlags },
    Lcreate { fid: u32, name: &'a [u8], flags: OpenFlags, mode: u32, gid: u32 },
    Symlink { dir: u32, name: &'a [u8], target: &'a [u8], gid: u32 },
    Mknod { dir: u32, name: &'a [u8], mode: u32, device: (u32, u32), gid: u32 },
    Rename { fid: u32, dir: u32, name: &'a [u8] },
    Readlink { fid: u32 },
    Getattr { fid: u32 },
    Setattr { fid: u32, attr: SetAttr },
    XattrWalk { fid: u32, new_fid: u32, name: &'a [u8] },
    XattrCreate { fid: u32, name: &'a [u8], size: u64, flags: u32 },
    Readdir { fid: u32, offset: u64, count: u32 },
    Fsync { fid: u32, data_only: bool },
    Lock { fid: u32, lock: Lock<'a> },
    Getlock { fid: u32, lock: Lock<'a> },
    Link { dir: u32, fid: u32, name: &'a [u8] },
    Mkdir { dir: u32, name: &'a [u8], mode: u32, gid: u32 },
    Renameat { dir: u32, name: &'a [u8], new_dir: u32, new_name: &'a [u8] },
    Unlinkat { dir: u32, name: &'a [u8], flags: u32 },
    Version { msize: u32, version: &'a [u8] },
    Auth,
    Attach { fid: u32, auth_fid: u32, name: &'a [u8], uid: u32 },
    Flush { old_tag: u16 },
    Walk { fid: u32, new_fid: u32, names: Vec<&'a [u8]> },
    Read { fid: u32, offset: u64, count: u32 },
    Write { fid: u32, offset: u64, count: u32 },
    Clunk { fid: u32 },
    Remove { fid: u32 },
}

/// What Tsetattr asks for; `valid` says which fields count (`spec::setattr`). Times are seconds and nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(in crate::p9) struct SetAttr {
    pub(in crate::p9) valid: u32,
    pub(in crate::p9) mode: u32,
    pub(in crate::p9) uid: u32,
    pub(in crate::p9) gid: u32,
    pub(in crate::p9) size: u64,
    pub(in crate::p9) atime: (u64, u64),
    pub(in crate::p9) mtime: (u64, u64),
}

/// A byte-range lock, of Tlock and Tgetlock. A length of 0 reaches to the end of the file.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::p9) struct Lock<'a> {
    pub(in crate::p9) kind: u8,
    pub(in crate::p9) start: u64,
    pub(in crate::p9) length: u64,
    pub(in crate::p9) process: u32,
    pub(in crate::p9) client: &'a [u8],
}

/// Takes fields off the front of a message.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Errno::EPROTO)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Errno::EPROTO)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn u8(&mut self) -> Result<u8> {
        self.array().map(u8::from_le_bytes)
    }

    fn u16(&mut self) -> Result<u16> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// A string: a length of 16 bits and so many bytes, of whatever encoding.
    fn string(&mut self) -> Result<&'a [u8]> {
        let length = self.u16()?;
        self.take(length.into())
    }
}

impl<'a> Request<'a> {
    /// Decodes the message of type `kind` whose bytes behind the header are `body`; a Twrite's up to its data. What
    /// follows the last field is ignored.
    ///
    /// # Errors
    /// EPROTO if a field is cut short, EOPNOTSUPP for a type that is no request of this dialect, EINVAL for too many names
    /// in a walk.
    pub(in crate::p9) fn decode(kind: u8, body: &'a [u8]) -> Result<Self> {
        let f = &mut Fields(body);
        // The fields of a literal are evaluated in the order they are written in, which is the message's.
        Ok(match kind {
            message::TSTATFS => Self::Statfs { fid: f.u32()? },
            message::TLOPEN => Self::Lopen { fid: f.u32()?, flags: OpenFlags(f.u32()?) },
            message::TLCREATE => Self::Lcreate {
                fid: f.u32()?,
                name: f.string()?,
                flags: OpenFlags(f.u32()?),
                mode: f.u32()?,
                gid: f.u32()?,
            },
            message::TSYMLINK => {
                Self::Symlink { dir: f.u32()?, name: f.string()?, target: f.string()?, gid: f.u32()? }
            }
            message::TMKNOD => Self::Mknod {
                dir: f.u32()?,
                name: f.string()?,
                mode: f.u32()?,
                device: (f.u32()?, f.u32()?),
                gid: f.u32()?,
            },
            message::TRENAME => Self::Rename { fid: f.u32()?, dir: f.u32()?, name: f.string()? },
            message::TREADLINK => Self::Readlink { fid: f.u32()? },
            message::TGETATTR => Self::Getattr { fid: f.u32()? },
            message::TSETATTR => Self::Setattr { fid: f.u32()?, attr: set_attr(f)? },
            message::TXATTRWALK => Self::XattrWalk { fid: f.u32()?, new_fid: f.u32()?, name: f.string()? },
            message::TXATTRCREATE => {
                Self::XattrCreate { fid: f.u32()?, name: f.string()?, size: f.u64()?, flags: f.u32()? }
            }
            message::TREADDIR => Self::Readdir { fid: f.u32()?, offset: f.u64()?, count: f.u32()? },
            message::TFSYNC => {
                // Clients of old send no datasync field.
                Self::Fsync { fid: f.u32()?, data_only: f.u32().unwrap_or(0) != 0 }
            }
            message::TLOCK => {
                let (fid, kind, _flags) = (f.u32()?, f.u8()?, f.u32()?);
                Self::Lock { fid, lock: lock(kind, f)? }
            }
            message::TGETLOCK => {
                let (fid, kind) = (f.u32()?, f.u8()?);
                Self::Getlock { fid, lock: lock(kind, f)? }
            }
            message::TLINK => Self::Link { dir: f.u32()?, fid: f.u32()?, name: f.string()? },
            message::TMKDIR => {
                Self::Mkdir { dir: f.u32()?, name: f.string()?, mode: f.u32()?, gid: f.u32()? }
            }
            message::TRENAMEAT => {
                Self::Renameat { dir: f.u32()?, name: f.string()?, new_dir: f.u32()?, new_name: f.string()? }
            }
            message::TUNLINKAT => Self::Unlinkat { dir: f.u32()?, name: f.string()?, flags: f.u32()? },
            message::TVERSION => Self::Version { msize: f.u32()?, version: f.string()? },
            message::TAUTH => Self::Auth,
            message::TATTACH => {
                let (fid, auth_fid, _user) = (f.u32()?, f.u32()?, f.string()?);
                Self::Attach { fid, auth_fid, name: f.string()?, uid: f.u32()? }
            }
            message::TFLUSH => Self::Flush { old_tag: f.u16()? },
            message::TWALK => {
                let (fid, new_fid, count) = (f.u32()?, f.u32()?, usize::from(f.u16()?));
                if count > MAX_WALK_NAMES {
                    return Err(Errno::EINVAL);
                }
                Self::Walk { fid, new_fid, names: (0..count).map(|_| f.string()).collect::<Result<_>>()? }
            }
            message::TREAD => Self::Read { fid: f.u32()?, offset: f.u64()?, count: f.u32()? },
            message::TWRITE => Self::Write { fid: f.u32()?, offset: f.u64()?, count: f.u32()? },
            message::TCLUNK => Self::Clunk { fid: f.u32()? },
            message::TREMOVE => Self::Remove { fid: f.u32()? },
            _ => return Err(Errno::EOPNOTSUPP),
        })
    }
}

fn set_attr(f: &mut Fields<'_>) -> Result<SetAttr> {
    Ok(SetAttr {
        valid: f.u32()?,
        mode: f.u32()?,
        uid: f.u32()?,
        gid: f.u32()?,
        size: f.u64()?,
        atime: (f.u64()?, f.u64()?),
        mtime: (f.u64()?, f.u64()?),
    })
}

fn lock<'a>(kind: u8, f: &mut Fields<'a>) -> Result<Lock<'a>> {
    Ok(Lock { kind, start: f.u64()?, length: f.u64()?, process: f.u32()?, client: f.string()? })
}
