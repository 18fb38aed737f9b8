//! Why a machine cannot be made.

use std::io;
use std::path::PathBuf;

use crate::config::ConfigError;
use crate::console::EndpointError;
use crate::memory::{MapError, RamError};

/// Why a machine cannot be made. Each message is one line and names the file or the setting; sources say the rest.
#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    /// The configuration describes no machine.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A file cannot be read.
    #[error("{what} {}", .path.display())]
    File {
        /// `kernel` or `initrd`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The host's reason.
        source: io::Error,
    },
    /// A file is larger than guest memory.
    #[error("{what} {}: the file is larger than the guest's memory of {memory_bytes} bytes", .path.display())]
    FileTooLarge {
        /// `kernel` or `initrd`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Guest memory.
        memory_bytes: u64,
    },
    /// The kernel file is none, or damaged.
    #[error(transparent)]
    Kernel(#[from] boot::KernelError),
    /// The initramfs file is none, or damaged.
    #[error(transparent)]
    Initramfs(#[from] boot::InitramfsError),
    /// Kernel, initramfs, command line and memory do not go together.
    #[error(transparent)]
    Plan(#[from] boot::PlanError),
    /// The serial back end.
    #[error(transparent)]
    Serial(#[from] EndpointError),
    /// The memory map.
    #[error(transparent)]
    Map(#[from] MapError),
    /// Guest memory.
    #[error(transparent)]
    Ram(#[from] RamError),
    /// The provider of virtual CPUs.
    #[error("engine {engine}")]
    Framework {
        /// `hvf` or `soft`.
        engine: &'static str,
        /// The call that failed.
        source: hypervisor_framework::Error,
    },
    /// Something of the machine itself.
    #[error("{what}: {reason}")]
    Internal {
        /// Which part.
        what: &'static str,
        /// Why.
        reason: String,
    },
}

impl MachineError {
    pub(super) fn internal(what: &'static str, reason: impl ToString) -> Self {
        Self::Internal { what, reason: reason.to_string() }
    }
}
