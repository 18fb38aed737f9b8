//! Back ends of one system: what the host's kernel offers.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "macos")]
mod macos;

use std::io;
use std::os::fd::OwnedFd;

use rustix::net::sockopt;

use super::{NetBackend, OpenError, TapConfig, VmnetConfig};

/// A tap interface.
///
/// # Errors
/// The host is not Linux, or the interface cannot be had.
#[cfg(target_os = "linux")]
pub(super) fn tap(config: &TapConfig) -> Result<Box<dyn NetBackend>, OpenError> {
    match linux::TapNet::new(&config.name) {
        Ok(net) => Ok(Box::new(net)),
        Err(error) => Err(OpenError::Tap(config.name.clone(), error)),
    }
}

/// A tap interface: not here.
///
/// # Errors
/// Always.
#[cfg(not(target_os = "linux"))]
pub(super) fn tap(_: &TapConfig) -> Result<Box<dyn NetBackend>, OpenError> {
    Err(OpenError::NotLinux)
}

/// A vmnet interface.
///
/// # Errors
/// The host is not macOS, or vmnet.framework refuses.
#[cfg(target_os = "macos")]
pub(super) fn vmnet(config: &VmnetConfig) -> Result<(Box<dyn NetBackend>, VmnetFacts), OpenError> {
    macos::start(config)
}

/// A vmnet interface: not here.
///
/// # Errors
/// Always.
#[cfg(not(target_os = "macos"))]
pub(super) fn vmnet(_: &VmnetConfig) -> Result<(Box<dyn NetBackend>, VmnetFacts), OpenError> {
    Err(OpenError::NotMacOs)
}

/// Lets several UDP sockets be at one port; the one that is connected to a datagram's sender has it.
///
/// # Errors
/// The host's.
#[cfg(target_os = "linux")]
pub(super) fn let_port_be_shared(socket: &OwnedFd) -> io::Result<()> {
    // SO_REUSEPORT spreads datagrams over the sockets here.
    Ok(sockopt::set_socket_reuseaddr(socket, true)?)
}

/// Lets several UDP sockets be at one port; the one that is connected to a datagram's sender has it.
///
/// # Errors
/// The host's.
#[cfg(not(target_os = "linux"))]
pub(super) fn let_port_be_shared(socket: &OwnedFd) -> io::Result<()> {
    Ok(sockopt::set_socket_reuseport(socket, true)?)
}

/// What vmnet.framework says of an interface it has started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct VmnetFacts {
    /// The MAC address the guest must use: others' frames are dropped.
    pub(super) mac: Option<super::MacAddress>,
    /// The largest IP datagram in bytes.
    pub(super) mtu: u16,
}

#[cfg(test)]
#[path = "elsewhere_test.rs"]
mod elsewhere_test;
