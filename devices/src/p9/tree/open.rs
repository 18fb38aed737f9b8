//! Open regular files, of which there may be more than descriptors.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use rustix::fs::OFlags;

use super::handles::{HandleSlot, Holder};
use super::{Node, Tree};
use crate::p9::os::Handle;
use crate::p9::wire::Result;

/// An open regular file. Its descriptor may be closed while nobody uses it, and is had again from its node.
#[derive(Debug)]
pub(in crate::p9) struct OpenFile {
    /// Tells it from every other one of this server.
    pub(in crate::p9) serial: u64,
    /// What [`Server::set_ids`](crate::p9::Server) was when the file was last known to be no set-user-id program.
    pub(in crate::p9) plain: AtomicU64,
    node: Arc<Node>,
    /// How it is opened again.
    flags: OFlags,
    handle: HandleSlot,
}

impl OpenFile {
    /// Its descriptor, if it has one at the time.
    pub(in crate::p9) fn descriptor(&self) -> Option<Arc<Handle>> {
        self.handle.get()
    }
}

impl Holder for OpenFile {
    fn handle_slot(&self) -> &HandleSlot {
        &self.handle
    }

    /// Without a name a host may have no way to open it as it was.
    fn is_pinned(&self) -> bool {
        !self.node.is_linked()
    }
}

impl Tree {
    /// Notes that the file of `node` was opened with `flags`. `plain` is 0 if it may be a set-user-id program.
    pub(in crate::p9) fn opened(
        &self,
        node: &Arc<Node>,
        (handle, flags): (Handle, OFlags),
        serial: u64,
        plain: u64,
    ) -> Arc<OpenFile> {
        let (node, slot) = (Arc::clone(node), HandleSlot::default());
        let file = Arc::new(OpenFile { serial, plain: plain.into(), node, flags, handle: slot });
        self.open_files.keep(&file, &Arc::new(handle));
        file
    }

    /// The descriptor of an open file; opened again if it was closed.
    ///
    /// # Errors
    /// As [`Tree::handle`], and what open(2) says, if it was closed.
    pub(in crate::p9) fn descriptor(&self, file: &Arc<OpenFile>) -> Result<Arc<Handle>> {
        if let Some(handle) = file.descriptor() {
            return Ok(handle);
        }
        let way = self.handle(&file.node)?;
        let fd = self.with_room(|| Ok(way.open_file(file.flags)?))?;
        let handle = Arc::new(Handle::of_open(fd));
        self.open_files.keep(file, &handle);
        Ok(handle)
    }
}
