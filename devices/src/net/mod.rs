//! Network back ends: where the frames of a guest's network device go.
//!
//! A device's worker thread drives a [`NetBackend`]; none of them needs a VM. [`open`] makes the one a [`NetConfig`]
//! asks for.

mod backend;
mod capture;
mod config;
mod forward;
mod mac;
mod os;
mod socket;
mod user;
mod virtio_header;

#[cfg(test)]
#[path = "config_test.rs"]
mod config_test;
#[cfg(test)]
#[path = "open_test.rs"]
mod open_test;

use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

pub use self::backend::{
    FrameHeader, LargeSegment, MAX_FRAME_BYTES, NetBackend, Offloads, PartialChecksum, Received, SegmentKind,
    Sent,
};
pub use self::capture::Capture;
pub use self::config::{
    BackendConfig, DEFAULT_MTU, MIN_MTU, NetConfig, NetConfigError, SocketConfig, Subnet, TapConfig,
    UserConfig, VmnetConfig, VmnetMode,
};
pub use self::forward::{Forward, ForwardError, ForwardFrom};
pub use self::mac::{MacAddress, MacAddressError};
pub use self::socket::{DatagramNet, StreamNet};
pub use self::user::{ListenError, UserNet, UserOptions};
pub use self::virtio_header::{HeaderError, VIRTIO_HEADER_BYTES};

/// Who hears of what becomes known of the guest's network. Called on the worker's thread; must not block.
pub trait NetEvents: Send + Sync {
    /// The guest's device `mac` has this address: DHCP gave it. Called again with each renewal.
    fn guest_address(&self, mac: MacAddress, address: IpAddr);
}

/// Nobody.
impl NetEvents for () {
    fn guest_address(&self, _: MacAddress, _: IpAddr) {}
}

/// Why a network device has nothing to go to.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A forward of the user back end's.
    #[error("--forward {0}")]
    Forward(#[from] ListenError),
    /// A socket of another program.
    #[error("{}: cannot connect to the network's other end: {}; start what listens there first", .0.display(), .1)]
    Socket(PathBuf, #[source] io::Error),
    /// A tap interface.
    #[error("tap interface {0}: {1}; it takes privileges: as root, ip tuntap add dev {0} mode tap user NAME")]
    Tap(String, #[source] io::Error),
    /// Tap interfaces are Linux's.
    #[error("tap interfaces exist on Linux only; use --net user, socket or vmnet")]
    NotLinux,
    /// vmnet.framework is macOS's.
    #[error("vmnet exists on macOS only; use --net user, socket or tap")]
    NotMacOs,
    /// What vmnet.framework said.
    #[error("vmnet: {0}")]
    Vmnet(String),
    /// The capture file.
    #[error("{}: the packet capture cannot be written: {}", .0.display(), .1)]
    Capture(PathBuf, #[source] io::Error),
}

/// A back end, and what the guest's device is to look like.
pub struct OpenNet {
    /// The back end.
    pub backend: Box<dyn NetBackend>,
    /// The guest's MAC address.
    pub mac: MacAddress,
    /// The largest IP datagram on the link in bytes.
    pub mtu: u16,
    /// The forwards with the addresses they really have, where port 0 was asked for.
    pub forwards: Vec<Forward>,
}

/// Opens the back end of `config`. `mac` is for a guest that is given none.
///
/// # Errors
/// The error names what is missing and what to do.
pub fn open(config: &NetConfig, mac: MacAddress, events: Arc<dyn NetEvents>) -> Result<OpenNet, OpenError> {
    let mut mac = config.mac.unwrap_or(mac);
    let mut mtu = config.mtu.unwrap_or(DEFAULT_MTU);
    let mut forwards = Vec::new();
    let mut backend: Box<dyn NetBackend> = match &config.backend {
        BackendConfig::User(user) => {
            let net = UserNet::new(user, UserOptions { mtu, ..UserOptions::new(mac, events) })?;
            forwards = net.forwards();
            Box::new(net)
        }
        BackendConfig::Socket(SocketConfig::Stream(path)) => {
            Box::new(StreamNet::new(path).map_err(|error| OpenError::Socket(path.clone(), error))?)
        }
        BackendConfig::Socket(SocketConfig::Datagram(path)) => {
            Box::new(DatagramNet::new(path).map_err(|error| OpenError::Socket(path.clone(), error))?)
        }
        BackendConfig::Tap(tap) => os::tap(tap)?,
        BackendConfig::Vmnet(vmnet) => {
            let (backend, facts) = os::vmnet(vmnet)?;
            mac = facts.mac.unwrap_or(mac);
            mtu = config.mtu.unwrap_or(facts.mtu).min(facts.mtu);
            backend
        }
    };
    if let Some(path) = &config.pcap {
        let capture = Capture::new(backend, path).map_err(|error| OpenError::Capture(path.clone(), error))?;
        backend = Box::new(capture);
    }
    Ok(OpenNet { backend, mac, mtu, forwards })
}
