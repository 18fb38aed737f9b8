//! What a user says of a network device, on the command line and in a file.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Forward, MacAddress, MacAddressError};

/// The smallest MTU: what every IPv6 link carries (RFC 8200, section 5).
pub const MIN_MTU: u16 = 1280;
/// The MTU without one being set.
pub const DEFAULT_MTU: u16 = 1500;

/// One network device.
///
/// As text, `BACKEND[,KEY=VALUE…]`; every back end takes `mac=`, `mtu=` and `pcap=FILE`:
///
/// | text | is |
/// |---|---|
/// | `user[,subnet=10.0.2.0/24][,ipv6=on\|off][,prefix=fd72:766d:6d00::][,host=on\|off][,dns=ADDRESS]` | NAT inside of rvmm |
/// | `socket,stream=PATH` | a unix stream socket, as passt and QEMU's `-netdev stream` speak |
/// | `socket,datagram=PATH` | a unix datagram socket, as vfkit and gvproxy speak |
/// | `tap,name=tap0` | Linux: an interface of the host |
/// | `vmnet,mode=shared\|host\|bridged[,interface=en0]` | macOS: vmnet.framework |
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetConfig {
    /// What the device's frames go to.
    #[serde(default)]
    pub backend: BackendConfig,
    /// The guest's MAC address; one is made up without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<MacAddress>,
    /// The largest IP datagram on the link in bytes, 1280 to 65535; 1500 without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u16>,
    /// A file for a copy of every frame, in pcap's format. It grows for as long as the guest runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pcap: Option<PathBuf>,
}

/// What a network device's frames go to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum BackendConfig {
    /// NAT inside of rvmm: no privileges, no set-up.
    User(UserConfig),
    /// A program that listens on a unix socket.
    Socket(SocketConfig),
    /// Linux: a tap interface.
    Tap(TapConfig),
    /// macOS: vmnet.framework; needs root or an entitlement.
    Vmnet(VmnetConfig),
}

impl Default for BackendConfig {
    fn default() -> Self {
        Self::User(UserConfig::default())
    }
}

/// The user back end's network. In the subnet the host is at .2, the name server at .3 and the guest at .15; with
/// IPv6 at `prefix::2` and `prefix::3`, the guest choosing its own addresses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UserConfig {
    /// The guest's IPv4 network.
    pub subnet: Subnet,
    /// Whether the guest gets IPv6.
    pub ipv6: bool,
    /// The guest's IPv6 network, a /64.
    pub prefix: Ipv6Addr,
    /// Whether the guest reaches the host's loopback, at the gateway's address.
    pub host: bool,
    /// Name servers to ask; those of /etc/resolv.conf when empty.
    pub dns: Vec<IpAddr>,
    /// Ways from the host into the guest.
    pub forward: Vec<Forward>,
}

/// The addresses QEMU's users know.
const DEFAULT_SUBNET: Subnet = Subnet { network: Ipv4Addr::new(10, 0, 2, 0), prefix: 24 };
/// A unique local prefix (RFC 4193): guests prefer IPv4 over it for hosts that have both.
const DEFAULT_PREFIX: Ipv6Addr = Ipv6Addr::new(0xfd72, 0x766d, 0x6d00, 0, 0, 0, 0, 0);

impl Default for UserConfig {
    fn default() -> Self {
        Self {
            subnet: DEFAULT_SUBNET,
            ipv6: true,
            prefix: DEFAULT_PREFIX,
            host: true,
            dns: Vec::new(),
            forward: Vec::new(),
        }
    }
}

/// A socket of another program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SocketConfig {
    /// A unix stream socket; each frame behind its length in four bytes, the highest first.
    Stream(PathBuf),
    /// A unix datagram socket; each frame a datagram.
    Datagram(PathBuf),
}

/// A tap interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TapConfig {
    /// Its name, at most 15 bytes. It is made when it does not exist, which takes privileges.
    pub name: String,
}

/// A vmnet interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VmnetConfig {
    /// Which kind.
    pub mode: VmnetMode,
    /// The host's interface to bridge to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
}

