//! What requests do. One file per family; each is part of [`Server`].

mod attributes;
mod create;
mod directories;
mod files;
mod locks;
mod walk;
mod xattrs;

use std::sync::Arc;

use super::Server;
use super::fid::{Role, State};
use super::os::{Handle, Stat};
use super::wire::Result;

impl Server {
    /// A way to a fid's file: if it is open, through that, so that it works when the name is long gone.
    fn reach(&self, state: &State) -> Result<Arc<Handle>> {
        match &state.role {
            Role::File(file) => file.descriptor().map_or_else(|| self.tree.handle(&state.node), Ok),
            _ => self.tree.handle(&state.node),
        }
    }

    /// A file's attributes on the host.
    fn host_stat(&self, state: &State) -> Result<Stat> {
        if let Role::File(file) = &state.role
            && let Some(handle) = file.descriptor()
        {
            return Ok(handle.stat()?);
        }
        self.tree.stat(&state.node)
    }
}
