//! Why a machine cannot be made.

use std::io;
use std::path::PathBuf;

use devices::disk::DiskError;
use devices::net::OpenError;
use devices::virtio::vsock::VsockError;

use boot::{InitramfsError, KernelError, PlanError, UnpackError};
use hypervisor_framework::ReturnCode;

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
    Kernel(#[from] KernelError),
    /// The initramfs file is none, or damaged.
    #[error(transparent)]
    Initramfs(#[from] InitramfsError),
    /// Kernel, initramfs, command line and memory do not go together.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The serial back end.
    #[error(transparent)]
    Serial(#[from] EndpointError),
    /// The memory map.
    #[error(transparent)]
    Map(#[from] MapError),
    /// Guest memory.
    #[error(transparent)]
    Ram(#[from] RamError),
    /// A disk.
    #[error("disk")]
    Disk(#[from] DiskError),
    /// A network.
    #[error("network")]
    Net(#[from] OpenError),
    /// A shared folder.
    #[error("share {}: {reason}", .path.display())]
    Share {
        /// The folder.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The vsock's socket.
    #[error("vsock")]
    Vsock(#[from] VsockError),
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

/// What kind of thing went wrong, for callers that act on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The configuration.
    Config,
    /// A file cannot be read.
    Unreadable,
    /// A file is not what it should be.
    Unusable,
    /// Something is too large for guest memory, or for the kernel.
    DoesNotFit,
    /// The serial back end.
    Serial,
    /// A disk, network, share or socket.
    Device,
    /// The engine refuses this host or this process.
    NoEngine,
    /// The engine refuses this process: the entitlement is missing.
    NotEntitled,
    /// The rest.
    Other,
}

impl MachineError {
    /// What kind of error this is.
    pub fn cause(&self) -> Cause {
        match self {
            Self::Config(_) | Self::Plan(PlanError::CommandLineCharacter { .. }) => Cause::Config,
            Self::File { .. } => Cause::Unreadable,
            Self::FileTooLarge { .. }
            | Self::Plan(_)
            | Self::Kernel(KernelError::Unpack { source: UnpackError::TooLarge { .. }, .. })
            | Self::Initramfs(InitramfsError::Unpack { source: UnpackError::TooLarge { .. }, .. }) => {
                Cause::DoesNotFit
            }
            Self::Kernel(_) | Self::Initramfs(_) => Cause::Unusable,
            Self::Serial(_) => Cause::Serial,
            Self::Disk(_) | Self::Net(_) | Self::Share { .. } | Self::Vsock(_) => Cause::Device,
            Self::Framework { source, .. } => match source.code {
                ReturnCode::DENIED => Cause::NotEntitled,
                ReturnCode::NO_DEVICE | ReturnCode::UNSUPPORTED => Cause::NoEngine,
                _ => Cause::Other,
            },
            Self::Map(_) | Self::Ram(_) | Self::Internal { .. } => Cause::Other,
        }
    }

    pub(super) fn internal(what: &'static str, reason: impl ToString) -> Self {
        Self::Internal { what, reason: reason.to_string() }
    }
}