/// The kinds of vmnet.framework's interfaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VmnetMode {
    /// NAT to the outside, DHCP by macOS.
    Shared,
    /// The host and its guests only.
    Host,
    /// On the network of one of the host's interfaces.
    Bridged,
}

/// An IPv4 network with room for the gateway, the name server and the guest: a prefix of 8 to 27 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Subnet {
    /// Its lowest address.
    pub network: Ipv4Addr,
    /// Length of the prefix in bits.
    pub prefix: u8,
}

/// What is wrong with a network device's text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NetConfigError {
    /// An unknown back end.
    #[error("{0:?} is not a network back end; it is user, socket, tap or vmnet")]
    Backend(String),
    /// A part that is not `key=value`.
    #[error("{0:?} in {1:?} is not KEY=VALUE")]
    Form(String, String),
    /// A key the back end does not have.
    #[error("{1} has no {0:?}; it takes {2}")]
    Key(String, &'static str, &'static str),
    /// A value that is missing.
    #[error("{0} needs {1}")]
    Missing(&'static str, &'static str),
    /// A value that is wrong.
    #[error("{0}={1:?}: {2}")]
    Value(&'static str, String, &'static str),
    /// A MAC address that is wrong.
    #[error("mac: {0}")]
    Mac(#[from] MacAddressError),
}

/// The back ends' names and keys.
const USER: (&str, &str) = ("user", "subnet, ipv6, prefix, host, dns, mac, mtu, pcap");
const SOCKET: (&str, &str) = ("socket", "stream, datagram, mac, mtu, pcap");
const TAP: (&str, &str) = ("tap", "name, mac, mtu, pcap");
const VMNET: (&str, &str) = ("vmnet", "mode, interface, mac, mtu, pcap");

/// `key=value` parts that are not for every back end.
type Parts<'a> = Vec<(&'a str, &'a str)>;

fn unknown(key: &str, (name, keys): (&'static str, &'static str)) -> NetConfigError {
    NetConfigError::Key(key.to_owned(), name, keys)
}

fn wrong(key: &'static str, value: &str, why: &'static str) -> NetConfigError {
    NetConfigError::Value(key, value.to_owned(), why)
}

fn switch(key: &'static str, value: &str) -> Result<bool, NetConfigError> {
    match value {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(wrong(key, value, "is on or off")),
    }
}

fn path(key: &'static str, value: &str) -> Result<PathBuf, NetConfigError> {
    if value.is_empty() { Err(wrong(key, value, "names no file")) } else { Ok(PathBuf::from(value)) }
}

fn user(parts: Parts<'_>) -> Result<BackendConfig, NetConfigError> {
    let mut config = UserConfig::default();
    for (key, value) in parts {
        match key {
            "subnet" => config.subnet = value.parse()?,
            "ipv6" => config.ipv6 = switch("ipv6", value)?,
            "prefix" => config.prefix = prefix(value)?,
            "host" => config.host = switch("host", value)?,
            "dns" => config.dns.push(value.parse().map_err(|_| wrong("dns", value, "is not an IP address"))?),
            _ => return Err(unknown(key, USER)),
        }
    }
    Ok(BackendConfig::User(config))
}

fn prefix(value: &str) -> Result<Ipv6Addr, NetConfigError> {
    let address = value.strip_suffix("/64").unwrap_or(value);
    let address: Ipv6Addr =
        address.parse().map_err(|_| wrong("prefix", value, "is not an IPv6 network; write fd00:1:2:3::"))?;
    let [_, _, _, _, low @ ..] = address.segments();
    if low != [0; 4] || address.is_multicast() || address.is_unspecified() {
        return Err(wrong("prefix", value, "is not a /64 network; write fd00:1:2:3::"));
    }
    Ok(address)
}

fn socket(parts: Parts<'_>) -> Result<BackendConfig, NetConfigError> {
    let mut config = None;
    for (key, value) in parts {
        config = Some(match key {
            "stream" => SocketConfig::Stream(path("stream", value)?),
            "datagram" => SocketConfig::Datagram(path("datagram", value)?),
            _ => return Err(unknown(key, SOCKET)),
        });
    }
    let config = config.ok_or(NetConfigError::Missing("socket", "stream=PATH or datagram=PATH"))?;
    Ok(BackendConfig::Socket(config))
}

