//! What requests do. One file per family; each is part of [`Server`].

mod attributes;
mod create;
mod directories;
mod files;
mod locks;
mod walk;
mod xattrs;

use std::ops::Deref;
use std::sync::Arc;

use super::Server;
use super::fid::{OpenFile, Role, State};
use super::os::{Handle, Stat};
use super::wire::Result;

/// A way to a fid's file: if it is open, through that, so that it works when the name is long gone.
enum Reached {
    Open(Arc<OpenFile>),
    Closed(Arc<Handle>),
}

impl Deref for Reached {
    type Target = Handle;

    fn deref(&self) -> &Handle {
        match self {
            Self::Open(file) => &file.handle,
            Self::Closed(handle) => handle,
        }
    }
}

impl Server {
    fn reach(&self, state: &State) -> Result<Reached> {
        match &state.role {
            Role::File(file) => Ok(Reached::Open(Arc::clone(file))),
            _ => self.tree.handle(&state.node).map(Reached::Closed),
        }
    }

    /// A file's attributes on the host.
    fn host_stat(&self, state: &State) -> Result<Stat> {
        match &state.role {
            Role::File(file) => Ok(file.handle.stat()?),
            _ => self.tree.stat(&state.node),
        }
    }
}
