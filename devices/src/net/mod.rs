//! Network back ends: where the frames of a guest's network device go.
//!
//! A device's worker thread drives a [`NetBackend`]; none of them needs a VM. [`open`] makes the one a [`NetConfig`]
//! asks for.

mod backend;
mod capture;
mod config;
mod forward;
mod mac;
mod user;

#[cfg(test)]
#[path = "config_test.rs"]
mod config_test;

use std::net::IpAddr;

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
pub use self::user::{ListenError, UserNet, UserOptions};

/// Who hears of what becomes known of the guest's network. Called on the worker's thread; must not block.
pub trait NetEvents: Send + Sync {
    /// The guest's device `mac` has this address: DHCP gave it. Called again with each renewal.
    fn guest_address(&self, mac: MacAddress, address: IpAddr);
}

/// Nobody.
impl NetEvents for () {
    fn guest_address(&self, _: MacAddress, _: IpAddr) {}
}
