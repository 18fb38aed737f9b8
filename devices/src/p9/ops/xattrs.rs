//! Extended attributes: read and listed through a fid of their own, written through one and set when it is clunked.

use std::ffi::CString;
use std::sync::{Arc, Mutex};

use rustix::fs::XattrFlags;

use crate::p9::fid::{Fid, Role, State, XattrValue, XattrWrite};
use crate::p9::identity::RESERVED_XATTRS;
use crate::p9::os::{self, Handle, HostResult};
use crate::p9::wire::spec::xattr;
use crate::p9::wire::{Errno, Reply, Result};
use crate::p9::{IdMode, Server};

/// Longest value and longest list of names (Linux's `XATTR_SIZE_MAX` and `XATTR_LIST_MAX`).
const MAX_VALUE: usize = 65_536;
/// What most values fit into.
const USUAL_VALUE: usize = 512;

impl Server {
    /// Does the share's file system keep user attributes?
    pub(in crate::p9) fn has_attributes(&self) -> bool {
        let root = self.tree.handle(self.tree.root());
        root.and_then(|root| Ok(root.xattr_get(c"user.rvmm.probe", &mut [0; 8])?)) != Err(Errno::EOPNOTSUPP)
    }

    /// May the guest use attributes of this name? Those of the system (capabilities, labels, access lists) mean something
    /// on the host, so they are for guests whose users are the host's.
    fn is_open_to_guest(&self, name: &[u8]) -> bool {
        let everything = self.ids == IdMode::Passthrough && os::XATTR_NAMESPACES;
        (everything || name.starts_with(b"user.")) && !name.starts_with(RESERVED_XATTRS)
    }

    /// # Errors
    /// EOPNOTSUPP for a name that is not the guest's to use, EINVAL for one that cannot be.
    fn attribute_name(&self, name: &[u8]) -> Result<CString> {
        if !self.is_open_to_guest(name) {
            return Err(Errno::EOPNOTSUPP);
        }
        CString::new(name).map_err(|_| Errno::EINVAL)
    }

    /// Txattrwalk: a new fid to read the attribute `name` through, or the list of names if it is "". Answers its length.
    pub(in crate::p9) fn xattr_walk(
        &self,
        fid: u32,
        new_fid: u32,
        name: &[u8],
        reply: Reply,
    ) -> Result<Reply> {
        let fid = self.fids.get(fid)?;
        let state = fid.state();
        let bytes = if name.is_empty() {
            let handle = self.reach(&state)?;
            self.list(&handle)?
        } else {
            let name = self.attribute_name(name)?;
            let handle = self.reach(&state)?;
            sized(|value| handle.xattr_get(&name, value))?
        };
        let length = bytes.len();
        let _charge = self.memory.take(length).ok_or(Errno::ENOMEM)?;
        let role = Role::XattrRead(Arc::new(XattrValue { bytes, _charge }));
        self.fids.insert(new_fid, Fid::with_role(state.node, fid.uid, role))?;
        Ok(reply.u64(length as u64))
    }

    fn list(&self, handle: &Handle) -> Result<Vec<u8>> {
        let all = sized(|names| handle.xattr_list(names))?;
        let names = all.split_inclusive(|byte| *byte == 0);
        Ok(names.filter(|name| self.is_open_to_guest(name)).flatten().copied().collect())
    }

    /// Txattrcreate: the fid becomes one that the value is written to.
    pub(in crate::p9) fn xattr_create(&self, fid: u32, name: &[u8], size: u64, flags: u32) -> Result<()> {
        self.check_writable()?;
        let name = self.attribute_name(name)?;
        let fid = self.fids.get(fid)?;
        let size = usize::try_from(size).ok().filter(|size| *size <= MAX_VALUE).ok_or(Errno::E2BIG)?;
        let _charge = self.memory.take(size).ok_or(Errno::ENOMEM)?;
        let value = XattrValue { bytes: vec![0; size], _charge };
        let write = XattrWrite { name, value, written: 0, flags };
        fid.become_open(fid.node(), Role::XattrWrite(Arc::new(Mutex::new(write))))
    }

    /// Sets, or removes, the attribute whose fid is clunked.
    ///
    /// Linux's client says "remove" as "replace by nothing", which cannot be told from setting an existing attribute to an
    /// empty value with `XATTR_REPLACE`: that removes it too.
    pub(in crate::p9) fn set_xattr(&self, state: &State, write: &XattrWrite) -> Result<()> {
        if write.written != write.value.bytes.len() {
            return Err(Errno::EINVAL);
        }
        let handle = self.tree.handle(&state.node)?;
        if write.value.bytes.is_empty() && write.flags == xattr::REPLACE {
            return Ok(handle.xattr_remove(&write.name)?);
        }
        let flags = match write.flags {
            0 => XattrFlags::empty(),
            xattr::CREATE => XattrFlags::CREATE,
            xattr::REPLACE => XattrFlags::REPLACE,
            _ => return Err(Errno::EINVAL),
        };
        Ok(handle.xattr_set(&write.name, &write.value.bytes, flags)?)
    }
}

/// What `get` puts into a buffer, whose length is only known afterwards.
fn sized(get: impl Fn(&mut [u8]) -> HostResult<usize>) -> Result<Vec<u8>> {
    for size in [USUAL_VALUE, MAX_VALUE] {
        let mut value = vec![0; size];
        match get(&mut value) {
            Ok(length) => {
                value.truncate(length);
                return Ok(value);
            }
            Err(rustix::io::Errno::RANGE) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Errno::E2BIG)
}
