//! The virtio devices a configuration asks for.

use devices::disk::DiskImage;
use devices::p9::{self, IdMode, Server};
use devices::virtio::VirtioDevice;
use devices::virtio::blk::Block;
use devices::virtio::p9::P9;
use devices::virtio::rng::Rng;
use devices::virtio::vsock::Vsock;

use super::MachineError;
use crate::config::{MachineConfig, ShareConfig, ShareIds};

/// Most queues of a disk; a queue per vCPU is of use.
const MAX_DISK_QUEUES: u16 = 16;

/// Makes them, in the order in which the guest is to find them. Opens what they need of the host.
pub(super) fn make(config: &MachineConfig) -> Result<Vec<Box<dyn VirtioDevice>>, MachineError> {
    let mut devices: Vec<Box<dyn VirtioDevice>> = Vec::new();
    let queues = u16::try_from(config.cpus).unwrap_or(MAX_DISK_QUEUES).min(MAX_DISK_QUEUES);
    for disk in &config.disks {
        devices.push(Box::new(Block::new(DiskImage::open(disk)?, queues)));
    }
    for (index, share) in config.shares.iter().enumerate() {
        devices.push(Box::new(share_device(index, share)?));
    }
    if let Some(vsock) = &config.vsock {
        devices.push(Box::new(Vsock::new(vsock)?));
    }
    if config.rng {
        devices.push(Box::new(Rng::new(Box::new(|bytes| getrandom::fill(bytes).is_ok()))));
    }
    Ok(devices)
}

fn share_device(index: usize, share: &ShareConfig) -> Result<P9, MachineError> {
    let fail = |reason: String| MachineError::Share { path: share.path.clone(), reason };
    let ids = match share.ids {
        ShareIds::Passthrough => IdMode::Passthrough,
        ShareIds::Mapped => IdMode::Mapped,
        ShareIds::Squash => IdMode::Squash {
            uid: share.uid.unwrap_or_else(|| rustix::process::getuid().as_raw()),
            gid: share.gid.unwrap_or_else(|| rustix::process::getgid().as_raw()),
        },
    };
    let config = p9::ShareConfig { read_only: share.ro, ids, ..p9::ShareConfig::new(&share.path) };
    let server = Server::new(&config).map_err(|error| fail(crate::error_chain(&error)))?;
    P9::new(&share.tag(index), server).map_err(|error| fail(error.to_string()))
}
