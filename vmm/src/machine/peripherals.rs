//! The virtio devices a configuration asks for.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::mpsc::Sender;

use devices::disk::DiskImage;
use devices::net::{self, Forward, MacAddress, NetEvents};
use devices::p9::{self, IdMode, Server};
use devices::virtio::balloon::{Balloon, BalloonHandle};
use devices::virtio::blk::Block;
use devices::virtio::net::Net;
use devices::virtio::p9::P9;
use devices::virtio::rng::{Entropy, Rng};
use devices::virtio::vsock::Vsock;
use devices::virtio::{InTurn, VirtioDevice};

use hypervisor_framework::soft::Sequence;

use super::MachineError;
use super::signals::{Alarm, Message};
use crate::config::{MachineConfig, ShareConfig, ShareIds};

/// Most queues of a disk; a queue per vCPU is of use.
const MAX_DISK_QUEUES: u16 = 16;

/// The devices, and what the machine's owner needs of them.
#[derive(Default)]
pub(super) struct Peripherals {
    pub(super) devices: Vec<Box<dyn VirtioDevice>>,
    pub(super) balloon: Option<BalloonHandle>,
    /// Ways into the guest, as they really are.
    pub(super) forwards: Vec<Forward>,
}

/// Tells the owner what networks learn.
struct AddressNews {
    messages: Sender<Message>,
    alarm: Alarm,
}

impl NetEvents for AddressNews {
    fn guest_address(&self, _: MacAddress, address: IpAddr) {
        if self.messages.send(Message::GuestAddress(address)).is_ok() {
            self.alarm.ring();
        }
    }
}

/// Parts the entropy device's bytes from other numbers of the same seed.
const ENTROPY_DEVICE: u64 = 0x0072_6e67 << 32;

/// Random bytes: the host's, or of a generator that starts with `seed`.
fn entropy(seed: Option<u64>) -> Entropy {
    let Some(seed) = seed else { return Box::new(|bytes| getrandom::fill(bytes).is_ok()) };
    let mut sequence = Sequence::new(seed ^ ENTROPY_DEVICE);
    Box::new(move |bytes| {
        sequence.fill(bytes);
        true
    })
}

/// A device whose answers, where time is counted, come at a place of the guest's that repeats.
fn answering(seed: Option<u64>, device: Box<dyn VirtioDevice>) -> Box<dyn VirtioDevice> {
    if seed.is_some() { Box::new(InTurn::new(device)) } else { device }
}

/// Makes them, in the order in which the guest is to find them. Opens what they need of the host. With a `seed` what is
/// random follows from it.
pub(super) fn make(
    config: &MachineConfig,
    seed: Option<u64>,
    messages: &Sender<Message>,
    alarm: &Alarm,
) -> Result<Peripherals, MachineError> {
    let mut made = Peripherals::default();
    let devices = &mut made.devices;
    let queues = u16::try_from(config.cpus).unwrap_or(MAX_DISK_QUEUES).min(MAX_DISK_QUEUES);
    for disk in &config.disks {
        devices.push(answering(seed, Box::new(Block::new(DiskImage::open(disk)?, queues))));
    }
    let news = Arc::new(AddressNews { messages: messages.clone(), alarm: alarm.clone() });
    let mut addresses = seed.map(Sequence::new);
    for net in &config.nets {
        // Two guests on one network must differ; a host without entropy is told by everything else.
        let random = || getrandom::u64().unwrap_or_else(|_| std::process::id().into());
        let mac = MacAddress::local(addresses.as_mut().map_or_else(random, Sequence::next_u64));
        let open = net::open(net, mac, news.clone())?;
        made.forwards.extend(open.forwards);
        devices.push(Box::new(Net::new(open.backend, open.mac, open.mtu)));
    }
    for (index, share) in config.shares.iter().enumerate() {
        devices.push(answering(seed, Box::new(share_device(index, share)?)));
    }
    if let Some(vsock) = &config.vsock {
        devices.push(Box::new(Vsock::new(vsock)?));
    }
    if config.rng {
        devices.push(answering(seed, Box::new(Rng::new(entropy(seed)))));
    }
    if config.balloon {
        let balloon = Balloon::new();
        balloon.handle().set_target(config.balloon_target.unwrap_or_default());
        made.balloon = Some(balloon.handle());
        devices.push(Box::new(balloon));
    }
    Ok(made)
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