fn tap(parts: Parts<'_>) -> Result<BackendConfig, NetConfigError> {
    let mut name = None;
    for (key, value) in parts {
        match key {
            // IFNAMSIZ is 16 with the final zero.
            "name" if (1..=15).contains(&value.len()) => name = Some(value.to_owned()),
            "name" => return Err(wrong("name", value, "is not the name of an interface: 1 to 15 bytes")),
            _ => return Err(unknown(key, TAP)),
        }
    }
    Ok(BackendConfig::Tap(TapConfig { name: name.ok_or(NetConfigError::Missing("tap", "name=INTERFACE"))? }))
}

fn vmnet(parts: Parts<'_>) -> Result<BackendConfig, NetConfigError> {
    let mut config = VmnetConfig { mode: VmnetMode::Shared, interface: None };
    for (key, value) in parts {
        match (key, value) {
            ("mode", "shared") => config.mode = VmnetMode::Shared,
            ("mode", "host") => config.mode = VmnetMode::Host,
            ("mode", "bridged") => config.mode = VmnetMode::Bridged,
            ("mode", _) => return Err(wrong("mode", value, "is shared, host or bridged")),
            ("interface", _) => config.interface = Some(value.to_owned()),
            _ => return Err(unknown(key, VMNET)),
        }
    }
    if config.mode == VmnetMode::Bridged && config.interface.is_none() {
        return Err(NetConfigError::Missing("mode=bridged", "interface=NAME"));
    }
    Ok(BackendConfig::Vmnet(config))
}

impl FromStr for NetConfig {
    type Err = NetConfigError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut pieces = text.split(',');
        let kind = pieces.next().unwrap_or_default();
        let (mut mac, mut mtu, mut pcap) = (None, None, None);
        let mut parts = Vec::new();
        for piece in pieces {
            let (key, value) = piece
                .split_once('=')
                .ok_or_else(|| NetConfigError::Form(piece.to_owned(), text.to_owned()))?;
            match key {
                "mac" => mac = Some(value.parse()?),
                "mtu" => {
                    let bytes = value.parse().ok().filter(|mtu| *mtu >= MIN_MTU);
                    mtu =
                        Some(bytes.ok_or_else(|| wrong("mtu", value, "is not a number from 1280 to 65535"))?);
                }
                "pcap" => pcap = Some(path("pcap", value)?),
                _ => parts.push((key, value)),
            }
        }
        let backend = match kind {
            "user" => user(parts)?,
            "socket" => socket(parts)?,
            "tap" => tap(parts)?,
            "vmnet" => vmnet(parts)?,
            _ => return Err(NetConfigError::Backend(kind.to_owned())),
        };
        Ok(Self { backend, mac, mtu, pcap })
    }
}

impl FromStr for Subnet {
    type Err = NetConfigError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = |why| wrong("subnet", text, why);
        let (network, prefix) =
            text.split_once('/').ok_or_else(|| bad("is not a network; write for example 10.0.2.0/24"))?;
        let network: Ipv4Addr =
            network.parse().map_err(|_| bad("is not a network; write for example 10.0.2.0/24"))?;
        let prefix: u8 = prefix.parse().ok().filter(|prefix| (8..=27).contains(prefix)).ok_or_else(|| {
            bad("has a prefix length that is not from 8 to 27: host, name server and guest need room")
        })?;
        if network.to_bits().unbounded_shl(u32::from(prefix)) != 0 {
            return Err(bad("has bits behind its prefix"));
        }
        if network.is_loopback() || network.is_multicast() || matches!(network.octets()[0], 0 | 240..) {
            return Err(bad("is not a network for hosts"));
        }
        Ok(Self { network, prefix })
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix)
    }
}

impl TryFrom<String> for Subnet {
    type Error = NetConfigError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Subnet> for String {
    fn from(subnet: Subnet) -> Self {
        subnet.to_string()
    }
}
